// Shows that who joins the thread that it made last runs it at once, and so on backwards: a tree of threads, each of
// which makes some and joins them, is run in depth, with as few alive as there are on the way down. On one P.
// run: native=no chaos=no procs=1
#include "check.h"

#define CHILDREN 6

static int started[2 * CHILDREN];
static int n_started;

static void* leaf(void* arg) {
  started[n_started++] = (int)(intptr_t)arg;
  return arg;
}

static void* branch(void* arg) {
  pthread_t threads[CHILDREN];
  started[n_started++] = (int)(intptr_t)arg;
  for (intptr_t i = 0; i < CHILDREN; i++) CHECK_OK(pthread_create(&threads[i], NULL, leaf, (void*)(10 + i)));
  for (int i = CHILDREN - 1; i >= 0; i--) CHECK_OK(pthread_join(threads[i], NULL));
  return arg;
}

int main(void) {
  // Another one may come in between where a slice ends, or a kernel thread loses its core: seldom.
  const int wanted[] = {2, 15, 14, 13, 12, 11, 10, 1, 0};
  const int n = sizeof wanted / sizeof wanted[0];
  int as_wanted = 0;
  for (int attempt = 0; attempt < 200 && !as_wanted; attempt++) {
    n_started = 0;
    pthread_t threads[3];
    for (intptr_t i = 0; i < 3; i++) CHECK_OK(pthread_create(&threads[i], NULL, i == 2 ? branch : leaf, (void*)i));
    for (int i = 2; i >= 0; i--) CHECK_OK(pthread_join(threads[i], NULL));
    CHECK_EQ(n_started, n);
    as_wanted = memcmp(started, wanted, sizeof wanted) == 0;
  }
  if (!as_wanted) {
    for (int i = 0; i < n; i++) fprintf(stderr, "%d ", started[i]);
    fprintf(stderr, "\n");
  }
  CHECK(as_wanted);
  return 0;
}
