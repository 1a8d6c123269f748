// Shows the PI futex calls through syscall(2): the word holds the owner's gettid(), others get EAGAIN or wait, the
// owner EDEADLK, and the unlock hands the lock over, and so does the owner's end.
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

static void* end_as_owner(void* arg) {
  CHECK_SYS(futex_pi(FUTEX_LOCK_PI, NULL));
  EVENTUALLY(word & FUTEX_WAITERS);
  sleep_ms(20);  // it waits, or will find nobody
  return arg;
}

// The first that waits gets it, and the others after it; who comes too late for that is told that there is no owner.
static void* inherit(void* arg) {
  EVENTUALLY(word & FUTEX_TID_MASK);
  if (futex_pi(FUTEX_LOCK_PI, NULL) != 0) {
    CHECK_EQ(errno, ESRCH);
    return arg;
  }
  CHECK_EQ(word & FUTEX_TID_MASK, gettid());
  counter++;
  CHECK_SYS(futex_pi(FUTEX_UNLOCK_PI, NULL));
  return arg;
}

static void owner_ends(void) {
  pthread_t owner, heirs[3];
  counter = 0;
  while (counter == 0) {
    word = 0;
    CHECK_OK(pthread_create(&owner, NULL, end_as_owner, NULL));
    for (int i = 0; i < 3; i++) CHECK_OK(pthread_create(&heirs[i], NULL, inherit, NULL));
    for (int i = 0; i < 3; i++) CHECK_OK(pthread_join(heirs[i], NULL));
    CHECK_OK(pthread_join(owner, NULL));
  }
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
  owner_ends();
  return 0;
}
