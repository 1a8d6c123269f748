// Shows that robust mutexes which the parent holds are not the child's: it may unmap them, lock others and end; the
// parent holds them still. Before the first creation of a thread, and afterwards.
#include "check.h"

#include <sys/mman.h>

static void init_robust(pthread_mutex_t* mutex, int type) {
  pthread_mutexattr_t attr;
  CHECK_OK(pthread_mutexattr_init(&attr));
  CHECK_OK(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST));
  CHECK_OK(pthread_mutexattr_settype(&attr, type));
  CHECK_OK(pthread_mutex_init(mutex, &attr));
  CHECK_OK(pthread_mutexattr_destroy(&attr));
}

static void* check(void* arg) {
  pthread_mutex_t* mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(mapped != MAP_FAILED);
  pthread_mutex_t own;
  init_robust(mapped, PTHREAD_MUTEX_ERRORCHECK);
  init_robust(&own, PTHREAD_MUTEX_NORMAL);
  CHECK_OK(pthread_mutex_lock(mapped));
  pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    CHECK_SYS(munmap(mapped, 4096));
    for (int i = 0; i < 3; i++) {
      CHECK_OK(pthread_mutex_lock(&own));
      CHECK_OK(pthread_mutex_unlock(&own));
    }
    CHECK_OK(pthread_mutex_lock(&own));
    _exit(0);
  }
  CHECK_EQ(wait_status(child), 0);
  CHECK_EQ(pthread_mutex_lock(mapped), EDEADLK);
  CHECK_OK(pthread_mutex_unlock(mapped));
  CHECK_OK(pthread_mutex_lock(&own));
  CHECK_OK(pthread_mutex_unlock(&own));
  CHECK_SYS(munmap(mapped, 4096));
  return arg;
}

int main(void) {
  check(NULL);
  run_threads(2, check);
  check(NULL);
  return 0;
}
