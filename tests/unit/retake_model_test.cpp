// Retaking the P of an M asleep in an unknown call (R1 to R4 in src/sched/sysmon.cpp) in every interleaving, with the
// M's store buffer: the raised no-preempt counter may become visible after the following load of m->p, and only
// sysmon's membarrier drains it. The P must never have two owners that both believe in it.
#include <gtest/gtest-spi.h>

#include "tests/unit/model.h"

namespace {

enum Word { kOwn, kStealing, kNull };

struct State {
  // memory
  int counter = 0;     // the G's no-preempt counter, as others see it
  Word p = kOwn;       // m->p
  bool taken = false;  // sysmon has handed the P to somebody
  // the M
  int buffered = -1;  // store buffer: a counter value not yet visible, -1 none
  int m_pc = 0;
  bool uses_p = false;
  int stays = 0;  // visits to the runtime
  // sysmon
  int s_pc = 0;
  int tries = 0;
  bool barrier = true;
  auto operator<=>(const State&) const = default;

  void drain() {
    if (buffered >= 0) counter = buffered;
    buffered = -1;
  }
  bool m_step() {
    switch (m_pc) {
      case 0:  // enter: raise the counter (into the store buffer)
        if (stays == 2) return false;
        drain();  // one slot: an older store goes first
        buffered = 1;
        m_pc = 1;
        return true;
      case 1:                              // read m->p
        if (p == kStealing) return false;  // waits
        uses_p = p == kOwn;
        m_pc = 2;
        return true;
      case 2:  // leave: lower the counter
        uses_p = false;
        drain();
        buffered = 0;
        stays++;
        m_pc = 0;
        return true;
      default: return false;
    }
  }
  bool sysmon_step() {
    switch (s_pc) {
      case 0:  // R1
        if (tries == 2 || p != kOwn) return false;
        tries++;
        p = kStealing;
        s_pc = 1;
        return true;
      case 1:  // R2
        if (barrier) drain();
        s_pc = 2;
        return true;
      case 2:  // R3
        s_pc = counter ? 3 : 4;
        return true;
      case 3:
        p = kOwn;
        s_pc = 0;
        return true;
      case 4:  // R4
        p = kNull;
        taken = true;
        s_pc = 5;
        return true;
      default: return false;
    }
  }
  bool step(int t) {
    if (t == 0) return m_step();
    if (t == 1) return sysmon_step();
    if (buffered < 0) return false;  // the store buffer drains at any time
    drain();
    return true;
  }
  bool done() const { return stays == 2; }
  void check() const { ASSERT_FALSE(uses_p && taken) << "the P has two owners"; }
};

TEST(Retake, NeverLeavesAPWithTwoOwners) { EXPECT_GT(model::explore(State{}, 3), 30U); }

TEST(Retake, NeedsTheMembarrier) {
  State s;
  s.barrier = false;
  ::testing::TestPartResultArray failures;
  {
    ::testing::ScopedFakeTestPartResultReporter reporter(
        ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &failures);
    model::explore(s, 3);
  }
  EXPECT_GT(failures.size(), 0) << "without the membarrier the model must fail, or it proves nothing";
}

}  // namespace
