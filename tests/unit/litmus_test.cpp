// The pairs of accesses that the runtime's protocols hang on, on a processor with weak ordering (litmus.h): that the
// bad outcome is out of reach with the orders that the source has, and within reach with a weaker one. So each test
// also shows that it would notice.
#include "tests/unit/litmus.h"

#include <gtest/gtest.h>

namespace {

using litmus::AcqRel;
using litmus::Acquire;
using litmus::Order;
using litmus::Outcome;
using litmus::Relaxed;
using litmus::Release;
using litmus::SeqCst;
using litmus::Test;
using litmus::Thread;

enum Reg { r0, r1, r2, r3 };

// What register `reg` of thread `thread` holds.
int in(const Outcome& o, size_t thread, Reg reg) { return o.registers[thread][static_cast<size_t>(reg)]; }

// ---- the two shapes that most of it comes down to ----

// One writes a word and then reads the other's; at least one of the two must see the other.
enum class By { Store, ReadModifyWrite };
bool both_miss(By how, Order write, Order read, bool fence = false) {
  Test t;
  for (int mine : {0, 1}) {
    Thread thread;
    if (how == By::Store) thread.store(mine, 1, write);
    else thread.fetch_add(r1, mine, 1, write);
    if (fence) thread.fence();
    thread.load(r0, 1 - mine, read);
    t.threads.push_back(thread);
  }
  return t.reaches([](const Outcome& o) { return in(o, 0, r0) == 0 && in(o, 1, r0) == 0; });
}

// kept and trying (net/descriptor.h), last_poll and timers (proc.cpp), sigmask and lists (signal.cpp), preempt_sent.
TEST(StoreThenLoad, SeqCstOnBothSidesIsEnough) {
  EXPECT_FALSE(both_miss(By::Store, SeqCst, SeqCst));
  EXPECT_FALSE(both_miss(By::ReadModifyWrite, SeqCst, SeqCst));
  EXPECT_FALSE(both_miss(By::Store, Relaxed, Relaxed, true));
}

// What a locked instruction of x86-64 hides: it is a full barrier whatever its order.
TEST(StoreThenLoad, AReadModifyWriteIsNoFence) {
  EXPECT_TRUE(both_miss(By::ReadModifyWrite, SeqCst, Relaxed));
  EXPECT_TRUE(both_miss(By::ReadModifyWrite, AcqRel, Acquire));
  EXPECT_TRUE(both_miss(By::Store, Release, Acquire));
  EXPECT_FALSE(both_miss(By::ReadModifyWrite, Relaxed, Relaxed, true));  // arch::fence_after_rmw()
}

// G::busy: what goshim_switch() has saved is there for who resumes the G. M::park_word with next_p, Timer::firing, a
// record of the timeline and so on are the same.
bool resumed_half_saved(Order clear, Order look) {
  enum { kBusy, kSaved };
  Test t;
  t.initial[kBusy] = 1;
  t.threads = {Thread().store(kSaved, 1).store(kBusy, 0, clear), Thread().load(r0, kBusy, look).load(r1, kSaved)};
  return t.reaches([](const Outcome& o) { return in(o, 1, r0) == 0 && in(o, 1, r1) == 0; });
}

TEST(HandOver, BusyIsClearedWhenAllIsSaved) {
  EXPECT_FALSE(resumed_half_saved(Release, Acquire));
  EXPECT_TRUE(resumed_half_saved(Relaxed, Acquire));
  EXPECT_TRUE(resumed_half_saved(Release, Relaxed));
}

// ---- park and unpark ----

// A waiter looks at the word under the bucket's lock and queues itself; a waker changes the word, then looks at the
// queue under the lock. Else the waiter sleeps for ever.
struct Parking {
  Order lock = Acquire;
  Order unlock = Release;
  bool glance = false;  // the waker looks at the queue without the lock
  bool sleeps_for_ever() const {
    enum { kWord, kLock, kQueue };
    Test t;
    Thread waiter;
    waiter.lock(r2, kLock, lock).load(r0, kWord).store(kQueue, 1).when(r0, 0).unlock(kLock, unlock);
    Thread waker;
    waker.store(kWord, 1);
    if (glance) waker.load(r1, kQueue, Acquire);
    else waker.lock(r2, kLock, lock).load(r1, kQueue).unlock(kLock, unlock);
    t.threads = {waiter, waker};
    return t.reaches([](const Outcome& o) { return in(o, 0, r0) == 0 && in(o, 1, r1) == 0; });
  }
};

TEST(Parking, TheLockOrdersWordAndQueue) { EXPECT_FALSE(Parking{}.sleeps_for_ever()); }

TEST(Parking, NeedsTheOrdersOfTheLockAndTheLock) {
  EXPECT_TRUE(Parking{.lock = Relaxed}.sleeps_for_ever());
  EXPECT_TRUE(Parking{.unlock = Relaxed}.sleeps_for_ever());
  EXPECT_TRUE(Parking{.glance = true}.sleeps_for_ever());
}

// A futex's waiter announces itself in another word of the program's before futex(2) looks at this one.
bool announced_in_vain(bool fence) {
  enum { kWord, kLock, kQueue, kAnnounced };
  Test t;
  Thread waiter;
  waiter.store(kAnnounced, 1).lock(r2, kLock);
  if (fence) waiter.fence();
  waiter.load(r0, kWord).store(kQueue, 1).when(r0, 0).unlock(kLock);
  t.threads = {waiter, Thread().store(kWord, 1).fence().load(r1, kAnnounced)};
  return t.reaches([](const Outcome& o) { return in(o, 0, r0) == 0 && in(o, 1, r1) == 0; });
}

TEST(Futex, IsAFullBarrierBeforeItLooks) {
  EXPECT_FALSE(announced_in_vain(true));
  EXPECT_TRUE(announced_in_vain(false)) << "the bucket's lock alone is an acquire";
}

// The status: Waiting is written before the G can be found, Runnable by who found it. Else it would be Waiting while it
// runs, and nobody would interrupt it.
bool status_goes_back(Order unlock, bool before_queue) {
  enum { kStatus, kLock, kQueue };
  enum { kWaiting = 1, kRunnable = 2 };
  Test t;
  Thread g;
  if (before_queue) g.store(kStatus, kWaiting, Release);
  g.lock(r2, kLock).store(kQueue, 1).unlock(kLock, unlock);
  if (!before_queue) g.store(kStatus, kWaiting, Release);
  Thread waker;
  waker.lock(r2, kLock).load(r0, kQueue).unlock(kLock).store(kStatus, kRunnable, Release).when(r0, 1);
  t.threads = {g, waker};
  return t.reaches([](const Outcome& o) { return in(o, 1, r0) == 1 && o.memory[kStatus] == kWaiting; });
}

TEST(Status, WaitingIsNotWrittenOverRunnable) {
  EXPECT_FALSE(status_goes_back(Release, true));
  EXPECT_TRUE(status_goes_back(Relaxed, true));
  EXPECT_TRUE(status_goes_back(Release, false));
}

// L4 in park.cpp, S2 in signal.cpp: the G writes its key (or status) and reads its requests without a fence in between;
// who makes a request writes it, issues a membarrier and reads the key. g_ends() and K1 in lock.h have the same shape.
bool request_is_missed(bool membarrier) {
  enum { kKey, kPending };
  Test t;
  Thread sender;
  sender.fetch_add(r1, kPending, 1, SeqCst);
  if (membarrier) sender.membarrier();
  sender.load(r0, kKey, Acquire);
  t.threads = {Thread().store(kKey, 1, Release).load(r0, kPending), sender};
  return t.reaches([](const Outcome& o) { return in(o, 0, r0) == 0 && in(o, 1, r0) == 0; });
}

TEST(Requests, AMembarrierStandsForBothFences) {
  EXPECT_FALSE(request_is_missed(true));
  EXPECT_TRUE(request_is_missed(false));
}

// ---- idle Ms ----

// S2 and S3 in proc.cpp.
bool queued_beside_a_sleeper(bool submitter_fence, bool idler_fence) {
  enum { kQueue, kIdle };
  Test t;
  Thread submitter;
  submitter.store(kQueue, 1, Release);
  if (submitter_fence) submitter.fence();
  submitter.load(r0, kIdle, SeqCst);
  Thread idler;
  idler.fetch_add(r1, kIdle, 1, SeqCst);
  if (idler_fence) idler.fence();
  idler.load(r0, kQueue, Acquire);
  t.threads = {submitter, idler};
  return t.reaches([](const Outcome& o) { return in(o, 0, r0) == 0 && in(o, 1, r0) == 0; });
}

TEST(Idle, SubmitterOrIdlerSeesTheOther) {
  EXPECT_FALSE(queued_beside_a_sleeper(true, true));
  EXPECT_TRUE(queued_beside_a_sleeper(false, true));
  EXPECT_TRUE(queued_beside_a_sleeper(true, false));
}

// S1: the submitter leaves the wake-up to a spinning M that has just found other work, and that lowers n_spinning and
// reads n_idle_p in wakep(). The P became idle meanwhile. Some of the three must act.
bool spinner_was_counted_on(Order look, bool chain = true) {
  enum { kQueue, kIdle, kSpinning };
  Test t;
  t.initial[kSpinning] = 1;
  Thread submitter;
  submitter.store(kQueue, 1, Release).fence().load(r0, kIdle, SeqCst).load(r1, kSpinning);
  Thread idler;
  idler.fetch_add(r1, kIdle, 1, SeqCst).fence().load(r0, kQueue, Acquire);
  Thread spinner;
  spinner.fetch_add(r1, kSpinning, -1, SeqCst);
  if (chain) spinner.load(r0, kIdle, look);
  t.threads = {submitter, idler, spinner};
  return t.reaches([](const Outcome& o) {
    bool submitter_wakes = in(o, 0, r0) != 0 && in(o, 0, r1) == 0;
    bool idler_goes_on = in(o, 1, r0) != 0;
    bool spinner_wakes = in(o, 2, r0) != 0;
    return !submitter_wakes && !idler_goes_on && !spinner_wakes;
  });
}

TEST(Spinning, ASpinnerThatStopsWakesTheNext) {
  EXPECT_FALSE(spinner_was_counted_on(SeqCst));
  EXPECT_TRUE(spinner_was_counted_on(Relaxed)) << "the store of the read-modify-write may come after the load";
  EXPECT_TRUE(spinner_was_counted_on(SeqCst, false));
}

// S6: sysmon sleeps for long when all Ps are idle; who takes one wakes it.
bool sysmon_sleeps_beside_a_runner(Order count, Order look) {
  enum { kIdle, kAsleep };
  Test t;
  t.initial[kIdle] = 1;
  t.threads = {Thread().store(kAsleep, 1, SeqCst).load(r0, kIdle, SeqCst),
               Thread().fetch_add(r1, kIdle, -1, count).load(r0, kAsleep, look)};
  return t.reaches([](const Outcome& o) { return in(o, 0, r0) == 1 && in(o, 1, r0) == 0; });
}

TEST(Sysmon, WhoTakesAPWakesIt) {
  EXPECT_FALSE(sysmon_sleeps_beside_a_runner(SeqCst, SeqCst));
  EXPECT_TRUE(sysmon_sleeps_beside_a_runner(Relaxed, Relaxed));
  EXPECT_TRUE(sysmon_sleeps_beside_a_runner(SeqCst, Relaxed));
}

// sysmon_wake() marks the time and clears sysmon_asleep; within 10 ms of the mark nobody else wakes sysmon, which sees
// to that itself: it reads the mark after it has set sysmon_asleep. Else it would sleep on with wakes held back.
bool mark_is_missed(Order clear) {
  enum { kAsleep, kMark };
  Test t;
  t.initial[kAsleep] = 1;
  t.threads = {Thread().fetch_add(r0, kMark, 1, clear == Relaxed ? Relaxed : SeqCst).store(kAsleep, 0, clear),
               Thread().store(kAsleep, 1, SeqCst).load(r0, kMark, SeqCst)};
  return t.reaches([](const Outcome& o) { return o.memory[kAsleep] == 1 && in(o, 1, r0) == 0; });
}

TEST(Sysmon, AWakeThatIsHeldBackIsMadeGood) {
  EXPECT_FALSE(mark_is_missed(SeqCst));
  EXPECT_TRUE(mark_is_missed(Relaxed));
}

// ---- run queue ----

// R3: what a thief gets is complete. A queue of one slot.
struct Push {
  Order tail_store = Release;
  Order tail_load = Acquire;
  bool half_made() const {
    enum { kTail, kSlot, kG };
    Test t;
    t.threads = {Thread().store(kG, 1).store(kSlot, 1).store(kTail, 1, tail_store),
                 Thread().load(r0, kTail, tail_load).load(r1, kSlot).load(r2, kG)};
    return t.reaches([](const Outcome& o) { return in(o, 1, r0) == 1 && (in(o, 1, r1) == 0 || in(o, 1, r2) == 0); });
  }
};

TEST(RunQueue, TailPublishesTheSlotAndTheG) {
  EXPECT_FALSE(Push{}.half_made());
  EXPECT_TRUE(Push{.tail_store = Relaxed}.half_made());
  EXPECT_TRUE(Push{.tail_load = Relaxed}.half_made());
}

// R1, R2: two thieves at one slot, which the owner writes again once head has moved. No G is had twice, and nobody gets
// one for his CAS that was not there for it. G 1 is in the slot, G 2 comes after it.
struct Steal {
  Order move = AcqRel;
  bool compares = true;  // the thief moves head by CAS
  bool goes_wrong() const {
    enum { kHead, kSlot };
    Test t;
    t.initial[kSlot] = 1;
    Thread thief;
    thief.load(r1, kSlot);
    if (compares) thief.compare_exchange(r0, kHead, 0, 1, move);
    else thief.load(r0, kHead, Acquire).store(kHead, 1, Release).when(r0, 0);
    Thread owner;
    owner.load(r0, kHead, Acquire).store(kSlot, 2).when(r0, 1);
    t.threads = {thief, thief, owner};
    return t.reaches([](const Outcome& o) {
      bool first = in(o, 0, r0) == 0;
      bool second = in(o, 1, r0) == 0;
      return (first && second) || (first && in(o, 0, r1) != 1) || (second && in(o, 1, r1) != 1);
    });
  }
};

TEST(RunQueue, AThiefHasReadTheSlotBeforeHeadMoves) {
  EXPECT_FALSE(Steal{}.goes_wrong());
  EXPECT_TRUE(Steal{.move = Acquire}.goes_wrong()) << "the slot may be read after the CAS has let the owner write it";
  EXPECT_TRUE(Steal{.compares = false}.goes_wrong());
}

// N3: the owner takes runnext by plain stores; a thief marks it and issues a membarrier. kG without a mark, kMarked
// with.
bool runnext_is_had_twice(bool membarrier) {
  enum { kNext, kTaking };
  constexpr int kG = 2;
  constexpr int kMarked = 3;
  Test t;
  t.initial[kNext] = kG;
  Thread owner;
  owner.store(kTaking, 1).load(r0, kNext);
  owner.store(kNext, 0).when(r0, kG).store(kTaking, 0, Release).when(r0, kG);  // marked: N4, it is for the CASes
  Thread thief;
  thief.compare_exchange(r0, kNext, kG, kMarked, SeqCst);
  if (membarrier) thief.membarrier();
  thief.load(r1, kTaking, Acquire).compare_exchange(r2, kNext, kMarked, 0, AcqRel).when(r1, 0);
  t.threads = {owner, thief};
  return t.reaches([](const Outcome& o) {
    bool owner_has = in(o, 0, r0) == kG;
    bool thief_has = in(o, 1, r1) == 0 && in(o, 1, r2) == kMarked;
    return owner_has && thief_has;
  });
}

TEST(Runnext, IsHadOnce) {
  EXPECT_FALSE(runnext_is_had_twice(true));
  EXPECT_TRUE(runnext_is_had_twice(false));
}

// ---- others ----

// The seqlocks of CPU time and of signal actions.
bool torn(bool fences) {
  enum { kSequence, kA, kB };
  Test t;
  Thread writer;
  writer.store(kSequence, 1);
  if (fences) writer.fence();
  writer.store(kA, 1).store(kB, 1).store(kSequence, 2, Release);
  Thread reader;
  reader.load(r0, kSequence, Acquire).load(r1, kA).load(r2, kB);
  if (fences) reader.acquire_fence();
  reader.load(r3, kSequence);
  t.threads = {writer, reader};
  return t.reaches([](const Outcome& o) {
    bool accepted = in(o, 1, r0) % 2 == 0 && in(o, 1, r0) == in(o, 1, r3);
    return accepted && in(o, 1, r1) != in(o, 1, r2);
  });
}

TEST(Seqlock, AcceptsWhatBelongsTogether) {
  EXPECT_FALSE(torn(true));
  EXPECT_TRUE(torn(false));
}

// H2 in sync/sharing.cpp: a range moves from one slot to another that the reader scans first.
bool range_is_missed(bool counts) {
  enum { kFirst, kSecond, kCuts };
  Test t;
  t.initial[kSecond] = 1;
  Thread writer;
  writer.store(kFirst, 1, Release);
  if (counts) writer.fetch_add(r0, kCuts, 1, Release);
  writer.store(kSecond, 0, Release);
  Thread reader;
  reader.load(r0, kCuts, Acquire).load(r1, kFirst, Acquire).load(r2, kSecond, Acquire).load(r3, kCuts);
  t.threads = {writer, reader};
  return t.reaches(
      [](const Outcome& o) { return in(o, 1, r1) == 0 && in(o, 1, r2) == 0 && in(o, 1, r0) == in(o, 1, r3); });
}

TEST(Sharing, ACutIsNoticed) {
  EXPECT_FALSE(range_is_missed(true));
  EXPECT_TRUE(range_is_missed(false));
}

}  // namespace
