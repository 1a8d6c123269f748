// Shows that threads that enter the kernel by a syscall instruction of their own, and sleep there in a futex or in
// nanosleep, do not stop the others.
#include "blocked.h"

#include <linux/futex.h>
#include <sys/syscall.h>

namespace {

// The number stands in the instruction before, as in most programs: an interruption that is none of the program's can
// then be undone.
template <long number>
long raw(long a, long b, long c, long d) {
#if defined(__x86_64__)
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = 0;
  asm volatile("movl %[number], %%eax\n\tsyscall"
               : "=&a"(result)
               : [number] "i"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
               : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 asm("x8") = number;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  register long x4 asm("x4") = 0;
  asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
  return x0;
#endif
}

}  // namespace

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
