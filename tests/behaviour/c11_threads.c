// Shows C11 threads: their results, types of mutex, condition variables, once, thread-specific storage, sleep.
#include "check.h"

#include <threads.h>

static mtx_t mutex, timed, recursive;
static cnd_t cond;
static once_flag flag = ONCE_FLAG_INIT;
static tss_t key;
static int counter, once_runs, ready, destroyed;
static thread_local int own = 5;

static void run_once(void) { once_runs++; }

static void on_destroy(void* value) {
  (void)value;
  mtx_lock(&mutex);
  destroyed++;
  mtx_unlock(&mutex);
}

static int body(void* arg) {
  const int self = (int)(intptr_t)arg;
  CHECK_EQ(own, 5);
  CHECK(tss_get(key) == NULL);
  CHECK_EQ(tss_set(key, &mutex), thrd_success);
  call_once(&flag, run_once);
  CHECK_EQ(once_runs, 1);
  for (int i = 0; i < 50; i++) {
    own = self + i;
    CHECK_EQ(mtx_lock(&mutex), thrd_success);
    const int before = counter;
    if (i % 16 == 0) thrd_yield();
    counter = before + 1;
    CHECK_EQ(mtx_unlock(&mutex), thrd_success);
    CHECK_EQ(own, self + i);
  }
  const struct timespec nap = {0, 100000};
  CHECK_EQ(thrd_sleep(&nap, NULL), 0);
  mtx_lock(&mutex);
  ready++;
  CHECK_EQ(cnd_broadcast(&cond), thrd_success);
  mtx_unlock(&mutex);
  if (self % 2) thrd_exit(self * 3);
  return self * 3;
}

static int find_busy(void* arg) {
  struct timespec soon = ms_from_now(CLOCK_REALTIME, 2);
  CHECK_EQ(mtx_trylock(&timed), thrd_busy);
  CHECK_EQ(mtx_timedlock(&timed, &soon), thrd_timedout);
  CHECK_EQ(mtx_trylock(&recursive), thrd_busy);
  return arg != NULL;
}

int main(void) {
  enum { kThreads = 30 };
  thrd_t threads[kThreads];
  CHECK_EQ(mtx_init(&mutex, mtx_plain), thrd_success);
  CHECK_EQ(mtx_init(&timed, mtx_timed), thrd_success);
  CHECK_EQ(mtx_init(&recursive, mtx_timed | mtx_recursive), thrd_success);
  CHECK_EQ(cnd_init(&cond), thrd_success);
  CHECK_EQ(tss_create(&key, on_destroy), thrd_success);
  for (intptr_t i = 0; i < kThreads; i++) CHECK_EQ(thrd_create(&threads[i], body, (void*)i), thrd_success);
  mtx_lock(&mutex);
  while (ready < kThreads) CHECK_EQ(cnd_wait(&cond, &mutex), thrd_success);
  struct timespec soon = ms_from_now(CLOCK_REALTIME, 1);
  CHECK_EQ(cnd_timedwait(&cond, &mutex, &soon), thrd_timedout);
  mtx_unlock(&mutex);
  for (int i = 0; i < kThreads; i++) {
    int result = -1;
    CHECK_EQ(thrd_join(threads[i], &result), thrd_success);
    CHECK_EQ(result, i * 3);
  }
  CHECK_EQ(counter, kThreads * 50);
  CHECK_EQ(destroyed, kThreads);
  CHECK(thrd_equal(thrd_current(), thrd_current()));

  CHECK_EQ(mtx_lock(&timed), thrd_success);
  CHECK_EQ(mtx_lock(&recursive), thrd_success);
  CHECK_EQ(mtx_lock(&recursive), thrd_success);
  thrd_t other;
  int result = -1;
  CHECK_EQ(thrd_create(&other, find_busy, NULL), thrd_success);
  CHECK_EQ(thrd_join(other, &result), thrd_success);
  CHECK_EQ(result, 0);
  CHECK_EQ(mtx_unlock(&recursive), thrd_success);
  CHECK_EQ(mtx_unlock(&recursive), thrd_success);
  CHECK_EQ(mtx_unlock(&timed), thrd_success);
  ready = 0;
  CHECK_EQ(thrd_create(&other, body, NULL), thrd_success);
  CHECK_EQ(thrd_detach(other), thrd_success);
  mtx_lock(&mutex);
  while (ready < 1) CHECK_EQ(cnd_wait(&cond, &mutex), thrd_success);
  mtx_unlock(&mutex);
  mtx_destroy(&timed);
  mtx_destroy(&recursive);
  return 0;
}
