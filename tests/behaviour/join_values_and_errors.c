// Shows what join, tryjoin and detach return: values by return and by pthread_exit, EDEADLK for oneself,
// EINVAL for detached threads, EBUSY for the living.
#include "check.h"

#include <stdatomic.h>

static atomic_int go, done;

static void* by_exit(void* arg) {
  for (unsigned step = 0; step < 5; step++) stir(step + (unsigned)(intptr_t)arg);
  pthread_exit(arg);
}

static void* join_self(void* arg) {
  CHECK_EQ(pthread_join(pthread_self(), NULL), EDEADLK);
  CHECK_EQ(pthread_tryjoin_np(pthread_self(), NULL), EBUSY);
  return arg;
}

static void* wait_for_go(void* arg) {
  while (!atomic_load(&go)) usleep(200);
  return arg;
}

static void* end_detached(void* arg) {
  while (!atomic_load(&go)) usleep(200);
  atomic_fetch_add(&done, 1);
  return arg;
}

static void* join_other(void* arg) {
  void* result = NULL;
  CHECK_OK(pthread_join(*(pthread_t*)arg, &result));
  return result;
}

int main(void) {
  run_threads(50, by_exit);
  run_threads(5, join_self);
  CHECK_EQ(pthread_join(pthread_self(), NULL), EDEADLK);

  pthread_t thread, joiner;
  void* result = NULL;
  CHECK_OK(pthread_create(&thread, NULL, wait_for_go, (void*)77));
  CHECK_EQ(pthread_tryjoin_np(thread, &result), EBUSY);
  CHECK_OK(pthread_create(&joiner, NULL, join_other, &thread));
  sleep_ms(20);
  int error = pthread_tryjoin_np(thread, &result);
  CHECK_EQ(error, EBUSY);
  atomic_store(&go, 1);
  CHECK_OK(pthread_join(joiner, &result));
  CHECK_EQ(result, 77);

  atomic_store(&go, 0);
  pthread_attr_t attr;
  CHECK_OK(pthread_attr_init(&attr));
  CHECK_OK(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED));
  CHECK_OK(pthread_create(&thread, &attr, end_detached, NULL));
  CHECK_EQ(pthread_join(thread, NULL), EINVAL);
  CHECK_EQ(pthread_tryjoin_np(thread, NULL), EBUSY);  // It lives: that is asked first.
  CHECK_EQ(pthread_detach(thread), EINVAL);
  CHECK_OK(pthread_create(&thread, NULL, end_detached, NULL));
  CHECK_OK(pthread_detach(thread));
  CHECK_EQ(pthread_detach(thread), EINVAL);
  CHECK_EQ(pthread_join(thread, NULL), EINVAL);
  atomic_store(&go, 1);
  EVENTUALLY(atomic_load(&done) == 2);

  // A thread that has ended is joined and tried at once.
  CHECK_OK(pthread_create(&thread, NULL, wait_for_go, (void*)78));
  EVENTUALLY((error = pthread_tryjoin_np(thread, &result)) != EBUSY);
  CHECK_EQ(error, 0);
  CHECK_EQ(result, 78);
  return 0;
}
