// Shows that threads blocked inside stdio, which calls the kernel where nobody can look, do not stop the others: one
// in getchar on a pipe, the rest on streams of their own or behind the first one's lock.
#include "blocked.h"

int main() {
  static int in[2], own[kBlocked][2];
  static FILE* streams[kBlocked];
  CHECK_SYS(pipe(in));
  CHECK_SYS(dup2(in[0], 0));
  for (int i = 0; i < kBlocked; i++) {
    CHECK_SYS(pipe(own[i]));
    streams[i] = fdopen(own[i][0], "r");
  }
  others_go_on(
      [](int index) {
        if (index < 3) {
          CHECK_EQ(getchar(), 'i');
        } else {
          char line[16];
          CHECK(fgets(line, sizeof line, streams[index]) != nullptr);
          CHECK_STR(line, "line\n");
        }
      },
      [] {
        for (int i = 0; i < 3; i++) CHECK_EQ(write(in[1], "i", 1), 1);
        for (int i = 3; i < kBlocked; i++) CHECK_EQ(write(own[i][1], "line\n", 5), 5);
      });
  return 0;
}
