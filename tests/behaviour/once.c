// Shows pthread_once: many threads, one run, and all return after it is done; the routine may switch, use another
// control, and if it is cancelled the next caller runs it again.
#include "check.h"

#include <stdatomic.h>

static pthread_once_t outer, inner, cancelled = PTHREAD_ONCE_INIT;
static atomic_int outer_runs, outer_done, inner_runs, cancelled_runs;

static void run_inner(void) {
  usleep(100);
  atomic_fetch_add(&inner_runs, 1);
}

static void run_outer(void) {
  atomic_fetch_add(&outer_runs, 1);
  stir(1);
  CHECK_OK(pthread_once(&inner, run_inner));
  for (unsigned step = 0; step < 10; step++) stir(step);
  atomic_fetch_add(&outer_done, 1);
}

static void run_cancelled(void) {
  if (atomic_fetch_add(&cancelled_runs, 1) == 0) {
    for (;;) usleep(1000);  // Until the thread is cancelled here.
  }
}

static void* call(void* arg) {
  if ((intptr_t)arg % 4 == 3) CHECK_OK(pthread_once(&inner, run_inner));
  CHECK_OK(pthread_once(&outer, run_outer));
  CHECK_EQ(atomic_load(&outer_done), 1);
  CHECK_EQ(atomic_load(&inner_runs), 1);
  return arg;
}

static void* call_cancelled(void* arg) {
  CHECK_OK(pthread_once(&cancelled, run_cancelled));
  return arg;
}

int main(void) {
  for (int round = 0; round < 10; round++) {
    const pthread_once_t fresh = PTHREAD_ONCE_INIT;
    outer = inner = fresh;
    outer_runs = outer_done = inner_runs = 0;
    run_threads(40, call);
    CHECK_EQ(atomic_load(&outer_runs), 1);
  }
  pthread_t first, others[8];
  void* result = NULL;
  CHECK_OK(pthread_create(&first, NULL, call_cancelled, NULL));
  EVENTUALLY(atomic_load(&cancelled_runs) == 1);
  for (intptr_t i = 0; i < 8; i++) CHECK_OK(pthread_create(&others[i], NULL, call_cancelled, (void*)i));
  usleep(2000);
  CHECK_OK(pthread_cancel(first));
  CHECK_OK(pthread_join(first, &result));
  CHECK_EQ(result, PTHREAD_CANCELED);
  for (intptr_t i = 0; i < 8; i++) CHECK_OK(pthread_join(others[i], NULL));
  CHECK_EQ(atomic_load(&cancelled_runs), 2);
  return 0;
}
