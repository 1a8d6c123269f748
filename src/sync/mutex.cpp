// Process-private mutexes (see mutex.h for the lock word and its invariants).
#include "sync/mutex.h"

#include <errno.h>
#include <sched.h>

#include "park/park.h"
#include "sched/sched.h"
#include "sync/hooks.h"
#include "sync/shared.h"
#include "thread/fork.h"
#include "thread/ident.h"

namespace goshim {
namespace {

constexpr Nanos kStarvation = kMillisecond;
constexpr int kSpinRounds = 4;
constexpr int kSpinPauses = 30;

// What unlock gives to the waiter it wakes.
enum Gift : uint32_t { kNothing, kRace, kLock };

__thread int foreign_tid;
// The calling thread's, linked by Mutex::held.
__thread Mutex* robust_held;
__thread Mutex* ceilings_held;

// True while the owner is seen to run on another P, so that it may unlock within the time a park takes.
bool worth_spinning(const Mutex* m) {
  if (!runtime_started || max_procs() == 1) return false;
  const G* holder = m->holder.load(std::memory_order_relaxed);
  return holder && holder != getg() && holder->status.load(std::memory_order_relaxed) == GStatus::Running;
}

struct Attempt {
  Mutex* m;
  bool woken;     // kWoken stands for us
  bool starving;  // we have waited too long
};

// M2, M3.
bool still_locked(void* ctx) {
  auto* a = static_cast<Attempt*>(ctx);
  uint32_t w = a->m->word.load(std::memory_order_relaxed);
  for (;;) {
    if (!(w & kLocked)) return false;
    uint32_t queued = w | kWaiters;
    // In the child of a fork kWoken may stand for a thread that the fork left behind. Without it one wake more is due.
    if (a->woken || fork_left_threads()) queued &= ~kWoken;
    if (a->starving) queued |= kStarving;
    if (a->m->word.compare_exchange_weak(w, queued, std::memory_order_relaxed)) break;
  }
  a->woken = false;
  return true;
}

void left(void* ctx, const void*, bool last_of_key) { mutex_waiter_left(static_cast<Attempt*>(ctx)->m, last_of_key); }

// Handed over: kLocked has stayed set. The hand-overs end when nobody waits, or we have not waited long.
void take_over(Mutex* m, bool waited_long) {
  if (!waited_long || !(m->word.load(std::memory_order_relaxed) & kWaiters))
    m->word.fetch_and(~kStarving, std::memory_order_relaxed);
}

// Of a time that lies before 1970 or is none, as glibc: it takes what is negative for over, unless the kernel looks at
// it, whose locks inherit priorities.
int refusal(const Deadline& deadline, uint32_t kind) {
  if (kind & kInherit) return EINVAL;
  if (kind & (kRobust | kProtect)) return deadline.valid ? ETIMEDOUT : EINVAL;
  return deadline.negative ? ETIMEDOUT : EINVAL;
}

// Gets kLocked: 0, ETIMEDOUT or EINVAL. *seen is the word as it was before.
int acquire(Mutex* m, const Deadline* deadline, uint32_t kind, uint32_t gift, uint32_t* seen) {
  Attempt attempt{m, false, false};
  Nanos since = 0;
  int spins = 0;
  for (;;) {
    if (gift == kLock) {
      *seen = m->word.load(std::memory_order_acquire);
      take_over(m, since != 0 && sys::nanotime() - since > kStarvation);
      return 0;
    }
    if (gift == kRace) {
      attempt.woken = true;
      spins = 0;
      gift = kNothing;
    }
    uint32_t w = m->word.load(std::memory_order_relaxed);
    while (!(w & kLocked)) {
      uint32_t mine = w | kLocked;
      if (attempt.woken) mine &= ~kWoken;
      if (m->word.compare_exchange_weak(w, mine, std::memory_order_acquire, std::memory_order_relaxed)) {
        *seen = w;
        return 0;
      }
    }
    if (!(kind & kLinked) && !(w & kStarving) && spins < kSpinRounds && worth_spinning(m)) {
      // Tells the owner that its unlock need not wake anybody.
      if (!attempt.woken && (w & (kWaiters | kWoken)) == kWaiters) {
        attempt.woken = m->word.compare_exchange_strong(w, w | kWoken, std::memory_order_relaxed);
      }
      for (int i = 0; i < kSpinPauses; i++) arch::pause();
      spins++;
      continue;
    }
    if (GOSHIM_UNLIKELY(deadline && (!deadline->valid || deadline->negative))) return refusal(*deadline, kind);
    bool again = since != 0;
    Nanos now = sys::nanotime();
    if (!again) since = now;
    attempt.starving = again && now - since > kStarvation;
    ParkRequest r{
        .key = m,
        .validate = still_locked,
        .before_sleep = nullptr,
        .timed_out = left,
        .ctx = &attempt,
        .deadline = deadline ? deadline->monotonic() : kForever,
        .reason = WaitReason::Mutex,
        .interruptible = true,
        .token = 0,
        .front = again,
        .signals_only = true,
    };
    if (park(r, &gift) == ParkResult::TimedOut && passed(deadline)) return ETIMEDOUT;
  }
}

// Under the bucket's lock; the object may die as soon as kLocked is clear and the lock is released (M1).
uint32_t release(void* ctx, UnparkInfo info) {
  auto* m = static_cast<Mutex*>(ctx);
  uint32_t w = m->word.load(std::memory_order_relaxed);
  for (;;) {
    uint32_t next = w;
    uint32_t gift = kNothing;
    if (!info.have_more) next &= ~kWaiters;
    if (info.unparked == 0) {
      next &= ~(kLocked | kStarving);
    } else if (w & kStarving) {
      gift = kLock;
    } else {
      next = (next & ~kLocked) | kWoken;
      gift = kRace;
    }
    if (m->word.compare_exchange_weak(w, next, std::memory_order_release, std::memory_order_relaxed)) return gift;
  }
}

void release_word(Mutex* m) {
  uint32_t w = m->word.load(std::memory_order_relaxed);
  for (;;) {
    if (mutex_must_wake(w)) {
      unpark_one(m, release, m);
      return;
    }
    if (mutex_change(m, &w, w & ~kLocked)) return;
  }
}

void link(Mutex** list, Mutex* m) {
  m->held.prev = nullptr;
  m->held.next = *list;
  if (*list) (*list)->held.prev = m;
  *list = m;
}

void unlink(Mutex** list, Mutex* m) {
  if (m->held.next) m->held.next->held.prev = m->held.prev;
  if (m->held.prev) m->held.prev->held.next = m->held.next;
  else *list = m->held.next;
}

// ---- priority ceilings: as libc, which asks the kernel to raise the holder ----

int ceiling_in(uint32_t word) { return static_cast<int>((word & kCeilingMask) >> kCeilingShift); }

bool holds_ceiling(const Mutex* m) {
  for (const Mutex* held = ceilings_held; held; held = held->held.next) {
    if (held == m) return true;
  }
  return false;
}

int highest_ceiling() {
  int highest = -1;
  for (Mutex* m = ceilings_held; m; m = m->held.next) {
    int ceiling = ceiling_in(m->word.load(std::memory_order_relaxed));
    if (ceiling > highest) highest = ceiling;
  }
  return highest;
}

void settle_priority() { priority_raise(highest_ceiling()); }

// Before a lock. EINVAL for a thread whose own priority is above the ceiling, or what the kernel says.
int enter_ceiling(const Mutex* m) {
  int ceiling = ceiling_in(m->word.load(std::memory_order_relaxed));
  int policy;
  int priority;
  priority_own_get(&policy, &priority);
  if (priority > ceiling) return EINVAL;
  int highest = highest_ceiling();
  return priority_raise(highest > ceiling ? highest : ceiling);
}

// kLocked is ours; seen is the word before.
int settle(Mutex* m, uint32_t kind, uint32_t seen) {
  int self = self_id();
  if (kind != PTHREAD_MUTEX_NORMAL) m->count = 1;
  if (GOSHIM_UNLIKELY(kind & kProtect)) {
    m->owner.store(self, std::memory_order_relaxed);
    // A program may have made it anew while it was locked.
    if (!holds_ceiling(m)) link(&ceilings_held, m);
    settle_priority();  // the ceiling may have been changed meanwhile
    return 0;
  }
  if (!(kind & kRobust)) {
    m->owner.store(self, std::memory_order_relaxed);
    m->holder.store(getg(), std::memory_order_relaxed);
    return 0;
  }
  if (m->owner.load(std::memory_order_relaxed) == kNotRecoverable) {
    m->count = 0;
    release_word(m);
    return ENOTRECOVERABLE;
  }
  m->locker.store(self, std::memory_order_relaxed);
  link(&robust_held, m);
  if (seen & kDied) {
    m->word.fetch_and(~kDied, std::memory_order_relaxed);
    m->owner.store(kInconsistent, std::memory_order_relaxed);
    return EOWNERDEAD;
  }
  m->owner.store(self, std::memory_order_relaxed);
  return 0;
}

bool kind_is_known(uint32_t kind) { return !(kind & 0xc) && (!(kind & kProtect) || !(kind & (kRobust | kInherit))); }

bool is_mine(const Mutex* m, uint32_t kind) {
  const std::atomic<int>& who = kind & kRobust ? m->locker : m->owner;
  return who.load(std::memory_order_relaxed) == self_id();
}

// The calling thread holds m already: what a lock gives then. -1: nothing special, it will deadlock.
int relock(Mutex* m, uint32_t kind) {
  if ((kind & kTypeMask) == PTHREAD_MUTEX_ERRORCHECK) return EDEADLK;
  if ((kind & kTypeMask) != PTHREAD_MUTEX_RECURSIVE) return -1;
  if (m->count + 1 == 0) return EAGAIN;
  m->count++;
  return 0;
}

// Kinds that know who holds them, so that a lock or an unlock by the wrong thread is an error.
bool checks_owner(uint32_t kind) {
  uint32_t type = kind & kTypeMask;
  return type == PTHREAD_MUTEX_RECURSIVE || type == PTHREAD_MUTEX_ERRORCHECK || (kind & (kRobust | kInherit));
}

uint32_t kind_of(const Mutex* m) { return m->kind.load(std::memory_order_relaxed) & kKindMask; }

}  // namespace

int foreign_id() {
  if (foreign_tid == 0) foreign_tid = sys::gettid();
  return foreign_tid;
}

int mutex_lock_slow(Mutex* m, const Deadline* deadline) {
  uint32_t kind = kind_of(m);
  if (GOSHIM_UNLIKELY(!kind_is_known(kind))) return EINVAL;
  if (checks_owner(kind) && is_mine(m, kind)) {
    int error = relock(m, kind);
    if (error >= 0) return error;
  }
  if (GOSHIM_UNLIKELY(kind & kProtect)) {
    if (int error = enter_ceiling(m)) return error;
  }
  uint32_t free = m->word.load(std::memory_order_relaxed) & kCeilingMask;
  if (!mutex_change(m, &free, free | kLocked)) {
    int error = acquire(m, deadline, kind, kNothing, &free);
    if (error && (kind & kProtect)) settle_priority();
    if (error) return error;
  }
  return settle(m, kind, free);
}

int mutex_trylock(Mutex* m) {
  uint32_t kind = kind_of(m);
  if (GOSHIM_UNLIKELY(!kind_is_known(kind))) return EINVAL;
  uint32_t w = m->word.load(std::memory_order_relaxed);
  for (;;) {
    if (w & kLocked) {
      bool mine = checks_owner(kind) && is_mine(m, kind);
      // Priority-ceiling and robust ones tell of a deadlock even here.
      if (mine && ((kind & kTypeMask) == PTHREAD_MUTEX_RECURSIVE || (kind & (kRobust | kInherit | kProtect)))) {
        int error = relock(m, kind);
        if (error >= 0) return error;
      }
      return EBUSY;
    }
    if (mutex_change(m, &w, w | kLocked)) break;
  }
  if (GOSHIM_UNLIKELY(kind & kProtect)) {
    if (int error = enter_ceiling(m)) {
      release_word(m);
      return error;
    }
  }
  return settle(m, kind, w);
}

int mutex_unlock_error(Mutex* m) {
  uint32_t kind = kind_of(m);
  if (GOSHIM_UNLIKELY(!kind_is_known(kind))) return EINVAL;
  if (!checks_owner(kind)) return 0;
  return (m->word.load(std::memory_order_relaxed) & kLocked) && is_mine(m, kind) ? 0 : EPERM;
}

int mutex_unlock_slow(Mutex* m) {
  uint32_t kind = kind_of(m);
  if (kind != PTHREAD_MUTEX_NORMAL) {
    if (int error = mutex_unlock_error(m)) return error;
    bool inconsistent = (kind & kRobust) && m->owner.load(std::memory_order_relaxed) == kInconsistent;
    if ((kind & kTypeMask) == PTHREAD_MUTEX_RECURSIVE && --m->count != 0) return inconsistent ? ENOTRECOVERABLE : 0;
    if (kind & kRobust) {
      unlink(&robust_held, m);
      m->locker.store(0, std::memory_order_relaxed);
    }
    if (GOSHIM_UNLIKELY(kind & kProtect)) unlink(&ceilings_held, m);
    m->owner.store(inconsistent ? kNotRecoverable : 0, std::memory_order_relaxed);
  }
  release_word(m);
  if (GOSHIM_UNLIKELY(kind & kProtect)) settle_priority();
  return 0;
}

int mutex_destroy(Mutex* m) {
  bool robust = (m->kind.load(std::memory_order_relaxed) & kRobust) != 0;
  if (!robust && ((m->word.load(std::memory_order_relaxed) & kLocked) || m->users != 0)) return EBUSY;
  m->kind.store(~0U, std::memory_order_relaxed);
  return 0;
}

int mutex_consistent(Mutex* m) {
  if (!(kind_of(m) & kRobust) || m->owner.load(std::memory_order_relaxed) != kInconsistent) return EINVAL;
  m->owner.store(self_id(), std::memory_order_relaxed);
  return 0;
}

int mutex_set_ceiling(Mutex* m, int ceiling, int* old) {
  uint32_t kind = kind_of(m);
  if (!(kind & kProtect)) return EINVAL;
  if (ceiling < sys::call(SYS_sched_get_priority_min, SCHED_FIFO) ||
      ceiling > sys::call(SYS_sched_get_priority_max, SCHED_FIFO)) {
    return EINVAL;
  }
  bool mine = m->owner.load(std::memory_order_relaxed) == self_id();
  if (mine && (kind & kTypeMask) == PTHREAD_MUTEX_ERRORCHECK) return EDEADLK;
  bool held = mine && (kind & kTypeMask) == PTHREAD_MUTEX_RECURSIVE;
  uint32_t w;
  if (!held) acquire(m, nullptr, kind, kNothing, &w);
  w = m->word.load(std::memory_order_relaxed);
  if (old) *old = static_cast<int>((w & kCeilingMask) >> kCeilingShift);
  uint32_t bits = static_cast<uint32_t>(ceiling) << kCeilingShift;
  while (!m->word.compare_exchange_weak(w, (w & ~kCeilingMask) | bits, std::memory_order_relaxed)) {
  }
  if (!held) release_word(m);
  else settle_priority();
  return 0;
}

int mutex_lock_after_wait(Mutex* m, uint32_t gift) {
  if (gift == kNothing) return mutex_lock(m);
  uint32_t kind = kind_of(m);
  uint32_t seen;
  acquire(m, nullptr, kind, gift, &seen);
  return settle(m, kind, seen);
}

bool mutex_will_wake(Mutex* m) {
  uint32_t w = m->word.load(std::memory_order_relaxed);
  while (w & kLocked) {
    if (m->word.compare_exchange_weak(w, w | kWaiters, std::memory_order_relaxed)) return true;
  }
  return false;
}

void mutex_has_waiters(Mutex* m) { m->word.fetch_or(kWaiters, std::memory_order_relaxed); }

void mutex_waiter_left(Mutex* m, bool last_of_key) {
  if (last_of_key) m->word.fetch_and(~(kWaiters | kStarving), std::memory_order_relaxed);
}

void mutex_after_fork_child() {
  robust_held = nullptr;
  foreign_tid = 0;  // another thread now
}

void sync_thread_exit(G*) {
  ceilings_held = nullptr;  // they stay locked
  shared_thread_exit();
  while (Mutex* m = robust_held) {
    unlink(&robust_held, m);
    m->locker.store(0, std::memory_order_relaxed);
    // Inconsistent state that its owner left behind is as a dead owner's.
    m->owner.store(0, std::memory_order_relaxed);
    m->word.fetch_or(kDied, std::memory_order_relaxed);
    release_word(m);
  }
}

}  // namespace goshim
