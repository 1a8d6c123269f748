// pthread_mutex_t and mtx_t, process-private: all types, robust and priority kinds, on the parking lot.
//
// The object keeps glibc's size, static initialisers, __kind, __owner, __count and __nusers. Its lock word is ours:
//
//   kLocked    held by a thread, or on its way to one that it was handed to
//   kWaiters   the queue may be non-empty; set and cleared under the bucket's lock
//   kWoken     a waiter has been woken and will take part in the race for the lock: wake no other meanwhile
//   kStarving  a waiter has lost that race for more than 1 ms: unlock hands the lock over, in order
//   kDied      robust: the last owner ended while it held the lock
//   the rest   the ceiling of a priority-ceiling mutex, where glibc keeps it
//
//
//   M0  While the process has one thread the word is changed by a load and a store, as libc does: who could interfere
//       is a signal handler, and that leaves the word as it found it.
//   M1  kLocked is cleared by one atomic operation that is the owner's last access to the object, unless kWaiters is
//       set (and kWoken is not): then by unlock's callback under the bucket's lock. So the object may die right after.
//   M2  A thread queues itself only while kLocked is set, and sets kWaiters with it, under the bucket's lock.
//   M3  From kWaiters with kLocked clear somebody is on his way to the lock: the one kWoken stands for, or one that a
//       broadcast woke. Whoever clears kWoken without taking the lock has seen kLocked set, and that owner's unlock
//       wakes the next. So no waiter is forgotten.
//
// Owner-written fields (owner, count, nusers, holder) are stable while the lock is held.
#pragma once

#include <pthread.h>

#include "base/clock.h"
#include "base/host.h"
#include "sync/identity.h"

namespace goshim {

struct Mutex {
  // Acquire where kLocked is set, release where it is cleared. The other bits are changed by relaxed RMWs, mostly under
  // the bucket's lock: they keep the release of the last unlock visible to the next lock (release sequence), and what
  // they say is about this word itself.
  std::atomic<uint32_t> word;
  uint32_t count;  // recursive: depth
  // self_id() of the owner, 0, kInconsistent or kNotRecoverable. Relaxed, as kind, locker and holder: only a thread's
  // own id means something to it, and that it has written itself.
  std::atomic<int> owner;
  uint32_t users;              // waits on conds that will take the mutex again; destroy refuses then
  std::atomic<uint32_t> kind;  // PTHREAD_MUTEX_* and the bits below
  std::atomic<int> locker;     // robust: self_id() of the owner, even of inconsistent state
  union {
    std::atomic<G*> holder;  // hint for spinning; stale values are harmless, Gs are never unmapped
    struct {
      Mutex* next;  // kLinked: list of what the owner holds
      Mutex* prev;
    } held;
  };
};
static_assert(sizeof(Mutex) <= sizeof(pthread_mutex_t));
static_assert(offsetof(Mutex, word) == offsetof(pthread_mutex_t, __data.__lock));
static_assert(offsetof(Mutex, count) == offsetof(pthread_mutex_t, __data.__count));
static_assert(offsetof(Mutex, owner) == offsetof(pthread_mutex_t, __data.__owner));
static_assert(offsetof(Mutex, users) == offsetof(pthread_mutex_t, __data.__nusers));
static_assert(offsetof(Mutex, kind) == offsetof(pthread_mutex_t, __data.__kind));

enum MutexBit : uint32_t { kLocked = 1, kWaiters = 2, kWoken = 4, kStarving = 8, kDied = 16 };
constexpr uint32_t kCeilingShift = 19;
constexpr uint32_t kCeilingMask = 0xfff80000;

// glibc's encoding of __kind: the type in two bits, then these.
enum MutexKind : uint32_t {
  kTypeMask = 3,
  kRobust = 16,
  kInherit = 32,
  kProtect = 64,
  kShared = 128,
  kKindMask = 127,
  kLinked = kRobust | kProtect,
};
constexpr int kInconsistent = INT32_MAX;
constexpr int kNotRecoverable = INT32_MAX - 1;

inline Mutex* mutex_of(pthread_mutex_t* m) { return reinterpret_cast<Mutex*>(m); }
inline bool mutex_is_shared(const pthread_mutex_t* m) { return (m->__data.__kind & kShared) != 0; }

// Return values are glibc's. Each may be called by any thread, with preemption on or off.
int mutex_lock_slow(Mutex* m, const Deadline* deadline);
int mutex_unlock_slow(Mutex* m);
int mutex_trylock(Mutex* m);
int mutex_destroy(Mutex* m);
int mutex_consistent(Mutex* m);
int mutex_set_ceiling(Mutex* m, int ceiling, int* old);

// Changes the word from *seen to `to`, with the orders of a lock and of an unlock; false if it is another one, left in
// *seen.
inline bool mutex_change(Mutex* m, uint32_t* seen, uint32_t to) {
  if (*host.single_threaded) {  // M0
    uint32_t w = m->word.load(std::memory_order_relaxed);
    if (GOSHIM_UNLIKELY(w != *seen)) {
      *seen = w;
      return false;
    }
    m->word.store(to, std::memory_order_relaxed);
    return true;
  }
  // acquire pairs with the release of the last unlock.
  return m->word.compare_exchange_strong(*seen, to, std::memory_order_acq_rel, std::memory_order_relaxed);
}

// Whether an unlock that finds this word has somebody to wake.
inline bool mutex_must_wake(uint32_t w) { return (w & kWaiters) && (!(w & kWoken) || (w & kStarving)); }

// False: the other function is to do it.
inline bool mutex_lock_fast(Mutex* m) {
  if (GOSHIM_UNLIKELY(m->kind.load(std::memory_order_relaxed) != PTHREAD_MUTEX_NORMAL)) return false;
  uint32_t w = 0;
  if (GOSHIM_UNLIKELY(!mutex_change(m, &w, kLocked))) {
    // Beside waiters too: a mutex in demand has them all the time.
    if ((w & kLocked) || !mutex_change(m, &w, w | kLocked)) return false;
  }
  m->owner.store(goshim_tls.tid, std::memory_order_relaxed);
  m->holder.store(getg(), std::memory_order_relaxed);
  return true;
}

inline bool mutex_unlock_fast(Mutex* m) {
  if (GOSHIM_UNLIKELY(m->kind.load(std::memory_order_relaxed) != PTHREAD_MUTEX_NORMAL)) return false;
  m->owner.store(0, std::memory_order_relaxed);
  uint32_t w = kLocked;
  if (GOSHIM_LIKELY(mutex_change(m, &w, 0))) return true;  // M1
  return !mutex_must_wake(w) && mutex_change(m, &w, w & ~kLocked);
}

inline int mutex_lock(Mutex* m) { return GOSHIM_LIKELY(mutex_lock_fast(m)) ? 0 : mutex_lock_slow(m, nullptr); }
inline int mutex_unlock(Mutex* m) { return GOSHIM_LIKELY(mutex_unlock_fast(m)) ? 0 : mutex_unlock_slow(m); }

// ---- for conds ----

// What mutex_unlock would refuse with, 0 if it would not.
int mutex_unlock_error(Mutex* m);
// Takes the lock after a wait; gift is what park() gave.
int mutex_lock_after_wait(Mutex* m, uint32_t gift);
// For a requeue onto m, under its bucket's lock: true if the lock is held, so that an unlock will wake those moved;
// else one must be woken, and mutex_has_waiters() says that there are others.
bool mutex_will_wake(Mutex* m);
void mutex_has_waiters(Mutex* m);
// The timed_out step of one that was moved to m.
void mutex_waiter_left(Mutex* m, bool last_of_key);

}  // namespace goshim
