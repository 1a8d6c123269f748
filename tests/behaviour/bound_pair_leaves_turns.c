// Shows that two threads bound to processors, which hand each other the turn all the time, do not keep others from
// running, on one processor neither: one that computes, one that yields, one that sleeps, one that reads.
#include "check.h"

#include <semaphore.h>

static sem_t turn[2];
static volatile int stop;
static volatile long computed, yielded, slept, received;
static int channel[2];

static void* player(void* arg) {
  intptr_t me = (intptr_t)arg;
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(sched_getcpu(), &cpus);
  CHECK_OK(pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus));
  while (!stop) {
    CHECK_SYS(sem_wait(&turn[me]));
    CHECK_SYS(sem_post(&turn[1 - me]));
  }
  return arg;
}

static void* other(void* arg) {
  while (!stop) {
    char byte = 'x';
    switch ((intptr_t)arg) {
      case 2:
        compute(1000);
        computed++;
        break;
      case 3:
        sched_yield();
        yielded++;
        break;
      case 4:
        sleep_ms(1);
        slept++;
        CHECK_EQ(write(channel[1], &byte, 1), 1);
        break;
      default: CHECK_EQ(read(channel[0], &byte, 1), 1); received++;
    }
  }
  return arg;
}

static void* computes_for_long(void* arg) {
  for (int i = 0; i < 300; i++) compute(1000000);
  return arg;
}

static void* routine(void* arg) { return (intptr_t)arg < 2 ? player(arg) : other(arg); }

int main(void) {
  enum { kThreads = 6 };
  pthread_t threads[kThreads];
  CHECK_SYS(pipe(channel));
  CHECK_SYS(sem_init(&turn[0], 0, 1));
  CHECK_SYS(sem_init(&turn[1], 0, 0));
  for (intptr_t i = 0; i < 2; i++) CHECK_OK(pthread_create(&threads[i], NULL, routine, (void*)i));
  // Nobody else wakes meanwhile: a timer or a byte that comes in would help.
  pthread_t alone;
  CHECK_OK(pthread_create(&alone, NULL, computes_for_long, NULL));
  CHECK_OK(pthread_join(alone, NULL));
  for (intptr_t i = 2; i < kThreads; i++) CHECK_OK(pthread_create(&threads[i], NULL, routine, (void*)i));
  for (int i = 0; i < 20; i++) {
    long seen[4] = {computed, yielded, slept, received};
    EVENTUALLY(computed > seen[0] + 100 && yielded > seen[1] && slept > seen[2] && received > seen[3]);
  }
  stop = 1;
  for (int i = 0; i < 2; i++) CHECK_SYS(sem_post(&turn[i]));
  CHECK_EQ(write(channel[1], "x", 1), 1);
  for (intptr_t i = 0; i < kThreads; i++) {
    void* result;
    CHECK_OK(pthread_join(threads[i], &result));
    CHECK_EQ(result, i);
  }
  return 0;
}
