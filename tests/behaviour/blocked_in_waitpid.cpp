// Shows that threads blocked in waitpid, each for its own child, do not stop the others, and get the right status.
#include "blocked.h"

int main() {
  static int ends[2];
  CHECK_SYS(pipe(ends));
  others_go_on(
      [](int index) {
        const pid_t child = fork();
        CHECK_SYS(child);
        if (child == 0) {
          char byte;
          _exit(read(ends[0], &byte, 1) == 1 ? 30 + index : 1);
        }
        CHECK_EQ(wait_status(child), 30 + index);
      },
      [] { CHECK_EQ(write(ends[1], "abcdef", kBlocked), kBlocked); });
  return 0;
}
