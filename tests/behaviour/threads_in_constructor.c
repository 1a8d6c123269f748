// Shows threads created before main, by a constructor of the program: they run, use thread-locals and stdio, and are
// joined by main; and one created by an atexit handler, joined there.
#include "check.h"

static pthread_t early[4];
static __thread int own = 3;
static int joined;

static void* run_early(void* arg) {
  CHECK_EQ(own, 3);
  for (unsigned step = 0; step < 50; step++) {
    own = (int)step;
    stir(step);
    CHECK_EQ(own, step);
  }
  FILE* file = fopen("/dev/null", "w");
  fprintf(file, "early\n");
  fclose(file);
  return arg;
}

__attribute__((constructor)) static void create_early(void) {
  for (intptr_t i = 0; i < 4; i++) CHECK_OK(pthread_create(&early[i], NULL, run_early, (void*)i));
  void* result = NULL;
  CHECK_OK(pthread_join(early[3], &result));
  CHECK_EQ(result, 3);
}

static void run_late(void) {
  CHECK_EQ(joined, 3);
  run_threads(4, run_early);
}

int main(void) {
  CHECK_EQ(atexit(run_late), 0);
  for (intptr_t i = 0; i < 3; i++) {
    void* result = NULL;
    CHECK_OK(pthread_join(early[i], &result));
    CHECK_EQ(result, i);
    joined++;
  }
  return 0;
}
