// pthread_cond_t and cnd_t, process-private, on the parking lot.
//
// The key is the cond; a wait is: queue, unlock the mutex, sleep, lock the mutex. The object says whether somebody may
// be queued, so that signalling nobody costs a load, and which mutex the waiters came with, so that a broadcast can
// move them to its queue instead of waking all at once.
//
//   C1  waiting is set before the mutex is unlocked, and cleared, under the bucket's lock. A signal that must wake a
//       waiter is sent after the mutex was taken behind it, so it sees waiting set.
//   C2  A woken waiter does not touch the cond; the object may be destroyed as soon as all have been woken.
//   C3  A waiter that a handler took off the queue is a straggler: the next signal may have been meant for it, so
//       waiting stays set and signals are counted meanwhile. It goes back to the head of the queue, or has been woken
//       if one was sent. destroy waits for stragglers.
#pragma once

#include <pthread.h>

#include "base/clock.h"

namespace goshim {

struct Cond {
  std::atomic<uint32_t> waiting;  // C1; relaxed: ordered by the mutex between the two, and by the bucket's lock
  std::atomic<pthread_mutex_t*>
      mutex;  // what a broadcast may move waiters to, or null; written under the bucket's lock
  // C3; written under the bucket's lock (release), read by destroy (acquire): the object is not touched after a 0.
  std::atomic<uint32_t> stragglers;
  uint32_t signals;  // C3; the bucket's lock: counted while there are stragglers
};
static_assert(sizeof(Cond) <= offsetof(pthread_cond_t, __data.__wrefs));

// How to unlock and lock the mutex that a wait came with: a private one, or glibc's way for a process-shared one.
struct CondMutex {
  int (*unlock)(pthread_mutex_t*);
  int (*lock_after_wait)(pthread_mutex_t*, uint32_t gift);
  bool requeue;  // its queue is the parking lot's
};
extern const CondMutex kPrivateMutex;

constexpr uint32_t kCondShared = 1;  // bits of glibc's __wrefs, set by pthread_cond_init
constexpr uint32_t kCondMonotonic = 2;

inline Cond* cond_of(pthread_cond_t* c) { return reinterpret_cast<Cond*>(c); }
inline bool cond_is_shared(const pthread_cond_t* c) { return (c->__data.__wrefs & kCondShared) != 0; }
inline clockid_t cond_clock(const pthread_cond_t* c) {
  return c->__data.__wrefs & kCondMonotonic ? CLOCK_MONOTONIC : CLOCK_REALTIME;
}

// 0, ETIMEDOUT, or what the mutex answered. A cancellation point: the mutex is held when cancellation acts.
int cond_wait(Cond* c, pthread_mutex_t* m, const CondMutex& how, const Deadline* deadline);
void cond_wait_for_stragglers(Cond* c);
void cond_signal_slow(Cond* c);
void cond_broadcast_slow(Cond* c);

inline void cond_destroy(Cond* c) {
  if (GOSHIM_UNLIKELY(c->stragglers.load(std::memory_order_acquire) != 0)) cond_wait_for_stragglers(c);
}
inline void cond_signal(Cond* c) {
  if (c->waiting.load(std::memory_order_relaxed)) cond_signal_slow(c);
}
inline void cond_broadcast(Cond* c) {
  if (c->waiting.load(std::memory_order_relaxed)) cond_broadcast_slow(c);
}

}  // namespace goshim
