// Shows that GOSHIM_VERBOSE tells what was decided at the start, as how thread pointers are set.
// run: env=GOSHIM_VERBOSE=on
// run: expect-stderr=start: at most \d+ kernel threads .*\n.*start: the thread pointer is set by
#include "check.h"

static void* nothing(void* arg) { return arg; }

int main(void) {
  pthread_t thread;
  CHECK_OK(pthread_create(&thread, NULL, nothing, NULL));
  CHECK_OK(pthread_join(thread, NULL));
  return 0;
}
