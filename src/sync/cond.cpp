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
  bool straggles;    // C3
  uint32_t signals;  // Cond::signals when it came to straggle
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

uint32_t stragglers_of(const Cond* c) { return c->stragglers.load(std::memory_order_relaxed); }
void count_stragglers(Cond* c, int by) {
  c->stragglers.store(stragglers_of(c) + static_cast<uint32_t>(by), std::memory_order_release);
}

// Behind every change of the queue.
void settle(Cond* c, bool have_more) {
  if (!have_more && stragglers_of(c) == 0) c->waiting.store(0, std::memory_order_relaxed);
}

void left(void* ctx, const void* key, bool last_of_key) {
  auto* w = static_cast<Wait*>(ctx);
  if (key != w->cond) mutex_waiter_left(mutex_of(w->mutex), last_of_key);
  else settle(w->cond, !last_of_key);
}

void interrupted(void* ctx, const void* key, bool last_of_key) {
  auto* w = static_cast<Wait*>(ctx);
  if (key != w->cond) {  // woken, and moved
    mutex_waiter_left(mutex_of(w->mutex), last_of_key);
    return;
  }
  w->straggles = true;
  w->signals = w->cond->signals;
  count_stragglers(w->cond, 1);
}

uint32_t woken(void* ctx, UnparkInfo info) {
  auto* c = static_cast<Cond*>(ctx);
  if (stragglers_of(c)) c->signals++;
  settle(c, info.have_more);
  return 0;
}

// C3: a straggler comes back.
bool resume(void* ctx) {
  auto* w = static_cast<Wait*>(ctx);
  w->straggles = false;
  count_stragglers(w->cond, -1);
  return w->cond->signals == w->signals && announce(ctx);
}

// Or does not: it has been cancelled, or its time is up.
bool leave(void* ctx) {
  auto* w = static_cast<Wait*>(ctx);
  w->straggles = false;
  count_stragglers(w->cond, -1);
  return false;
}

bool has_stragglers(void* ctx) { return stragglers_of(static_cast<Cond*>(ctx)) != 0; }

ParkRequest request(const void* key, bool (*validate)(void*), void* ctx) {
  return {.key = key,
          .validate = validate,
          .before_sleep = nullptr,
          .timed_out = nullptr,
          .ctx = ctx,
          .reason = WaitReason::Cond};
}

void stop_straggling(Wait* w) {
  if (!w->straggles) return;
  park(request(w->cond, leave, w));
  unpark_all(&w->cond->stragglers);
}

// The end of every wait, with the mutex.
int end(Wait* w, uint32_t gift) {
  int error = w->how->lock_after_wait(w->mutex, gift);
  if (w->how->requeue) mutex_of(w->mutex)->users--;
  return error;
}

// A handler leaves the wait. As natively, the mutex is held where it goes on.
void abandon(void* wait) {
  auto* w = static_cast<Wait*>(wait);
  stop_straggling(w);
  end(w, 0);
}

// The handlers that interrupted a wait have run: goes on with it. As park().
GOSHIM_COLD ParkResult wait_on(ParkRequest* r, Wait* w, uint32_t* gift) {
  ParkResult result = ParkResult::Interrupted;
  while (result == ParkResult::Interrupted && w->straggles && !cancel_pending()) {
    r->validate = resume;
    r->before_sleep = nullptr;
    r->front = true;
    result = park(*r, gift);
    if (!w->straggles) unpark_all(&w->cond->stragglers);
  }
  stop_straggling(w);
  return result;
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
  woken(move->cond, {info.woken, info.have_more});
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
  Wait wait{c, m, &how, movable, false, false, 0};
  ParkRequest r{
      .key = c,
      .validate = announce,
      .before_sleep = unlock_mutex,
      .timed_out = left,
      .ctx = &wait,
      .deadline = deadline ? deadline->monotonic() : kForever,
      .reason = WaitReason::Cond,
      .interruptible = true,
      .interrupted = interrupted,
      .abandoned = abandon,
  };
  uint32_t gift = 0;
  ParkResult result = park(r, &gift);
  if (GOSHIM_UNLIKELY(result == ParkResult::Interrupted)) result = wait_on(&r, &wait, &gift);
  if (GOSHIM_UNLIKELY(!wait.unlocked)) {
    // The deadline was in the past: others must get the mutex all the same.
    how.unlock(m);
    if (getg()) yield();
  }
  int error = end(&wait, gift);
  if (GOSHIM_UNLIKELY(result == ParkResult::Interrupted)) thread_test_cancel();
  if (error) return error;
  // A clock that was set meanwhile may make the time-out early: then this is a spurious wake-up.
  return result == ParkResult::TimedOut && passed(deadline) ? ETIMEDOUT : 0;
}

void cond_wait_for_stragglers(Cond* c) { park(request(&c->stragglers, has_stragglers, c)); }

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
