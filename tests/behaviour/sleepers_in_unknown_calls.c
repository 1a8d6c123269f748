// Shows that threads which sleep by an instruction of their own (as those of OpenMP do) do not keep others from
// running: many short-lived ones meet in turn. Were each found only after a tenth of a second, this would take a
// minute.
#include "check.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>

enum { kThreads = 7, kRounds = 500 };

static int left, generation;

static void futex_by_instruction(int* word, int op, int value) {
#if defined __x86_64__
  long r;
  register long r10 __asm__("r10") = 0;
  __asm__ volatile("syscall"
                   : "=a"(r)
                   : "a"(SYS_futex), "D"(word), "S"(op), "d"(value), "r"(r10)
                   : "rcx", "r11", "memory");
#else
  register long x8 __asm__("x8") = SYS_futex;
  register long x0 __asm__("x0") = (long)word;
  register long x1 __asm__("x1") = op;
  register long x2 __asm__("x2") = value;
  register long x3 __asm__("x3") = 0;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
#endif
}

static void meet(void) {
  const int now = __atomic_load_n(&generation, __ATOMIC_ACQUIRE);
  if (__atomic_sub_fetch(&left, 1, __ATOMIC_ACQ_REL) == 0) {
    left = kThreads + 1;
    __atomic_add_fetch(&generation, 1, __ATOMIC_RELEASE);
    futex_by_instruction(&generation, FUTEX_WAKE_PRIVATE, INT_MAX);
    return;
  }
  while (__atomic_load_n(&generation, __ATOMIC_ACQUIRE) == now) {
    futex_by_instruction(&generation, FUTEX_WAIT_PRIVATE, now);
  }
}

static void* meets(void* arg) {
  meet();
  return arg;
}

int main(void) {
  left = kThreads + 1;
  for (int round = 0; round < kRounds; round++) {
    pthread_t threads[kThreads];
    for (int i = 0; i < kThreads; i++) CHECK_OK(pthread_create(&threads[i], NULL, meets, NULL));
    meet();
    for (int i = 0; i < kThreads; i++) CHECK_OK(pthread_join(threads[i], NULL));
  }
  return 0;
}
