// When the processors count as used by others (src/sched/crowd.h).
#include "sched/crowd.h"

#include <gtest/gtest.h>

namespace goshim {
namespace {

constexpr Nanos kSpan = 100 * kMillisecond;

bool crowded(double idle, double own, int procs) {
  return Crowd::is_crowded(kSpan, static_cast<Nanos>(idle * kSpan), static_cast<Nanos>(own * kSpan), procs);
}

TEST(Crowd, AnotherProgramTakesOneOfTwoProcessors) { EXPECT_TRUE(crowded(0.2, 0.9, 2)); }

TEST(Crowd, IdleProcessorsAreNone) {
  EXPECT_FALSE(crowded(1.0, 0.9, 2));
  EXPECT_FALSE(crowded(0.6, 0.9, 2));
}

TEST(Crowd, WhatThisProcessUsesItselfIsNone) {
  EXPECT_FALSE(crowded(0.0, 2.0, 2));
  EXPECT_FALSE(crowded(0.2, 1.7, 2));
}

TEST(Crowd, OfManyProcessorsOneFreeOneIsEnough) {
  EXPECT_FALSE(crowded(1.0, 3.0, 64));
  EXPECT_TRUE(crowded(0.1, 3.0, 64));
}

TEST(Crowd, MoreIdleTimeThanThereWasIsNone) { EXPECT_FALSE(crowded(2.1, 0.0, 2)); }

// Two Ps, which run those that compute, or many short turns, of which some are cut short, too.
constexpr MorePs::Ran kHogs{kSpan, 50, 48};
constexpr MorePs::Ran kShort{kSpan, 5000, 20};
constexpr MorePs::Ran kHogsOnOneEach{kSpan, 4, 0};

TEST(MorePs, ComeWhereSlicesAreUsedUpInACrowd) {
  MorePs more;
  EXPECT_EQ(more.decide(kHogs, true, 0, 2), 2);
}

TEST(MorePs, DoNotComeWithoutACrowdOrForShortTurns) {
  MorePs more;
  for (int i = 0; i < 20; i++) {
    EXPECT_EQ(more.decide(kHogs, false, 0, 2), 0);
    EXPECT_EQ(more.decide(kShort, true, 0, 2), 0);
    EXPECT_EQ(more.decide(kHogsOnOneEach, true, 0, 2), 0);
  }
}

TEST(MorePs, StayWhileSomeOfThemAreNeededNowAndThen) {
  MorePs more;
  more.decide(kHogs, true, 0, 2);
  for (int i = 0; i < 100; i++) EXPECT_EQ(more.decide(kHogsOnOneEach, i % 10 == 0, i % 10 == 0 ? 1 : 4, 2), 2);
}

TEST(MorePs, GoWithTheCrowdOrWhenIdleOrWhereTurnsGetShort) {
  MorePs more;
  struct {
    MorePs::Ran ran;
    bool crowded;
    int idle;
  } against[] = {{kHogs, false, 0}, {kHogsOnOneEach, true, 2}, {kShort, true, 0}};
  for (const auto& a : against) {
    more.decide(kHogs, true, 0, 2);
    for (int i = 0; i < 9; i++) EXPECT_EQ(more.decide(a.ran, a.crowded, a.idle, 2), 2);
    EXPECT_EQ(more.decide(a.ran, a.crowded, a.idle, 2), 0);
  }
}

}  // namespace
}  // namespace goshim
