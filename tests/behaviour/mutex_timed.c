// Shows pthread_mutex_timedlock and clocklock: a free mutex is taken whatever the deadline, a held one gives ETIMEDOUT
// not before it, at once for one that has passed, EINVAL for bad nanoseconds and clocks; released in time, it is got.
// And what negative seconds give, by the kind of mutex.
#include "check.h"

#include <stdatomic.h>

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER, handed = PTHREAD_MUTEX_INITIALIZER;
static atomic_int got;

static void* time_out(void* arg) {
  const int self = (int)(intptr_t)arg;
  for (int i = 0; i < 5; i++) {
    struct timespec wall = ms_from_now(CLOCK_REALTIME, self % 5), steady = ms_from_now(CLOCK_MONOTONIC, self % 4);
    CHECK_EQ(pthread_mutex_timedlock(&held, &wall), ETIMEDOUT);
    CHECK(now_ns(CLOCK_REALTIME) >= wall.tv_sec * NS_PER_S + wall.tv_nsec);
    CHECK_EQ(pthread_mutex_clocklock(&held, CLOCK_MONOTONIC, &steady), ETIMEDOUT);
    CHECK(now_ns(CLOCK_MONOTONIC) >= steady.tv_sec * NS_PER_S + steady.tv_nsec);
    CHECK_EQ(pthread_mutex_clocklock(&held, CLOCK_REALTIME, &wall), ETIMEDOUT);
    struct timespec epoch = {0, 0}, before = {-5, 0};
    CHECK_EQ(pthread_mutex_timedlock(&held, &epoch), ETIMEDOUT);
    CHECK_EQ(pthread_mutex_timedlock(&held, &before), ETIMEDOUT);
    struct timespec bad = wall;
    bad.tv_nsec = 1000000000;
    CHECK_EQ(pthread_mutex_timedlock(&held, &bad), EINVAL);
    bad.tv_nsec = -1;
    CHECK_EQ(pthread_mutex_timedlock(&held, &bad), EINVAL);
    CHECK_EQ(pthread_mutex_clocklock(&held, CLOCK_PROCESS_CPUTIME_ID, &wall), EINVAL);
  }
  return arg;
}

static void* get_in_time(void* arg) {
  for (int i = 0; i < 20; i++) {
    struct timespec wall = ms_from_now(CLOCK_REALTIME, 60000), steady = ms_from_now(CLOCK_MONOTONIC, 60000);
    if ((i + (intptr_t)arg) % 2 == 0) {
      CHECK_OK(pthread_mutex_timedlock(&handed, &wall));
    } else {
      CHECK_OK(pthread_mutex_clocklock(&handed, CLOCK_MONOTONIC, &steady));
    }
    CHECK_EQ(atomic_fetch_add(&got, 1), 0);
    stir((unsigned)i % 2);
    CHECK_EQ(atomic_fetch_sub(&got, 1), 1);
    CHECK_OK(pthread_mutex_unlock(&handed));
  }
  return arg;
}

// Seconds below 0 are over, before anybody looks at the nanoseconds; robust ones look there first, and the kernel,
// which keeps those that inherit priorities, refuses such a time.
static int before_the_epoch, before_and_none;

static void* try_negative(void* mutex) {
  const struct timespec before = {-1, 0}, none = {-1, -1};
  CHECK_EQ(pthread_mutex_timedlock(mutex, &before), before_the_epoch);
  CHECK_EQ(pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &before), before_the_epoch);
  CHECK_EQ(pthread_mutex_timedlock(mutex, &none), before_and_none);
  return NULL;
}

static void negative_times(int robust, int protocol, int before, int none) {
  pthread_mutexattr_t attr;
  pthread_mutex_t mutex;
  pthread_t thread;
  before_the_epoch = before;
  before_and_none = none;
  CHECK_OK(pthread_mutexattr_init(&attr));
  CHECK_OK(pthread_mutexattr_setrobust(&attr, robust));
  CHECK_OK(pthread_mutexattr_setprotocol(&attr, protocol));
  CHECK_OK(pthread_mutex_init(&mutex, &attr));
  CHECK_OK(pthread_mutex_lock(&mutex));
  CHECK_OK(pthread_create(&thread, NULL, try_negative, &mutex));
  CHECK_OK(pthread_join(thread, NULL));
  CHECK_OK(pthread_mutex_unlock(&mutex));
  CHECK_OK(pthread_mutex_destroy(&mutex));
  CHECK_OK(pthread_mutexattr_destroy(&attr));
}

int main(void) {
  struct timespec past = {0, 0};
  CHECK_OK(pthread_mutex_timedlock(&held, &past));
  run_threads(20, time_out);
  CHECK_OK(pthread_mutex_unlock(&held));
  CHECK_OK(pthread_mutex_clocklock(&held, CLOCK_MONOTONIC, &past));
  CHECK_OK(pthread_mutex_unlock(&held));
  run_threads(20, get_in_time);
  negative_times(PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE, ETIMEDOUT, ETIMEDOUT);
  negative_times(PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_NONE, ETIMEDOUT, EINVAL);
  negative_times(PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_INHERIT, EINVAL, EINVAL);
  return 0;
}
