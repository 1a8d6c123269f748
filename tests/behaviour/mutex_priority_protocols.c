// Shows that priority-inheritance mutexes exclude, count, time out and report errors, as do priority-ceiling
// attributes and functions.
#include "check.h"

static pthread_mutex_t mutex;
static long counter;

static void* add(void* arg) {
  for (int i = 0; i < 200; i++) {
    if (i % 4 == 0) {
      struct timespec far = ms_from_now(CLOCK_REALTIME, 60000);
      CHECK_OK(pthread_mutex_timedlock(&mutex, &far));
    } else {
      CHECK_OK(pthread_mutex_lock(&mutex));
    }
    const long before = counter;
    if (i % 16 == 0) stir((unsigned)(i / 16 + (intptr_t)arg) * 2);
    counter = before + 1;
    CHECK_OK(pthread_mutex_unlock(&mutex));
  }
  return arg;
}

static void* find_it_busy(void* arg) {
  CHECK_EQ(pthread_mutex_trylock(&mutex), EBUSY);
  struct timespec soon = ms_from_now(CLOCK_REALTIME, 2);
  CHECK_EQ(pthread_mutex_timedlock(&mutex, &soon), ETIMEDOUT);
  return arg;
}

int main(void) {
  const int types[] = {PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ERRORCHECK};
  pthread_mutexattr_t attr;
  int value = -1;
  for (int i = 0; i < 3; i++) {
    CHECK_OK(pthread_mutexattr_init(&attr));
    CHECK_OK(pthread_mutexattr_settype(&attr, types[i]));
    CHECK_OK(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT));
    CHECK_OK(pthread_mutexattr_getprotocol(&attr, &value));
    CHECK_EQ(value, PTHREAD_PRIO_INHERIT);
    CHECK_OK(pthread_mutex_init(&mutex, &attr));
    counter = 0;
    run_threads(16, add);
    CHECK_EQ(counter, 16 * 200);
    CHECK_OK(pthread_mutex_lock(&mutex));
    if (i > 0) CHECK_EQ(pthread_mutex_lock(&mutex), i == 1 ? 0 : EDEADLK);
    run_threads(3, find_it_busy);
    CHECK_OK(pthread_mutex_unlock(&mutex));
    if (i == 1) CHECK_OK(pthread_mutex_unlock(&mutex));
    if (i > 0) CHECK_EQ(pthread_mutex_unlock(&mutex), EPERM);
    CHECK_OK(pthread_mutex_destroy(&mutex));
  }
  CHECK_OK(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_PROTECT));
  CHECK_OK(pthread_mutexattr_setprioceiling(&attr, 5));
  CHECK_OK(pthread_mutexattr_getprioceiling(&attr, &value));
  CHECK_EQ(value, 5);
  CHECK_OK(pthread_mutex_init(&mutex, &attr));
  CHECK_OK(pthread_mutex_getprioceiling(&mutex, &value));
  CHECK_EQ(value, 5);
  CHECK_OK(pthread_mutex_destroy(&mutex));
  CHECK_OK(pthread_mutex_init(&mutex, NULL));
  CHECK_EQ(pthread_mutex_getprioceiling(&mutex, &value), EINVAL);
  return 0;
}
