// The parking lot: wait queues keyed by address, for Gs and for foreign threads (kernel threads that goshim did not
// make, and the main thread before the runtime starts), which sleep on a futex of their own.
//
// Everything that blocks a thread on a condition in memory is a thin layer over these functions: mutex, cond, rwlock,
// barrier, semaphore, once, join, futex(2). FIFO per key. The object itself is touched only inside the callbacks, under
// the bucket's lock; so a waker that stores "free" in its callback, and nothing afterwards, lets the object die at once.
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
  const void* key;                   // any address; the object's, by convention
  bool (*validate)(void* ctx);       // under the lock, before queueing: true = go to sleep
  void (*before_sleep)(void* ctx);   // after queueing, lock released, still running: e.g. unlock the mutex. May be null
  void (*timed_out)(void* ctx, bool last_of_key);  // under the lock, when a time-out or interrupt removes us. May be null
  void* ctx;
  Nanos deadline = kForever;         // of CLOCK_MONOTONIC
  WaitReason reason = WaitReason::Futex;
  bool interruptible = false;        // signals and cancellation may end the wait
  uintptr_t token = 0;               // seen by unpark filters (futex bitset, reader or writer)
};

// Parks the caller. Preemption may be on or off at entry; off nests: the G switches away with its counter raised.
ParkResult park(const ParkRequest& r);

struct UnparkInfo {
  int unparked;    // how many were taken off the queue
  bool have_more;  // others still wait on the key
};

// Wakes the first waiter of key, if any. done runs under the lock before the waiter can run, also when there was none.
UnparkInfo unpark_one(const void* key, void (*done)(void* ctx, UnparkInfo) = nullptr, void* ctx = nullptr);

// Wakes up to count waiters, first in first out.
int unpark_many(const void* key, int count);
inline int unpark_all(const void* key) { return unpark_many(key, INT32_MAX); }

// Looks at each waiter in turn, asking filter with its token.
enum class Filter { Unpark, Skip, Stop };
UnparkInfo unpark_filter(const void* key, Filter (*filter)(void* ctx, uintptr_t token),
                         void (*done)(void* ctx, UnparkInfo), void* ctx);

// Under both keys' locks: validate says whether to go on; then wakes up to wake waiters of from and moves up to move of
// the rest, in order, to the tail of to. Returns -1 if validate refused, else the number woken plus moved; *woken if set.
int unpark_requeue(const void* from, const void* to, int wake, int move, bool (*validate)(void* ctx), void* ctx,
                   int* woken = nullptr);

// Takes g off the queue it is parked on, if it is and allows it: it returns Interrupted. Any thread, preemption off.
void unpark_interrupt(G* g);

// Sleeps until deadline. True if it slept to the end, false if interrupted.
bool park_sleep(Nanos deadline, bool interruptible);

// In the child of a fork: all queues are empty.
void park_after_fork_child();

}  // namespace goshim
