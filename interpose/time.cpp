// Sleeping: on the runtime's timers, no kernel thread waits.
#include "interpose/calls.h"
#include "interpose/times.h"
#include "park/park.h"
#include "thread/signal.h"

using namespace goshim;

namespace {

timespec timespec_of(Nanos t) { return {t / kSecond, t % kSecond}; }

// Sleeps until then; what only the runtime interrupts sleeps on. 0 or -EINTR. A cancellation point.
int sleep_until(const Deadline& then) {
  thread_test_cancel();
  chaos();
  HandlerMark mark = handler_mark();
  while (!then.passed()) {
    if (park_sleep(then.monotonic(), true)) continue;  // CLOCK_REALTIME may have been set back meanwhile
    thread_test_cancel();
    if (handlers_ran(mark)) return -EINTR;
  }
  return 0;
}

// The same for a while; what is left of it, 0 if nothing.
Nanos sleep_for(Nanos duration) {
  if (duration == 0) {  // natively a trip through the kernel's scheduler
    thread_test_cancel();
    yield();
    return 0;
  }
  Deadline end{CLOCK_MONOTONIC, deadline_in(duration)};
  if (sleep_until(end) == 0) return 0;
  Nanos left = end.at - sys::nanotime();
  return left > 0 ? left : 1;
}

// An error number.
int sleep_on_clock(clockid_t clock, int flags, const timespec* duration, timespec* rest) {
  if (clock == CLOCK_THREAD_CPUTIME_ID) return EINVAL;
  if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME && clock != CLOCK_TAI) {
    return static_cast<int>(-blocking_call(RegionClass::Long, OnHandler::Fail, SYS_clock_nanosleep, clock, flags,
                                           word(duration), word(rest)));
  }
  if (!valid_duration(duration)) return EINVAL;
  if (flags & TIMER_ABSTIME) return -sleep_until({clock, nanos_of(duration)});
  Nanos left = sleep_for(nanos_of(duration));
  if (left == 0) return 0;
  if (rest) *rest = timespec_of(left);
  return EINTR;
}

}  // namespace

GOSHIM_EXPORT int clock_nanosleep(clockid_t clock, int flags, const timespec* duration, timespec* rest) {
  if (!on_g()) return REAL(clock_nanosleep)(clock, flags, duration, rest);
  return sleep_on_clock(clock, flags, duration, rest);
}

GOSHIM_EXPORT int nanosleep(const timespec* duration, timespec* rest) {
  if (!on_g()) return REAL(nanosleep)(duration, rest);
  return static_cast<int>(answer(-sleep_on_clock(CLOCK_MONOTONIC, 0, duration, rest)));
}

GOSHIM_EXPORT int __nanosleep(const timespec* duration, timespec* rest) { return nanosleep(duration, rest); }

GOSHIM_EXPORT int usleep(useconds_t duration) {
  timespec ts = timespec_of(duration * kMicrosecond);
  return nanosleep(&ts, nullptr);
}

GOSHIM_EXPORT unsigned sleep(unsigned duration) {
  timespec ts{duration, 0};
  if (nanosleep(&ts, &ts) == 0) return 0;
  return static_cast<unsigned>(ts.tv_sec);
}

GOSHIM_EXPORT int thrd_sleep(const timespec* duration, timespec* rest) {
  if (!on_g()) return REAL(thrd_sleep)(duration, rest);
  switch (sleep_on_clock(CLOCK_REALTIME, 0, duration, rest)) {
    case 0: return 0;
    case EINTR: return -1;
    default: return -2;
  }
}
