// The mutex's lock word and the parking lot under it (M1 to M3 in src/sync/mutex.h) in every interleaving: lock,
// unlock, time-outs, hand-over to the starving, and conditions that are signalled, broadcast and moved to the mutex's
// queue. Never two owners, nobody left asleep, and the word clean when all is over.
#include <gtest/gtest-spi.h>

#include <array>

#include "tests/unit/model.h"

namespace {

enum Bit : unsigned { kLocked = 1, kWaiters = 2, kWoken = 4, kStarving = 8 };
enum Gift { kAsleep, kNothing, kRace, kLock };
constexpr int kMost = 4;

struct Queue {
  std::array<int, kMost> at{};
  int size = 0;
  auto operator<=>(const Queue&) const = default;
  void push(int t) { at[static_cast<size_t>(size++)] = t; }
  void push_front(int t) {
    for (int i = size++; i > 0; i--) at[static_cast<size_t>(i)] = at[static_cast<size_t>(i - 1)];
    at[0] = t;
  }
  int pop() {
    int t = at[0];
    remove(t);
    return t;
  }
  bool remove(int t) {
    for (int i = 0; i < size; i++) {
      if (at[static_cast<size_t>(i)] != t) continue;
      for (int k = i; k + 1 < size; k++) at[static_cast<size_t>(k)] = at[static_cast<size_t>(k + 1)];
      at[static_cast<size_t>(--size)] = 0;
      return true;
    }
    return false;
  }
};

// What a thread does around its lock and unlock.
enum class Job { Lock, TimedLock, Wait, TimedWait, Signal, Broadcast, BroadcastInside };

enum Pc {
  kStart,
  kAcquire,      // the loop of acquire()
  kValidate,     // under the mutex's bucket
  kEnqueue,      // likewise
  kSleep,        // on either queue
  kGiveUp,       // under the bucket of the queue it may be in
  kInside,       // owner
  kCondEnqueue,  // owner, under the cond's bucket
  kUnlock,       // fast
  kUnlockSlow,   // under the mutex's bucket: takes the first waiter off
  kRelease,      // likewise: the word
  kWake,         // lets the bucket go, wakes
  kCondWake,     // signal or broadcast, under both buckets: plan
  kCondMove,     // broadcast: the rest
  kEnd,
};

struct Thread {
  Job job = Job::Lock;
  Pc pc = kStart;
  int rounds = 1;
  Gift gift = kAsleep;
  bool woken = false;      // kWoken stands for it
  bool again = false;      // it has been woken in vain
  bool impatient = false;  // counts as starving then
  bool waiting = false;    // queued on the cond, and not yet woken
  bool late = false;       // its wait on the cond has timed out
  int popped = -1;
  bool more = false;
  bool hands_over = false;
  bool found_locked = false;  // broadcast
  auto operator<=>(const Thread&) const = default;
  bool timed() const { return job == Job::TimedLock || job == Job::TimedWait; }
  bool waits() const { return job == Job::Wait || job == Job::TimedWait; }
  bool wakes() const { return job == Job::Signal || job == Job::Broadcast || job == Job::BroadcastInside; }
};

struct State {
  unsigned word = 0;
  Queue mutex_queue;
  Queue cond_queue;
  bool cond_waiting = false;
  int bucket = -1;    // who holds the buckets' locks: one lock stands for both
  bool flag = false;  // what the cond is about
  int owner = -1;
  std::array<Thread, kMost> threads;
  int count = 0;
  // Protocols known to be broken, to see that the model notices.
  bool forgetful = false;       // unlock clears kWaiters although others wait
  bool forgetful_move = false;  // a broadcast that finds the mutex locked does not say so in time
  auto operator<=>(const State&) const = default;

  bool take_bucket(int t) {
    if (bucket >= 0 && bucket != t) return false;
    bucket = t;
    return true;
  }

  void own(int t, Thread& me) {
    ASSERT_EQ(owner, -1) << "two owners";
    owner = t;
    me.pc = kInside;
  }

  bool step(int t) {
    Thread& me = threads[static_cast<size_t>(t)];
    switch (me.pc) {
      case kStart:
        if (word == 0) {
          word = kLocked;
          own(t, me);
        } else {
          me.pc = kAcquire;
        }
        return true;
      case kAcquire:
        if (word & kLocked) {
          me.pc = kValidate;
        } else {
          word |= kLocked;
          if (me.woken) word &= ~kWoken;
          me.woken = false;
          own(t, me);
        }
        return true;
      case kValidate:
        if (!take_bucket(t)) return false;
        if (!(word & kLocked)) {
          bucket = -1;
          me.pc = kAcquire;
          return true;
        }
        word |= kWaiters;
        if (me.woken) word &= ~kWoken;
        if (me.again && me.impatient) word |= kStarving;
        me.woken = false;
        me.pc = kEnqueue;
        return true;
      case kEnqueue:
        if (me.again) mutex_queue.push_front(t);
        else mutex_queue.push(t);
        me.gift = kAsleep;
        me.again = true;
        bucket = -1;
        me.pc = kSleep;
        return true;
      case kSleep:
        if (me.gift == kAsleep) {
          if (!me.timed()) return false;
          me.pc = kGiveUp;
          return true;
        }
        me.waiting = false;
        me.woken = me.gift == kRace;
        if (me.gift == kLock) {
          if (!me.impatient || !(word & kWaiters)) word &= ~kStarving;
          own(t, me);
        } else {
          me.pc = kAcquire;
        }
        return true;
      case kGiveUp:
        if (!take_bucket(t)) return false;
        if (mutex_queue.remove(t)) {
          if (mutex_queue.size == 0) word &= ~(kWaiters | kStarving);
        } else if (cond_queue.remove(t)) {
          if (cond_queue.size == 0) cond_waiting = false;
        } else {
          bucket = -1;
          me.pc = kSleep;  // taken off already: its waker is on the way
          return true;
        }
        bucket = -1;
        me.late = true;
        me.waiting = false;
        if (me.job == Job::TimedLock) end(me);
        else me.pc = kAcquire;
        return true;
      case kInside:
        if (me.waits() && !flag && !me.late) {
          me.pc = kCondEnqueue;
          return true;
        }
        if (me.wakes()) flag = true;
        me.pc = me.job == Job::BroadcastInside ? kCondWake : kUnlock;
        return true;
      case kCondEnqueue:
        if (!take_bucket(t)) return false;
        cond_waiting = true;
        cond_queue.push(t);
        me.gift = kAsleep;
        me.waiting = true;
        me.again = false;
        bucket = -1;
        me.pc = kUnlock;
        return true;
      case kUnlock:
        if ((word & kWaiters) && (!(word & kWoken) || (word & kStarving))) {
          me.pc = kUnlockSlow;
          return true;
        }
        owner = -1;
        word &= ~kLocked;
        after_unlock(me);
        return true;
      case kUnlockSlow:
        if (!take_bucket(t)) return false;
        me.popped = mutex_queue.size ? mutex_queue.pop() : -1;
        me.more = mutex_queue.size != 0;
        me.pc = kRelease;
        return true;
      case kRelease: {
        owner = -1;
        if (!me.more) word &= ~kWaiters;
        Gift gift = kRace;
        if (me.popped < 0) word &= ~(kLocked | kStarving);
        else if (word & kStarving) gift = kLock;
        else word = (word & ~kLocked) | kWoken;
        if (forgetful) word &= ~kWaiters;
        me.hands_over = gift == kLock;
        me.pc = kWake;
        return true;
      }
      case kWake:
        bucket = -1;
        if (me.popped >= 0) threads[static_cast<size_t>(me.popped)].gift = me.hands_over ? kLock : kRace;
        me.popped = -1;
        after_unlock(me);
        return true;
      case kCondWake:
        if (!cond_waiting) {
          after_cond(me);
          return true;
        }
        if (!take_bucket(t)) return false;
        if (me.job == Job::Signal) {
          if (cond_queue.size) wake(cond_queue.pop(), kNothing);
          cond_waiting = cond_queue.size != 0;
          bucket = -1;
          after_cond(me);
          return true;
        }
        me.found_locked = (word & kLocked) != 0;
        if (me.found_locked && !forgetful_move) word |= kWaiters;
        me.pc = kCondMove;
        return true;
      case kCondMove:
        if (!me.found_locked && cond_queue.size) wake(cond_queue.pop(), kNothing);
        if (cond_queue.size) word |= kWaiters;
        while (cond_queue.size) mutex_queue.push(cond_queue.pop());
        cond_waiting = false;
        bucket = -1;
        after_cond(me);
        return true;
      case kEnd: return false;
    }
    return false;
  }
  void wake(int t, Gift gift) { threads[static_cast<size_t>(t)].gift = gift; }
  void end(Thread& me) {
    me = Thread{.job = me.job, .pc = me.rounds > 1 ? kStart : kEnd, .rounds = me.rounds - 1, .impatient = me.impatient};
  }
  void after_unlock(Thread& me) {
    if (me.waiting) me.pc = kSleep;
    else if (me.job == Job::Signal || me.job == Job::Broadcast) me.pc = kCondWake;
    else end(me);
  }
  void after_cond(Thread& me) {
    if (me.job == Job::BroadcastInside) me.pc = kUnlock;
    else end(me);
  }
  bool done() const {
    for (int t = 0; t < count; t++) {
      if (threads[static_cast<size_t>(t)].pc != kEnd) return false;
    }
    return word == 0 && mutex_queue.size == 0 && cond_queue.size == 0;
  }
  void check() const { ASSERT_TRUE(owner < 0 || (word & kLocked)) << "an owner without the lock"; }
};

State start(std::initializer_list<Thread> threads) {
  State s;
  for (const Thread& t : threads) s.threads[static_cast<size_t>(s.count++)] = t;
  return s;
}

size_t explore(const State& s) { return model::explore(s, s.count); }

bool fails(const State& s) {
  ::testing::TestPartResultArray failures;
  {
    ::testing::ScopedFakeTestPartResultReporter reporter(
        ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &failures);
    explore(s);
  }
  return failures.size() > 0;
}

TEST(MutexProtocol, LosesNobody) {
  EXPECT_GT(explore(start({{.rounds = 3}, {.rounds = 3}})), 100U);
  EXPECT_GT(explore(start({{.rounds = 2}, {.rounds = 2}, {.rounds = 2}})), 1000U);
}

TEST(MutexProtocol, LosesNobodyAmongTheImpatient) {
  EXPECT_GT(explore(start({{.rounds = 2, .impatient = true}, {.rounds = 2, .impatient = true}, {.rounds = 2}})), 1000U);
}

TEST(MutexProtocol, LosesNobodyWhenSomeTimeOut) {
  explore(start({{.job = Job::TimedLock, .rounds = 2}, {.rounds = 2}, {.job = Job::TimedLock, .rounds = 1}}));
  explore(start(
      {{.job = Job::TimedLock, .rounds = 2, .impatient = true}, {.rounds = 2}, {.rounds = 1, .impatient = true}}));
}

TEST(MutexProtocol, WakesWaitersOnSignalAndBroadcast) {
  for (Job waker : {Job::Broadcast, Job::BroadcastInside}) {
    for (Job waiter : {Job::Wait, Job::TimedWait}) {
      EXPECT_GT(explore(start({{.job = Job::Wait}, {.job = waiter}, {.job = waker}})), 300U);
      EXPECT_GT(explore(start({{.job = Job::Wait}, {.job = waiter}, {.job = waker}, {.job = Job::Lock}})), 300U);
      EXPECT_GT(explore(start({{.job = Job::Wait}, {.job = waiter, .impatient = true}, {.job = waker}, {.rounds = 2}})),
                300U);
    }
  }
  EXPECT_GT(explore(start({{.job = Job::Wait}, {.job = Job::Signal}, {.rounds = 2}})), 300U);
  EXPECT_GT(explore(start({{.job = Job::Wait}, {.job = Job::Wait}, {.job = Job::Signal}, {.job = Job::Signal}})), 300U);
}

TEST(MutexProtocol, NeedsTheWaitersBit) {
  State s = start({{.rounds = 1}, {.rounds = 1}, {.rounds = 1}});
  s.forgetful = true;
  EXPECT_TRUE(fails(s)) << "or the model proves nothing";
}

TEST(MutexProtocol, NeedsTheWaitersBitBeforeAMove) {
  State s = start({{.job = Job::Wait}, {.job = Job::Broadcast}, {.rounds = 1}});
  s.forgetful_move = true;
  EXPECT_TRUE(fails(s)) << "or the model proves nothing";
}

}  // namespace
