// Shows that threads begin in the order in which they were made, when they begin one after the other: what comes first
// may prepare what the next needs.
// run: native=no procs=1 chaos=no
#include "check.h"

enum { kThreads = 200 };

static int began[kThreads];
static int n_began;

static void* begin(void* arg) {
  began[__atomic_fetch_add(&n_began, 1, __ATOMIC_RELAXED)] = (int)(intptr_t)arg;
  return arg;
}

int main(void) {
  pthread_t threads[kThreads];
  for (int round = 0; round < 20; round++) {
    __atomic_store_n(&n_began, 0, __ATOMIC_RELAXED);
    for (intptr_t i = 0; i < kThreads; i++) CHECK_OK(pthread_create(&threads[i], NULL, begin, (void*)i));
    for (int i = 0; i < kThreads; i++) CHECK_OK(pthread_join(threads[i], NULL));
    int in_order = 0;
    for (int i = 1; i < kThreads; i++) in_order += began[i] == began[i - 1] + 1;
    // A slice that ends, or a join that lets the thread it waits for run first, moves one now and then.
    CHECK(in_order >= kThreads - 10);
  }
  return 0;
}
