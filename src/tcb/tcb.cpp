// The life of a thread control block: made, linked into glibc's list of threads, given to one G after the other.
//
//   T1  Every TCB that a thread pointer may ever hold is on glibc's list of user-stack threads, dead Gs included:
//       dlopen initialises static TLS in all of them, dlclose looks at them before it frees scopes, set*id() waits for
//       them.
//   T2  A retired TCB has pristine static TLS, and being on the list it is initialised for modules that come later: so
//       it stays right while modules come and go, and renew() has only struct pthread to look after.
//   T3  glibc's list lock is held by goshim for a few stores only, with preemption off. Whoever waits for it does so
//       with preemption on. A new kernel thread must not wait for it: the one who holds the lock may be a G that waits
//       for a kernel thread to run on. Its TCB is linked later then, by whoever takes the lock next.
//   T4  During a set*id() call there should be no such TCB, or its kernel thread keeps the old ids. So a new kernel
//       thread waits then, for answers that signal handlers give without needing it; but not for ever, because the
//       holder of the lock may be another one after all.
#include <errno.h>
#include <linux/futex.h>
#include <resolv.h>
#include <string.h>
#include <sys/mman.h>

#include "base/lock.h"
#include "base/slab.h"
#include "base/sys.h"
#include "sched/runtime.h"
#include "tcb/glibc.h"
#include "tcb/tcb.h"

namespace goshim::tcb {

Glibc glibc;
ptrdiff_t pthread_at;

namespace {

constexpr int32_t kRseqCpuIdAt = 4;         // struct rseq: cpu_id_start, cpu_id, ...
constexpr int32_t kRseqNotRegistered = -2;  // RSEQ_CPU_ID_REGISTRATION_FAILED
constexpr uint32_t kRseqSignature = 0x53053053;
constexpr size_t kRseqMaxLength = 512;

// glibc's low-level lock, with its orders: acquire when taken, release when given up.
std::atomic<uint32_t>* lock_word() { return reinterpret_cast<std::atomic<uint32_t>*>(glibc.list_lock); }

// ---- glibc's list of threads ----

Lock pending_lock;
List* pending;  // pending_lock: TCBs of kernel threads that found the list locked, chained by next

void insert(List* l) {
  List* head = glibc.user_list;
  // In this order a child forked in between finds the neighbours of its own TCB in a state that glibc can repair.
  l->next = head->next;
  l->prev = head;
  head->next->prev = l;
  __atomic_store_n(&head->next, l, __ATOMIC_RELEASE);
}

void remove(List* l) {
  l->next->prev = l->prev;
  l->prev->next = l->next;
  l->next = l->prev = nullptr;
}

void link_pending() {
  List* l;
  {
    LockGuard guard(pending_lock);
    l = pending;
    pending = nullptr;
  }
  while (l) {
    List* next = l->next;
    insert(l);
    l = next;
  }
}

bool try_lock_list() {
  uint32_t free = 0;
  if (!lock_word()->compare_exchange_strong(free, 1, std::memory_order_acquire, std::memory_order_relaxed))
    return false;
  link_pending();
  return true;
}

// Returns with the lock held and preemption off once more than at entry; sleeps for it as at entry.
void lock_list() {
  preempt_off();
  if (try_lock_list()) return;
  // 2: perhaps somebody sleeps; as glibc's own low-level locks. One who has slept does not know whether others still
  // do.
  while (lock_word()->exchange(2, std::memory_order_acquire) != 0) {
    preempt_on();
    sys::futex_wait(lock_word(), 2);
    preempt_off();
  }
  link_pending();
}

void unlock_list() {
  if (lock_word()->exchange(0, std::memory_order_release) == 2) sys::futex_wake(lock_word(), 1);
}

// The same, and preemption as before lock_list().
void unlock_list_on() {
  unlock_list();
  preempt_on();
}

void insert_locked(List* l) {
  lock_list();
  insert(l);
  unlock_list_on();
}

void remove_locked(List* l) {
  lock_list();
  remove(l);
  unlock_list_on();
}

// Calls of set*id() that are under way (T4). seq_cst: a call raises this, then takes what is pending; a new kernel
// thread makes itself pending, then reads this; and both take pending_lock.
std::atomic<int> setxids{0};

// For a kernel thread's TCB (T3): if the list stays locked, whoever locks it next through goshim links it.
void link_kernel_thread(List* l) {
  constexpr int kSpins = 1000;
  for (int spin = 0; spin < kSpins; spin++) {
    if (try_lock_list()) {
      insert(l);
      unlock_list();
      return;
    }
    arch::pause();
  }
  {
    LockGuard guard(pending_lock);
    l->next = pending;
    pending = l;
  }
  // T4. Looked at after the TCB is pending: a call that begins later finds it there.
  Nanos deadline = sys::nanotime() + kSecond;
  while (setxids.load(std::memory_order_seq_cst) != 0 && sys::nanotime() < deadline) {
    if (lock_word()->exchange(2, std::memory_order_acquire) == 0) {
      link_pending();
      unlock_list();
      return;
    }
    sys::futex_wait(lock_word(), 2, deadline);
  }
  sys::futex_wake(lock_word(), 1);  // the wake-up that ended the sleep may have been meant for one who needs the lock
}

// ---- warm words: malloc's caches and the like, handed from TCBs that end to new ones ----

struct Warm {
  void* words[kMaxWarm];
  Warm* slab_next;
};
Slab<Warm> warm_slab;
Lock warm_lock;
Warm* warm_free;  // warm_lock; linked by slab_next

void keep_warm(void* tp) {
  bool any = false;
  for (size_t i = 0; i < glibc.nwarm; i++) any |= at<void*>(tp, glibc.warm[i]) != nullptr;
  if (!any) return;
  NoPreempt no_preempt;
  Warm* w = warm_slab.take();
  if (!w) return;
  for (size_t i = 0; i < glibc.nwarm; i++) w->words[i] = at<void*>(tp, glibc.warm[i]);
  LockGuard guard(warm_lock);
  w->slab_next = warm_free;
  warm_free = w;
}

void take_warm(void* tp) {
  NoPreempt no_preempt;
  Warm* w;
  {
    LockGuard guard(warm_lock);
    w = warm_free;
    if (!w) return;
    warm_free = w->slab_next;
  }
  for (size_t i = 0; i < glibc.nwarm; i++) at<void*>(tp, glibc.warm[i]) = w->words[i];
  warm_slab.release(w);
}

// ---- the parts of a new TCB ----

void write_struct(void* tp) {
  for (size_t i = 0; i < glibc.nsegments; i++) copy_segment(tp, glibc.segments[i]);
  for (size_t i = 0; i < glibc.selves; i++) {
    at<void*>(tp, glibc.self[i].offset) = static_cast<char*>(tp) + glibc.self[i].target;
  }
}

// As __ctype_init in a thread with the global locale.
void write_ctype(void* tp) {
  at<const void*>(tp, glibc.ctype_b) = glibc.global_locale->__ctype_b;
  at<const void*>(tp, glibc.ctype_lower) = glibc.global_locale->__ctype_tolower;
  at<const void*>(tp, glibc.ctype_upper) = glibc.global_locale->__ctype_toupper;
}

void write_libc(void* tp) {
  at<void*>(tp, glibc.resp) = static_cast<char*>(tp) + glibc.resp_target;
  write_ctype(tp);
}

void write_rseq(void* tp) {
  if (glibc.rseq_size == 0) return;
  memset(static_cast<char*>(tp) + glibc.rseq, 0, glibc.rseq_size);
  at<int32_t>(tp, glibc.rseq + kRseqCpuIdAt) = kRseqNotRegistered;
}

// The modules at the last fork, in the child; written there before other threads exist.
uint64_t forked_with;

List* list_of(void* tp) { return &at<List>(tp, glibc.list); }

// ---- TCBs of kernel threads: a vector of our own ----

struct KernelDtv {
  DtvEntry entries[64];
  KernelDtv* slab_next;
};
Slab<KernelDtv> dtv_slab;

void copy_segments(void* tp, const Image* image, size_t from, size_t to) {
  for (size_t i = from; i < to; i++) copy_segment(tp, image->segments[i]);
}

// Gives static TLS its initial contents; a malloc may keep its state there, so this thread must not call libc
// afterwards. A block that belonged to a module that goes may be another's by the time we write (T2). dlopen changes
// the table of modules first and then initialises blocks under the list lock: with the lock held and the table
// unchanged, it is still the old one's. When memory for the image of a new set of modules is exhausted, static TLS
// stays as it is. image and key: what image_now() gave.
void restore_static_tls(void* tp, const Image* image, uint64_t key) {
  for (;; image = image_now(&key)) {
    if (!image) return;
    if (image->nsegments > image->npermanent) {
      lock_list();
      bool same = modules_key() == key;
      if (same) copy_segments(tp, image, image->npermanent, image->nsegments);
      unlock_list_on();
      if (!same) continue;
    }
    copy_segments(tp, image, 0, image->npermanent);
    return;
  }
}

void restore_static_tls(void* tp) {
  uint64_t key;
  const Image* image = image_now(&key);
  restore_static_tls(tp, image, key);
}

// Whether one of the pointers is not null.
bool any_set(void* const* pointers, uint32_t n) {
  using Two = uint64_t __attribute__((vector_size(16)));
  Two any{};
  uint32_t i = 0;
  for (Two pair; i + 2 <= n; i += 2) {
    __builtin_memcpy(&pair, pointers + i, sizeof pair);  // they are aligned to 8 only
    any |= pair;
  }
  uint64_t rest = 0;
  for (; i < n; i++) rest |= reinterpret_cast<uintptr_t>(pointers[i]);
  return (any[0] | any[1] | rest) != 0;
}

}  // namespace

size_t footprint() {
  // Blocks of great alignment: tp is then aligned down from a top that is a multiple of 64 only.
  return round_up(below() + round_up(above(), 64) + glibc.static_align - 64, 64);
}

void* create(void* top) {
  void* tp = place(top);
  write_struct(tp);
  uint64_t key = modules_key();
  if (!glibc.allocate_tls(tp)) return nullptr;
  write_libc(tp);
  write_rseq(tp);
  take_warm(tp);
  insert_locked(list_of(tp));
  // A module that came before the block was on the list, where dlopen would have found it.
  if (modules_key() != key) restore_static_tls(tp);
  return tp;
}

void set_stack(void* tp, void* block, size_t size, size_t guard) {
  at<void*>(tp, glibc.stackblock) = block;
  at<size_t>(tp, glibc.stacksize) = size;
  for (size_t i = 0; i < glibc.guards; i++) at<size_t>(tp, glibc.guard[i]) = guard;
}

void set_tid(void* tp, int tid) { at<std::atomic<int>>(tp, glibc.tid).store(tid, std::memory_order_relaxed); }
int tid(const void* tp) { return at<const std::atomic<int>>(tp, glibc.tid).load(std::memory_order_relaxed); }

std::atomic<int>* cancel_word(void* tp) { return &at<std::atomic<int>>(tp, glibc.cancel); }

void retire(void* tp) {
  // Values of keys without a destructor, and the blocks for keys beyond the first few.
  void** blocks = &at<void*>(tp, glibc.specific);
  if (any_set(blocks + 1, glibc.specific_blocks - 1)) {
    for (uint32_t i = 1; i < glibc.specific_blocks; i++) {
      glibc.free(blocks[i]);
      blocks[i] = nullptr;
    }
  }
  // The first call returns what is pending, the second frees it.
  if (glibc.dlerror()) glibc.dlerror();
  auto* res = reinterpret_cast<struct __res_state*>(static_cast<char*>(tp) + glibc.resp_target);
  if (res->nscount != 0 && glibc.res_nclose) glibc.res_nclose(res);
  // Blocks of modules that came by dlopen: the next thread allocates its own.
  uint64_t key;
  const Image* image = image_now(&key);
  if (!image || !all_static(image, key)) {
    DtvEntry* dtv = dtv_of(tp);
    for (size_t i = 1; i <= dtv_length(dtv); i++) {
      void* block = dtv[i].to_free;
      if (!block) continue;
      dtv[i] = {unallocated(), nullptr};
      glibc.free(block);
    }
  }
  restore_static_tls(tp, image, key);
}

// One that is kept for the next thread says that its thread has ended, or set*id() would send each a signal in vain.
void renew(void* tp) {
  write_struct(tp);
  cancel_word(tp)->store(glibc.ended, std::memory_order_relaxed);
}

void reuse(void* tp) { cancel_word(tp)->store(0, std::memory_order_relaxed); }

void begin(void* tp) { write_ctype(tp); }

void destroy(void* tp) {
  remove_locked(list_of(tp));
  keep_warm(tp);
  glibc.deallocate_tls(tp, false);
}

void* create_for_kernel_thread(void* top) {
  void* tp = place(top);
  const Image* image = image_latest();
  KernelDtv* own = dtv_slab.take();
  if (!own) return nullptr;
  write_struct(tp);
  memcpy(static_cast<char*>(tp) + static_begin(), image->tp + static_begin(),
         static_cast<size_t>(static_end() - static_begin()));
  // Long enough for the modules that a libc function running on it could ask for: those that were there at the start.
  size_t length = sizeof own->entries / sizeof own->entries[0] - 2;
  own->entries[0].val = reinterpret_cast<void*>(length);
  DtvEntry* dtv = &own->entries[1];
  dtv[0] = {nullptr, nullptr};
  for (size_t i = 1; i <= length; i++) {
    bool is_static = i <= image->modules && image->block[i] != 0;
    dtv[i] = {is_static ? static_cast<char*>(tp) + image->block[i] : unallocated(), nullptr};
  }
  at<DtvEntry*>(tp, glibc.dtv) = dtv;
  write_libc(tp);
  write_rseq(tp);
  link_kernel_thread(list_of(tp));
  return tp;
}

int* tid_word(void* tp) { return &at<int>(tp, glibc.tid); }

void begin_kernel_thread() {
  void* tp = arch::thread_pointer();
  set_tid(tp, sys::gettid());
  sys::call(SYS_set_robust_list, static_cast<char*>(tp) + glibc.robust_head, glibc.robust_size);
}

void end_kernel_thread() {
  void* tp = arch::thread_pointer();
  // While a set*id() is under way its caller holds the lock, and this thread answers its signal as it waits.
  remove_locked(list_of(tp));
  set_tid(tp, 0);
}

void relink_kernel_thread(void* tp) { link_kernel_thread(list_of(tp)); }

void adopt_main(void* tp) {
  if (glibc.rseq_size == 0) return;
  // The length must be the one it was registered with: 32, or more on newer kernels and libcs.
  for (size_t length = 32; length <= kRseqMaxLength; length += 32) {
    constexpr int kUnregister = 1;
    if (sys::call(SYS_rseq, static_cast<char*>(tp) + glibc.rseq, length, kUnregister, kRseqSignature) != -EINVAL) break;
  }
  write_rseq(tp);
}

void after_fork_child(void* tp) {
  pending_lock.reset();
  warm_lock.reset();
  warm_slab.reset_lock();
  dtv_slab.reset_lock();
  image_after_fork_child();
  pending = nullptr;
  setxids.store(0, std::memory_order_relaxed);
  forked_with = modules_key();
  // fork() has done this already; after _Fork() the list is the parent's and its lock may be held by nobody.
  lock_word()->store(0, std::memory_order_relaxed);
  List* head = glibc.user_list;
  List* own = list_of(tp);
  bool listed = false;
  for (List* l = head->next; l != head && !listed; l = l->next) listed = l == own;
  head->next = head->prev = listed ? own : head;
  if (listed) own->next = own->prev = head;
}

void relink(void* tp) {
  insert_locked(list_of(tp));
  // T2 did not hold while it was off the list.
  if (modules_key() != forked_with) restore_static_tls(tp);
}

// The call is made on the TCB that glibc's lists hold for this kernel thread: glibc leaves the caller's TCB out when it
// signals the others, and must reach each kernel thread once, since set*id() done twice is not the same as done once.
// Not inlined: addresses of TLS variables must be taken anew after the thread pointer has changed.
// Its signals may come in the middle of any change of a thread pointer, and the handler makes two of its own: from here
// on the kernel is told each, so that it is done or not.
GOSHIM_NOINLINE void setxid_enter(SetXid* call) {
  arch::stop_traps();
  setxids.fetch_add(1, std::memory_order_seq_cst);
  lock_list();  // links what is pending; preemption stays off
  unlock_list();
  // Another one's call may hold libc's lock, and waits for this kernel thread's answer to its signal.
  uint64_t all_others = arch::handler_mask() & ~(UINT64_C(1) << (kSigSetXid - 1));
  sys::call(SYS_rt_sigprocmask, SIG_SETMASK, &all_others, &call->mask, sizeof all_others);
  call->caller = arch::thread_pointer();
  G* g = getg();
  M* m = g ? g->m.load(std::memory_order_relaxed) : nullptr;
  call->own = m ? m->own_tcb : call->caller;
  call->cell = m ? m->tp_cell : nullptr;
  arch::set_thread_pointer(call->own, call->cell);
}

static GOSHIM_NOINLINE void setxid_left() { preempt_on(); }

GOSHIM_NOINLINE void setxid_leave(SetXid* call) {
  arch::set_thread_pointer(call->caller, call->cell);
  at<int>(call->caller, glibc.errno_at) = at<int>(call->own, glibc.errno_at);
  sys::call(SYS_rt_sigprocmask, SIG_SETMASK, &call->mask, nullptr, sizeof call->mask);
  setxids.fetch_sub(1, std::memory_order_seq_cst);
  setxid_left();
}

}  // namespace goshim::tcb
