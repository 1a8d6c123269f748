// Shows that a handler may leave a wait for good, by pthread_exit, by siglongjmp, or since the thread has been
// cancelled and the handler comes to a cancellation point: a mutex is held again where the thread goes on, and the
// condition can be destroyed; a thread that was being joined can be joined by another.
#include "check.h"

#include <setjmp.h>
#include <signal.h>

enum Way { kExit, kJump, kCancel, kWays };
enum Wait { kCond, kTimedCond, kJoin, kWaits };

static enum Way way;
static enum Wait wait_for;
static pthread_mutex_t mutex;
static pthread_cond_t cond;
static pthread_t other;
static __thread sigjmp_buf jump;
static int descriptors[2];
static volatile int inside, cleaned;

static void on_signal(int signal) {
  (void)signal;
  switch (way) {
    case kExit: pthread_exit((void*)7);
    case kJump: siglongjmp(jump, 1);
    default: CHECK_SYS(write(descriptors[1], "x", 1));
  }
}

static void clean(void* held) {
  if (held) CHECK_OK(pthread_mutex_unlock(&mutex));
  cleaned++;
}

static void* what_is_held(void) { return wait_for == kJoin ? NULL : &mutex; }

__attribute__((noinline)) static void do_wait(void* held) {
  if (held) CHECK_OK(pthread_mutex_lock(&mutex));
  pthread_cleanup_push(clean, held);
  struct timespec late = ms_from_now(CLOCK_REALTIME, 60000);
  inside = 1;
  switch (wait_for) {
    case kCond: pthread_cond_wait(&cond, &mutex); break;
    case kTimedCond: pthread_cond_timedwait(&cond, &mutex, &late); break;
    default: pthread_join(other, NULL);
  }
  pthread_cleanup_pop(1);
}

static void* waits(void* arg) {
  (void)arg;
  if (sigsetjmp(jump, 1)) {
    clean(what_is_held());
    return (void*)7;
  }
  do_wait(what_is_held());
  return NULL;
}

static volatile int let_go;

static void* sleeps(void* arg) {
  while (!let_go) usleep(500);
  return arg;
}

static void leave(void) {
  pthread_mutexattr_t attr;
  CHECK_OK(pthread_mutexattr_init(&attr));
  CHECK_OK(pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK));
  CHECK_OK(pthread_mutex_init(&mutex, &attr));
  CHECK_OK(pthread_cond_init(&cond, NULL));
  let_go = inside = cleaned = 0;
  CHECK_OK(pthread_create(&other, NULL, sleeps, (void*)5));
  pthread_t thread;
  CHECK_OK(pthread_create(&thread, NULL, waits, NULL));
  EVENTUALLY(inside);
  // It has come here with the mutex, which it gives up when it waits.
  CHECK_OK(pthread_mutex_lock(&mutex));
  CHECK_OK(pthread_mutex_unlock(&mutex));
  sleep_ms(20);
  // Both at once, or the cancellation would be first: the handler is to find it.
  if (way == kCancel) CHECK_OK(pthread_cancel(thread));
  CHECK_OK(pthread_kill(thread, SIGUSR1));
  void* result;
  CHECK_OK(pthread_join(thread, &result));
  CHECK_EQ(result, way == kCancel ? PTHREAD_CANCELED : (void*)7);
  CHECK_EQ(cleaned, 1);
  let_go = 1;
  CHECK_OK(pthread_join(other, &result));
  CHECK_EQ(result, 5);
  CHECK_OK(pthread_mutex_lock(&mutex));
  CHECK_OK(pthread_mutex_unlock(&mutex));
  CHECK_OK(pthread_cond_destroy(&cond));
  CHECK_OK(pthread_mutex_destroy(&mutex));
}

int main(void) {
  CHECK_SYS(pipe(descriptors));
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  CHECK_SYS(sigaction(SIGUSR1, &action, NULL));
  for (int w = 0; w < kWays; w++) {
    for (int f = 0; f < kWaits; f++) {
      way = (enum Way)w;
      wait_for = (enum Wait)f;
      leave();
    }
  }
  return 0;
}
