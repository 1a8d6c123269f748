// The parking lot: wait queues keyed by address, for Gs and for foreign threads (kernel threads that goshim did not
// make, and the main thread before the runtime starts), which sleep on a futex of their own.
//
// Everything that blocks a thread on a condition in memory is a thin layer over these functions: mutex, cond, rwlock,
// barrier, semaphore, once, join, futex(2). FIFO per key. The object itself is touched only inside the callbacks, under
// the bucket's lock; so a waker that stores "free" in its callback, and nothing afterwards, lets the object die at
// once.
//
// Callbacks run with preemption off under the bucket's lock: a few instructions, no call into the parking lot, no libc.
#pragma once

#include "sched/runtime.h"

namespace goshim {

enum class ParkResult : uint32_t {
  Unparked,     // by an unpark_ function
  Invalid,      // validate() said no: never queued
  TimedOut,     // the deadline passed (at once if it was in the past)
  Interrupted,  // a signal handler is due (only with interruptible); the caller decides between EINTR and restart
};

struct ParkRequest {
  const void* key;                  // any address; the object's, by convention
  bool (*validate)(void* ctx);      // under the lock, before queueing: true = go to sleep
  void (*before_sleep)(void* ctx);  // after queueing, lock released, still running: e.g. unlock the mutex. May be null
  // Under the lock, when a time-out or interrupt removes us. key is the one we waited on last: unpark_requeue changes
  // it. last_of_key: nobody else waits on it. May be null.
  void (*timed_out)(void* ctx, const void* key, bool last_of_key);
  void* ctx;
  Nanos deadline = kForever;  // of CLOCK_MONOTONIC
  WaitReason reason = WaitReason::Futex;
  bool interruptible = false;  // signals and cancellation may end the wait
  uintptr_t token = 0;         // seen by unpark filters (futex bitset, reader or writer)
  bool front = false;          // to the head of the queue: for one that was woken in vain
  bool signals_only = false;   // with interruptible: not a cancellation point, a pending request lets it sleep
  // In place of timed_out when it is an interrupt that removes us; null: the same.
  void (*interrupted)(void* ctx, const void* key, bool last_of_key) = nullptr;
  // For a wait that must be tidied up by who leaves it: if a handler that interrupts it does not return (it ends the
  // thread, is cancelled, or jumps out of the wait), this runs on the way out, with preemption on, as libc's own
  // clean-up of such calls does. May be null.
  void (*abandoned)(void* ctx) = nullptr;
  // How often the caller has raised the no-preempt counter for this wait. With interruptible, he lowers it as soon as
  // an interrupted wait is tidied up.
  int raised = 0;
};

// The request of a parked G, as it was made: unpark_requeue may have moved it to another key. Where its address is,
// from G::park_place; for the dump.
size_t park_request_offset();

// Parks the caller. Preemption may be on or off at entry; off nests: the G switches away with its counter raised, and
// the wait cannot be interrupted. What the waker did before is seen when park() returns. *gift is what the waker's done
// callback returned, 0 if there was none.
ParkResult park(const ParkRequest& r, uint32_t* gift = nullptr);

struct UnparkInfo {
  int unparked;    // how many were taken off the queue
  bool have_more;  // others still wait on the key
};

// Runs under the lock before any of the woken can run, also when there was none. What it returns is given to each of
// them: so an object can be handed over, and the woken knows.
using UnparkDone = uint32_t (*)(void* ctx, UnparkInfo info);

// Wakes the first waiter of key, if any.
UnparkInfo unpark_one(const void* key, UnparkDone done = nullptr, void* ctx = nullptr);

// Wakes up to count of those that wait on key now, first in first out. They go behind what is runnable already.
int unpark_many(const void* key, int count);
inline int unpark_all(const void* key) { return unpark_many(key, INT32_MAX); }

// Looks at each waiter in turn, asking filter with its token. Stop leaves it and all behind it.
enum class Filter { Unpark, Skip, Stop };
UnparkInfo unpark_filter(const void* key, Filter (*filter)(void* ctx, uintptr_t token), UnparkDone done, void* ctx);

// Under both keys' locks: plan says how many of from's waiters to wake (negative: do nothing at all) and how many of
// the rest to move, in order, to the tail of to's queue; done then tells what was done.
struct RequeuePlan {
  int wake;
  int move;
};
struct RequeueInfo {
  int woken;  // negative: plan refused, done was not called
  int moved;
  bool have_more;  // others still wait on from
};
RequeueInfo unpark_requeue(const void* from, const void* to, RequeuePlan (*plan)(void* ctx),
                           void (*done)(void* ctx, RequeueInfo info), void* ctx);

// Takes g off the queue it is parked on, if it is and allows it: it returns Interrupted. Any thread, preemption off.
// The caller has set the request in g's Tls first (pending or interrupt) and issued a membarrier, so that a G on its
// way into a queue sees it.
void unpark_interrupt(G* g);

// Sleeps until deadline. True if it slept to the end, false if interrupted.
bool park_sleep(Nanos deadline, bool interruptible);

// In the child of a fork: all queues are empty.
void park_after_fork_child();

}  // namespace goshim
