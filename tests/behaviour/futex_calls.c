// Shows the futex system call through syscall(2): wait and wake with counts, bit sets, requeue, compare-requeue,
// wake-op, relative and absolute time-outs on both clocks, and the errors of each; private and shared keys.
#include "check.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

static long futex(atomic_uint* word, int op, unsigned value, const struct timespec* timeout, atomic_uint* other,
                  unsigned value3) {
  return syscall(SYS_futex, word, op, value, timeout, other, value3);
}

// Wakes `count` in total, however late the waiters come.
static void wake_all(atomic_uint* word, int op, int count, unsigned bits) {
  int woken = 0;
  EVENTUALLY((woken += (int)futex(word, op, (unsigned)(count - woken), NULL, NULL, bits)) >= count);
  CHECK_EQ(woken, count);
}

static atomic_uint word, target;
static atomic_int returned;
static int private_flag;

static void* wait_plain(void* arg) {
  CHECK_EQ(futex(&word, FUTEX_WAIT | private_flag, 7, NULL, NULL, 0), 0);
  atomic_fetch_add(&returned, 1);
  return arg;
}

static void* wait_bits(void* arg) {
  CHECK_EQ(futex(&word, FUTEX_WAIT_BITSET | private_flag, 7, NULL, NULL, 1u << (intptr_t)arg), 0);
  atomic_fetch_add(&returned, 1);
  return arg;
}

static void* time_out(void* arg) {
  for (int i = 0; i < 4; i++) {
    struct timespec relative = {0, (i + (intptr_t)arg % 3) * 500000};
    const int64_t before = now_ns(CLOCK_MONOTONIC);
    CHECK_ERRNO(futex(&word, FUTEX_WAIT | private_flag, 7, &relative, NULL, 0), ETIMEDOUT);
    CHECK(now_ns(CLOCK_MONOTONIC) - before >= relative.tv_nsec);
    struct timespec steady = ms_from_now(CLOCK_MONOTONIC, i), wall = ms_from_now(CLOCK_REALTIME, i);
    CHECK_ERRNO(futex(&word, FUTEX_WAIT_BITSET | private_flag, 7, &steady, NULL, ~0u), ETIMEDOUT);
    CHECK(now_ns(CLOCK_MONOTONIC) >= steady.tv_sec * NS_PER_S + steady.tv_nsec);
    CHECK_ERRNO(futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME | private_flag, 7, &wall, NULL, ~0u), ETIMEDOUT);
    CHECK(now_ns(CLOCK_REALTIME) >= wall.tv_sec * NS_PER_S + wall.tv_nsec);
    struct timespec past = {1, 0}, bad = {0, 1000000000}, negative = {-1, 0};
    CHECK_ERRNO(futex(&word, FUTEX_WAIT_BITSET | private_flag, 7, &past, NULL, ~0u), ETIMEDOUT);
    CHECK_ERRNO(futex(&word, FUTEX_WAIT | private_flag, 7, &bad, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(&word, FUTEX_WAIT | private_flag, 7, &negative, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(&word, FUTEX_WAIT | private_flag, 8, &relative, NULL, 0), EAGAIN);
    CHECK_ERRNO(futex(&word, FUTEX_WAIT_BITSET | private_flag, 7, &wall, NULL, 0), EINVAL);
  }
  return arg;
}

static void start(pthread_t* threads, int count, void* (*routine)(void*)) {
  returned = 0;
  for (intptr_t i = 0; i < count; i++) CHECK_OK(pthread_create(&threads[i], NULL, routine, (void*)i));
}

static void finish(pthread_t* threads, int count) {
  for (int i = 0; i < count; i++) CHECK_OK(pthread_join(threads[i], NULL));
  CHECK_EQ(returned, count);
}

static void check_forms(void) {
  pthread_t threads[16];
  word = 7;
  target = 9;
  CHECK_EQ(futex(&word, FUTEX_WAKE | private_flag, 1000, NULL, NULL, 0), 0);
  start(threads, 16, wait_plain);
  wake_all(&word, FUTEX_WAKE | private_flag, 16, 0);
  finish(threads, 16);
  CHECK_EQ(futex(&word, FUTEX_WAKE | private_flag, 1000, NULL, NULL, 0), 0);

  start(threads, 16, wait_bits);
  wake_all(&word, FUTEX_WAKE_BITSET | private_flag, 8, 0x5555);
  EVENTUALLY(returned == 8);
  CHECK_EQ(futex(&word, FUTEX_WAKE_BITSET | private_flag, 100, NULL, NULL, 0x5555), 0);
  wake_all(&word, FUTEX_WAKE | private_flag, 8, 0);
  finish(threads, 16);

  // Waiters move to the other word: 1 is woken, the rest waits there.
  start(threads, 16, wait_plain);
  long moved = 0;
  const struct timespec* const all = (const struct timespec*)16;
  CHECK_ERRNO(futex(&word, FUTEX_CMP_REQUEUE | private_flag, 1, all, &target, 8), EAGAIN);
  EVENTUALLY((moved += futex(&word, FUTEX_CMP_REQUEUE | private_flag, 0, all, &target, 7)) == 16);
  CHECK_EQ(futex(&word, FUTEX_WAKE | private_flag, 100, NULL, NULL, 0), 0);
  CHECK_EQ(futex(&target, FUTEX_REQUEUE | private_flag, 2, (const struct timespec*)5, &word, 0), 7);
  CHECK_EQ(futex(&word, FUTEX_WAKE | private_flag, 100, NULL, NULL, 0), 5);
  CHECK_EQ(futex(&target, FUTEX_WAKE | private_flag, 100, NULL, NULL, 0), 9);
  finish(threads, 16);

  // target += 2; wakes 3 on word, and 100 on target if it was 9.
  start(threads, 4, wait_plain);
  moved = 0;
  EVENTUALLY((moved += futex(&word, FUTEX_CMP_REQUEUE | private_flag, 0, all, &target, 7)) == 4);
  start(threads + 4, 6, wait_plain);
  sleep_ms(20);
  const long woken = futex(&word, FUTEX_WAKE_OP | private_flag, 3, (const struct timespec*)100, &target,
                           (unsigned)FUTEX_OP(FUTEX_OP_ADD, 2, FUTEX_OP_CMP_EQ, 9));
  CHECK_EQ(target, 11);
  CHECK(woken >= 4 && woken <= 7);
  wake_all(&word, FUTEX_WAKE | private_flag, 10 - (int)woken, 0);
  for (int i = 0; i < 10; i++) CHECK_OK(pthread_join(threads[i], NULL));
  CHECK_EQ(futex(&word, FUTEX_WAKE_OP | private_flag, 1, all, &target,
                 (unsigned)FUTEX_OP(FUTEX_OP_SET, 5, FUTEX_OP_CMP_LT, 9)),
           0);
  CHECK_EQ(target, 5);

  word = 7;
  run_threads(8, time_out);
}

struct waitv {
  uint64_t value, address;
  uint32_t flags, reserved;
};
static atomic_uint first, second;

static void* wait_for_either(void* arg) {
  const struct waitv waits[2] = {{0, (uintptr_t)&first, 2 | 128, 0}, {0, (uintptr_t)&second, 2 | 128, 0}};
  CHECK_EQ(syscall(SYS_futex_waitv, waits, 2, 0, NULL, CLOCK_MONOTONIC), 1);
  return arg;
}

int main(void) {
  private_flag = FUTEX_PRIVATE_FLAG;
  check_forms();
  private_flag = 0;
  check_forms();
  CHECK_ERRNO(syscall(SYS_futex, &word, 99, 0, NULL, NULL, 0), ENOSYS);

  if (syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0) == -1 && errno == ENOSYS) return 0;
  pthread_t thread;
  CHECK_OK(pthread_create(&thread, NULL, wait_for_either, NULL));
  EVENTUALLY(futex(&second, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 1);
  CHECK_OK(pthread_join(thread, NULL));
  return 0;
}
