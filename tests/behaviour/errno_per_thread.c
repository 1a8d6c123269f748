// Shows that errno belongs to the thread: it keeps its value, and its address, across every way of being switched.
#include "check.h"

static void* keep_errno(void* arg) {
  const intptr_t self = (intptr_t)arg;
  int* const address = &errno;
  for (int step = 0; step < 150; step++) {
    const int mine = 1 + (int)((self * 7 + step) % 120);
    errno = mine;
    stir((unsigned)(self + step) % 2 == 0 ? 3 : 0);  // Neither a yield nor a lock that succeeds may write errno.
    compute(300);
    CHECK_EQ(errno, mine);
    CHECK_EQ(close(-1), -1);
    CHECK_EQ(errno, EBADF);
    stir((unsigned)(self + step));
    CHECK_EQ(&errno, address);
  }
  return arg;
}

int main(void) {
  errno = 99;
  run_threads(40, keep_errno);
  CHECK_EQ(errno, 99);
  return 0;
}
