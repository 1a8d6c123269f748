// Shows that threads that enter the kernel by a syscall instruction of their own, and sleep there in a futex or in
// nanosleep, do not stop the others.
#include "blocked.h"
#include "raw.h"

#include <linux/futex.h>
#include <sys/syscall.h>

int main() {
  static std::atomic<int> word, waiting;
  auto block = [](int index) {
    waiting++;
    if (index % 3 == 2) {
      const timespec step = {0, 20 * 1000 * 1000};
      while (word == 0) CHECK_EQ(raw<SYS_nanosleep>(reinterpret_cast<long>(&step), 0, 0, 0), 0);
    } else {
      while (word == 0) raw<SYS_futex>(reinterpret_cast<long>(&word), FUTEX_WAIT_PRIVATE, 0, 0);
    }
    if (--waiting == 0) word = 0;
  };
  others_go_on(block, [] {
    word = 1;
    // By the same way in: the waiters are in the kernel's queue, not in a library's.
    raw<SYS_futex>(reinterpret_cast<long>(&word), FUTEX_WAKE_PRIVATE, 1000, 0);
  });
  return 0;
}
