// Sleeping: on the runtime's timers, no kernel thread waits. Clocks: those of the CPU time of threads.
#include "interpose/calls.h"
#include "interpose/init.h"
#include "interpose/times.h"
#include "park/park.h"
#include "sched/cputime.h"
#include "sched/user_memory.h"
#include "thread/life.h"
#include "thread/signal.h"

using namespace goshim;

namespace {

timespec timespec_of(Nanos t) { return {t / kSecond, t % kSecond}; }

// Sleeps until then; what only the runtime interrupts sleeps on. 0 or -EINTR. A cancellation comes while it waits.
int sleep_until(const Deadline& then) {
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
    yield();
    return 0;
  }
  Deadline end{CLOCK_MONOTONIC, deadline_in(duration)};
  if (sleep_until(end) == 0) return 0;
  Nanos left = end.at - sys::nanotime();
  return left > 0 ? left : 1;
}

// The thread of goshim whose CPU time a clock tells, else null.
G* g_of_clock(clockid_t clock) {
  if (!runtime_running()) return nullptr;
  if (clock == CLOCK_THREAD_CPUTIME_ID) return getg();
  return is_cpu_clock(clock) ? signal_g_of_tid(cpu_clock_tid(clock)) : nullptr;
}

// Sleeps until g has used so much CPU time: it cannot do that in less time than that. 0 or -EINTR.
int sleep_until_used(G* g, Nanos target) {
  for (;;) {
    Nanos left = target - g_cpu_time(g);
    if (left <= 0) return 0;
    if (sleep_until({CLOCK_MONOTONIC, deadline_in(left > kMillisecond ? left : kMillisecond)}) != 0) return -EINTR;
  }
}

// An error number.
int sleep_on_cpu_clock(G* g, int flags, const timespec* duration, timespec* rest) {
  if (g == getg() || !valid_duration(duration)) return EINVAL;
  bool absolute = (flags & TIMER_ABSTIME) != 0;
  Nanos target = absolute ? nanos_of(duration) : g_cpu_time(g) + nanos_of(duration);
  if (sleep_until_used(g, target) == 0) return 0;
  if (rest && !absolute) {
    Nanos left = target - g_cpu_time(g);
    *rest = timespec_of(left > 0 ? left : 1);
  }
  return EINTR;
}

// An error number. A cancellation point whatever the time is, as the kernel is asked behind one.
int sleep_on_clock(clockid_t clock, int flags, const timespec* duration, timespec* rest) {
  if (clock == CLOCK_THREAD_CPUTIME_ID) return EINVAL;
  thread_test_cancel();
  if (G* g = is_cpu_clock(clock) ? g_of_clock(clock) : nullptr) return sleep_on_cpu_clock(g, flags, duration, rest);
  if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME && clock != CLOCK_TAI) {
    return static_cast<int>(-blocking_call(RegionClass::Long, OnHandler::Fail, SYS_clock_nanosleep, clock, flags,
                                           word(duration), word(rest)));
  }
  if (!user_readable(duration, sizeof *duration)) return EFAULT;
  if (!valid_duration(duration)) return EINVAL;
  if (flags & TIMER_ABSTIME) return -sleep_until({clock, nanos_of(duration)});
  Nanos left = sleep_for(nanos_of(duration));
  if (left == 0) return 0;
  if (rest && !user_writable(rest, sizeof *rest)) return EFAULT;
  if (rest) *rest = timespec_of(left);
  return EINTR;
}

}  // namespace

GOSHIM_EXPORT int clock_gettime(clockid_t clock, timespec* now) {
  if (GOSHIM_LIKELY(clock >= 0 && clock != CLOCK_THREAD_CPUTIME_ID)) return REAL(clock_gettime)(clock, now);
  G* g = g_of_clock(clock);
  if (!g) return REAL(clock_gettime)(clock, now);
  *now = timespec_of(g_cpu_time(g));
  return 0;
}

// What is the same for every thread: any clock of one that lives will do.
static clockid_t some_clock(clockid_t clock) { return g_of_clock(clock) ? CLOCK_THREAD_CPUTIME_ID : clock; }

GOSHIM_EXPORT int clock_getres(clockid_t clock, timespec* resolution) {
  return REAL(clock_getres)(some_clock(clock), resolution);
}

GOSHIM_EXPORT int clock_settime(clockid_t clock, const timespec* now) {
  return REAL(clock_settime)(is_cpu_clock(clock) && g_of_clock(clock) ? cpu_clock(0) : clock, now);
}

GOSHIM_EXPORT int getrusage(__rusage_who_t who, rusage* usage) {
  if (who != RUSAGE_THREAD || !on_g()) return REAL(getrusage)(who, usage);
  g_usage(usage);
  return 0;
}

GOSHIM_EXPORT int pthread_getcpuclockid(pthread_t t, clockid_t* clock) {
  G* g = runtime_running() ? g_of(t) : nullptr;
  if (!g) return REAL(pthread_getcpuclockid)(t, clock);
  if (thread_has_ended(g)) return ESRCH;
  cpu_accounts_open();
  *clock = cpu_clock(tls_of(g)->tid);
  return 0;
}

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
