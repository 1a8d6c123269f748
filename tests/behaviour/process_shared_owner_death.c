// Shows process-shared robust mutexes: EOWNERDEAD after the owner thread ended and after the owner process ended, and
// error-checking, priority-inheriting and reader-writer locks that tell apart the threads of three processes.
#include "check.h"

#include <sys/mman.h>

static struct shared {
  pthread_mutex_t robust, errorcheck, inheriting;
  pthread_rwlock_t rwlock;
  long counts[3];
} * shared;

static void* end_with_it(void* arg) {
  CHECK_OK(pthread_mutex_lock(&shared->robust));
  stir(1);
  return arg;
}

static void lock_robust(void) {
  int error = pthread_mutex_lock(&shared->robust);
  if (error == EOWNERDEAD) error = pthread_mutex_consistent(&shared->robust);
  CHECK_EQ(error, 0);
}

static void* use_all(void* arg) {
  for (unsigned i = 0; i < 100; i++) {
    lock_robust();
    shared->counts[0]++;
    if (i % 50 == 0) stir(1 + i);
    CHECK_OK(pthread_mutex_unlock(&shared->robust));

    CHECK_OK(pthread_mutex_lock(&shared->errorcheck));
    CHECK_EQ(pthread_mutex_lock(&shared->errorcheck), EDEADLK);
    shared->counts[1]++;
    if (i % 40 == 0) sched_yield();
    CHECK_OK(pthread_mutex_unlock(&shared->errorcheck));
    CHECK_EQ(pthread_mutex_unlock(&shared->errorcheck), EPERM);

    CHECK_OK(pthread_mutex_lock(&shared->inheriting));
    shared->counts[2]++;
    if (i % 40 == 0) sched_yield();
    CHECK_OK(pthread_mutex_unlock(&shared->inheriting));

    if ((i + (uintptr_t)arg) % 4 == 0) {
      CHECK_OK(pthread_rwlock_wrlock(&shared->rwlock));
      CHECK_EQ(pthread_rwlock_rdlock(&shared->rwlock), EDEADLK);
    } else {
      CHECK_OK(pthread_rwlock_rdlock(&shared->rwlock));
      if (i % 30 == 0) sched_yield();
    }
    CHECK_OK(pthread_rwlock_unlock(&shared->rwlock));
  }
  return arg;
}

int main(void) {
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  pthread_mutexattr_t attr;
  CHECK_OK(pthread_mutexattr_init(&attr));
  CHECK_OK(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED));
  CHECK_OK(pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK));
  CHECK_OK(pthread_mutex_init(&shared->errorcheck, &attr));
  CHECK_OK(pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_NORMAL));
  CHECK_OK(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT));
  CHECK_OK(pthread_mutex_init(&shared->inheriting, &attr));
  CHECK_OK(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_NONE));
  CHECK_OK(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST));
  CHECK_OK(pthread_mutex_init(&shared->robust, &attr));
  pthread_rwlockattr_t rwattr;
  CHECK_OK(pthread_rwlockattr_init(&rwattr));
  CHECK_OK(pthread_rwlockattr_setpshared(&rwattr, PTHREAD_PROCESS_SHARED));
  CHECK_OK(pthread_rwlock_init(&shared->rwlock, &rwattr));

  for (int i = 0; i < 3; i++) {
    pthread_t owner;
    CHECK_OK(pthread_create(&owner, NULL, end_with_it, NULL));
    CHECK_OK(pthread_join(owner, NULL));
    CHECK_EQ(pthread_mutex_lock(&shared->robust), EOWNERDEAD);
    CHECK_OK(pthread_mutex_consistent(&shared->robust));
    CHECK_OK(pthread_mutex_unlock(&shared->robust));
  }

  pid_t children[2];
  for (int i = 0; i < 2; i++) {
    children[i] = fork();
    CHECK(children[i] != -1);
    if (children[i] == 0) {
      run_threads(4, use_all);
      lock_robust();
      _exit(0);  // With the mutex held.
    }
  }
  run_threads(4, use_all);
  for (int i = 0; i < 2; i++) CHECK_EQ(wait_status(children[i]), 0);
  for (int i = 0; i < 3; i++) CHECK_EQ(shared->counts[i], 3 * 4 * 100);
  // At least the process that was last has left it to us, unless a thread of ours came after both.
  lock_robust();
  CHECK_OK(pthread_mutex_unlock(&shared->robust));

  pid_t child = fork();
  CHECK(child != -1);
  if (child == 0) {
    lock_robust();
    _exit(0);
  }
  CHECK_EQ(wait_status(child), 0);
  CHECK_EQ(pthread_mutex_lock(&shared->robust), EOWNERDEAD);
  CHECK_OK(pthread_mutex_consistent(&shared->robust));
  CHECK_OK(pthread_mutex_unlock(&shared->robust));
  return 0;
}
