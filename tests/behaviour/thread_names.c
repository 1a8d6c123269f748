// Shows that names belong to threads: set by themselves or by others, up to 15 characters, inherited from the creator.
#include "check.h"

#include <sys/prctl.h>

static pthread_barrier_t barrier;

static void* keep_name(void* arg) {
  char wanted[16], seen[64];
  CHECK_OK(pthread_getname_np(pthread_self(), seen, sizeof seen));
  CHECK_STR(seen, "the-creator");
  snprintf(wanted, sizeof wanted, "name-%d", (int)(intptr_t)arg);
  if ((intptr_t)arg % 2 == 0) {
    CHECK_OK(pthread_setname_np(pthread_self(), wanted));
  } else {
    CHECK_SYS(prctl(PR_SET_NAME, wanted));
  }
  for (unsigned step = 0; step < 20; step++) {
    stir(step + (unsigned)(intptr_t)arg);
    CHECK_OK(pthread_getname_np(pthread_self(), seen, sizeof seen));
    CHECK_STR(seen, wanted);
    CHECK_SYS(prctl(PR_GET_NAME, seen));
    CHECK_STR(seen, wanted);
  }
  return arg;
}

static void* be_named(void* arg) {
  pthread_barrier_wait(&barrier);
  pthread_barrier_wait(&barrier);
  char seen[16];
  CHECK_OK(pthread_getname_np(pthread_self(), seen, sizeof seen));
  CHECK_STR(seen, "given by main");
  return arg;
}

int main(void) {
  CHECK_OK(pthread_setname_np(pthread_self(), "the-creator"));
  run_threads(30, keep_name);
  run_threads(30, keep_name);
  char seen[16];
  CHECK_OK(pthread_getname_np(pthread_self(), seen, sizeof seen));
  CHECK_STR(seen, "the-creator");
  CHECK_EQ(pthread_getname_np(pthread_self(), seen, 4), ERANGE);
  CHECK_EQ(pthread_setname_np(pthread_self(), "sixteen letters!"), ERANGE);
  CHECK_OK(pthread_setname_np(pthread_self(), "fifteen letters"));
  CHECK_OK(pthread_getname_np(pthread_self(), seen, sizeof seen));
  CHECK_STR(seen, "fifteen letters");

  pthread_t thread;
  CHECK_OK(pthread_barrier_init(&barrier, NULL, 2));
  CHECK_OK(pthread_create(&thread, NULL, be_named, NULL));
  pthread_barrier_wait(&barrier);
  CHECK_OK(pthread_setname_np(thread, "given by main"));
  CHECK_OK(pthread_getname_np(thread, seen, sizeof seen));
  CHECK_STR(seen, "given by main");
  pthread_barrier_wait(&barrier);
  CHECK_OK(pthread_join(thread, NULL));
  CHECK_OK(pthread_getname_np(pthread_self(), seen, sizeof seen));
  CHECK_STR(seen, "fifteen letters");
  return 0;
}
