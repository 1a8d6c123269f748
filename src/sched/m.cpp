// Kernel threads of goshim: Ms, and the helpers that are none (sysmon, the thread that clones Ms, the signal receiver).
//
// Ms are raw clones with TCBs of our own: making one takes no lock of libc and allocates nothing from it, because a
// preempted G may hold malloc's lock while the only P waits for a new M. They are cloned by a template thread that
// never runs a G, so that what a program does to its kernel thread (seccomp, namespaces, affinity, policy) is not
// inherited by Ms that other Gs will run on. The M of a G whose maker has done such a thing is cloned from the maker's,
// and that G's alone.
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/print.h"
#include "base/slab.h"
#include "sched/inject.h"
#include "sched/internal.h"
#include "sched/slice.h"
#include "tcb/tcb.h"
#include "thread/fork.h"
#include "trace/timeline.h"

namespace goshim {
namespace {

constexpr size_t kGuard = kPage;
constexpr size_t kAltStack = 64 * 1024;  // a signal frame with all of AVX-512 and AMX, and our handler
constexpr size_t kStack = 64 * 1024;

// [guard][alternate signal stack][g0 stack][TCB]
size_t mapping_size() { return kGuard + kAltStack + kStack + round_up(tcb::footprint(), kPage); }

Slab<M> m_slab;
Slab<G> g0_slab;
Lock template_lock;
M* wanted;  // template_lock; linked by sched_link
// Bumped (release) after every push on wanted; the template thread reads it (acquire) before it looks there, and sleeps
// only while it is the same.
std::atomic<uint32_t> template_word;
std::atomic<bool> lacking{false};  // an M could not be had for want of memory: to be tried again; before template_word
constexpr Nanos kRetry = 10 * kMillisecond;

// Ms without a kernel thread, or whose kernel thread ends, first come first: each is used again when the kernel does
// not know its thread any more.
struct Ended {
  Lock lock;
  M* head = nullptr;  // lock, and the next; linked by sched_link
  M* tail = nullptr;
};
Ended ended;

char* map_stack() {
  auto* at = static_cast<char*>(sys::map(mapping_size(), PROT_READ | PROT_WRITE));
  if (at) sys::protect(at, kGuard, PROT_NONE);
  return at;
}

void* g0_top(char* mapping) { return mapping + kGuard + kAltStack + kStack; }

void* make_tcb(char* mapping, G* g0) {
  void* tp = tcb::create_for_kernel_thread(mapping + mapping_size());
  if (!tp) return nullptr;
  g0->tp = tp;
  Tls* tls = tls_of(g0);
  tls->g = g0;
  tls->nopreempt = 1;  // a g0 is never injected into
  return tp;
}

// An M with g0, stack and TCB, without a kernel thread.
M* m_make() {
  static std::atomic<int> next_id{0};
  M* m = m_slab.take();
  G* g0 = g0_slab.take();
  char* mapping = map_stack();
  if (!m || !g0 || !mapping || !make_tcb(mapping, g0)) {
    if (mapping) sys::unmap(mapping, mapping_size());
    if (g0) g0_slab.release(g0);
    if (m) m_slab.release(m);
    return nullptr;
  }
  m->g0 = g0;
  m->stack = mapping;
  m->id = next_id.fetch_add(1, std::memory_order_relaxed);
  m->own_tcb = g0->tp;
  m->curg.store(g0, std::memory_order_relaxed);
  g0->m.store(m, std::memory_order_relaxed);
  g0->status.store(GStatus::Running, std::memory_order_relaxed);
  return m;
}

void list_m(M* m) {
  M* head = sched.all_ms.load(std::memory_order_relaxed);
  do m->all_link = head;
  while (!sched.all_ms.compare_exchange_weak(head, m, std::memory_order_release, std::memory_order_relaxed));
  sched.ms.fetch_add(1, std::memory_order_relaxed);
}

// What changes an M's cell, and libc's handler of set*id() uses it (tcb/setxid.cpp).
class AllBlocked {
 public:
  AllBlocked() {
    uint64_t mask = arch::handler_mask();
    sys::call(SYS_rt_sigprocmask, SIG_BLOCK, &mask, &before_, sizeof mask);
  }
  ~AllBlocked() { sys::call(SYS_rt_sigprocmask, SIG_SETMASK, &before_, nullptr, sizeof before_); }
  AllBlocked(const AllBlocked&) = delete;
  AllBlocked& operator=(const AllBlocked&) = delete;

 private:
  uint64_t before_ = 0;
};

void thread_setup(char* mapping) {
  inject_init_thread(mapping + kGuard, kAltStack);
  sys::call(SYS_prctl, PR_SET_TIMERSLACK, kMTimerSlack, 0, 0, 0);
}

void m_main(void* arg) {
  auto* m = static_cast<M*>(arg);
  tcb::begin_kernel_thread();
  m->tid = tcb::tid(m->own_tcb);
  thread_setup(m->stack);
  m_take_thread_pointer(m);
  P* p = m->locked_g ? nullptr : m->next_p;  // m_sleep() will look for that
  if (p) {
    m->next_p = nullptr;
    p->m.store(m, std::memory_order_relaxed);
    p->status.store(PStatus::Running, std::memory_order_release);
    m->p.store(reinterpret_cast<uintptr_t>(p), std::memory_order_release);
    timeline(Event::ProcStart);
  }
  schedule_loop(m);
}

M* take_ended() {
  LockGuard guard(ended.lock);
  M* m = ended.head;
  if (!m || (m->tid != 0 && sys::tgkill(sched.pid, m->tid, 0) != -ESRCH)) return nullptr;
  ended.head = m->sched_link;
  return m;
}

void put_ended(M* m) {
  LockGuard guard(ended.lock);
  m->sched_link = nullptr;
  if (ended.head) ended.tail->sched_link = m;
  else ended.head = m;
  ended.tail = m;
}

// An M that is listed and has no kernel thread; null when memory is exhausted. Preemption off.
M* m_take() {
  M* m = take_ended();
  if (!m) {
    m = m_make();
    if (m) list_m(m);
    return m;
  }
  if (m->tid != 0) tcb::relink_kernel_thread(m->g0->tp);
  m->ends = false;
  return m;
}

bool clone_m(M* m) { return arch::clone_thread(g0_top(m->stack), m->g0->tp, m_main, m, tcb::tid_word(m->g0->tp)) > 0; }

// The template thread: clones what is wanted, and tries again when the kernel refuses (EAGAIN: a limit on threads).
void template_main(void*) {
  bool told = false;
  for (;;) {
    uint32_t seen = template_word.load(std::memory_order_acquire);
    M* m;
    {
      LockGuard guard(template_lock);
      m = wanted;
      if (m) wanted = m->sched_link;
    }
    if (!m) {
      bool again = lacking.exchange(false, std::memory_order_relaxed);
      sys::futex_wait(&template_word, seen, again ? sys::nanotime() + kRetry : kForever);
      if (again && sched.runq_size.load(std::memory_order_relaxed) != 0) wakep();
      continue;
    }
    for (Nanos began = sys::nanotime(); !clone_m(m);) {
      // While another thread is in exec, there are none; it ends all, or fails.
      if (exec_under_way()) began = sys::nanotime();
      if (!told && sys::nanotime() - began >= kRetry) {
        message("the kernel refuses another thread; going on with fewer");
        told = true;
      }
      sys::futex_wait(&template_word, template_word.load(std::memory_order_relaxed), sys::nanotime() + kRetry);
    }
  }
}

struct HelperStart {
  void (*fn)(void*);
  void* arg;
  char* mapping;
};

void helper_main(void* arg) {
  HelperStart start = *static_cast<HelperStart*>(arg);
  tcb::begin_kernel_thread();
  getg()->m.load(std::memory_order_relaxed)->tid = tcb::tid(arch::thread_pointer());
  thread_setup(start.mapping);
  start.fn(start.arg);
  for (;;) sys::call(SYS_exit, 0);
}

}  // namespace

bool helper_thread_start(void (*fn)(void*), void* arg, int* tid) {
  char* mapping = map_stack();
  G* g0 = g0_slab.take();
  M* m = m_slab.take();
  if (!mapping || !g0 || !m || !make_tcb(mapping, g0)) return false;
  // An M that is on no list and never gets a P: what handlers look at through goshim_tls.g is there.
  m->g0 = g0;
  m->stack = mapping;
  m->own_tcb = g0->tp;
  m->curg.store(g0, std::memory_order_relaxed);
  g0->m.store(m, std::memory_order_relaxed);
  auto* start = reinterpret_cast<HelperStart*>(mapping + kGuard + kAltStack);  // the far end of its stack
  *start = {fn, arg, mapping};
  long r = arch::clone_thread(g0_top(mapping), g0->tp, helper_main, start, tcb::tid_word(g0->tp));
  if (tid) *tid = static_cast<int>(r);
  if (r > 0) sched.helpers.fetch_add(1, std::memory_order_relaxed);
  return r > 0;
}

void template_thread_start() {
  if (!helper_thread_start(template_main, nullptr, nullptr)) fatal("cannot start a kernel thread");
}

void m_take_thread_pointer(M* m) {
  if (!arch::have_traps()) return;
  AllBlocked blocked;
  m->tp_cell = arch::take_thread_pointer(&m->tp_kept);
}

void m_leave_thread_pointer(M* m) {
  if (!m->tp_cell) return;
  AllBlocked blocked;
  m->tp_cell = nullptr;
  arch::leave_thread_pointer();
}

void newm(P* p, bool spinning) {
  M* m = m_take();
  if (!m) {
    p_without_m(p, spinning);
    lacking.store(true, std::memory_order_relaxed);
    template_word.fetch_add(1, std::memory_order_release);
    sys::futex_wake(&template_word, 1);
    return;
  }
  m->spinning = spinning;
  m->next_p = p;
  {
    LockGuard guard(template_lock);
    m->sched_link = wanted;
    wanted = m;
  }
  template_word.fetch_add(1, std::memory_order_release);
  sys::futex_wake(&template_word, 1);
}

bool inherit_kernel_state(G* g) {
  KnownThreadPointer known;  // preemption off
  M* m = m_take();
  if (!m) return false;
  m->spinning = false;
  m->next_p = nullptr;
  m->park_word.store(1, std::memory_order_relaxed);
  m->locked_g = g;
  if (!clone_m(m)) {
    m->locked_g = nullptr;
    m->tid = 0;
    put_ended(m);
    return false;
  }
  g->locked_m = m;
  g->lock_count = 1;
  g->own_state = true;
  return true;
}

M* m_adopt_current() {
  M* m = m_make();
  if (!m) return nullptr;
  m->tid = sys::gettid();
  // glibc knows this kernel thread by the TCB it was born with, which the main G takes along; it must not find it by
  // the g0's as well (tcb/setxid.cpp).
  m->own_tcb = arch::thread_pointer();
  tcb::set_tid(m->g0->tp, -1);
  list_m(m);
  arch::make_context(
      &m->g0->ctx, g0_top(m->stack), [](void* arg) { schedule_loop(static_cast<M*>(arg)); }, m);
  sched.timer_slack = sys::call(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0);
  thread_setup(m->stack);
  m_take_thread_pointer(m);
  return m;
}

void m_after_fork_child() {
  m_slab.reset_lock();
  g0_slab.reset_lock();
  template_lock.reset();
  wanted = nullptr;
  ended.lock.reset();
  ended.head = nullptr;
  arch::forget_cells();
  M* m = sched.all_ms.exchange(nullptr, std::memory_order_relaxed);
  sched.ms.store(0, std::memory_order_relaxed);
  sched.helpers.store(0, std::memory_order_relaxed);
  while (m) {
    M* next = m->all_link;
    sys::unmap(m->stack, mapping_size());
    g0_slab.release(new (m->g0) G());
    m_slab.release(new (m) M());
    m = next;
  }
}

// Its locked G has ended (D13). The process's first kernel thread cannot end without becoming a zombie that the
// process is identified by: it sleeps.
[[noreturn]] void m_end(M* m) {
  P* p = m_p(m);
  if (p) {
    timeline(Event::ProcStop);
    m->p.store(0, std::memory_order_relaxed);
    p->m.store(nullptr, std::memory_order_relaxed);
    handoffp(p);
  }
  std::atomic<uint32_t> never{0};
  while (m->tid == sched.pid) sys::futex_wait(&never, 0);
  slice_timer_end(m);
  timeline_m_end(m);
  m_leave_thread_pointer(m);
  tcb::end_kernel_thread();
  put_ended(m);
  for (;;) sys::call(SYS_exit, 0);
}

}  // namespace goshim
