// Shows what futex(2) answers where there is no memory, or none to write to; for times that are none; by the wall
// clock; and what its locks do whose word names a thread that does not live. Private and shared words.
#include "check.h"

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static int flag;
static unsigned word[2];

// The kernel's answer.
static long futex(void* at, int op, unsigned value, const void* timeout, void* other, unsigned value3) {
  long r = syscall(SYS_futex, at, op | flag, value, timeout, other, value3);
  return r < 0 ? -errno : r;
}

static void no_memory(void* bad) {
  const struct timespec soon = {0, 1000000};
  const void* one = (const void*)1;
  CHECK_EQ(futex(bad, FUTEX_WAIT, 0, &soon, NULL, 0), -EFAULT);
  CHECK_EQ(futex(bad, FUTEX_WAIT_BITSET, 0, &soon, NULL, 1), -EFAULT);
  CHECK_EQ(futex(bad, FUTEX_WAKE, 1, NULL, NULL, 0), flag ? 0 : -EFAULT);
  CHECK_EQ(futex(bad, FUTEX_REQUEUE, 1, one, word, 0), flag ? 0 : -EFAULT);
  CHECK_EQ(futex(word, FUTEX_REQUEUE, 1, one, bad, 0), flag ? 0 : -EFAULT);
  CHECK_EQ(futex(bad, FUTEX_CMP_REQUEUE, 1, one, word, 0), -EFAULT);
  CHECK_EQ(futex(word, FUTEX_WAKE_OP, 1, one, bad, FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, 0)), -EFAULT);
  CHECK_EQ(futex(bad, FUTEX_LOCK_PI, 0, NULL, NULL, 0), -EFAULT);
  CHECK_EQ(futex(bad, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0), -EFAULT);
  CHECK_EQ(futex(bad, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), -EFAULT);
  CHECK_EQ(futex(bad, FUTEX_WAIT_REQUEUE_PI, 0, &soon, word, 0), -EFAULT);
  CHECK_EQ(futex(word, FUTEX_CMP_REQUEUE_PI, 1, NULL, bad, 0), -EFAULT);
  CHECK_EQ(futex(word, FUTEX_WAIT, 0, bad, NULL, 0), -EFAULT);
  CHECK_EQ(futex(word, FUTEX_WAIT_BITSET, 0, bad, NULL, 1), -EFAULT);
}

static void times(void) {
  const struct timespec too_many = {0, 1000000000};
  const struct timespec negative = {-1, 0};
  const struct timespec soon = {0, 1000000};
  CHECK_EQ(futex(word, FUTEX_WAIT, 0, &too_many, NULL, 0), -EINVAL);
  CHECK_EQ(futex(word, FUTEX_WAIT, 0, &negative, NULL, 0), -EINVAL);
  CHECK_EQ(futex(word, FUTEX_LOCK_PI, 0, &too_many, NULL, 0), -EINVAL);
  CHECK_EQ(futex(word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &soon, NULL, 1), -ETIMEDOUT);
  CHECK_EQ(futex(word, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, 0), -ENOSYS);
  CHECK_EQ(futex(word, FUTEX_LOCK_PI | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, 0), -ENOSYS);
  CHECK_EQ(word[0], 0);
}

static void* get_id(void* id) {
  *(unsigned*)id = (unsigned)syscall(SYS_gettid);
  return NULL;
}

static void owners(void* read_only) {
  const struct timespec past = {0, 0};
  unsigned self = (unsigned)syscall(SYS_gettid);
  unsigned gone;
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, get_id, &gone), 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  const unsigned dead[] = {gone, 0x1ffffff0};
  for (int i = 0; i < 2; i++) {
    // The kernel may not have seen a joined thread off yet.
    EVENTUALLY((word[0] = dead[i], futex(word, FUTEX_LOCK_PI, 0, &past, NULL, 0)) == -ESRCH);
    EVENTUALLY((word[0] = dead[i], futex(word, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0)) == -ESRCH);
    CHECK_EQ(futex(word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), -EPERM);
  }
  word[0] = FUTEX_OWNER_DIED;
  CHECK_EQ(futex(word, FUTEX_LOCK_PI, 0, NULL, NULL, 0), 0);
  CHECK_EQ(word[0], FUTEX_OWNER_DIED | self);
  CHECK_EQ(futex(word, FUTEX_LOCK_PI, 0, NULL, NULL, 0), -EDEADLK);
  CHECK_EQ(futex(word, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0), -EDEADLK);
  CHECK_EQ(futex(word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), 0);
  word[0] = FUTEX_WAITERS;
  CHECK_EQ(futex(word, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0), 0);
  CHECK_EQ(word[0], self);
  CHECK_EQ(futex(word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), 0);
  CHECK_EQ(word[0], 0);
  CHECK_EQ(futex(read_only, FUTEX_LOCK_PI, 0, NULL, NULL, 0), -EFAULT);
  CHECK_EQ(futex(word, FUTEX_WAIT_REQUEUE_PI, 0, &past, word, 0), -EINVAL);
  CHECK_EQ(futex(word, FUTEX_CMP_REQUEUE_PI, 1, NULL, word, 0), -EINVAL);
  CHECK_EQ(futex(word, FUTEX_CMP_REQUEUE_PI, 2, NULL, word + 1, 0), -EINVAL);
}

static void* all(void* arg) {
  const size_t size = 4096;
  char* page = mmap(NULL, 3 * size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(page != MAP_FAILED);
  CHECK_EQ(mprotect(page + size, size, PROT_NONE), 0);
  void* bad[] = {page + size, page + 2 * size - 4, (void*)0x1234567800000000, (void*)16, (void*)-4096, NULL};
  for (flag = 0; flag <= FUTEX_PRIVATE_FLAG; flag += FUTEX_PRIVATE_FLAG) {
    no_memory(bad[0]);
    no_memory(bad[1]);
    for (int i = 2; i < 6; i++) CHECK_EQ(futex(bad[i], FUTEX_WAIT, 0, NULL, NULL, 0), -EFAULT);
    times();
    owners(page);
  }
  // Words at both ends of readable memory.
  flag = FUTEX_PRIVATE_FLAG;
  CHECK_EQ(futex(page + size - 4, FUTEX_WAIT, 1, NULL, NULL, 0), -EAGAIN);
  CHECK_EQ(futex(page + 2 * size, FUTEX_WAIT, 1, NULL, NULL, 0), -EAGAIN);
  return arg;
}

int main(void) {
  pthread_t thread;
  all(NULL);  // the only thread so far, and after it has made others
  CHECK_EQ(pthread_create(&thread, NULL, all, NULL), 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  return 0;
}
