// Shows that set*id() from many threads at once, each of which all kernel threads must answer, comes to an end, and
// leaves every thread where it was.
// run: limit=120
#include "check.h"

#define THREADS 4
#define ROUNDS 600

static __thread int mine;

static void* change(void* arg) {
  mine = (int)(intptr_t)arg;
  CHECK_SYS(setuid(getuid()));
  CHECK_EQ(mine, (int)(intptr_t)arg);
  return arg;
}

int main(void) {
  for (int round = 0; round < ROUNDS; round++) {
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++) CHECK_OK(pthread_create(&threads[i], NULL, change, (void*)i));
    for (intptr_t i = 0; i < THREADS; i++) {
      void* result;
      CHECK_OK(pthread_join(threads[i], &result));
      CHECK(result == (void*)i);
    }
  }
  return 0;
}
