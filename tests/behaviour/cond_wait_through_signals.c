// Shows that a wait on a condition goes on after a handler has run, and that a signal of the condition which comes
// while the handler runs is not lost; that it ends at its time all the same, and by cancellation with the mutex held.
#include "check.h"

#include <signal.h>
#include <stdatomic.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static atomic_int handled, waiting, hold, cleaned;
static int go;

static void on_signal(int signal) {
  (void)signal;
  atomic_fetch_add(&handled, 1);
  while (atomic_load(&hold)) sched_yield();
}

static void* wait_once(void* arg) {
  CHECK_OK(pthread_mutex_lock(&mutex));
  atomic_store(&waiting, 1);
  CHECK_OK(pthread_cond_wait(&cond, &mutex));
  CHECK_EQ(go, 1);
  CHECK_OK(pthread_mutex_unlock(&mutex));
  return arg;
}

static void* wait_for_its_time(void* arg) {
  CHECK_OK(pthread_mutex_lock(&mutex));
  struct timespec at = ms_from_now(CLOCK_REALTIME, 60);
  atomic_store(&waiting, 1);
  CHECK_EQ(pthread_cond_timedwait(&cond, &mutex, &at), ETIMEDOUT);
  CHECK(now_ns(CLOCK_REALTIME) >= at.tv_sec * NS_PER_S + at.tv_nsec);
  CHECK_OK(pthread_mutex_unlock(&mutex));
  return arg;
}

static void clean(void* arg) {
  (void)arg;
  atomic_store(&cleaned, 1);
  CHECK_OK(pthread_mutex_unlock(&mutex));
}

static void* wait_to_be_cancelled(void* arg) {
  CHECK_OK(pthread_mutex_lock(&mutex));
  atomic_store(&waiting, 1);
  pthread_cleanup_push(clean, NULL);
  for (;;) pthread_cond_wait(&cond, &mutex);
  pthread_cleanup_pop(0);
  return arg;
}

static pthread_t start(void* (*routine)(void*)) {
  pthread_t thread;
  atomic_store(&waiting, 0);
  atomic_store(&handled, 0);
  CHECK_OK(pthread_create(&thread, NULL, routine, NULL));
  EVENTUALLY(atomic_load(&waiting));
  CHECK_OK(pthread_mutex_lock(&mutex));  // It has let go of the mutex: it waits.
  CHECK_OK(pthread_mutex_unlock(&mutex));
  return thread;
}

static void interrupt(pthread_t thread, int times) {
  for (int i = 0; i < times; i++) {
    const int before = atomic_load(&handled);
    CHECK_OK(pthread_kill(thread, SIGUSR1));
    EVENTUALLY(atomic_load(&handled) > before);
    if (i % 2) usleep(300);
  }
}

// The condition is signalled at rest, or while the handler runs.
static void signal_it(int broadcast, int in_handler) {
  go = 0;
  pthread_t thread = start(wait_once);
  interrupt(thread, 3);
  if (in_handler) {
    const int before = atomic_load(&handled);
    atomic_store(&hold, 1);
    CHECK_OK(pthread_kill(thread, SIGUSR1));
    EVENTUALLY(atomic_load(&handled) > before);
  }
  CHECK_OK(pthread_mutex_lock(&mutex));
  go = 1;
  CHECK_OK(broadcast ? pthread_cond_broadcast(&cond) : pthread_cond_signal(&cond));
  CHECK_OK(pthread_mutex_unlock(&mutex));
  atomic_store(&hold, 0);
  CHECK_OK(pthread_join(thread, NULL));
}

int main(void) {
  struct sigaction action = {.sa_handler = on_signal};
  CHECK_SYS(sigaction(SIGUSR1, &action, NULL));
  for (int round = 0; round < 5; round++) {
    for (int kind = 0; kind < 4; kind++) signal_it(kind & 1, kind >> 1);
    pthread_t thread = start(wait_for_its_time);
    for (int i = 0; i < 3; i++) {  // It may have ended by now.
      CHECK_OK(pthread_kill(thread, SIGUSR1));
      usleep(300);
    }
    CHECK_OK(pthread_join(thread, NULL));
    thread = start(wait_to_be_cancelled);
    interrupt(thread, 2);
    CHECK_OK(pthread_cancel(thread));
    CHECK_OK(pthread_join(thread, NULL));
    CHECK_EQ(atomic_exchange(&cleaned, 0), 1);
    CHECK_OK(pthread_cond_destroy(&cond));
    CHECK_OK(pthread_cond_init(&cond, NULL));
  }
  return 0;
}
