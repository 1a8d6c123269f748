// Shows that a pthread_once whose routine is cancelled is run by the next caller, also when the routine's code has no
// unwind tables; the thread's own clean-up handlers run, and so it is with a once inside another one.
// flags: -fno-exceptions -fno-asynchronous-unwind-tables
#include "check.h"

#include <stdatomic.h>

static pthread_once_t outer = PTHREAD_ONCE_INIT, inner = PTHREAD_ONCE_INIT;
static atomic_int in_routine, cleaned, done;

static void wait_in_inner(void) {
  atomic_store(&in_routine, 1);
  for (;;) pause();
}
static void call_inner(void) { pthread_once(&inner, wait_in_inner); }
static void finish(void) { atomic_fetch_add(&done, 1); }

static void clean(void* arg) {
  (void)arg;
  atomic_fetch_add(&cleaned, 1);
}

static void* call(void* arg) {
  pthread_cleanup_push(clean, NULL);
  pthread_once(&outer, call_inner);
  pthread_cleanup_pop(0);
  return arg;
}

int main(void) {
  for (int round = 0; round < 3; round++) {
    pthread_t thread;
    void* result;
    atomic_store(&in_routine, 0);
    CHECK_OK(pthread_create(&thread, NULL, call, NULL));
    EVENTUALLY(atomic_load(&in_routine));
    CHECK_OK(pthread_cancel(thread));
    CHECK_OK(pthread_join(thread, &result));
    CHECK_EQ(result, PTHREAD_CANCELED);
    CHECK_EQ(atomic_load(&cleaned), round + 1);
  }
  CHECK_OK(pthread_once(&outer, finish));
  CHECK_OK(pthread_once(&inner, finish));
  CHECK_OK(pthread_once(&outer, finish));
  CHECK_EQ(atomic_load(&done), 2);
  return 0;
}
