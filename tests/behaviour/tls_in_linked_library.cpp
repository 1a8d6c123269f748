// libs: tlslib
// Shows that thread-local variables of a library the program links are per thread, and destroyed at the thread's end.
#include "check.h"
#include "lib/tlslib.h"

int main() {
  for (int round = 0; round < 3; round++) {
    parallel(50, [](int index) {
      CHECK_EQ(*tlslib_int(), 1234);
      for (int i = 0; i < 10000; i++) CHECK_EQ(tlslib_array()[i], 0);
      int* const address = tlslib_int();
      for (int step = 1; step <= 60; step++) {
        *tlslib_int() = index * 100 + step;
        tlslib_array()[9999] = static_cast<char>(index);
        stir(static_cast<unsigned>(index * 3 + step));
        CHECK_EQ(*tlslib_int(), index * 100 + step);
        CHECK_EQ(tlslib_array()[9999], static_cast<char>(index));
        CHECK_EQ(tlslib_touch(), step);
        CHECK_EQ(tlslib_int(), address);
      }
    });
    CHECK_EQ(tlslib_live(), 0);
    CHECK_EQ(*tlslib_int(), 1234);
  }
  return 0;
}
