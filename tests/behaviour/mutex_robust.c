// Shows robust mutexes: the next locker gets EOWNERDEAD when the owner ended with the mutex held, state made
// consistent is usable, state left inconsistent is not recoverable; waiters blocked at the time are told too.
#include "check.h"

#include <stdatomic.h>

static pthread_mutex_t* mutex;

static atomic_int locked;

static void* die_with_it(void* arg) {
  CHECK_OK(pthread_mutex_lock(mutex));
  atomic_store(&locked, 1);
  stir(3);
  usleep(500);
  return arg;
}

static void* inherit(void* arg) {
  CHECK_EQ(pthread_mutex_lock(mutex), EOWNERDEAD);
  CHECK_OK(pthread_mutex_consistent(mutex));
  CHECK_OK(pthread_mutex_unlock(mutex));
  CHECK_OK(pthread_mutex_lock(mutex));
  CHECK_OK(pthread_mutex_unlock(mutex));
  return arg;
}

static void check_type(int type, int protocol) {
  pthread_mutexattr_t attr;
  pthread_mutex_t object;
  pthread_t owner, heir;
  int robust = -1;
  mutex = &object;
  CHECK_OK(pthread_mutexattr_init(&attr));
  CHECK_OK(pthread_mutexattr_settype(&attr, type));
  CHECK_OK(pthread_mutexattr_setprotocol(&attr, protocol));
  CHECK_OK(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST));
  CHECK_OK(pthread_mutexattr_getrobust(&attr, &robust));
  CHECK_EQ(robust, PTHREAD_MUTEX_ROBUST);
  CHECK_OK(pthread_mutex_init(mutex, &attr));
  for (int i = 0; i < 5; i++) {
    CHECK_OK(pthread_create(&owner, NULL, die_with_it, NULL));
    CHECK_OK(pthread_join(owner, NULL));
    CHECK_OK(pthread_create(&heir, NULL, inherit, NULL));
    CHECK_OK(pthread_join(heir, NULL));
  }
  CHECK_EQ(pthread_mutex_consistent(mutex), EINVAL);

  atomic_store(&locked, 0);
  CHECK_OK(pthread_create(&owner, NULL, die_with_it, NULL));
  EVENTUALLY(atomic_load(&locked));
  CHECK_EQ(pthread_mutex_lock(mutex), EOWNERDEAD);  // Mostly blocks until the end.
  CHECK_OK(pthread_join(owner, NULL));
  CHECK_OK(pthread_mutex_unlock(mutex));  // Not made consistent.
  CHECK_EQ(pthread_mutex_lock(mutex), ENOTRECOVERABLE);
  struct timespec far = ms_from_now(CLOCK_REALTIME, 60000);
  CHECK_EQ(pthread_mutex_timedlock(mutex, &far), ENOTRECOVERABLE);
  CHECK_EQ(pthread_mutex_trylock(mutex), ENOTRECOVERABLE);  // Last: glibc's leaves it locked.
  CHECK_OK(pthread_mutex_destroy(mutex));
  CHECK_OK(pthread_mutex_init(mutex, &attr));
  CHECK_OK(pthread_mutex_lock(mutex));
  CHECK_OK(pthread_mutex_unlock(mutex));
  CHECK_OK(pthread_mutex_destroy(mutex));
  CHECK_OK(pthread_mutexattr_destroy(&attr));
}

int main(void) {
  check_type(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE);
  check_type(PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_NONE);
  check_type(PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE);
  check_type(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT);
  return 0;
}
