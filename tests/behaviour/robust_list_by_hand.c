// Shows set_robust_list(2) by a thread that libc has made for a timer: when it ends, the kernel marks the word in its
// list as its owner's death, and wakes the thread of the program that waits for that by futex(2).
#include "check.h"

#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>

static struct {
  struct robust_list entry;
  atomic_uint word;
} lock;
static struct robust_list_head head;
static atomic_int waiting;

static void owner(union sigval value) {
  (void)value;
  head.list.next = &lock.entry;
  head.futex_offset = (char*)&lock.word - (char*)&lock.entry;
  lock.entry.next = &head.list;
  CHECK_SYS(syscall(SYS_set_robust_list, &head, sizeof head));
  atomic_store(&lock.word, (unsigned)syscall(SYS_gettid) | FUTEX_WAITERS);
  while (!atomic_load(&waiting)) sleep_ms(1);
  sleep_ms(50);  // it may have come to its wait
}

static void* waiter(void* arg) {
  unsigned seen;
  EVENTUALLY(atomic_load(&lock.word) != 0);
  atomic_store(&waiting, 1);
  while (!((seen = atomic_load(&lock.word)) & FUTEX_OWNER_DIED)) {
    syscall(SYS_futex, &lock.word, FUTEX_WAIT, seen, NULL, NULL, 0);
  }
  CHECK_EQ(seen & FUTEX_TID_MASK, 0);
  return arg;
}

int main(void) {
  struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = owner};
  const struct itimerspec soon = {.it_value = {0, 1000000}};
  timer_t timer;
  pthread_t thread;
  CHECK_SYS(timer_create(CLOCK_MONOTONIC, &event, &timer));
  CHECK_OK(pthread_create(&thread, NULL, waiter, NULL));
  CHECK_SYS(timer_settime(timer, 0, &soon, NULL));
  CHECK_OK(pthread_join(thread, NULL));
  return 0;
}
