// sanitize: thread
// The parking lot with std::threads as foreign waiters (src/park): FIFO, time-outs, hand-over, filters, requeue.
#include "park/park.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "base/sys.h"

using namespace goshim;

namespace {

bool always(void*) { return true; }

// How many wait on a key: counted under the bucket's lock, which is where a waiter becomes one.
struct Gate {
  std::atomic<int> queued{0};
  std::atomic<int> gone{0};

  ParkRequest request(uintptr_t token = 0, Nanos deadline = kForever) {
    return {.key = this,
            .validate =
                [](void* ctx) {
                  static_cast<Gate*>(ctx)->queued++;
                  return true;
                },
            .before_sleep = nullptr,
            .timed_out = [](void* ctx, const void*, bool) { static_cast<Gate*>(ctx)->gone++; },
            .ctx = this,
            .deadline = deadline,
            .reason = WaitReason::Futex,
            .interruptible = false,
            .token = token};
  }
  void wait_for(int n) const {
    while (queued.load() < n) std::this_thread::yield();
  }
};

class Park : public ::testing::Test {
 protected:
  void TearDown() override {
    join_all();
    EXPECT_FALSE(unpark_one(&gate).have_more);
  }
  // Before the variables that the threads use go out of scope.
  void join_all() {
    for (auto& t : threads) t.join();
    threads.clear();
  }
  // Starts a waiter and returns when it is queued; note(i) runs when it has been woken.
  template <typename Note>
  void waiter(uintptr_t token, Note note) {
    int before = gate.queued.load();
    threads.emplace_back([this, token, note] {
      uint32_t gift = 0;
      ParkResult r = park(gate.request(token), &gift);
      note(r, gift);
    });
    gate.wait_for(before + 1);
  }
  Gate gate;
  std::vector<std::thread> threads;
};

TEST_F(Park, RefusesToSleepWhenValidateSaysNo) {
  ParkRequest r = gate.request();
  r.validate = [](void*) { return false; };
  EXPECT_EQ(park(r), ParkResult::Invalid);
}

TEST_F(Park, TimesOutAndTellsSoUnderTheLock) {
  Nanos deadline = sys::nanotime() + 2 * kMillisecond;
  EXPECT_EQ(park(gate.request(0, deadline)), ParkResult::TimedOut);
  EXPECT_GE(sys::nanotime(), deadline);
  EXPECT_EQ(gate.gone.load(), 1);
  EXPECT_EQ(park(gate.request(0, 1)), ParkResult::TimedOut) << "a deadline in the past";
  EXPECT_EQ(gate.gone.load(), 2);
}

TEST_F(Park, WakesInOrderOfArrival) {
  std::atomic<int> turn{0};
  for (int i = 0; i < 5; i++) {
    waiter(0, [&, i](ParkResult r, uint32_t) {
      EXPECT_EQ(r, ParkResult::Unparked);
      EXPECT_EQ(turn.load(), i);
      turn++;
    });
  }
  for (int i = 0; i < 5; i++) {
    UnparkInfo info = unpark_one(&gate);
    EXPECT_EQ(info.unparked, 1);
    EXPECT_EQ(info.have_more, i < 4);
    while (turn.load() <= i) std::this_thread::yield();
  }
  join_all();
}

TEST_F(Park, GivesTheWokenWhatTheWakerReturns) {
  std::atomic<uint32_t> got{0};
  waiter(0, [&](ParkResult, uint32_t gift) { got = gift; });
  unpark_one(&gate, [](void*, UnparkInfo info) { return static_cast<uint32_t>(info.unparked + 41); });
  while (got.load() == 0) std::this_thread::yield();
  EXPECT_EQ(got.load(), 42U);
  join_all();
}

TEST_F(Park, CallsDoneEvenWhenNobodyWaits) {
  bool called = false;
  unpark_one(
      &gate,
      [](void* ctx, UnparkInfo info) {
        EXPECT_EQ(info.unparked, 0);
        *static_cast<bool*>(ctx) = true;
        return uint32_t{0};
      },
      &called);
  EXPECT_TRUE(called);
}

TEST_F(Park, WakesAsManyAsAskedFor) {
  std::atomic<int> woken{0};
  for (int i = 0; i < 6; i++) waiter(0, [&](ParkResult, uint32_t) { woken++; });
  EXPECT_EQ(unpark_many(&gate, 4), 4);
  EXPECT_EQ(unpark_all(&gate), 2);
  EXPECT_EQ(unpark_all(&gate), 0);
  join_all();
  EXPECT_EQ(woken.load(), 6);
}

TEST_F(Park, FiltersByToken) {
  std::atomic<uintptr_t> woken{0};
  for (uintptr_t token : {1, 2, 4, 8}) waiter(token, [&, token](ParkResult, uint32_t) { woken |= token; });
  auto even = [](void*, uintptr_t token) { return token == 2 || token == 8 ? Filter::Unpark : Filter::Skip; };
  UnparkInfo info = unpark_filter(&gate, even, nullptr, nullptr);
  EXPECT_EQ(info.unparked, 2);
  EXPECT_TRUE(info.have_more);
  while (woken.load() != 10) std::this_thread::yield();
  auto first = [](void* ctx, uintptr_t) { return (*static_cast<int*>(ctx))++ ? Filter::Stop : Filter::Unpark; };
  int seen = 0;
  EXPECT_EQ(unpark_filter(&gate, first, nullptr, &seen).unparked, 1);
  while (woken.load() != 11) std::this_thread::yield();
  EXPECT_EQ(unpark_all(&gate), 1);
  join_all();
}

TEST_F(Park, PutsTheOneWokenInVainFirst) {
  std::atomic<int> order{0};
  int place[2] = {};
  waiter(0, [&](ParkResult, uint32_t) { place[0] = ++order; });
  threads.emplace_back([&] {
    ParkRequest r = gate.request();
    r.front = true;
    park(r);
    place[1] = ++order;
  });
  gate.wait_for(2);
  unpark_one(&gate);
  while (order.load() < 1) std::this_thread::yield();
  unpark_one(&gate);
  join_all();
  EXPECT_EQ(place[1], 1);
  EXPECT_EQ(place[0], 2);
}

TEST_F(Park, MovesWaitersToAnotherKeyInOrder) {
  Gate other;
  std::atomic<int> turn{0};
  for (int i = 0; i < 5; i++) {
    waiter(0, [&, i](ParkResult, uint32_t) {
      EXPECT_EQ(turn.load(), i);
      turn++;
    });
  }
  RequeuePlan plan{1, 3};
  RequeueInfo info = unpark_requeue(
      &gate, &other, [](void* ctx) { return *static_cast<RequeuePlan*>(ctx); }, nullptr, &plan);
  EXPECT_EQ(info.woken, 1);
  EXPECT_EQ(info.moved, 3);
  EXPECT_TRUE(info.have_more);
  while (turn.load() < 1) std::this_thread::yield();
  for (int i = 1; i < 4; i++) {
    EXPECT_EQ(unpark_one(&other).unparked, 1);
    while (turn.load() <= i) std::this_thread::yield();
  }
  EXPECT_EQ(unpark_one(&other).unparked, 0);
  EXPECT_EQ(unpark_one(&gate).unparked, 1);
  join_all();
}

TEST_F(Park, RequeueRefusedDoesNothing) {
  Gate other;
  waiter(0, [](ParkResult, uint32_t) {});
  RequeueInfo info = unpark_requeue(
      &gate, &other,
      [](void*) {
        return RequeuePlan{-1, 5};
      },
      nullptr, nullptr);
  EXPECT_EQ(info.woken, -1);
  EXPECT_EQ(unpark_one(&other).unparked, 0);
  EXPECT_EQ(unpark_one(&gate).unparked, 1);
}

TEST_F(Park, TellsTheMovedWhichKeyTheyTimedOutOn) {
  static std::atomic<const void*> left_from;
  Gate other;
  threads.emplace_back([&] {
    ParkRequest r = gate.request(0, sys::nanotime() + 30 * kMillisecond);
    r.timed_out = [](void*, const void* key, bool last) {
      EXPECT_TRUE(last);
      left_from = key;
    };
    EXPECT_EQ(park(r), ParkResult::TimedOut);
  });
  gate.wait_for(1);
  unpark_requeue(
      &gate, &other,
      [](void*) {
        return RequeuePlan{0, 1};
      },
      nullptr, nullptr);
  join_all();
  EXPECT_EQ(left_from.load(), &other);
}

TEST_F(Park, LosesNoTokenBetweenTimeOutsAndWakes) {
  // Tokens are handed to waiters whose deadlines fall at the same moment: each is either received or kept, never lost.
  constexpr int kTokens = 3000;
  std::atomic<int> tokens{0};
  std::atomic<int> received{0};
  std::atomic<int> given{0};
  struct Ctx {
    std::atomic<int>* tokens;
    std::atomic<int>* given;
  } ctx{&tokens, &given};
  auto validate = [](void* c) { return static_cast<Ctx*>(c)->tokens->load() == 0; };
  for (int t = 0; t < 3; t++) {
    threads.emplace_back([&] {
      while (received.load() < kTokens) {
        int n = tokens.load();
        if (n > 0) {
          if (tokens.compare_exchange_strong(n, n - 1)) received++;
          continue;
        }
        uint32_t gift = 0;
        ParkRequest r{.key = &ctx,
                      .validate = validate,
                      .before_sleep = nullptr,
                      .timed_out = nullptr,
                      .ctx = &ctx,
                      .deadline = sys::nanotime() + 50 * kMicrosecond};
        ParkResult result = park(r, &gift);
        if (result == ParkResult::Unparked && gift == 1) received++;
      }
    });
  }
  while (given.load() < kTokens) {
    unpark_one(
        &ctx,
        [](void* c, UnparkInfo info) {
          auto* x = static_cast<Ctx*>(c);
          (*x->given)++;
          if (info.unparked) return uint32_t{1};
          (*x->tokens)++;
          return uint32_t{0};
        },
        &ctx);
    if (given.load() % 7 == 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  join_all();
  EXPECT_EQ(received.load(), kTokens);
  EXPECT_EQ(tokens.load(), 0);
}

TEST_F(Park, KeysDoNotDisturbEachOther) {
  // More keys than a bucket's fair share, each with its own pair of threads passing a ball.
  constexpr int kPairs = 4;
  constexpr int kPasses = 500;
  struct Ball {
    std::atomic<int> side{0};
    int want;
  };
  std::vector<Ball> balls(kPairs);
  struct Want {
    Ball* ball;
    int side;
  };
  for (int p = 0; p < kPairs; p++) {
    for (int side = 0; side < 2; side++) {
      threads.emplace_back([&balls, p, side] {
        Ball* ball = &balls[static_cast<size_t>(p)];
        Want want{ball, side};
        for (int i = 0; i < kPasses; i++) {
          while (ball->side.load() != side) {
            park({.key = ball,
                  .validate =
                      [](void* c) {
                        auto* w = static_cast<Want*>(c);
                        return w->ball->side.load() != w->side;
                      },
                  .before_sleep = nullptr,
                  .timed_out = nullptr,
                  .ctx = &want});
          }
          ball->side = 1 - side;
          unpark_one(ball);
        }
      });
    }
  }
  join_all();
}

TEST_F(Park, SleepsAtLeastAsLongAsAsked) {
  Nanos deadline = sys::nanotime() + 3 * kMillisecond;
  EXPECT_TRUE(park_sleep(deadline, false));
  EXPECT_GE(sys::nanotime(), deadline);
}

TEST_F(Park, RunsBeforeSleepOnlyWhenQueued) {
  bool ran = false;
  ParkRequest r{.key = &ran,
                .validate = always,
                .before_sleep = [](void* c) { *static_cast<bool*>(c) = true; },
                .timed_out = nullptr,
                .ctx = &ran,
                .deadline = sys::nanotime() + kMillisecond};
  EXPECT_EQ(park(r), ParkResult::TimedOut);
  EXPECT_TRUE(ran);
  ran = false;
  r.deadline = 1;
  EXPECT_EQ(park(r), ParkResult::TimedOut);
  EXPECT_FALSE(ran);
}

}  // namespace
