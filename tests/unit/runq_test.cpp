// The local run queue: one owner, many thieves, every G exactly once (twins of Go's TestRunqSteal and
// TestSchedLocalQueue).
#include "sched/runq.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

using namespace goshim;

namespace {

class Runq : public ::testing::Test {
 protected:
  std::unique_ptr<P> p = std::make_unique<P>();
};

TEST_F(Runq, GivesBackInOrder) {
  std::vector<G> gs(kRunqSize);
  for (G& g : gs) ASSERT_TRUE(runq_push(p.get(), &g));
  for (G& g : gs) ASSERT_EQ(runq_pop(p.get()), &g);
  EXPECT_EQ(runq_pop(p.get()), nullptr);
  EXPECT_TRUE(runq_empty(p.get()));
}

TEST_F(Runq, RefusesTheTwoHundredAndFiftySeventh) {
  std::vector<G> gs(kRunqSize + 1);
  for (uint32_t i = 0; i < kRunqSize; i++) ASSERT_TRUE(runq_push(p.get(), &gs[i]));
  EXPECT_FALSE(runq_push(p.get(), &gs[kRunqSize]));
  G* batch[kRunqBatch];
  EXPECT_EQ(runq_take_half(p.get(), batch), kRunqBatch);
  EXPECT_EQ(batch[0], &gs[0]);
  EXPECT_TRUE(runq_push(p.get(), &gs[kRunqSize]));
}

TEST_F(Runq, ThiefTakesTheOlderHalfRoundedUp) {
  std::vector<G> gs(7);
  for (G& g : gs) runq_push(p.get(), &g);
  G* batch[kRunqBatch];
  ASSERT_EQ(runq_grab(p.get(), batch), 4U);
  for (int i = 0; i < 4; i++) EXPECT_EQ(batch[i], &gs[i]);
  EXPECT_EQ(runq_pop(p.get()), &gs[4]);
}

TEST_F(Runq, GivesTheLastBackToItsOwnerOnly) {
  std::vector<G> gs(3);
  for (G& g : gs) runq_push(p.get(), &g);
  EXPECT_FALSE(runq_take_last(p.get(), &gs[0]));
  EXPECT_TRUE(runq_take_last(p.get(), &gs[2]));
  EXPECT_FALSE(runq_take_last(p.get(), &gs[2]));
  EXPECT_EQ(runq_length(p.get()), 2U);
  EXPECT_TRUE(runq_push(p.get(), &gs[2]));
  for (G& g : gs) EXPECT_EQ(runq_pop(p.get()), &g);
  EXPECT_TRUE(runq_empty(p.get()));
  EXPECT_FALSE(runq_take_last(p.get(), &gs[2]));
}

TEST_F(Runq, PutsOneBeforeTheFirst) {
  std::vector<G> gs(kRunqSize + 1);
  EXPECT_TRUE(runq_push_front(p.get(), &gs[1]));  // at the very beginning the ends wrap
  EXPECT_TRUE(runq_push(p.get(), &gs[2]));
  EXPECT_TRUE(runq_push_front(p.get(), &gs[0]));
  EXPECT_EQ(runq_length(p.get()), 3U);
  for (int i = 0; i < 3; i++) EXPECT_EQ(runq_pop(p.get()), &gs[i]);
  EXPECT_TRUE(runq_empty(p.get()));
  for (uint32_t i = 0; i < kRunqSize; i++) ASSERT_TRUE(runq_push(p.get(), &gs[i]));
  EXPECT_FALSE(runq_push_front(p.get(), &gs[kRunqSize]));
}

TEST_F(Runq, RunnextCountsAsWork) {
  G g;
  EXPECT_TRUE(runq_empty(p.get()));
  EXPECT_EQ(next_put(p.get(), &g), nullptr);
  EXPECT_FALSE(runq_empty(p.get()));
}

TEST_F(Runq, LosesAndDoublesNothingUnderThieves) {
  constexpr int kGs = 100000;
  constexpr int kThieves = 3;
  std::vector<G> gs(kGs);
  std::vector<std::atomic<int>> seen(kGs);
  auto note = [&](G* g) { seen[static_cast<size_t>(g - gs.data())].fetch_add(1); };
  std::atomic<bool> stop{false};
  std::vector<std::thread> thieves;
  for (int t = 0; t < kThieves; t++) {
    thieves.emplace_back([&] {
      G* batch[kRunqBatch];
      while (!stop.load()) {
        uint32_t n = runq_grab(p.get(), batch);
        for (uint32_t i = 0; i < n; i++) note(batch[i]);
      }
    });
  }
  for (int i = 0; i < kGs; i++) {
    while (!(i % 7 == 0 ? runq_push_front(p.get(), &gs[i]) : runq_push(p.get(), &gs[i]))) {
      G* batch[kRunqBatch];
      uint32_t n = runq_take_half(p.get(), batch);
      for (uint32_t k = 0; k < n; k++) note(batch[k]);
    }
    if (i % 5 == 0 && runq_take_last(p.get(), &gs[i])) note(&gs[i]);  // not where it was put before the first
    if (i % 3 == 0) {
      if (G* g = runq_pop(p.get())) note(g);
    }
  }
  while (G* g = runq_pop(p.get())) note(g);
  stop = true;
  for (auto& t : thieves) t.join();
  for (int i = 0; i < kGs; i++) ASSERT_EQ(seen[i].load(), 1) << "G " << i;
}

TEST_F(Runq, RunnextIsTakenOnceUnderThieves) {
  constexpr int kGs = 100000;
  constexpr int kThieves = 2;
  sys::call(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
  std::vector<G> gs(kGs);
  std::vector<std::atomic<int>> seen(kGs);
  auto note = [&](G* g) { seen[static_cast<size_t>(g - gs.data())].fetch_add(1); };
  std::atomic<bool> stop{false};
  std::vector<std::thread> thieves;
  for (int t = 0; t < kThieves; t++) {
    thieves.emplace_back([&] {
      while (!stop.load()) {
        if (G* g = next_steal(p.get())) note(g);
      }
    });
  }
  for (int i = 0; i < kGs - 1; i++) {
    if (G* displaced = next_put(p.get(), &gs[i])) note(displaced);
    if (i % 3 == 0) continue;
    for (int pause = 0; pause < i % 64; pause++) arch::pause();
    if (G* g = next_take(p.get())) note(g);
  }
  // The last is left to the thieves: a slow machine may not have let them run before. Nobody takes it: the test hangs.
  if (G* displaced = next_put(p.get(), &gs[kGs - 1])) note(displaced);
  while (seen[kGs - 1].load() == 0) std::this_thread::yield();
  stop = true;
  for (auto& t : thieves) t.join();
  for (int i = 0; i < kGs; i++) ASSERT_EQ(seen[i].load(), 1) << "G " << i;
}

}  // namespace
