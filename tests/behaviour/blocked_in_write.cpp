// Shows that threads blocked in write on a full pipe do not stop the others, and that all they wrote arrives.
#include "blocked.h"

int main() {
  static int ends[2];
  CHECK_SYS(pipe(ends));
  static char block[100 * 1024];  // More than a pipe holds.
  memset(block, 'x', sizeof block);
  others_go_on([](int) { CHECK_EQ(write(ends[1], block, sizeof block), sizeof block); },
               [] {
                 static char sink[4096];
                 for (size_t left = kBlocked * sizeof block; left > 0;) {
                   const ssize_t got = read(ends[0], sink, sizeof sink);
                   CHECK(got > 0);
                   for (ssize_t i = 0; i < got; i++) CHECK_EQ(sink[i], 'x');
                   left -= static_cast<size_t>(got);
                 }
               });
  return 0;
}
