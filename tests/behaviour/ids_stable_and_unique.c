// Shows that pthread_self, gettid and getpid stay what they are in a thread that moves, that ids of live threads are
// unique, that main's thread id is the process id, and that pthread_kill(0) and tgkill(0) know live threads.
#include "check.h"

#include <signal.h>
#include <sys/syscall.h>

enum { kThreads = 100 };
static pthread_t selves[kThreads];
static pid_t tids[kThreads];
static pthread_barrier_t barrier;

static void* identify(void* arg) {
  const intptr_t index = (intptr_t)arg;
  const pthread_t self = selves[index] = pthread_self();
  const pid_t tid = tids[index] = gettid();
  for (unsigned step = 0; step < 80; step++) {
    stir(step + (unsigned)index);
    CHECK(pthread_equal(pthread_self(), self));
    CHECK_EQ(gettid(), tid);
    CHECK_EQ(syscall(SYS_gettid), tid);
    CHECK_EQ(getpid(), syscall(SYS_getpid));
    CHECK(gettid() != getpid());
  }
  pthread_barrier_wait(&barrier);
  for (int i = 0; i < kThreads; i++) {
    CHECK_EQ(pthread_equal(selves[i], self) != 0, i == index);
    CHECK_EQ(tids[i] == tid, i == index);
  }
  CHECK_OK(pthread_kill(selves[(index + 1) % kThreads], 0));
  CHECK_EQ(tgkill(getpid(), tids[(index + 1) % kThreads], 0), 0);
  CHECK_EQ(pthread_kill(self, 10000), EINVAL);
  pthread_barrier_wait(&barrier);
  return arg;
}

int main(void) {
  CHECK_EQ(gettid(), getpid());
  CHECK_OK(pthread_barrier_init(&barrier, NULL, kThreads));
  const pthread_t self = pthread_self();
  for (int round = 0; round < 2; round++) run_threads(kThreads, identify);
  CHECK(pthread_equal(self, pthread_self()));
  CHECK_EQ(gettid(), getpid());
  CHECK_OK(pthread_kill(self, 0));
  CHECK_ERRNO(tgkill(getpid(), 0x7ffffff0, 0), ESRCH);
  return 0;
}
