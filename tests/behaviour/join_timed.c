// Shows pthread_timedjoin_np and pthread_clockjoin_np: ETIMEDOUT while the thread lives, the value once it ends, both
// clocks, EINVAL for others, and that a join that timed out can be made again.
#include "check.h"

#include <stdatomic.h>

static void* wait_for_go(void* arg) {
  while (!atomic_load((atomic_int*)arg)) usleep(100);
  return arg;
}

static void* end_now(void* arg) { return arg; }

static void* join_in_time(void* arg) {
  const int self = (int)(intptr_t)arg;
  for (int round = 0; round < 5; round++) {
    pthread_t thread;
    void* result = NULL;
    atomic_int go = 0;
    CHECK_OK(pthread_create(&thread, NULL, wait_for_go, &go));
    struct timespec wall = ms_from_now(CLOCK_REALTIME, 1 + self % 3), past = ms_from_now(CLOCK_REALTIME, -1000);
    CHECK_EQ(pthread_timedjoin_np(thread, &result, &wall), ETIMEDOUT);
    CHECK_EQ(pthread_timedjoin_np(thread, &result, &past), ETIMEDOUT);
    struct timespec steady = ms_from_now(CLOCK_MONOTONIC, 1 + self % 2);
    CHECK_EQ(pthread_clockjoin_np(thread, &result, CLOCK_MONOTONIC, &steady), ETIMEDOUT);
    CHECK(now_ns(CLOCK_MONOTONIC) >= steady.tv_sec * NS_PER_S + steady.tv_nsec);
    CHECK_EQ(pthread_clockjoin_np(thread, &result, CLOCK_PROCESS_CPUTIME_ID, &steady), EINVAL);
    atomic_store(&go, 1);
    wall = ms_from_now(CLOCK_REALTIME, 60000);
    steady = ms_from_now(CLOCK_MONOTONIC, 60000);
    switch (self % 3) {
      case 0: CHECK_OK(pthread_timedjoin_np(thread, &result, &wall)); break;
      case 1: CHECK_OK(pthread_clockjoin_np(thread, &result, CLOCK_MONOTONIC, &steady)); break;
      default: CHECK_OK(pthread_timedjoin_np(thread, &result, NULL));
    }
    CHECK_EQ(result, &go);
  }
  for (int i = 0; i < 40; i++) {  // The end of the thread races with the deadline.
    pthread_t thread;
    void* result = NULL;
    CHECK_OK(pthread_create(&thread, NULL, end_now, arg));
    struct timespec soon = ns_to_timespec(now_ns(CLOCK_MONOTONIC) + i * 5000);
    const int error = pthread_clockjoin_np(thread, &result, CLOCK_MONOTONIC, &soon);
    if (error != 0) {
      CHECK_EQ(error, ETIMEDOUT);
      CHECK_OK(pthread_join(thread, &result));
    }
    CHECK_EQ(result, self);
  }
  return arg;
}

int main(void) {
  run_threads(12, join_in_time);
  return 0;
}
