// Shows timed waits on condition variables: both clocks by attribute and by clockwait, ETIMEDOUT not before its time
// and with the mutex held again, at once for a deadline that has passed, EINVAL for bad nanoseconds and clocks.
#include "check.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wall_cond = PTHREAD_COND_INITIALIZER, steady_cond;
static int inside;

static void check_held(void) {
  CHECK_EQ(pthread_mutex_trylock(&mutex), EBUSY);
  CHECK_EQ(inside++, 0);
  sched_yield();
  CHECK_EQ(--inside, 0);
}

static void* time_out(void* arg) {
  const int ms = (int)(intptr_t)arg % 4;
  for (int i = 0; i < 4; i++) {
    CHECK_OK(pthread_mutex_lock(&mutex));
    struct timespec wall = ms_from_now(CLOCK_REALTIME, ms);
    CHECK_EQ(pthread_cond_timedwait(&wall_cond, &mutex, &wall), ETIMEDOUT);
    CHECK(now_ns(CLOCK_REALTIME) >= wall.tv_sec * NS_PER_S + wall.tv_nsec);
    check_held();
    struct timespec steady = ms_from_now(CLOCK_MONOTONIC, ms);
    CHECK_EQ(pthread_cond_timedwait(&steady_cond, &mutex, &steady), ETIMEDOUT);
    CHECK(now_ns(CLOCK_MONOTONIC) >= steady.tv_sec * NS_PER_S + steady.tv_nsec);
    check_held();
    steady = ms_from_now(CLOCK_MONOTONIC, ms);
    CHECK_EQ(pthread_cond_clockwait(&wall_cond, &mutex, CLOCK_MONOTONIC, &steady), ETIMEDOUT);
    CHECK(now_ns(CLOCK_MONOTONIC) >= steady.tv_sec * NS_PER_S + steady.tv_nsec);
    check_held();
    struct timespec past = ms_from_now(CLOCK_REALTIME, -1000), epoch = {0, 0}, before = {-1, 0};
    CHECK_EQ(pthread_cond_timedwait(&wall_cond, &mutex, &past), ETIMEDOUT);
    CHECK_EQ(pthread_cond_timedwait(&wall_cond, &mutex, &epoch), ETIMEDOUT);
    CHECK_EQ(pthread_cond_timedwait(&steady_cond, &mutex, &before), ETIMEDOUT);
    check_held();
    struct timespec bad = {wall.tv_sec + 100, 1000000000};
    CHECK_EQ(pthread_cond_timedwait(&wall_cond, &mutex, &bad), EINVAL);
    bad.tv_nsec = -1;
    CHECK_EQ(pthread_cond_clockwait(&wall_cond, &mutex, CLOCK_REALTIME, &bad), EINVAL);
    CHECK_EQ(pthread_cond_clockwait(&wall_cond, &mutex, CLOCK_PROCESS_CPUTIME_ID, &wall), EINVAL);
    check_held();
    CHECK_OK(pthread_mutex_unlock(&mutex));
  }
  return arg;
}

static pthread_mutex_t baton_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t baton_cond = PTHREAD_COND_INITIALIZER;
static int baton;

// Signals race with deadlines of a few microseconds; nothing may be lost when the last signal meets a time-out.
static void* pass_baton(void* arg) {
  const int self = (int)(intptr_t)arg;
  for (int i = 0; i < 300; i++) {
    CHECK_OK(pthread_mutex_lock(&baton_mutex));
    while (baton % 4 != self) {
      struct timespec soon = ns_to_timespec(now_ns(CLOCK_REALTIME) + (i * 37 + self * 11) % 200 * 1000);
      struct timespec far = ms_from_now(CLOCK_REALTIME, 60000);
      const int error = pthread_cond_timedwait(&baton_cond, &baton_mutex, i % 3 == 0 ? &far : &soon);
      CHECK(error == 0 || (error == ETIMEDOUT && i % 3 != 0));
    }
    baton++;
    CHECK_OK(pthread_cond_broadcast(&baton_cond));
    CHECK_OK(pthread_mutex_unlock(&baton_mutex));
  }
  return arg;
}

int main(void) {
  pthread_condattr_t attr;
  clockid_t clock = -1;
  int shared = -1;
  CHECK_OK(pthread_condattr_init(&attr));
  CHECK_OK(pthread_condattr_getclock(&attr, &clock));
  CHECK_EQ(clock, CLOCK_REALTIME);
  CHECK_EQ(pthread_condattr_setclock(&attr, CLOCK_PROCESS_CPUTIME_ID), EINVAL);
  CHECK_OK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
  CHECK_OK(pthread_condattr_getclock(&attr, &clock));
  CHECK_EQ(clock, CLOCK_MONOTONIC);
  CHECK_OK(pthread_condattr_getpshared(&attr, &shared));
  CHECK_EQ(shared, PTHREAD_PROCESS_PRIVATE);
  CHECK_EQ(pthread_condattr_setpshared(&attr, 77), EINVAL);
  CHECK_OK(pthread_cond_init(&steady_cond, &attr));
  CHECK_OK(pthread_condattr_destroy(&attr));
  run_threads(16, time_out);
  run_threads(4, pass_baton);
  CHECK_EQ(baton, 1200);

  pthread_mutex_t checked = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
  struct timespec soon = ms_from_now(CLOCK_REALTIME, 5);
  CHECK_EQ(pthread_cond_timedwait(&wall_cond, &checked, &soon), EPERM);  // Not its owner.
  CHECK_OK(pthread_cond_destroy(&wall_cond));
  CHECK_OK(pthread_cond_destroy(&steady_cond));
  return 0;
}
