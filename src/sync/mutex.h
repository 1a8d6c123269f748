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
//   M1  kLocked is cleared by one atomic operation that is the owner's last access to the object, unless kWaiters is set
//       (and kWoken is not): then by unlock's callback under the bucket's lock. So the object may die right after.
//   M2  A thread queues itself only while kLocked is set, and sets kWaiters with it, under the bucket's lock.
//   M3  From kWaiters with kLocked clear somebody is on his way to the lock: the one kWoken stands for, or one that a
//       broadcast woke. Whoever clears kWoken without taking the lock has seen kLocked set, and that owner's unlock
//       wakes the next. So no waiter is forgotten.
//
// Owner-written fields (owner, count, nusers, holder) are stable while the lock is held.
#pragma once

#include <pthread.h>

#include "base/clock.h"
#include "sync/identity.h"

namespace goshim {

struct Mutex {
  std::atomic<uint32_t> word;
  uint32_t count;              // recursive: depth
  std::atomic<int> owner;      // self_id() of the owner, 0, kInconsistent or kNotRecoverable
  uint32_t users;              // waits on conds that will take the mutex again; destroy refuses then
  std::atomic<uint32_t> kind;  // PTHREAD_MUTEX_* and the bits below
  std::atomic<int> locker;     // robust: self_id() of the owner, even of inconsistent state
  union {
    std::atomic<G*> holder;  // not robust: hint for spinning; stale values are harmless, Gs are never unmapped
    struct {
      Mutex* next;  // robust: list of what the owner holds
      Mutex* prev;
    } robust;
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

inline int mutex_lock(Mutex* m) {
  if (GOSHIM_LIKELY(m->kind.load(std::memory_order_relaxed) == PTHREAD_MUTEX_NORMAL)) {
    uint32_t free = 0;
    // acquire: pairs with the release of the last unlock.
    if (GOSHIM_LIKELY(
            m->word.compare_exchange_strong(free, kLocked, std::memory_order_acquire, std::memory_order_relaxed))) {
      m->owner.store(goshim_tls.tid, std::memory_order_relaxed);
      m->holder.store(getg(), std::memory_order_relaxed);
      return 0;
    }
  }
  return mutex_lock_slow(m, nullptr);
}

inline int mutex_unlock(Mutex* m) {
  if (GOSHIM_LIKELY(m->kind.load(std::memory_order_relaxed) == PTHREAD_MUTEX_NORMAL)) {
    m->owner.store(0, std::memory_order_relaxed);
    uint32_t locked = kLocked;
    if (GOSHIM_LIKELY(
            m->word.compare_exchange_strong(locked, 0, std::memory_order_release, std::memory_order_relaxed))) {
      return 0;  // M1
    }
  }
  return mutex_unlock_slow(m);
}

// ---- for conds ----

// What mutex_unlock would refuse with, 0 if it would not.
int mutex_unlock_error(Mutex* m);
// Takes the lock after a wait; gift is what park() gave.
int mutex_lock_after_wait(Mutex* m, uint32_t gift);
// For a requeue onto m, under its bucket's lock: true if the lock is held, so that an unlock will wake those moved; else
// one must be woken, and mutex_has_waiters() says that there are others.
bool mutex_will_wake(Mutex* m);
void mutex_has_waiters(Mutex* m);
// The timed_out step of one that was moved to m.
void mutex_waiter_left(Mutex* m, bool last_of_key);

}  // namespace goshim
