// Shows that threads blocked in read on a pipe do not stop the others.
#include "blocked.h"

int main() {
  static int ends[2];
  CHECK_SYS(pipe(ends));
  others_go_on(
      [](int) {
        char byte;
        CHECK_EQ(read(ends[0], &byte, 1), 1);
      },
      [] { CHECK_EQ(write(ends[1], "abcdef", kBlocked), kBlocked); });
  return 0;
}
