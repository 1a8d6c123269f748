// Shows that a process-shared lock which knows its owner, taken by the main thread before there were others, stays the
// main thread's: others cannot have it, nor unlock it, and it can unlock it.
#include "check.h"

#include <sys/mman.h>

enum { kLocks = 4, kThreads = 4, kRounds = 20 };

static pthread_mutex_t* locks[kLocks];
static pthread_rwlock_t* rwlock;

static void* ask(void* arg) {
  for (int i = 0; i < kLocks; i++) {
    CHECK_EQ(pthread_mutex_trylock(locks[i]), EBUSY);
    CHECK_EQ(pthread_mutex_unlock(locks[i]), EPERM);
  }
  CHECK_EQ(pthread_rwlock_tryrdlock(rwlock), EBUSY);
  struct timespec soon = ms_from_now(CLOCK_REALTIME, 2);
  CHECK_EQ(pthread_rwlock_timedrdlock(rwlock, &soon), ETIMEDOUT);
  return arg;
}

static void* ask_unlocked(void* arg) {
  for (int i = 0; i < kLocks; i++) {
    CHECK_OK(pthread_mutex_lock(locks[i]));
    sched_yield();
    CHECK_OK(pthread_mutex_unlock(locks[i]));
  }
  return arg;
}

int main(void) {
  char* memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  for (int i = 0; i < kLocks; i++) {
    pthread_mutexattr_t attr;
    CHECK_OK(pthread_mutexattr_init(&attr));
    CHECK_OK(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED));
    CHECK_OK(pthread_mutexattr_settype(&attr, i % 2 ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_ERRORCHECK));
    if (i == 2) CHECK_OK(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST));
    if (i == 3) CHECK_OK(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT));
    locks[i] = (pthread_mutex_t*)(memory + 64 * (size_t)i);
    CHECK_OK(pthread_mutex_init(locks[i], &attr));
  }
  rwlock = (pthread_rwlock_t*)(memory + 2048);
  pthread_rwlockattr_t attr;
  CHECK_OK(pthread_rwlockattr_init(&attr));
  CHECK_OK(pthread_rwlockattr_setpshared(&attr, PTHREAD_PROCESS_SHARED));
  CHECK_OK(pthread_rwlock_init(rwlock, &attr));
  for (int i = 0; i < kLocks; i++) CHECK_OK(pthread_mutex_lock(locks[i]));
  CHECK_OK(pthread_mutex_lock(locks[1]));  // a recursive one
  CHECK_OK(pthread_rwlock_wrlock(rwlock));
  for (int round = 0; round < kRounds; round++) run_threads(kThreads, ask);
  CHECK_OK(pthread_mutex_unlock(locks[1]));
  run_threads(kThreads, ask);
  for (int i = 0; i < kLocks; i++) CHECK_OK(pthread_mutex_unlock(locks[i]));
  CHECK_OK(pthread_rwlock_unlock(rwlock));
  run_threads(kThreads, ask_unlocked);
  return 0;
}
