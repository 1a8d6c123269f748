// The two-sided idle protocol (S1 to S3 in src/sched/proc.cpp) in every interleaving: no G is left in a queue while
// every M sleeps. Three Ms with a P each: one submits while the others go idle.
#include <gtest/gtest-spi.h>

#include "tests/unit/model.h"

namespace {

// Thread 0: an M whose G submits `to_submit` Gs to the local queue and then computes for ever: it never looks for work
// itself. Threads 1 and 2: Ms that look for work, the first one spinning; a sleeping M steps again once woken.
// Thread 3: the M that startm finds asleep, or makes, when the others are on their way.
struct State {
  // shared
  int queue = 0;                                 // Gs in queues
  int ran = 0;                                   // Gs run
  int spinning = 1;                              // n_spinning
  int idle_p = 0;                                // P's on the idle list
  bool asleep[4] = {false, false, false, true};  // on the idle M list
  bool woken[4] = {};                            // handed a P by startm, as a spinning M
  // per thread
  int pc[4] = {0, 10, 10, 18};
  bool is_spinning[4] = {false, true, false, false};
  int to_submit = 2;
  bool fence = true;  // S3's second look
  auto operator<=>(const State&) const = default;

  bool start_one() {  // wakep's second half: a P and an M
    for (int t = 1; t < 4; t++) {
      // An M that is about to sleep stands for the new one that startm makes when none is asleep.
      if ((asleep[t] || (pc[t] == 17 && !woken[t])) && idle_p > 0) {
        asleep[t] = false;
        woken[t] = true;
        idle_p--;
        return true;
      }
    }
    return false;
  }

  bool step(int t) {
    switch (pc[t]) {
      case 0:  // submit: publish
        if (to_submit == 0) return false;
        to_submit--;
        queue++;
        pc[t] = 1;
        return true;
      case 1:  // submit: read n_idle_p and n_spinning, CAS n_spinning 0 to 1
        if (idle_p > 0 && spinning == 0) {
          spinning = 1;
          pc[t] = 2;
        } else {
          pc[t] = 0;
        }
        return true;
      case 2:  // startm
        if (!start_one()) spinning--;
        pc[t] = 0;
        return true;
      case 10:  // look for work
        if (queue > 0) {
          queue--;
          pc[t] = is_spinning[t] ? 11 : 13;
        } else {
          pc[t] = 14;
        }
        return true;
      case 11:  // found while spinning: stop spinning
        is_spinning[t] = false;
        spinning--;
        pc[t] = 12;
        return true;
      case 12:  // ... and wakep
        if (idle_p > 0 && spinning == 0) {
          spinning = 1;
          if (!start_one()) spinning--;
        }
        pc[t] = 13;
        return true;
      case 13:
        ran++;
        pc[t] = 10;
        return true;
      case 14:  // under sched.lock: P to the idle list
        idle_p++;
        pc[t] = is_spinning[t] ? 15 : 16;
        return true;
      case 15:  // S3: lower n_spinning
        is_spinning[t] = false;
        spinning--;
        pc[t] = 16;
        return true;
      case 16:  // S3: look again
        if (fence && queue > 0 && idle_p > 0) {
          idle_p--;
          pc[t] = 10;
        } else {
          pc[t] = 17;
        }
        return true;
      case 17:  // stopm
        asleep[t] = !woken[t];
        pc[t] = 18;
        return true;
      case 18:
        if (!woken[t]) return false;
        woken[t] = false;
        is_spinning[t] = true;
        pc[t] = 10;
        return true;
      default: return false;
    }
  }
  bool done() const { return queue == 0 && to_submit == 0; }
  void check() const {
    ASSERT_GE(spinning, 0);
    ASSERT_LE(idle_p, 3);
  }
};

TEST(IdleProtocol, LeavesNoGQueuedWhenEveryMSleeps) {
  State s;
  EXPECT_GT(model::explore(s, 4), 200U);
}

TEST(IdleProtocol, NeedsTheSecondLook) {
  State s;
  s.fence = false;
  ::testing::TestPartResultArray failures;
  {
    ::testing::ScopedFakeTestPartResultReporter reporter(
        ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &failures);
    model::explore(s, 4);
  }
  EXPECT_GT(failures.size(), 0) << "without the second look the model must lose a wake-up, or it proves nothing";
}

}  // namespace
