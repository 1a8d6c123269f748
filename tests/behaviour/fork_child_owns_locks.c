// Shows that in the child of a fork of a process without threads a mutex knows its owner, from before the child's first
// thread to after it: the owner may lock a recursive one again, and is told of an error by an error-checking one.
#include "check.h"

#include <sys/syscall.h>

static pthread_mutex_t recursive, checking;

static void* ask(void* arg) {
  CHECK_EQ(pthread_mutex_trylock(&recursive), EBUSY);
  CHECK_EQ(pthread_mutex_unlock(&recursive), EPERM);
  CHECK_EQ(pthread_mutex_trylock(&checking), EBUSY);
  CHECK_EQ(pthread_mutex_unlock(&checking), EPERM);
  return arg;
}

static void make(pthread_mutex_t* mutex, int type) {
  pthread_mutexattr_t attr;
  CHECK_OK(pthread_mutexattr_init(&attr));
  CHECK_OK(pthread_mutexattr_settype(&attr, type));
  CHECK_OK(pthread_mutex_init(mutex, &attr));
  CHECK_OK(pthread_mutex_lock(mutex));
  CHECK_OK(pthread_mutex_unlock(mutex));
}

int main(void) {
  make(&recursive, PTHREAD_MUTEX_RECURSIVE);
  make(&checking, PTHREAD_MUTEX_ERRORCHECK);
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child != 0) {
    CHECK_EQ(wait_status(child), 12);
    return 0;
  }
  CHECK_OK(pthread_mutex_lock(&recursive));
  CHECK_OK(pthread_mutex_lock(&checking));
  CHECK_EQ(recursive.__data.__owner, syscall(SYS_gettid));
  run_threads(3, ask);
  CHECK_OK(pthread_mutex_lock(&recursive));
  CHECK_EQ(pthread_mutex_lock(&checking), EDEADLK);
  CHECK_OK(pthread_mutex_unlock(&recursive));
  run_threads(3, ask);
  CHECK_OK(pthread_mutex_unlock(&recursive));
  CHECK_OK(pthread_mutex_unlock(&checking));
  _exit(12);
}
