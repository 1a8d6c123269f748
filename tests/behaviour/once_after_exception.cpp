// Shows that std::call_once runs again, in another thread that waits, after the routine threw, and that function-local
// statics, too, are built once whatever throws.
#include "check.h"

#include <atomic>
#include <mutex>

namespace {

std::atomic<int> tries, built;

struct Late {
  Late() {
    usleep(200);
    if (++built < 3) throw 1;
  }
};

}  // namespace

int main() {
  static std::once_flag flag;
  static std::atomic<int> thrown, done, refused;
  parallel(16, [](int) {
    try {
      std::call_once(flag, [] {
        usleep(100);
        if (++tries < 4) throw 42;
        done++;
      });
      CHECK_EQ(done.load(), 1);
    } catch (int value) {
      CHECK_EQ(value, 42);
      thrown++;
    }
    for (;;) {
      try {
        static Late late;
        break;
      } catch (int) {
        refused++;
      }
    }
    CHECK_EQ(built.load(), 3);
  });
  CHECK_EQ(thrown.load(), 3);
  CHECK_EQ(done.load(), 1);
  CHECK_EQ(refused.load(), 2);
  return 0;
}
