// Shows unnamed semaphores: counts, EAGAIN, EOVERFLOW, EINVAL and ETIMEDOUT as glibc gives them, timed waits on both
// clocks, and posts and waits of many threads that add up.
#include "check.h"

#include <limits.h>
#include <semaphore.h>
#include <stdatomic.h>

static sem_t empty, units;
static atomic_int taken;

static void* time_out(void* arg) {
  for (int i = 0; i < 5; i++) {
    struct timespec wall = ms_from_now(CLOCK_REALTIME, i % 3), steady = ms_from_now(CLOCK_MONOTONIC, i % 3);
    CHECK_ERRNO(sem_timedwait(&empty, &wall), ETIMEDOUT);
    CHECK(now_ns(CLOCK_REALTIME) >= wall.tv_sec * NS_PER_S + wall.tv_nsec);
    CHECK_ERRNO(sem_clockwait(&empty, CLOCK_MONOTONIC, &steady), ETIMEDOUT);
    CHECK(now_ns(CLOCK_MONOTONIC) >= steady.tv_sec * NS_PER_S + steady.tv_nsec);
    struct timespec past = {0, 0}, bad = {wall.tv_sec + 100, 1000000000};
    CHECK_ERRNO(sem_timedwait(&empty, &past), ETIMEDOUT);
    CHECK_ERRNO(sem_timedwait(&empty, &bad), EINVAL);
    CHECK_ERRNO(sem_clockwait(&empty, CLOCK_PROCESS_CPUTIME_ID, &wall), EINVAL);
    CHECK_ERRNO(sem_trywait(&empty), EAGAIN);
  }
  return arg;
}

static void* produce_and_consume(void* arg) {
  struct timespec far;
  for (unsigned i = 0; i < 300; i++) {
    if ((intptr_t)arg % 2 == 0) {
      CHECK_SYS(sem_post(&units));
    } else {
      switch (i % 3) {
        case 0: CHECK_SYS(sem_wait(&units)); break;
        case 1:
          far = ms_from_now(CLOCK_REALTIME, 60000);
          CHECK_SYS(sem_timedwait(&units, &far));
          break;
        default:
          while (sem_trywait(&units) == -1) {
            CHECK_EQ(errno, EAGAIN);
            sched_yield();
          }
      }
      atomic_fetch_add(&taken, 1);
    }
    if (i % 32 == 0) stir(i / 32 + (unsigned)(intptr_t)arg);
  }
  return arg;
}

int main(void) {
  sem_t sem;
  int value = -1;
  CHECK_ERRNO(sem_init(&sem, 0, (unsigned)SEM_VALUE_MAX + 1), EINVAL);
  CHECK_SYS(sem_init(&sem, 0, SEM_VALUE_MAX));
  CHECK_ERRNO(sem_post(&sem), EOVERFLOW);
  CHECK_SYS(sem_getvalue(&sem, &value));
  CHECK_EQ(value, SEM_VALUE_MAX);
  CHECK_SYS(sem_wait(&sem));
  CHECK_SYS(sem_post(&sem));
  CHECK_SYS(sem_destroy(&sem));

  memset(&sem, 0xff, sizeof sem);
  CHECK_SYS(sem_init(&sem, 0, 2));
  CHECK_SYS(sem_trywait(&sem));
  struct timespec past = {0, 0};
  CHECK_SYS(sem_timedwait(&sem, &past));
  CHECK_SYS(sem_getvalue(&sem, &value));
  CHECK_EQ(value, 0);
  CHECK_ERRNO(sem_trywait(&sem), EAGAIN);

  CHECK_SYS(sem_init(&empty, 0, 0));
  run_threads(12, time_out);
  CHECK_SYS(sem_init(&units, 0, 0));
  run_threads(30, produce_and_consume);
  CHECK_EQ(atomic_load(&taken), 15 * 300);
  CHECK_SYS(sem_getvalue(&units, &value));
  CHECK_EQ(value, 0);
  return 0;
}
