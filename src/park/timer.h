// Timers: one 4-ary heap per P, under the heap's own lock. A timer belongs to a G (its sleep or time-out).
#pragma once

#include "base/base.h"
#include "base/lock.h"

namespace goshim {

struct TimerHeap;
struct G;

struct Timer {
  Nanos when = 0;
  // Runs at expiry with preemption off on any M or on sysmon, after the timer has left the heap and without the heap's
  // lock. The G it returns, if any, is readied when firing is over: timer_stop() on a woken G is not to wait for an M
  // that the kernel has just put aside for it.
  G* (*fire)(void* arg) = nullptr;
  void* arg = nullptr;
  // The heap it is in, or null. Written under that heap's lock (release: firing comes before null); read without it by
  // timer_stop (acquire), which rechecks.
  std::atomic<TimerHeap*> heap{nullptr};
  uint32_t index = 0;  // place in the heap; the heap's lock
  // 1 while fire() runs: timer_stop waits for it (release, acquire), so that the timer may be reused after it returns.
  std::atomic<uint32_t> firing{0};
};

struct TimerHeap {
  Lock lock;
  static constexpr uint32_t kFew = 64;
  Timer* few[kFew];          // a process without memory can still wait for a time
  Timer** slots = few;       // lock
  uint32_t size = 0;         // lock
  uint32_t capacity = kFew;  // lock
  // Earliest expiry, kForever if none; written under lock, seq_cst: whoever goes to sleep announces that and reads this
  // (seq_cst), who makes it earlier reads the announcement next (wake_poller). Other reads are relaxed: who runs looks
  // again.
  std::atomic<Nanos> first{kForever};
};

// Arms t (idle) on the calling M's P; wakes who sleeps too long for it. Contract: preemption off.
void timer_start(Timer* t, Nanos when, G* (*fire)(void*), void* arg);

// Disarms. True: it will not fire and has not. False: it has fired, and fire() has returned. Preemption off; must not
// be called with a lock held that fire() takes.
bool timer_stop(Timer* t);

// Fires what is due in h; returns the next expiry (kForever if none). Preemption off.
Nanos timers_run(TimerHeap* h, Nanos now);

}  // namespace goshim
