// Whether other programs keep the processors busy.
//
// Where they do, to wake one more M for Gs that this one has just found in the poller and is about to run gains
// nothing: no processor is free for it, and it gets one by making somebody wait, often the very client that the Gs are
// to answer. So such wake-ups are left to sysmon then, as those that were in vain (wake_for_ready() in proc.cpp). An
// echo server with 100 connections whose client takes one of two processors answers up to 8 % more with that, and its
// 99th percentile falls from 2.6 to 1.5 ms. Not the wake-ups of Gs that run on: what they have made ready would wait
// for them (redis, whose main thread spins until its I/O threads are done, lost 20 %).
//
// The other thing that follows is a number of Ps. The kernel divides the processors among kernel threads. So a program
// whose threads compute, or spin until others have computed, gets as many shares natively as it has such threads, and
// under goshim only as many as there are Ps: with four busy threads on two processors, beside a client with two, half
// of the processors instead of two thirds. Where threads use up their slices while others wait, in a crowd, there are
// more Ps for a while. (redis with four I/O threads: 0.5 to 0.8 of native's speed without, 0.9 to 1.1 with them.) Not
// where threads wait for each other, or for clients, after short turns: there fewer kernel threads are faster.
#pragma once

#include "base/clock.h"

namespace goshim {

// sysmon's; so the child of a fork, which gets another sysmon, begins anew.
// How many Ps beyond the processors, decided anew from look to look.
class MorePs {
 public:
  // What ran in a span of time: turns, and how many of them ended because a slice was used up and others waited.
  struct Ran {
    Nanos span;
    long turns;
    long used_up;
  };
  // crowded: others used the processors then. idle: Ps without work now. usual: Ps without more of them.
  int decide(const Ran& ran, bool crowded, int idle, int usual) {
    bool often = ran.used_up * kOften >= ran.span;
    bool for_long = ran.used_up * kOfTurns >= ran.turns;
    bool seldom = ran.turns * kLongTurn <= usual * ran.span;
    bool wanted = crowded && (more_ ? idle < more_ && (for_long || seldom) : often && for_long);
    against_ = wanted == (more_ != 0) ? 0 : against_ + 1;
    if (against_ >= (more_ ? kUntilFewer : kUntilMore)) {
      more_ = more_ ? 0 : usual;
      against_ = 0;
    }
    return more_;
  }

 private:
  static constexpr Nanos kOften = 20 * kMillisecond;  // for each that was used up
  static constexpr long kOfTurns = 4;                 // of so many one was, at the least
  static constexpr Nanos kLongTurn = kMillisecond;
  static constexpr int kUntilMore = 1;    // looks
  static constexpr int kUntilFewer = 10;  // one that is not needed at this moment does no harm
  int more_ = 0;
  int against_ = 0;  // looks in a row that speak against what there is
};

class Crowd {
 public:
  // By sysmon, each time it is awake. Looks now and then at how long processors were idle and how much of the rest was
  // this process's, and notes in sched.crowded what follows, and in sched.more_procs.
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
  uint64_t turns_ = 0;
  uint64_t preempted_ = 0;
  MorePs more_;
};

}  // namespace goshim
