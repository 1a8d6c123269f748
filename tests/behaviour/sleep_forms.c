// Shows every way to sleep: never shorter than asked, absolute and relative, on all clocks, at once for times that
// have passed, EINVAL for bad nanoseconds and clocks, and in many threads at once; a pending cancellation comes before
// the time is looked at.
#include "check.h"

#include <threads.h>

static void* sleep_all_ways(void* arg) {
  const int64_t ns = ((intptr_t)arg % 4) * 700000 + 1;
  const struct timespec duration = {0, ns};
  const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI};
  for (int way = 0; way < 12; way++) {
    const int64_t before = now_ns(CLOCK_MONOTONIC);
    if (way == 0) {
      struct timespec left = {5, 5};
      CHECK_SYS(nanosleep(&duration, &left));
      CHECK_EQ(left.tv_sec, 5);
    } else if (way == 1) {
      CHECK_SYS(nanosleep(&duration, NULL));
    } else if (way == 2) {
      CHECK_SYS(usleep((useconds_t)(ns / 1000 + 1)));
    } else if (way == 3) {
      CHECK_EQ(thrd_sleep(&duration, NULL), 0);
    } else if (way < 8) {
      CHECK_OK(clock_nanosleep(clocks[way - 4], 0, &duration, NULL));
    } else {
      const clockid_t clock = clocks[way - 8];
      const struct timespec until = ns_to_timespec(now_ns(clock) + ns);
      CHECK_OK(clock_nanosleep(clock, TIMER_ABSTIME, &until, NULL));
      CHECK(now_ns(clock) >= until.tv_sec * NS_PER_S + until.tv_nsec);
    }
    CHECK(now_ns(CLOCK_MONOTONIC) - before >= ns);
  }
  const struct timespec past = {1, 0}, bad = {0, 1000000000}, negative = {0, -1}, before_epoch = {-1, 0}, zero = {0, 0};
  CHECK_OK(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &past, NULL));
  CHECK_OK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &zero, NULL));
  CHECK_SYS(nanosleep(&zero, NULL));
  CHECK_SYS(usleep(0));
  CHECK_EQ(sleep(0), 0);
  CHECK_ERRNO(nanosleep(&bad, NULL), EINVAL);
  CHECK_ERRNO(nanosleep(&negative, NULL), EINVAL);
  CHECK_ERRNO(nanosleep(&before_epoch, NULL), EINVAL);
  errno = 77;
  CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &bad, NULL), EINVAL);
  CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &negative, NULL), EINVAL);
  CHECK_EQ(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &duration, NULL), EINVAL);
  CHECK_EQ(clock_nanosleep(77, 0, &duration, NULL), EINVAL);
  CHECK_EQ(errno, 77);
  return arg;
}

static void* sleep_cancelled(void* arg) {
  const struct timespec bad = {0, -1}, zero = {0, 0};
  CHECK_OK(pthread_cancel(pthread_self()));
  switch ((intptr_t)arg) {
    case 0: nanosleep(&bad, NULL); break;
    case 1: nanosleep(&zero, NULL); break;
    case 2: clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &bad, NULL); break;
    case 3: clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &zero, NULL); break;
    case 4: clock_nanosleep(77, 0, &zero, NULL); break;
    case 5: thrd_sleep(&bad, NULL); break;
    case 6:
      CHECK_EQ(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &zero, NULL), EINVAL);  // libc refuses it before
      pthread_testcancel();
      break;
    default: usleep(0);
  }
  CHECK_OK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL));  // writing is a point, too
  check_fail(__FILE__, __LINE__, "way %d: not cancelled", (int)(intptr_t)arg);
}

int main(void) {
  sleep_all_ways((void*)1);
  run_threads(40, sleep_all_ways);
  for (intptr_t way = 0; way < 8; way++) {
    pthread_t thread;
    void* result;
    CHECK_OK(pthread_create(&thread, NULL, sleep_cancelled, (void*)way));
    CHECK_OK(pthread_join(thread, &result));
    CHECK(result == PTHREAD_CANCELED);
  }
  return 0;
}
