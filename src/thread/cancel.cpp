// Cancellation (see cancel.h).
//
// The state of a thread's cancellation is libc's, in the word `cancelhandling` of the G's own TCB: whether it is
// disabled, its type, whether it was asked for, whether the thread is ending. Everything a thread does to itself is
// libc's too: pthread_setcancelstate, pthread_setcanceltype, pthread_testcancel, the cleanup functions, and the forced
// unwind, which ends in the frame of host.run_thread. So libc's inside agrees with the program: functions that disable
// cancellation for themselves (posix_spawn, syslog), that are cancellation points in their depths (stdio, the
// resolver), that defer it (pthread_cleanup_push_defer_np). What goshim adds is pthread_cancel, as libc's would send
// signals to kernel threads: it sets the bit, then wakes the G.
//
//   C1  The bit is set before the marks in the G's Tls and before the kick. A G looks at the bit after it has taken a
//       mark away. All seq_cst: a G that takes away a mark sees the bit that came before it, and a mark that comes
//       later stays.
//   C2  Tls::interrupt holds kInterruptCancel from a request on until the G ends or finds that it need not
//       (cancellation is disabled, this is no cancellation point): so a request that comes between a cancellation
//       point's look at the word and its wait ends that wait. A request to a thread that has cancellation disabled
//       leaves no mark; it looks at the word at its first cancellation point.
//   C3  Asynchronous cancellation happens at any point where a handler of the program could run, but in a CancelScope.
//   C4  goshim unwinds nothing while the no-preempt counter is raised or inside a blocking region: frames of the
//       runtime have no cleanups. libc may do it inside a region, and thread_finish() leaves that.
//   C5  A G's result is PTHREAD_CANCELED until pthread_exit or the return of its start routine says otherwise: libc
//       unwinds without telling us.
//
// libc's own pthread_cancel is never called while the runtime runs: it installs libc's handler for the signal that
// preemption uses.
#include "thread/cancel.h"

#include <errno.h>
#include <linux/membarrier.h>

#include "base/host.h"
#include "base/options.h"
#include "base/print.h"
#include "park/park.h"
#include "sched/inject.h"
#include "sched/internal.h"
#include "stack/stack.h"
#include "tcb/tcb.h"
#include "thread/life.h"

namespace goshim {

std::atomic<bool> cancel_seen{false};

namespace {

// What the bits of libc's word mean. Their places differ between versions of libc.
struct alignas(uint64_t) Bits {
  uint16_t disabled;  // by pthread_setcancelstate
  uint16_t async;     // by pthread_setcanceltype; also while a function of libc is in a system call that blocks
  uint16_t asked;
  uint16_t ending;
};
std::atomic<Bits> learned{};  // all 0 before the first request; one value, release and acquire

constexpr int kHighestBit = 1 << 5;  // beyond it lies that of set*id(), which must not be touched

std::atomic<int>* own_word() { return tcb::cancel_word(arch::thread_pointer()); }

bool must_end(const Bits& bits, int word) {
  return bits.asked && (word & (bits.asked | bits.disabled | bits.ending)) == bits.asked;
}

// In a thread of its own: tries what each bit does. It is done at the first request and not at the start of the
// runtime, since unwinding loads another library.
void* probe(void* out) {
  auto* found = static_cast<Bits*>(out);
  std::atomic<int>* word = own_word();
  if (word->load(std::memory_order_relaxed) != 0) return nullptr;
  Bits bits{};
  host.pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
  bits.disabled = static_cast<uint16_t>(word->load(std::memory_order_relaxed));
  host.pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, nullptr);
  host.pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, nullptr);
  bits.async = static_cast<uint16_t>(word->load(std::memory_order_relaxed));
  host.pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, nullptr);
  if (!bits.disabled || !bits.async) return nullptr;  // this libc keeps them elsewhere
  auto test = [](void* returned) {
    host.pthread_testcancel();
    return returned;
  };
  void* unwound = nullptr;
  for (int bit = 1; bit <= kHighestBit; bit <<= 1) {
    if (bit & (bits.disabled | bits.async)) continue;
    word->store(bit, std::memory_order_relaxed);
    bool ended = host.run_thread(test, out, &unwound) != out;
    int after = word->exchange(0, std::memory_order_relaxed);
    if (!ended) continue;
    bits.asked = static_cast<uint16_t>(bit);
    bits.ending = static_cast<uint16_t>(after & ~bit);
    if (bits.ending) *found = bits;
    break;
  }
  return nullptr;
}

// 0 or an error number.
int learn(Bits* bits) {
  *bits = learned.load(std::memory_order_acquire);
  if (GOSHIM_LIKELY(bits->asked != 0)) return 0;
  ThreadAttr attr;
  attr.stack_size = stack::default_size();
  attr.guard_size = kPage;
  attr.has_mask = true;
  attr.mask = ~UINT64_C(0);
  pthread_t t;
  if (int error = thread_create(&t, attr, probe, bits)) return error;
  int before = 0;
  host.pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
  thread_join(g_of(t), nullptr, kForever);
  host.pthread_setcancelstate(before, nullptr);
  if (!bits->asked) {
    static std::atomic<bool> told{false};
    if (!told.exchange(true)) message("cannot tell how this C library cancels threads; pthread_cancel fails");
    return ENOSYS;
  }
  learned.store(*bits, std::memory_order_release);
  return 0;
}

[[noreturn]] void unwind() {
  if (G* g = getg()) {
    g->cancel_limits = {};
    if (g->region_depth) {
      g->region_depth = 1;
      region_exit();
    }
  }
  host.pthread_testcancel();
  fatal("pthread_testcancel: returned to a thread that was cancelled");
}

// Makes g see the request. Preemption off. libc_waits: a function of libc that is a cancellation point may be in the
// kernel.
void kick(G* g, bool libc_waits) {
  sys::call(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);  // S2 in signal.cpp
  switch (g->status.load(std::memory_order_seq_cst)) {
    case GStatus::Waiting: unpark_interrupt(g); break;
    case GStatus::Running:
      if (!libc_waits && !g->plain_call.load(std::memory_order_relaxed)) break;
      [[fallthrough]];
    case GStatus::Syscall:
      if (M* m = g->m.load(std::memory_order_acquire)) inject_poke(m);
      break;
    case GStatus::Runnable:
    case GStatus::Dead: break;
  }
}

}  // namespace

void cancel_before_start() { cancel_seen.store(true, std::memory_order_relaxed); }

int thread_cancel(pthread_t t) {
  Bits bits;
  if (int error = learn(&bits)) return error;
  void* tp = tcb::tp_of(t);
  NoPreempt guard;
  G* g = g_of(t);
  if (g ? (g->life.load(std::memory_order_acquire) & kExited) != 0 : tcb::tid(tp) == 0) return 0;
  cancel_seen.store(true, std::memory_order_relaxed);
  int before = tcb::cancel_word(tp)->fetch_or(bits.asked, std::memory_order_seq_cst);  // C1
  if (before & (bits.disabled | bits.ending)) return 0;                                // C2
  if (!g) {
    return static_cast<int>(-sys::tgkill(sched.pid, tcb::tid(tp), options.preempt_signal));
  }
  Tls* tls = tls_of(g);
  tls->interrupt.fetch_or(kInterruptCancel, std::memory_order_seq_cst);
  tls->pending.fetch_or(kPendingCancel, std::memory_order_seq_cst);
  if (g != getg()) kick(g, (before & bits.async) != 0);
  return 0;
}

bool cancel_due() {
  Bits bits = learned.load(std::memory_order_acquire);
  bool marked = (goshim_tls.interrupt.load(std::memory_order_relaxed) & kInterruptCancel) != 0;
  if (marked) {  // C1
    goshim_tls.interrupt.fetch_and(~static_cast<uint32_t>(kInterruptCancel), std::memory_order_seq_cst);
  }
  int word = own_word()->load(std::memory_order_seq_cst);
  G* g = getg();
  bool due = must_end(bits, word) && (!g || g->cancel_limits.no_points == 0 || (word & bits.async));
  if (due && marked) goshim_tls.interrupt.fetch_or(kInterruptCancel, std::memory_order_seq_cst);
  return due;
}

bool cancel_asked(const G* g) {
  Bits bits = learned.load(std::memory_order_acquire);
  return (tcb::cancel_word(g->tp)->load(std::memory_order_relaxed) & (bits.asked | bits.ending)) != 0;
}

void test_cancel() {
  if (GOSHIM_UNLIKELY(learned.load(std::memory_order_relaxed).asked == 0)) host.pthread_testcancel();
  else if (cancel_due()) unwind();
}

void cancel_run(G* g) {
  Bits bits = learned.load(std::memory_order_acquire);
  int word = own_word()->load(std::memory_order_seq_cst);
  if (!must_end(bits, word) || !(word & bits.async)) return;
  if (g->cancel_limits.scopes) return;  // C3
  preempt_on();
  unwind();
}

void cancel_run_foreign() {
  Bits bits = learned.load(std::memory_order_acquire);
  int word = own_word()->load(std::memory_order_seq_cst);
  if (must_end(bits, word) && (word & bits.async)) host.pthread_testcancel();
}

}  // namespace goshim
