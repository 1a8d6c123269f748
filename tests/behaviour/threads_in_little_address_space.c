// Shows that a limit on the address space (RLIMIT_AS) leaves room for threads: what the runtime reserves for stacks to
// come is small against it.
#include "check.h"

#include <sys/resource.h>

#define THREADS 5

static void* meet(void* barrier) {
  pthread_barrier_wait(barrier);
  return NULL;
}

int main(void) {
  struct rlimit limit = {135 << 20, 135 << 20};
  pthread_t threads[THREADS];
  pthread_barrier_t barrier;
  CHECK_OK(setrlimit(RLIMIT_AS, &limit));
  CHECK_OK(pthread_barrier_init(&barrier, NULL, THREADS + 1));
  for (int i = 0; i < THREADS; i++) CHECK_OK(pthread_create(&threads[i], NULL, meet, &barrier));
  pthread_barrier_wait(&barrier);
  for (int i = 0; i < THREADS; i++) CHECK_OK(pthread_join(threads[i], NULL));
  return 0;
}
