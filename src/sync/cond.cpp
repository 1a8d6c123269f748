// Conditions (see cond.h).
#include "sync/cond.h"

#include <errno.h>

#include "park/park.h"
#include "sched/sched.h"
#include "sync/mutex.h"
#include "thread/cancel.h"

namespace goshim {
namespace {

struct Wait {
  Cond* cond;
  pthread_mutex_t* mutex;
  const CondMutex* how;
  bool movable;
  bool unlocked;
};

bool announce(void* ctx) {
  auto* w = static_cast<Wait*>(ctx);
  w->cond->mutex.store(w->movable ? w->mutex : nullptr, std::memory_order_relaxed);
  w->cond->waiting.store(1, std::memory_order_relaxed);  // C1
  return true;
}

void unlock_mutex(void* ctx) {
  auto* w = static_cast<Wait*>(ctx);
  w->unlocked = true;
  w->how->unlock(w->mutex);
}

void left(void* ctx, const void* key, bool last_of_key) {
  auto* w = static_cast<Wait*>(ctx);
  if (key != w->cond) mutex_waiter_left(mutex_of(w->mutex), last_of_key);
  else if (last_of_key) w->cond->waiting.store(0, std::memory_order_relaxed);
}

uint32_t woken(void* ctx, UnparkInfo info) {
  if (!info.have_more) static_cast<Cond*>(ctx)->waiting.store(0, std::memory_order_relaxed);
  return 0;
}

struct Move {
  Cond* cond;
  pthread_mutex_t* mutex;
};

RequeuePlan plan_move(void* ctx) {
  auto* move = static_cast<Move*>(ctx);
  if (move->cond->mutex.load(std::memory_order_relaxed) != move->mutex) return {-1, 0};
  return {mutex_will_wake(mutex_of(move->mutex)) ? 0 : 1, INT32_MAX};
}

void moved(void* ctx, RequeueInfo info) {
  auto* move = static_cast<Move*>(ctx);
  if (info.moved) mutex_has_waiters(mutex_of(move->mutex));
  move->cond->waiting.store(0, std::memory_order_relaxed);
}

}  // namespace

const CondMutex kPrivateMutex = {
    .unlock = [](pthread_mutex_t* m) { return mutex_unlock(mutex_of(m)); },
    .lock_after_wait = [](pthread_mutex_t* m, uint32_t gift) { return mutex_lock_after_wait(mutex_of(m), gift); },
    .requeue = true,
};

int cond_wait(Cond* c, pthread_mutex_t* m, const CondMutex& how, const Deadline* deadline) {
  thread_test_cancel();
  CancelScope scope;
  if (how.requeue) {
    if (int error = mutex_unlock_error(mutex_of(m))) return error;
    mutex_of(m)->users++;
  }
  // A recursive mutex may stay locked by us while we wait: then nobody would unlock it for those moved to it.
  bool movable = how.requeue && (m->__data.__kind & kTypeMask) != PTHREAD_MUTEX_RECURSIVE;
  Wait wait{c, m, &how, movable, false};
  ParkRequest r{
      .key = c,
      .validate = announce,
      .before_sleep = unlock_mutex,
      .timed_out = left,
      .ctx = &wait,
      .deadline = deadline ? deadline->monotonic() : kForever,
      .reason = WaitReason::Cond,
      .interruptible = true,
  };
  uint32_t gift = 0;
  ParkResult result = park(r, &gift);
  if (GOSHIM_UNLIKELY(!wait.unlocked)) {
    // The deadline was in the past: others must get the mutex all the same.
    how.unlock(m);
    if (getg()) yield();
  }
  int error = how.lock_after_wait(m, gift);
  if (how.requeue) mutex_of(m)->users--;
  if (GOSHIM_UNLIKELY(result == ParkResult::Interrupted)) thread_test_cancel();
  if (error) return error;
  // A clock that was set meanwhile may make the time-out early: then this is a spurious wake-up.
  return result == ParkResult::TimedOut && passed(deadline) ? ETIMEDOUT : 0;
}

void cond_signal_slow(Cond* c) { unpark_one(c, woken, c); }

void cond_broadcast_slow(Cond* c) {
  // Every round takes all that wait with one mutex; another only if the mutex changed in between.
  for (;;) {
    Move move{c, c->mutex.load(std::memory_order_relaxed)};
    if (!move.mutex) {
      unpark_filter(
          c, [](void*, uintptr_t) { return Filter::Unpark; }, woken, c);
      return;
    }
    if (unpark_requeue(c, move.mutex, plan_move, moved, &move).woken >= 0) return;
  }
}

}  // namespace goshim
