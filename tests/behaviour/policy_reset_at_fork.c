// Shows that a main thread whose policy is reset at a fork, before there is another thread, keeps it as threads are
// made and run, while these have none of it; in a child of a fork, too.
#include "check.h"

#include <sys/resource.h>

#ifndef SCHED_RESET_ON_FORK
#define SCHED_RESET_ON_FORK 0x40000000
#endif

static int wanted_nice;

static void* has_nothing_of_it(void* arg) {
  for (unsigned i = 0; i < 100; i++) {
    CHECK_EQ(sched_getscheduler(0), (intptr_t)arg);
    CHECK_EQ(getpriority(PRIO_PROCESS, 0), wanted_nice);
    stir(i);
  }
  return NULL;
}

static void keeps(int policy, int of_threads) {
  const int nice_before = getpriority(PRIO_PROCESS, 0);
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) {
    CHECK_OK(pthread_create(&threads[i], NULL, has_nothing_of_it, (void*)(intptr_t)of_threads));
  }
  for (int i = 0; i < 4; i++) {
    CHECK_EQ(sched_getscheduler(0), policy | SCHED_RESET_ON_FORK);
    CHECK_OK(pthread_join(threads[i], NULL));
    CHECK_EQ(sched_getscheduler(0), policy | SCHED_RESET_ON_FORK);
    CHECK_EQ(getpriority(PRIO_PROCESS, 0), nice_before);
  }
}

static void in_child(int policy, int priority, int of_threads) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    const struct sched_param param = {.sched_priority = priority};
    if (sched_setscheduler(0, policy | SCHED_RESET_ON_FORK, &param) == -1) _exit(SKIP_STATUS);
    if (priority) wanted_nice = 0;
    keeps(policy, of_threads);
    _exit(0);
  }
  const int status = wait_status(child);
  CHECK(status == 0 || status == SKIP_STATUS);
}

int main(void) {
  wanted_nice = getpriority(PRIO_PROCESS, 0);
  if (wanted_nice < 0) SKIP("needs a nice value that a fork does not reset");
  in_child(SCHED_BATCH, 0, SCHED_BATCH);
  in_child(SCHED_FIFO, 5, SCHED_OTHER);
  const struct sched_param param = {0};
  CHECK_SYS(sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &param));
  keeps(SCHED_BATCH, SCHED_BATCH);
  in_child(SCHED_FIFO, 5, SCHED_OTHER);
  // Without it main is as the others again.
  CHECK_SYS(sched_setscheduler(0, SCHED_BATCH, &param));
  pthread_t thread;
  CHECK_OK(pthread_create(&thread, NULL, has_nothing_of_it, (void*)(intptr_t)SCHED_BATCH));
  CHECK_OK(pthread_join(thread, NULL));
  return 0;
}
