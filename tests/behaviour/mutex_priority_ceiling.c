// Shows priority-ceiling mutexes: who holds some has the highest of their ceilings as its priority, and its own again
// afterwards; who is above a ceiling may not lock; a thread without a priority cannot be raised.
#include "check.h"

static pthread_mutex_t low, middle, high;

static void init(pthread_mutex_t* mutex, int ceiling) {
  pthread_mutexattr_t attr;
  CHECK_OK(pthread_mutexattr_init(&attr));
  CHECK_OK(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_PROTECT));
  CHECK_OK(pthread_mutexattr_setprioceiling(&attr, ceiling));
  CHECK_OK(pthread_mutex_init(mutex, &attr));
  CHECK_OK(pthread_mutexattr_destroy(&attr));
}

// What the thread was given, and what the kernel schedules it by.
static void check_priority(int own, int raised) {
  int policy = -1;
  struct sched_param param;
  CHECK_OK(pthread_getschedparam(pthread_self(), &policy, &param));
  CHECK_EQ(policy, SCHED_FIFO);
  CHECK_EQ(param.sched_priority, own);
  CHECK_SYS(sched_getparam(0, &param));
  CHECK_EQ(param.sched_priority, raised);
}

static void* lock_with_a_priority(void* arg) {
  const struct sched_param four = {.sched_priority = 4}, eight = {.sched_priority = 8};
  struct timespec soon = ms_from_now(CLOCK_REALTIME, 2);
  CHECK_OK(pthread_setschedparam(pthread_self(), SCHED_FIFO, &four));
  check_priority(4, 4);
  CHECK_OK(pthread_mutex_lock(&middle));
  check_priority(4, 6);
  CHECK_OK(pthread_mutex_trylock(&high));
  check_priority(4, 9);
  CHECK_OK(pthread_mutex_timedlock(&low, &soon));
  check_priority(4, 9);
  CHECK_OK(pthread_mutex_unlock(&high));
  check_priority(4, 6);
  CHECK_OK(pthread_mutex_unlock(&middle));
  check_priority(4, 5);
  CHECK_OK(pthread_mutex_unlock(&low));
  check_priority(4, 4);
  int old = -1;
  CHECK_OK(pthread_mutex_setprioceiling(&middle, 7, &old));
  CHECK_EQ(old, 6);
  CHECK_OK(pthread_mutex_lock(&middle));
  check_priority(4, 7);
  CHECK_OK(pthread_setschedparam(pthread_self(), SCHED_FIFO, &eight));
  check_priority(8, 8);
  CHECK_OK(pthread_mutex_unlock(&middle));
  check_priority(8, 8);
  CHECK_EQ(pthread_mutex_lock(&low), EINVAL);
  CHECK_EQ(pthread_mutex_trylock(&low), EINVAL);
  check_priority(8, 8);
  CHECK_OK(pthread_mutex_setprioceiling(&middle, 6, &old));
  const struct sched_param none = {.sched_priority = 0};
  CHECK_OK(pthread_setschedparam(pthread_self(), SCHED_OTHER, &none));
  CHECK_EQ(pthread_mutex_lock(&low), EINVAL);
  return arg;
}

// Made anew while it is locked: a mistake, but threads and locks go on.
static void* make_anew_while_locked(void* arg) {
  const struct sched_param four = {.sched_priority = 4};
  CHECK_OK(pthread_setschedparam(pthread_self(), SCHED_FIFO, &four));
  CHECK_OK(pthread_mutex_lock(&high));
  init(&high, 9);
  CHECK_OK(pthread_mutex_lock(&high));
  CHECK_OK(pthread_mutex_unlock(&high));
  return arg;
}

int main(void) {
  const struct sched_param four = {.sched_priority = 4};
  const struct sched_param none = {.sched_priority = 0};
  const int error = pthread_setschedparam(pthread_self(), SCHED_FIFO, &four);
  if (error == EPERM) SKIP("no right to real-time priorities");
  CHECK_OK(error);
  CHECK_OK(pthread_setschedparam(pthread_self(), SCHED_OTHER, &none));
  init(&low, 5);
  init(&middle, 6);
  init(&high, 9);
  lock_with_a_priority(NULL);
  run_threads(1, lock_with_a_priority);
  run_threads(1, make_anew_while_locked);
  pthread_t thread;
  CHECK_OK(pthread_create(&thread, NULL, lock_with_a_priority, NULL));
  CHECK_OK(pthread_join(thread, NULL));
  return 0;
}
