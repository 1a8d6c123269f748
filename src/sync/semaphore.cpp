// Semaphores (see semaphore.h).
#include "sync/semaphore.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>

#include "park/park.h"
#include "sched/sched.h"
#include "thread/cancel.h"
#include "thread/signal.h"

namespace goshim {
namespace {

constexpr uint64_t kTokens = 0xffffffff;
constexpr uint64_t kWaiter = UINT64_C(1) << 32;
constexpr uint64_t kMost = INT_MAX;  // SEM_VALUE_MAX

enum Gift : uint32_t { kNone, kToken };

bool none_left(void* ctx) {
  auto* s = static_cast<Semaphore*>(ctx);
  uint64_t w = s->word.load(std::memory_order_relaxed);
  do {
    if (w & kTokens) return false;
  } while (!s->word.compare_exchange_weak(w, w + kWaiter, std::memory_order_relaxed));
  return true;
}

void left(void* ctx, const void*, bool) {
  static_cast<Semaphore*>(ctx)->word.fetch_sub(kWaiter, std::memory_order_relaxed);
}

// S1.
uint32_t give(void* ctx, UnparkInfo info) {
  auto* s = static_cast<Semaphore*>(ctx);
  if (info.unparked) {
    s->word.fetch_sub(kWaiter, std::memory_order_release);
    return kToken;
  }
  s->word.fetch_add(1, std::memory_order_release);  // they have all given up meanwhile
  return kNone;
}

// After an interrupt: whether the wait ends with EINTR. As in the kernel, one with a deadline is never restarted after
// a handler; a foreign thread's handler has run in the kernel's way.
bool ends(const HandlerMark& mark, const Deadline* deadline) {
  if (!mark.counted()) return true;
  return handlers_ran(mark) && (deadline || !handlers_restart(mark));
}

int wait_private(Semaphore* s, const Deadline* deadline) {
  HandlerMark mark = handler_mark();
  for (;;) {
    if (semaphore_try_wait(s) == 0) return 0;
    ParkRequest r{
        .key = s,
        .validate = none_left,
        .before_sleep = nullptr,
        .timed_out = left,
        .ctx = s,
        .deadline = deadline ? deadline->monotonic() : kForever,
        .reason = WaitReason::Semaphore,
        .interruptible = true,
    };
    uint32_t gift = kNone;
    ParkResult result = park(r, &gift);
    if (result == ParkResult::Unparked && gift == kToken) return 0;
    if (result == ParkResult::TimedOut && passed(deadline)) return ETIMEDOUT;
    if (result == ParkResult::Interrupted) {
      thread_test_cancel();
      if (ends(mark, deadline)) return EINTR;
    }
  }
}

// glibc's protocol: announced by kWaiter, a waiter sleeps in the kernel while there is no token.
int wait_shared(Semaphore* s, const Deadline* deadline) {
  s->word.fetch_add(kWaiter, std::memory_order_relaxed);
  timespec at{};
  int op = FUTEX_WAIT_BITSET;
  if (deadline) {
    at = {deadline->at / kSecond, deadline->at % kSecond};
    if (deadline->clock == CLOCK_REALTIME) op |= FUTEX_CLOCK_REALTIME;
  }
  int error = 0;
  HandlerMark mark = handler_mark();
  for (;;) {
    uint64_t w = s->word.load(std::memory_order_relaxed);
    bool got = false;
    while (!got && (w & kTokens)) {
      got = s->word.compare_exchange_weak(w, w - 1 - kWaiter, std::memory_order_acquire, std::memory_order_relaxed);
    }
    if (got) return 0;
    auto tokens = reinterpret_cast<long>(&s->word);  // little-endian: the low half comes first
    auto until = reinterpret_cast<long>(deadline && deadline->at != kForever ? &at : nullptr);
    long r = getg() ? region_syscall(RegionClass::Long, SYS_futex, tokens, op, 0, until, 0, FUTEX_BITSET_MATCH_ANY)
                    : sys::call(SYS_futex, tokens, op, 0, until, 0, FUTEX_BITSET_MATCH_ANY);
    if (r == -ETIMEDOUT) error = ETIMEDOUT;
    else if (r == -EINTR && (cancel_pending() || ends(mark, deadline))) error = EINTR;
    if (error) break;
  }
  s->word.fetch_sub(kWaiter, std::memory_order_relaxed);
  if (error == EINTR) thread_test_cancel();
  return error;
}

}  // namespace

int semaphore_try_wait(Semaphore* s) {
  uint64_t w = s->word.load(std::memory_order_relaxed);
  while (w & kTokens) {
    // acquire: pairs with the post that added the token.
    if (s->word.compare_exchange_weak(w, w - 1, std::memory_order_acquire, std::memory_order_relaxed)) return 0;
  }
  return EAGAIN;
}

int semaphore_wait(Semaphore* s, const Deadline* deadline) {
  thread_test_cancel();
  if (GOSHIM_LIKELY(semaphore_try_wait(s) == 0)) return 0;
  CancelScope scope;
  return s->shared ? wait_shared(s, deadline) : wait_private(s, deadline);
}

int semaphore_post(Semaphore* s) {
  bool shared = s->shared != 0;
  uint64_t w = s->word.load(std::memory_order_relaxed);
  for (;;) {
    if ((w & kTokens) == kMost) return EOVERFLOW;
    if (!shared && w >= kWaiter) {
      unpark_one(s, give, s);
      return 0;
    }
    if (s->word.compare_exchange_weak(w, w + 1, std::memory_order_release, std::memory_order_relaxed)) break;
  }
  // The address alone is used from here on: the semaphore may be gone.
  if (shared && w >= kWaiter) sys::call(SYS_futex, s, FUTEX_WAKE, 1, 0, 0, 0);
  return 0;
}

}  // namespace goshim
