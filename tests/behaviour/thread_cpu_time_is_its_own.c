// Shows that the CPU time of threads which take turns is told apart: each clock counts what its thread computes and
// nothing of the others, by whichever way it is read, and together they are not more than the process has used.
#include "check.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define THREADS 8

static pthread_barrier_t barrier;
static int64_t used[THREADS];

static int64_t usage_ns(void) {
  struct rusage usage;
  CHECK_SYS(getrusage(RUSAGE_THREAD, &usage));
  return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * NS_PER_S +
         (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

static void* take_turns(void* arg) {
  const int64_t goal = (1 + (intptr_t)arg % 4) * NS_PER_MS;
  const int64_t before = now_ns(CLOCK_THREAD_CPUTIME_ID);
  int64_t seen = 0;
  for (unsigned step = 0; now_ns(CLOCK_THREAD_CPUTIME_ID) < before + goal; step++) {
    compute(5000);
    stir(step);
    int64_t usage = usage_ns();
    CHECK(usage >= seen);
    seen = usage;
  }
  CHECK(usage_ns() >= goal - NS_PER_MS);
  struct timespec raw;
  CHECK_SYS(syscall(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, &raw));
  CHECK(raw.tv_sec * NS_PER_S + raw.tv_nsec >= goal);
  used[(intptr_t)arg] = now_ns(CLOCK_THREAD_CPUTIME_ID) - before;
  return arg;
}

static int stop;

static void* compute_until_told(void* arg) {
  pthread_barrier_wait(&barrier);
  while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) compute(1000);
  pthread_barrier_wait(&barrier);
  pthread_barrier_wait(&barrier);
  return arg;
}

static void read_by_others(void) {
  pthread_t thread;
  clockid_t clock = -1;
  CHECK_OK(pthread_barrier_init(&barrier, NULL, 2));
  CHECK_OK(pthread_create(&thread, NULL, compute_until_told, NULL));
  CHECK_OK(pthread_getcpuclockid(thread, &clock));
  pthread_barrier_wait(&barrier);
  struct timespec resolution = {0, 0};
  CHECK_SYS(clock_getres(clock, &resolution));
  CHECK(resolution.tv_sec == 0 && resolution.tv_nsec > 0);
  // Sleeping on its clock lasts until it has computed so much.
  const int64_t before = now_ns(clock);
  const struct timespec duration = ns_to_timespec(5 * NS_PER_MS);
  CHECK_OK(clock_nanosleep(clock, 0, &duration, NULL));
  CHECK(now_ns(clock) >= before + 5 * NS_PER_MS);
  const struct timespec then = ns_to_timespec(before + 10 * NS_PER_MS);
  CHECK_OK(clock_nanosleep(clock, TIMER_ABSTIME, &then, NULL));
  int64_t last = now_ns(clock);
  CHECK(last >= before + 10 * NS_PER_MS);
  for (int i = 0; i < 1000; i++) {
    const int64_t now = now_ns(clock);
    CHECK(now >= last);
    last = now;
    if (i % 100 == 0) usleep(100);
  }
  timer_t timer;
  struct sigevent quiet = {.sigev_notify = SIGEV_NONE};
  CHECK_SYS(timer_create(clock, &quiet, &timer));
  CHECK_SYS(timer_delete(timer));
  const struct timespec wrong = {0, 1000000000};
  CHECK_EQ(clock_nanosleep(clock, 0, &wrong, NULL), EINVAL);
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  pthread_barrier_wait(&barrier);
  // It waits now, and its clock with it.
  usleep(2000);
  const int64_t waiting = now_ns(clock);
  compute(2000000);
  CHECK(now_ns(clock) - waiting < NS_PER_MS);
  pthread_barrier_wait(&barrier);
  CHECK_OK(pthread_join(thread, NULL));
  struct timespec none;  // natively the kernel thread may still be on its way out
  EVENTUALLY(clock_gettime(clock, &none) == -1 && errno == EINVAL);
}

static void own_clock(void) {
  clockid_t own = -1;
  CHECK_OK(pthread_getcpuclockid(pthread_self(), &own));
  const int64_t before = now_ns(CLOCK_THREAD_CPUTIME_ID);
  CHECK(now_ns(own) >= before);
  const struct timespec duration = {0, 1};
  CHECK_EQ(clock_nanosleep(own, 0, &duration, NULL), EINVAL);
  CHECK_EQ(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &duration, NULL), EINVAL);
}

int main(void) {
  const int64_t process = now_ns(CLOCK_PROCESS_CPUTIME_ID);
  const int64_t own = now_ns(CLOCK_THREAD_CPUTIME_ID);
  run_threads(THREADS, take_turns);
  int64_t sum = now_ns(CLOCK_THREAD_CPUTIME_ID) - own;
  for (int i = 0; i < THREADS; i++) sum += used[i];
  CHECK(sum <= now_ns(CLOCK_PROCESS_CPUTIME_ID) - process + 5 * NS_PER_MS);
  own_clock();
  read_by_others();
  return 0;
}
