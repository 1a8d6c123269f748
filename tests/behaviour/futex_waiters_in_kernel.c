// Shows that futex(2) wakes and moves all that it is told to, whether they wait by libc's function, by an instruction
// of the program's own, or by futex_waitv(2).
#include "check.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

enum Way { kFunction, kInstruction, kVector, kWays };
enum { kEach = 2, kThreads = kWays * kEach };

static uint32_t word, other;
static volatile int asleep, woken;

#if defined __x86_64__
static long by_instruction(long nr, long a, long b, long c, long d) {
  long r;
  register long r10 __asm__("r10") = d;
  __asm__ volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
  return r;
}
#else
static long by_instruction(long nr, long a, long b, long c, long d) {
  register long x8 __asm__("x8") = nr;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  return x0;
}
#endif

static void sleep_once(enum Way way) {
  struct futex_waitv vector = {.val = 0, .uaddr = (uintptr_t)&word, .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG};
  switch (way) {
    case kFunction: syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0); break;
    case kInstruction: by_instruction(SYS_futex, (long)&word, FUTEX_WAIT_PRIVATE, 0, 0); break;
    default: syscall(SYS_futex_waitv, &vector, 1, 0, NULL, 0);
  }
}

static void* waits(void* arg) {
  const enum Way way = (enum Way)((intptr_t)arg / kEach);
  __atomic_add_fetch(&asleep, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&word, __ATOMIC_SEQ_CST) == 0) sleep_once(way);
  __atomic_add_fetch(&woken, 1, __ATOMIC_SEQ_CST);
  return arg;
}

static int has_vectors(void) {
  struct futex_waitv none = {0};
  return syscall(SYS_futex_waitv, &none, 0, 0, NULL, 0) == -1 && errno != ENOSYS;
}

static void wake_them(long (*wake)(int)) {
  const int count = has_vectors() ? kThreads : kVector * kEach;
  pthread_t threads[kThreads];
  word = 0;
  asleep = woken = 0;
  for (intptr_t i = 0; i < count; i++) CHECK_OK(pthread_create(&threads[i], NULL, waits, (void*)i));
  EVENTUALLY(asleep == count);
  sleep_ms(50);
  __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
  const long told = wake(count);
  CHECK(told >= 0 && told <= count);
  EVENTUALLY(woken == count);
  for (int i = 0; i < count; i++) CHECK_OK(pthread_join(threads[i], NULL));
}

static long wake_all(int count) {
  (void)count;
  return syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}
static long wake_so_many(int count) { return syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0); }
static long wake_by_operation(int count) {
  const int set_and_compare = FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_EQ, 1);
  return syscall(SYS_futex, &word, FUTEX_WAKE_OP_PRIVATE, count, 0L, &other, set_and_compare);
}
// Some to the other word, where they are woken next.
static long move_and_wake(int count) {
  const long moved = syscall(SYS_futex, &word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (long)INT_MAX, &other, 1);
  CHECK(moved >= 0 && moved <= count);
  sleep_ms(5);
  return syscall(SYS_futex, &other, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

int main(void) {
  for (int round = 0; round < 3; round++) {
    wake_them(wake_all);
    wake_them(wake_so_many);
    wake_them(wake_by_operation);
    wake_them(move_and_wake);
  }
  return 0;
}
