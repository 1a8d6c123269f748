// The life of a thread (see life.h).
//
//   L1  The order of the end: program's destructors, robust mutexes, TCB contents, signals, then Exited, then the
//       switch. After Exited is set a joiner may take the G for dead; what it does with the G's memory waits until the
//       G is off its stack (G::busy).
//   L2  Who recycles: the G itself if it was detached when it set Exited, else the joiner or the detacher that comes
//       later. Exactly one of them sees both bits first.
#include "thread/life.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>

#include "base/host.h"
#include "net/io.h"
#include "park/park.h"
#include "sched/internal.h"
#include "sync/futex.h"
#include "sync/hooks.h"
#include "tcb/tcb.h"
#include "thread/cancel.h"
#include "thread/fork.h"
#include "thread/ident.h"
#include "thread/signal.h"

namespace goshim {
namespace {

// Destructor of each key, null if none. Written by key_created and key_deleted (release), read at thread ends
// (acquire).
std::atomic<void (*)(void*)> destructors[PTHREAD_KEYS_MAX];
std::atomic<uint32_t> keys_end{0};  // (release, acquire) one above the highest key that ever had a destructor

void run_key_destructors() {
  for (int round = 0; round < PTHREAD_DESTRUCTOR_ITERATIONS; round++) {
    bool ran = false;
    for (uint32_t key = 0; key < keys_end.load(std::memory_order_acquire); key++) {
      void (*destructor)(void*) = destructors[key].load(std::memory_order_acquire);
      if (!destructor) continue;
      void* value = host.pthread_getspecific(key);
      if (!value) continue;
      host.pthread_setspecific(key, nullptr);
      destructor(value);
      ran = true;
    }
    if (!ran) return;
  }
}

struct Destructors {
  bool thread_locals;
  bool done;
};

void* run_destructors(void* arg) {
  auto* which = static_cast<Destructors*>(arg);
  if (which->thread_locals && host.call_tls_dtors) host.call_tls_dtors();
  run_key_destructors();
  which->done = true;
  return nullptr;
}

void thread_main(void* arg) {
  auto* g = static_cast<G*>(arg);
  tcb::begin(g->tp);
  preempt_on();
  ident_g_begin(g);
  thread_finish(host.run_thread(g->start, g->arg, &g->result));
}

}  // namespace

void key_created(pthread_key_t key, void (*destructor)(void*)) {
  if (key >= PTHREAD_KEYS_MAX) return;
  destructors[key].store(destructor, std::memory_order_release);
  uint32_t end = keys_end.load(std::memory_order_relaxed);
  while (destructor && end <= key && !keys_end.compare_exchange_weak(end, key + 1, std::memory_order_release)) {
  }
}

void key_deleted(pthread_key_t key) {
  if (key < PTHREAD_KEYS_MAX) destructors[key].store(nullptr, std::memory_order_release);
}

// Where the stack of g begins. Slots lie a multiple of a page apart: if all began at the same place in their pages,
// their frames would share a few sets of the first-level cache. The shift stays within what the thread's pages have
// left over.
static char* first_frame(const G* g) {
  constexpr size_t kColours = 8;
  constexpr size_t kStep = 128;
  constexpr size_t kSmall = 64 << 10;  // such stacks have no room to give away
  char* top = g->stack.top() - tcb::footprint();
  return g->stack.size < kSmall ? top : top - g->id % kColours * kStep;
}

// As glibc: thread-local storage and a few frames fit into the stack, whose size with its guard is a number.
static bool has_room(const ThreadAttr& attr) {
  constexpr size_t kRest = 2048;
  size_t least = tcb::footprint() + kRest;
  if (attr.user_stack) return attr.stack_size >= least;
  constexpr size_t kAligned = 64;
  size_t guard = round_up(attr.guard_size, kPage);
  size_t size = attr.stack_size & ~(kAligned - 1);
  if (guard < attr.guard_size || size + guard < size) return false;
  return size >= round_up(least, kPage);
}

int thread_create(pthread_t* out, const ThreadAttr& attr, void* (*start)(void*), void* arg) {
  G* g;
  void* top;
  if (!has_room(attr)) return EINVAL;
  if (attr.has_cpus || attr.has_policy) {
    int error = attr.has_cpus ? cpus_check(sizeof attr.cpus, attr.cpus) : 0;
    if (!error && attr.has_policy) error = policy_check(attr.policy, attr.priority);
    if (error) return error;
  }
  if (attr.user_stack) {
    // The TCB lives in a small slot of its own, so that nothing of ours is in the program's memory once the G is off
    // it.
    g = g_take(round_up(tcb::footprint(), kPage), 0);
    if (!g) return EAGAIN;
    top = static_cast<char*>(attr.user_stack) + attr.stack_size;
    tcb::set_stack(g->tp, attr.user_stack, attr.stack_size, 0);
  } else {
    g = g_take(attr.stack_size, attr.guard_size);
    if (!g) return EAGAIN;
    top = first_frame(g);
  }
  G* self = getg();
  if (GOSHIM_UNLIKELY(self && self->own_state) && !inherit_kernel_state(g)) {
    g_release(g);
    return EAGAIN;
  }
  g->user_stack = attr.user_stack;
  g->stack_asked = attr.stack_size;
  g->start = start;
  g->arg = arg;
  g->result = PTHREAD_CANCELED;  // C5 in cancel.cpp
  g->cancel_limits = {};
  g->joining.store(nullptr, std::memory_order_relaxed);
  g->tid_word = nullptr;
  g->life.store((attr.detached ? kDetached : 0U) | (attr.has_policy ? kExplicit : 0U), std::memory_order_relaxed);
  ident_g_create(g);
  if (attr.has_cpus) cpus_set(g, sizeof attr.cpus, attr.cpus);
  if (attr.has_policy) policy_set(g, attr.policy, attr.priority);
  signal_g_create(g, attr.has_mask ? attr.mask : self ? self->sigmask.load(std::memory_order_relaxed) : 0);
  // Before the G can run: it may be the one that reads *out.
  *out = tcb::pthread_of(g->tp);
  g_start(g, top, thread_main, g);
  return 0;
}

// What the kernel does at the end of a thread that has called set_tid_address(2): nothing where there is no memory.
GOSHIM_COLD static void clear_tid_word(const G* g) {
  if (arch::goshim_touch_word(g->tid_word) < 0) return;
  reinterpret_cast<std::atomic<int>*>(g->tid_word)->store(0, std::memory_order_release);
  futex_op(reinterpret_cast<long>(g->tid_word), FUTEX_WAKE, 1, 0, 0, 0);
}

// What comes after the program's part of the end (L1).
[[noreturn]] static void leave(G* g) {
  sync_thread_exit(g);
  io_thread_exit(g);
  tcb::retire(g->tp);
  if (GOSHIM_UNLIKELY(g->tid_word != nullptr)) clear_tid_word(g);
  signal_g_exit(g);
  preempt_off();
  tcb::renew(g->tp);
  uint32_t life = g->life.fetch_or(kExited, std::memory_order_acq_rel);  // L1
  futex_thread_has_ended();
  if (life & kJoining) unpark_one(&g->life);  // who joins runs next
  g_exit((life & kDetached) != 0);
}

[[noreturn]] void thread_finish(void* value, bool main) {
  G* g = getg();               // null in the child of a fork, where nobody can join
  if (g && g->region_depth) {  // it was unwound out of a function of libc that may block
    g->region_depth = 1;
    region_exit();
  }
  // A destructor may end the thread once more, by pthread_exit or cancellation: with another result, and the
  // destructors that are left run then.
  for (Destructors which{!main, false}; !which.done;) {
    void* result = PTHREAD_CANCELED;
    if (g) g->result = result;
    host.run_thread(run_destructors, &which, g ? &g->result : &result);
    if (g && !which.done) value = g->result;
  }
  if (g) g->result = value;
  if (!g || g_ends()) {
    host.exit(0);
    __builtin_unreachable();
  }
  leave(g);
}

[[noreturn]] void thread_vanish(int status) {
  G* g = getg();
  if (!g || g_ends()) {
    for (;;) sys::call(SYS_exit_group, status);
  }
  leave(g);
}

// Nobody will join it any more, and it has ended: its structure waits for another thread.
static bool is_gone(uint32_t life) { return (life & kExited) && (life & kDetached); }

// g is a thread of the parent's, and this is the child of a fork: as natively, it has ended.
static int join_orphan(const G* g, void** result) {
  if (result) *result = g->life.load(std::memory_order_relaxed) & kExited ? g->result : nullptr;
  return 0;
}

struct Join {
  G* self;  // null: a foreign thread
  G* g;
};

// Gives up a join that has begun, also where a handler leaves it: another one may begin.
static void stop_joining(void* join) {
  auto* j = static_cast<Join*>(join);
  j->g->life.fetch_and(~static_cast<uint32_t>(kJoining), std::memory_order_acq_rel);
  if (j->self) j->self->joining.store(nullptr, std::memory_order_relaxed);
}

int thread_join(G* g, void** result, Nanos deadline) {
  if (GOSHIM_UNLIKELY(fork_orphan(g))) return join_orphan(g, result);
  G* self = getg();
  Join join{self, g};
  uint32_t life = g->life.load(std::memory_order_acquire);
  if (deadline == 0 && !(life & kExited)) return EBUSY;  // oneself and detached ones too, as glibc
  if ((life & (kDetached | kExited)) == kDetached) return EINVAL;
  if (g == self && !cancel_pending()) return EDEADLK;
  if (self) {
    // Two Gs that join each other wait for ever, unless one of them is cancelled.
    if (g->joining.load(std::memory_order_acquire) == self && !cancel_asked(g) && !cancel_pending()) return EDEADLK;
    self->joining.store(g, std::memory_order_release);
  }
  CancelScope scope;
  int error = 0;
  do {
    if (life & (kDetached | kJoining)) {
      error = is_gone(life) ? ESRCH : EINVAL;
      break;
    }
  } while (!g->life.compare_exchange_weak(life, life | kJoining, std::memory_order_acq_rel));
  while (!error && !(g->life.load(std::memory_order_acquire) & kExited)) {
    if (GOSHIM_UNLIKELY(fork_orphan(g))) return join_orphan(g, result);  // a handler has forked
    if (GOSHIM_UNLIKELY(cancel_pending())) {
      stop_joining(&join);
      thread_test_cancel();
    }
    if (self) run_before_wait(g);
    ParkRequest request{
        .key = &g->life,
        .validate =
            [](void* ctx) { return (static_cast<Join*>(ctx)->g->life.load(std::memory_order_acquire) & kExited) == 0; },
        .before_sleep = nullptr,
        .timed_out = nullptr,
        .ctx = &join,
        .deadline = deadline,
        .reason = WaitReason::Join,
        .interruptible = true,
        .token = 0,
        .abandoned = stop_joining,
    };
    ParkResult r = park(request);
    if (r == ParkResult::TimedOut && !(g->life.load(std::memory_order_acquire) & kExited)) {
      stop_joining(&join);
      error = ETIMEDOUT;
    }
  }
  if (self) self->joining.store(nullptr, std::memory_order_relaxed);
  if (error) return error;
  if (result) *result = g->result;
  // Gone, for who asks once more. With kExited and kJoining set nobody else writes it.
  g->life.store(g->life.load(std::memory_order_relaxed) | kDetached, std::memory_order_relaxed);
  wait_busy(g);
  g_release(g);
  return 0;
}

int thread_detach(G* g) {
  if (GOSHIM_UNLIKELY(fork_orphan(g))) return 0;
  uint32_t life = g->life.load(std::memory_order_acquire);
  do {
    if (life & kDetached) return is_gone(life) ? ESRCH : EINVAL;
    if (life & kJoining) return 0;  // it will be joined, as natively
  } while (!g->life.compare_exchange_weak(life, life | kDetached, std::memory_order_acq_rel));
  if (life & kExited) g_release(g);  // L2
  return 0;
}

}  // namespace goshim
