// Cancellation (D11): requests to Gs, and what the waiting functions need to know of them. How it works is told at the
// head of cancel.cpp.
#pragma once

#include <pthread.h>

#include "sched/runtime.h"

namespace goshim {

// Asks the thread t to end: a G, or a thread that libc itself has made. 0, or EAGAIN without memory. Preemption on; on
// a G or a foreign thread. The runtime has started.
int thread_cancel(pthread_t t);

// The program has asked its only thread to end, before the runtime's start: libc has noted it.
void cancel_before_start();

// Whether g has been asked to end, even if it may not be for now, or is ending.
bool cancel_asked(const G* g);

// ---- for cancellation points; preemption on ----

// True once anybody was asked to end. Set once (relaxed: who is asked later than he looks will look again, and his wait
// does not begin while the mark in his Tls is there).
extern std::atomic<bool> cancel_seen;
GOSHIM_COLD void test_cancel();
GOSHIM_COLD bool cancel_due();

// A cancellation point: ends the calling thread (by unwinding) if a request is pending and cancellation is enabled.
inline void thread_test_cancel() {
  if (GOSHIM_UNLIKELY(cancel_seen.load(std::memory_order_relaxed))) test_cancel();
}

// True if thread_test_cancel() would not return.
inline bool cancel_pending() { return GOSHIM_UNLIKELY(cancel_seen.load(std::memory_order_relaxed)) && cancel_due(); }

// Stands in a function that waits and must tidy up before it is cancelled: meanwhile asynchronous cancellation too
// waits for its thread_test_cancel().
class CancelScope {
 public:
  CancelScope() : g_(getg()) {
    if (g_) g_->cancel_limits.scopes++;
  }
  ~CancelScope() {
    if (g_) g_->cancel_limits.scopes--;
  }
  CancelScope(const CancelScope&) = delete;
  CancelScope& operator=(const CancelScope&) = delete;

 private:
  G* g_;
};

// Stands in a function that is none of libc's cancellation points, but made of calls that are: deferred cancellation
// waits until it is over.
class NoCancelPoint {
 public:
  NoCancelPoint() : g_(getg()) {
    if (g_) g_->cancel_limits.no_points++;
  }
  ~NoCancelPoint() {
    if (g_) g_->cancel_limits.no_points--;
  }
  NoCancelPoint(const NoCancelPoint&) = delete;
  NoCancelPoint& operator=(const NoCancelPoint&) = delete;

 private:
  G* g_;
};

// A handler of the program is about to interrupt g: it has cancellation points of its own, and may leave by a jump. The
// limits are to be put back when it returns.
inline CancelLimits cancel_lift_limits(G* g) {
  CancelLimits limits = g->cancel_limits;
  g->cancel_limits = {};
  return limits;
}

// ---- for inject.cpp ----

// The running G has been asked to end: does it if its type is asynchronous. Preemption off, counter 1, in no region.
void cancel_run(G* g);
// The same for a foreign thread, in the handler of a signal.
void cancel_run_foreign();

}  // namespace goshim
