// Shows the PI futex calls through syscall(2): the word holds the owner's gettid(), others get EAGAIN or wait, the
// owner EDEADLK, and the unlock hands the lock over.
#include "check.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>

static atomic_uint word;
static long counter;

static long futex_pi(int op, const struct timespec* timeout) {
  return syscall(SYS_futex, &word, op | FUTEX_PRIVATE_FLAG, 0, timeout, NULL, 0);
}

static void* contend(void* arg) {
  for (unsigned i = 0; i < 100; i++) {
    CHECK_SYS(futex_pi(FUTEX_LOCK_PI, NULL));
    CHECK_EQ(word & FUTEX_TID_MASK, gettid());
    const long before = counter;
    if (i % 16 == 0) stir(i / 16 * 2);
    counter = before + 1;
    CHECK_SYS(futex_pi(FUTEX_UNLOCK_PI, NULL));
  }
  return arg;
}

static void* find_it_locked(void* arg) {
  CHECK_ERRNO(futex_pi(FUTEX_TRYLOCK_PI, NULL), EAGAIN);
  CHECK_ERRNO(futex_pi(FUTEX_UNLOCK_PI, NULL), EPERM);
  struct timespec soon = ms_from_now(CLOCK_REALTIME, 2);
  CHECK_ERRNO(futex_pi(FUTEX_LOCK_PI, &soon), ETIMEDOUT);
  return arg;
}

int main(void) {
  run_threads(10, contend);
  CHECK_EQ(counter, 1000);
  CHECK_EQ(word, 0);
  CHECK_SYS(futex_pi(FUTEX_TRYLOCK_PI, NULL));
  CHECK_ERRNO(futex_pi(FUTEX_LOCK_PI, NULL), EDEADLK);
  run_threads(4, find_it_locked);
  CHECK_SYS(futex_pi(FUTEX_UNLOCK_PI, NULL));
  CHECK_EQ(word & FUTEX_TID_MASK, 0);
  return 0;
}
