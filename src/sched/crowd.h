// Whether other programs keep the processors busy.
//
// Where they do, to wake one more M for Gs that this one has just found in the poller and is about to run gains
// nothing: no processor is free for it, and it gets one by making somebody wait, often the very client that the Gs are
// to answer. So such wake-ups are left to sysmon then, as those that were in vain (wake_for_ready() in proc.cpp). An
// echo server with 100 connections whose client takes one of two processors answers up to 8 % more with that, and its
// 99th percentile falls from 2.6 to 1.5 ms. Not the wake-ups of Gs that run on: what they have made ready would wait
// for them (redis, whose main thread spins until its I/O threads are done, lost 20 %).
#pragma once

#include "base/clock.h"

namespace goshim {

// sysmon's; so the child of a fork, which gets another sysmon, begins anew.
class Crowd {
 public:
  // By sysmon, each time it is awake. Looks now and then at how long processors were idle and how much of the rest was
  // this process's, and notes in sched.crowded what follows.
  void look(Nanos now);

  // Of a span of time: `idle` on all processors together, `own` by this process, which may use `procs` of them. Less
  // than half a processor is free, and others use a quarter of one at the least.
  static bool is_crowded(Nanos span, Nanos idle, Nanos own, int procs) {
    return idle < span / 2 && procs * span - idle - own > span / 4;
  }

 private:
  Nanos looked_at_ = 0;  // 0: not yet
  Nanos idle_ = -1;      // then; -1: not known
  Nanos own_ = 0;
  uint64_t woken_ = 0;
};

}  // namespace goshim
