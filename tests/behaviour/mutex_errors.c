// Shows what the mutex functions return for each type: EDEADLK and EPERM of errorcheck, the recursive count, EBUSY of
// trylock and destroy, the attribute functions, the static initialisers; all with threads that move in between.
#include "check.h"

struct probe {
  pthread_mutex_t* mutex;
  int trylock, unlock;  // What another thread gets; -1: not asked.
};

static void* as_other(void* arg) {
  const struct probe* probe = arg;
  stir(1);
  CHECK_EQ(pthread_mutex_trylock(probe->mutex), probe->trylock);
  if (probe->trylock == 0) CHECK_OK(pthread_mutex_unlock(probe->mutex));
  if (probe->unlock >= 0) CHECK_EQ(pthread_mutex_unlock(probe->mutex), probe->unlock);
  return arg;
}

static void ask_other(pthread_mutex_t* mutex, int trylock, int unlock) {
  struct probe probe = {mutex, trylock, unlock};
  pthread_t thread;
  CHECK_OK(pthread_create(&thread, NULL, as_other, &probe));
  CHECK_OK(pthread_join(thread, NULL));
}

static void check_normal(pthread_mutex_t* mutex) {
  CHECK_OK(pthread_mutex_lock(mutex));
  CHECK_EQ(pthread_mutex_trylock(mutex), EBUSY);
  ask_other(mutex, EBUSY, -1);
  struct timespec soon = ms_from_now(CLOCK_REALTIME, 2);
  CHECK_EQ(pthread_mutex_timedlock(mutex, &soon), ETIMEDOUT);
  CHECK_EQ(pthread_mutex_destroy(mutex), EBUSY);
  CHECK_OK(pthread_mutex_unlock(mutex));
  ask_other(mutex, 0, -1);
  CHECK_OK(pthread_mutex_destroy(mutex));
}

static void check_errorcheck(pthread_mutex_t* mutex) {
  CHECK_EQ(pthread_mutex_unlock(mutex), EPERM);
  CHECK_OK(pthread_mutex_lock(mutex));
  stir(1);
  CHECK_EQ(pthread_mutex_lock(mutex), EDEADLK);
  struct timespec far = ms_from_now(CLOCK_REALTIME, 60000);
  CHECK_EQ(pthread_mutex_timedlock(mutex, &far), EDEADLK);
  CHECK_EQ(pthread_mutex_trylock(mutex), EBUSY);
  ask_other(mutex, EBUSY, EPERM);
  CHECK_EQ(pthread_mutex_destroy(mutex), EBUSY);
  CHECK_OK(pthread_mutex_unlock(mutex));
  CHECK_EQ(pthread_mutex_unlock(mutex), EPERM);
  ask_other(mutex, 0, EPERM);
  CHECK_OK(pthread_mutex_destroy(mutex));
}

static void check_recursive(pthread_mutex_t* mutex) {
  CHECK_EQ(pthread_mutex_unlock(mutex), EPERM);
  struct timespec far = ms_from_now(CLOCK_REALTIME, 60000);
  for (unsigned i = 0; i < 300; i++) {
    switch (i % 3) {
      case 0: CHECK_OK(pthread_mutex_lock(mutex)); break;
      case 1: CHECK_OK(pthread_mutex_trylock(mutex)); break;
      default: CHECK_OK(pthread_mutex_timedlock(mutex, &far));
    }
    if (i % 50 == 0) stir(1 + i / 50);
  }
  for (int i = 0; i < 300; i++) {
    if (i % 100 == 0) ask_other(mutex, EBUSY, EPERM);
    CHECK_EQ(pthread_mutex_destroy(mutex), EBUSY);
    CHECK_OK(pthread_mutex_unlock(mutex));
  }
  CHECK_EQ(pthread_mutex_unlock(mutex), EPERM);
  ask_other(mutex, 0, EPERM);
  CHECK_OK(pthread_mutex_destroy(mutex));
}

static void* check_types(void* arg) {
  pthread_mutex_t normal = PTHREAD_MUTEX_INITIALIZER, adaptive = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP,
                  errorcheck = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP,
                  recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
  check_normal(&normal);
  check_normal(&adaptive);
  check_errorcheck(&errorcheck);
  check_recursive(&recursive);
  const int types[] = {PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ADAPTIVE_NP, PTHREAD_MUTEX_ERRORCHECK,
                       PTHREAD_MUTEX_RECURSIVE};
  for (int i = 0; i < 4; i++) {
    pthread_mutexattr_t attr;
    pthread_mutex_t mutex;
    int type = -1;
    CHECK_OK(pthread_mutexattr_init(&attr));
    CHECK_OK(pthread_mutexattr_settype(&attr, types[i]));
    CHECK_OK(pthread_mutexattr_gettype(&attr, &type));
    CHECK_EQ(type, types[i]);
    CHECK_OK(pthread_mutex_init(&mutex, &attr));
    CHECK_OK(pthread_mutexattr_destroy(&attr));
    i < 2 ? check_normal(&mutex) : i == 2 ? check_errorcheck(&mutex) : check_recursive(&mutex);
    memset(&mutex, 0xff, sizeof mutex);
    CHECK_OK(pthread_mutex_init(&mutex, NULL));
    check_normal(&mutex);
  }
  return arg;
}

int main(void) {
  check_types(NULL);
  run_threads(8, check_types);

  pthread_mutexattr_t attr;
  int value = -1;
  CHECK_OK(pthread_mutexattr_init(&attr));
  CHECK_OK(pthread_mutexattr_gettype(&attr, &value));
  CHECK_EQ(value, PTHREAD_MUTEX_DEFAULT);
  CHECK_EQ(pthread_mutexattr_settype(&attr, 77), EINVAL);
  CHECK_OK(pthread_mutexattr_getpshared(&attr, &value));
  CHECK_EQ(value, PTHREAD_PROCESS_PRIVATE);
  CHECK_EQ(pthread_mutexattr_setpshared(&attr, 77), EINVAL);
  CHECK_OK(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED));
  CHECK_OK(pthread_mutexattr_getpshared(&attr, &value));
  CHECK_EQ(value, PTHREAD_PROCESS_SHARED);
  CHECK_OK(pthread_mutexattr_getrobust(&attr, &value));
  CHECK_EQ(value, PTHREAD_MUTEX_STALLED);
  CHECK_EQ(pthread_mutexattr_setrobust(&attr, 77), EINVAL);
  CHECK_OK(pthread_mutexattr_getprotocol(&attr, &value));
  CHECK_EQ(value, PTHREAD_PRIO_NONE);
  CHECK_EQ(pthread_mutexattr_setprotocol(&attr, 77), EINVAL);
  CHECK_EQ(pthread_mutexattr_setprioceiling(&attr, 1000), EINVAL);
  CHECK_OK(pthread_mutexattr_destroy(&attr));
  return 0;
}
