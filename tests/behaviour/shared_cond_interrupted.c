// Shows that a thread which waits for a process-shared condition or lock that knows its owner runs its signal handlers
// meanwhile, and that the wait for the condition can be cancelled, with the mutex held in the cleanup handlers.
#include "check.h"

#include <signal.h>

static pthread_mutex_t mutex;
static pthread_cond_t cond;
static pthread_rwlock_t lock;
static int waits, handled, cleaned;
static pthread_t main_thread;

static void on_signal(int signal) {
  (void)signal;
  __atomic_fetch_add(&handled, 1, __ATOMIC_RELAXED);
}

static void init(int type, int robust) {
  pthread_mutexattr_t ma;
  CHECK_OK(pthread_mutexattr_init(&ma));
  CHECK_OK(pthread_mutexattr_setpshared(&ma, PTHREAD_PROCESS_SHARED));
  CHECK_OK(pthread_mutexattr_settype(&ma, type));
  CHECK_OK(pthread_mutexattr_setrobust(&ma, robust));
  CHECK_OK(pthread_mutex_init(&mutex, &ma));
  pthread_condattr_t ca;
  CHECK_OK(pthread_condattr_init(&ca));
  CHECK_OK(pthread_condattr_setpshared(&ca, PTHREAD_PROCESS_SHARED));
  CHECK_OK(pthread_cond_init(&cond, &ca));
  pthread_rwlockattr_t la;
  CHECK_OK(pthread_rwlockattr_init(&la));
  CHECK_OK(pthread_rwlockattr_setpshared(&la, PTHREAD_PROCESS_SHARED));
  CHECK_OK(pthread_rwlock_init(&lock, &la));
  waits = handled = cleaned = 0;
}

static void tidy(void* arg) {
  (void)arg;
  CHECK_OK(pthread_mutex_unlock(&mutex));  // it holds it, or this fails
  cleaned++;
}

static void* wait_for_cond(void* timed) {
  CHECK_OK(pthread_mutex_lock(&mutex));
  pthread_cleanup_push(tidy, NULL);
  struct timespec far;
  clock_gettime(CLOCK_REALTIME, &far);
  far.tv_sec += 1000;
  for (;;) {
    __atomic_fetch_add(&waits, 1, __ATOMIC_RELEASE);
    CHECK_OK(timed ? pthread_cond_timedwait(&cond, &mutex, &far) : pthread_cond_wait(&cond, &mutex));
  }
  pthread_cleanup_pop(0);
  return NULL;
}

static void* wait_for_mutex(void* arg) {
  __atomic_fetch_add(&waits, 1, __ATOMIC_RELEASE);
  CHECK_OK(pthread_mutex_lock(&mutex));
  CHECK_OK(pthread_mutex_unlock(&mutex));
  return arg;
}

static void* wait_for_lock(void* arg) {
  __atomic_fetch_add(&waits, 1, __ATOMIC_RELEASE);
  CHECK_OK(arg ? pthread_rwlock_rdlock(&lock) : pthread_rwlock_wrlock(&lock));
  CHECK_OK(pthread_rwlock_unlock(&lock));
  return arg;
}

static void signal_it(pthread_t thread, int pause) {
  EVENTUALLY(__atomic_load_n(&waits, __ATOMIC_ACQUIRE) > 0);
  for (int i = 1; i <= 20; i++) {
    if (pause) usleep((unsigned)(i * 100));
    CHECK_OK(pthread_kill(thread, SIGUSR1));
    EVENTUALLY(__atomic_load_n(&handled, __ATOMIC_RELAXED) == i);
  }
}

int main(void) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  CHECK_SYS(sigaction(SIGUSR1, &action, NULL));
  main_thread = pthread_self();
  const int types[] = {PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_RECURSIVE};
  for (int round = 0; round < 12; round++) {
    const int robust = round % 2 ? PTHREAD_MUTEX_ROBUST : PTHREAD_MUTEX_STALLED;
    pthread_t thread;
    init(types[round % 3], robust);
    CHECK_OK(pthread_create(&thread, NULL, wait_for_cond, round % 4 < 2 ? NULL : (void*)1));
    signal_it(thread, round < 6);
    CHECK_OK(pthread_cancel(thread));
    void* result;
    CHECK_OK(pthread_join(thread, &result));
    CHECK(result == PTHREAD_CANCELED);
    CHECK_EQ(cleaned, 1);

    init(types[round % 3], robust);
    CHECK_OK(pthread_mutex_lock(&mutex));
    CHECK_OK(pthread_create(&thread, NULL, wait_for_mutex, NULL));
    signal_it(thread, round < 6);
    CHECK_OK(pthread_mutex_unlock(&mutex));
    CHECK_OK(pthread_join(thread, NULL));

    init(types[round % 3], robust);
    CHECK_OK(pthread_rwlock_wrlock(&lock));
    CHECK_OK(pthread_create(&thread, NULL, wait_for_lock, round % 2 ? NULL : (void*)1));
    signal_it(thread, round < 6);
    CHECK_OK(pthread_rwlock_unlock(&lock));
    CHECK_OK(pthread_join(thread, NULL));
  }
  return 0;
}
