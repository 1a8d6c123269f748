// Shows that CPU time belongs to threads: it grows by what a thread computes, hardly while it sleeps, never runs
// backwards over switches, and others can read it by pthread_getcpuclockid; scheduling parameters can be asked.
#include "check.h"

#include <sys/resource.h>

static pthread_barrier_t barrier;

static void* measure(void* arg) {
  clockid_t clock = -1;
  CHECK_OK(pthread_getcpuclockid(pthread_self(), &clock));
  int64_t last = 0;
  for (unsigned step = 0; step < 60; step++) {
    stir(step + (unsigned)(intptr_t)arg);
    const int64_t now = now_ns(CLOCK_THREAD_CPUTIME_ID);
    CHECK(now >= last);
    last = now_ns(clock);
    CHECK(last >= now);
  }
  const int64_t before = now_ns(CLOCK_THREAD_CPUTIME_ID);
  while (now_ns(CLOCK_THREAD_CPUTIME_ID) < before + 3 * NS_PER_MS) compute(10000);
  const int64_t asleep = now_ns(CLOCK_THREAD_CPUTIME_ID);
  sleep_ms(20);
  CHECK(now_ns(CLOCK_THREAD_CPUTIME_ID) - asleep < 10 * NS_PER_MS);
  struct rusage usage;
  CHECK_SYS(getrusage(RUSAGE_THREAD, &usage));
  CHECK(now_ns(CLOCK_THREAD_CPUTIME_ID) < 5 * NS_PER_S);
  int policy = -1;
  struct sched_param param = {.sched_priority = -1};
  CHECK_OK(pthread_getschedparam(pthread_self(), &policy, &param));
  CHECK_EQ(policy, SCHED_OTHER);
  CHECK_EQ(param.sched_priority, 0);
  CHECK_EQ(sched_getscheduler(0), SCHED_OTHER);
  CHECK_OK(pthread_setschedparam(pthread_self(), SCHED_OTHER, &param));
  CHECK_EQ(pthread_setschedparam(pthread_self(), 77, &param), EINVAL);
  return arg;
}

static void* wait_for_reader(void* arg) {
  const int64_t before = now_ns(CLOCK_THREAD_CPUTIME_ID);
  while (now_ns(CLOCK_THREAD_CPUTIME_ID) < before + 2 * NS_PER_MS) compute(10000);
  pthread_barrier_wait(&barrier);
  pthread_barrier_wait(&barrier);
  return arg;
}

int main(void) {
  run_threads(16, measure);
  pthread_t thread;
  clockid_t clock = -1;
  CHECK_OK(pthread_barrier_init(&barrier, NULL, 2));
  CHECK_OK(pthread_create(&thread, NULL, wait_for_reader, NULL));
  pthread_barrier_wait(&barrier);
  CHECK_OK(pthread_getcpuclockid(thread, &clock));
  CHECK(now_ns(clock) >= 2 * NS_PER_MS);
  CHECK(now_ns(CLOCK_PROCESS_CPUTIME_ID) >= 16 * 3 * NS_PER_MS);
  pthread_barrier_wait(&barrier);
  CHECK_OK(pthread_join(thread, NULL));
  return 0;
}
