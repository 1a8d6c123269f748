// Shows what is answered for threads that have ended and are not joined yet (signals, names), for sizes of stacks and
// guards that cannot be had, for a guard that is larger than memory, for joining oneself, for setting the clock of a
// thread, for no thread at all; and that an attribute object tells whether a thread was made with a policy of its own.
#include "check.h"

#include <limits.h>
#include <signal.h>

static void* nothing(void* arg) { return arg; }

static void* wait_at(void* barrier) {
  pthread_barrier_wait(barrier);
  pthread_barrier_wait(barrier);
  return NULL;
}

// pthread_kill says 0 when the thread has come to its end, and so do numbers that are no signals.
static void signals_and_names_of_an_ended_thread(void) {
  pthread_t thread;
  union sigval value = {0};
  char name[16];
  CHECK_EQ(pthread_create(&thread, NULL, nothing, NULL), 0);
  EVENTUALLY(pthread_sigqueue(thread, 0, value) == ESRCH);
  CHECK_EQ(pthread_sigqueue(thread, SIGUSR1, value), ESRCH);
  CHECK_EQ(pthread_sigqueue(thread, 99, value), ESRCH);
  CHECK_EQ(pthread_kill(thread, 0), 0);
  CHECK_EQ(pthread_kill(thread, SIGUSR1), 0);
  CHECK_EQ(pthread_kill(thread, 99), 0);
  CHECK_EQ(pthread_kill(thread, 32), EINVAL);
  EVENTUALLY(pthread_getname_np(thread, name, sizeof name) == ENOENT);
  CHECK_EQ(pthread_setname_np(thread, "name"), ENOENT);
  CHECK_EQ(pthread_setname_np(thread, "a name that is too long"), ERANGE);
  CHECK_EQ(pthread_getname_np(thread, name, 8), ERANGE);
  CHECK_EQ(pthread_join(thread, NULL), 0);
}

// What a variable holds that no thread was made for.
static void no_thread(void) {
  struct timespec at = {0, 0};
  struct sched_param param = {0};
  int policy;
  clockid_t clock;
  void* result;
  CHECK_EQ(pthread_join(0, &result), ESRCH);
  CHECK_EQ(pthread_timedjoin_np(0, &result, &at), ESRCH);
  CHECK_EQ(pthread_clockjoin_np(0, &result, CLOCK_MONOTONIC, &at), ESRCH);
  CHECK_EQ(pthread_detach(0), ESRCH);
  CHECK_EQ(pthread_getschedparam(0, &policy, &param), ESRCH);
  CHECK_EQ(pthread_setschedparam(0, SCHED_OTHER, &param), ESRCH);
  CHECK_EQ(pthread_setschedprio(0, 0), ESRCH);
  CHECK_EQ(pthread_getcpuclockid(0, &clock), ESRCH);
}

static int create_with(size_t stack, size_t guard) {
  pthread_attr_t attr;
  pthread_t thread;
  CHECK_EQ(pthread_attr_init(&attr), 0);
  if (stack) CHECK_EQ(pthread_attr_setstacksize(&attr, stack), 0);
  CHECK_EQ(pthread_attr_setguardsize(&attr, guard), 0);
  int error = pthread_create(&thread, &attr, nothing, NULL);
  if (!error) CHECK_EQ(pthread_join(thread, NULL), 0);
  pthread_attr_destroy(&attr);
  return error;
}

static void sizes(void) {
  CHECK_EQ(create_with(SIZE_MAX, 4096), EINVAL);         // with its guard it is no number
  CHECK_EQ(create_with(SIZE_MAX - 4096, 4096), EAGAIN);  // nobody has so much
  CHECK_EQ(create_with(SIZE_MAX / 2, 4096), EAGAIN);
  CHECK_EQ(create_with((size_t)1 << 48, 4096), EAGAIN);
  CHECK_EQ(create_with(0, SIZE_MAX), EINVAL);
  CHECK_EQ(create_with(0, SIZE_MAX - 4096), EINVAL);
  CHECK_EQ(create_with(0, (size_t)1 << 48), EAGAIN);
  CHECK_EQ(create_with(0, (size_t)1 << 40), 0);  // address space alone
  CHECK_EQ(create_with((size_t)1 << 20, (size_t)64 << 20), 0);
}

static __thread char large[256 << 10];

static void* touch(void* arg) {
  memset(large, 1, sizeof large);
  return arg;
}

// Thread-local variables lie in the stack.
static void room_for_thread_locals(void) {
  pthread_attr_t attr;
  pthread_t thread;
  CHECK_EQ(create_with(128 << 10, 4096), EINVAL);
  CHECK_EQ(pthread_attr_init(&attr), 0);
  CHECK_EQ(pthread_attr_setstacksize(&attr, 512 << 10), 0);
  CHECK_EQ(pthread_create(&thread, &attr, touch, NULL), 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  static char own[128 << 10] __attribute__((aligned(4096)));
  CHECK_EQ(pthread_attr_setstack(&attr, own, sizeof own), 0);
  CHECK_EQ(pthread_create(&thread, &attr, nothing, NULL), EINVAL);
  pthread_attr_destroy(&attr);
}

static int inherits(const pthread_attr_t* attr) {
  pthread_barrier_t barrier;
  pthread_t thread;
  pthread_attr_t seen;
  int inherit = -1;
  pthread_barrier_init(&barrier, NULL, 2);
  CHECK_EQ(pthread_create(&thread, attr, wait_at, &barrier), 0);
  pthread_barrier_wait(&barrier);
  CHECK_EQ(pthread_getattr_np(thread, &seen), 0);
  CHECK_EQ(pthread_attr_getinheritsched(&seen, &inherit), 0);
  pthread_attr_destroy(&seen);
  pthread_barrier_wait(&barrier);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  pthread_barrier_destroy(&barrier);
  return inherit;
}

static void policies(void) {
  pthread_attr_t attr;
  struct sched_param param = {0};
  CHECK_EQ(inherits(NULL), PTHREAD_INHERIT_SCHED);
  CHECK_EQ(pthread_attr_init(&attr), 0);
  CHECK_EQ(inherits(&attr), PTHREAD_INHERIT_SCHED);
  CHECK_EQ(pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED), 0);
  CHECK_EQ(pthread_attr_setschedpolicy(&attr, SCHED_OTHER), 0);
  CHECK_EQ(pthread_attr_setschedparam(&attr, &param), 0);
  CHECK_EQ(inherits(&attr), PTHREAD_EXPLICIT_SCHED);
  pthread_attr_destroy(&attr);
}

static void* join_self(void* barrier) {
  CHECK_EQ(pthread_join(pthread_self(), NULL), EDEADLK);
  CHECK_EQ(pthread_detach(pthread_self()), 0);
  CHECK_EQ(pthread_join(pthread_self(), NULL), EINVAL);
  CHECK_EQ(pthread_tryjoin_np(pthread_self(), NULL), EBUSY);
  pthread_barrier_wait(barrier);
  return NULL;
}

static void joining_oneself(void) {
  static pthread_barrier_t barrier;
  pthread_t thread;
  pthread_barrier_init(&barrier, NULL, 2);
  CHECK_EQ(pthread_create(&thread, NULL, join_self, &barrier), 0);
  pthread_barrier_wait(&barrier);
}

static void clocks_cannot_be_set(void) {
  pthread_barrier_t barrier;
  pthread_t thread;
  clockid_t clock;
  struct timespec zero = {0, 0};
  struct timespec none = {0, -1};
  pthread_barrier_init(&barrier, NULL, 2);
  CHECK_EQ(pthread_create(&thread, NULL, wait_at, &barrier), 0);
  pthread_barrier_wait(&barrier);
  CHECK_EQ(pthread_getcpuclockid(thread, &clock), 0);
  errno = 0;
  CHECK_EQ(clock_settime(clock, &zero), -1);
  CHECK_EQ(errno, EPERM);
  CHECK_EQ(clock_settime(clock, &none), -1);
  CHECK_EQ(errno, EINVAL);
  CHECK_EQ(pthread_getcpuclockid(pthread_self(), &clock), 0);
  CHECK_EQ(clock_settime(clock, &zero), -1);
  CHECK_EQ(errno, EPERM);
  CHECK_EQ(clock_settime(CLOCK_THREAD_CPUTIME_ID, &zero), -1);
  CHECK_EQ(errno, EINVAL);
  pthread_barrier_wait(&barrier);
  CHECK_EQ(pthread_join(thread, NULL), 0);
}

int main(void) {
  no_thread();
  signals_and_names_of_an_ended_thread();
  sizes();
  room_for_thread_locals();
  policies();
  joining_oneself();
  clocks_cannot_be_set();
  no_thread();
  return 0;
}
