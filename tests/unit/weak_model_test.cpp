// The two places where one side has no barrier and the other issues a membarrier for both, on a processor whose stores
// become visible late and out of order: K1 in src/base/lock.h and N3 in src/sched/runq.h, in every interleaving. And
// that they would be wrong without the membarrier.
#include <gtest/gtest-spi.h>

#include "tests/unit/model.h"

namespace {

// Memory of two words and the store buffer of one thread. Stores to different words leave it in any order, but a
// release is the last of what came before it. The thread itself reads its own stores.
struct Memory {
  int word[2] = {};
  struct Store {
    int at, value;
    bool release;
    auto operator<=>(const Store&) const = default;
  };
  std::vector<Store> buffer;
  auto operator<=>(const Memory&) const = default;

  void store(int at, int value, bool release = false) { buffer.push_back({at, value, release}); }
  int own_load(int at) const {
    for (auto it = buffer.rbegin(); it != buffer.rend(); ++it) {
      if (it->at == at) return it->value;
    }
    return word[at];
  }
  // The oldest store to that word becomes visible; false if it may not or there is none.
  bool drain(int at) {
    for (auto it = buffer.begin(); it != buffer.end(); ++it) {
      if (it->at != at) continue;
      if (it->release && it != buffer.begin()) return false;
      word[at] = it->value;
      buffer.erase(it);
      return true;
    }
    return false;
  }
  // What a membarrier of another thread does to this one.
  void drain_all() {
    for (const Store& s : buffer) word[s.at] = s.value;
    buffer.clear();
  }
};

// K1: thread 0 unlocks, thread 1 found the lock held and goes to sleep. Threads 2 and 3 are thread 0's store buffer.
struct Unlock {
  enum { kLock, kSleepers };
  Memory memory{{1, 0}, {}};
  int pc[2] = {};
  bool asleep = false, has_it = false, barrier = true;
  auto operator<=>(const Unlock&) const = default;

  bool step(int t) {
    if (t >= 2) return memory.drain(t - 2);
    if (t == 0) {
      switch (pc[0]) {
        case 0: memory.store(kLock, 0, true); break;
        case 1:
          if (memory.own_load(kSleepers) == 0) pc[0] = 2;  // nobody to wake
          break;
        case 2:  // futex_wake: a full barrier, then whoever sleeps
          memory.drain_all();
          asleep = false;
          break;
        default: return false;
      }
      pc[0]++;
      return true;
    }
    switch (pc[1]) {
      case 0: memory.word[kSleepers] = 1; break;
      case 1:
        if (barrier) memory.drain_all();
        break;
      case 2:  // exchange
        has_it = memory.word[kLock] == 0;
        memory.word[kLock] = 1;
        if (has_it) pc[1] = 4;
        break;
      case 3: asleep = memory.word[kLock] == 1; break;  // futex_wait
      case 4:
        if (asleep) return false;
        pc[1] = 1;
        break;
      default: return false;
    }
    pc[1]++;
    return true;
  }
  bool done() const { return has_it; }
  void check() const {}
};

TEST(WeakLock, ASleeperIsWoken) { EXPECT_GT(model::explore(Unlock{}, 4), 10u); }

TEST(WeakLock, WithoutTheMembarrierHeSleepsForEver) {
  EXPECT_NONFATAL_FAILURE(model::explore(Unlock{.barrier = false}, 4), "nobody can go on");
}

// N3: thread 0 owns the P and takes runnext, thread 1 steals it. Threads 2 and 3 are thread 0's store buffer.
struct Steal {
  enum { kNext, kTaking };
  static constexpr int kG = 2, kMarked = 3;
  Memory memory{{kG, 0}, {}};
  int pc[2] = {};
  int seen = 0;      // what the owner read
  bool may = false;  // the thief
  int owner_has = 0, thief_has = 0;
  bool barrier = true;
  auto operator<=>(const Steal&) const = default;

  bool owner() {
    switch (pc[0]) {
      case 0:
        if (memory.own_load(kNext) == 0) pc[0] = 5;
        break;
      case 1: memory.store(kTaking, 1); break;
      case 2:
        seen = memory.own_load(kNext);
        if (seen != kMarked) pc[0] = 3;
        break;
      case 3:  // N4: a CAS, which no store of its own to another word waits for
        if (memory.word[kNext] == seen) {
          memory.word[kNext] = 0;
        } else {
          seen = memory.word[kNext];
          if (seen == kMarked) return true;
        }
        break;
      case 4:
        memory.store(kNext, 0);
        owner_has = seen != 0;
        break;
      case 5: memory.store(kTaking, 0, true); break;
      default: return false;
    }
    pc[0]++;
    return true;
  }
  bool thief() {
    switch (pc[1]) {
      case 0:
        if (memory.word[kNext] != kG) pc[1] = 9;
        else memory.word[kNext] = kMarked;
        break;
      case 1:
        if (barrier) memory.drain_all();
        break;
      case 2: may = memory.word[kTaking] == 0; break;
      case 3:
        if (memory.word[kNext] == kMarked) {
          memory.word[kNext] = may ? 0 : kG;
          thief_has = may;
        }
        break;
      default: return false;
    }
    pc[1]++;
    return true;
  }
  bool step(int t) { return t == 0 ? owner() : t == 1 ? thief() : memory.drain(t - 2); }
  bool done() const { return owner_has + thief_has == 1; }
  void check() const { EXPECT_LE(owner_has + thief_has, 1) << "two have the G"; }
};

TEST(WeakRunnext, OneGetsTheG) { EXPECT_GT(model::explore(Steal{}, 4), 20u); }

TEST(WeakRunnext, WithoutTheMembarrierTwoMay) {
  testing::TestPartResultArray failures;
  {
    testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &failures);
    model::explore(Steal{.barrier = false}, 4);
  }
  ASSERT_GT(failures.size(), 0);
  EXPECT_NE(std::string(failures.GetTestPartResult(0).message()).find("two have the G"), std::string::npos);
}

}  // namespace
