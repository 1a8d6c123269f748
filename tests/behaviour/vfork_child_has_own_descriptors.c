// Shows that what a child of vfork does to its descriptors and signal actions leaves those of its parent's threads
// alone.
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>

enum { kThreads = 8, kRounds = 20 };

static int ends[kThreads][2];
static atomic_int handled;

static void on_signal(int signal) {
  (void)signal;
  atomic_fetch_add(&handled, 1);
}

static void* read_on(void* arg) {
  const intptr_t index = (intptr_t)arg;
  for (int i = 0; i < kRounds; i++) {
    char c = 0;
    CHECK_EQ(read(ends[index][0], &c, 1), 1);
    CHECK_EQ(c, 'a' + i);
  }
  return arg;
}

static void make_child(void) {
  const pid_t child = vfork();
  if (child == 0) {
    signal(SIGUSR1, SIG_DFL);
    for (int i = 0; i < kThreads; i++) {
      close(ends[i][0]);
      dup2(0, ends[i][0]);
      dup2(1, ends[i][1]);
    }
    int other[2];
    if (pipe(other) != 0 || fcntl(other[0], F_SETFL, O_NONBLOCK) != 0) _exit(2);
    close(other[1]);
    execl("/bin/true", "true", (char*)NULL);
    _exit(3);
  }
  CHECK_SYS(child);
  CHECK_EQ(wait_status(child), 0);
}

int main(void) {
  signal(SIGUSR1, on_signal);
  pthread_t threads[kThreads];
  for (int i = 0; i < kThreads; i++) CHECK_SYS(pipe(ends[i]));
  for (intptr_t i = 0; i < kThreads; i++) CHECK_OK(pthread_create(&threads[i], NULL, read_on, (void*)i));
  for (int round = 0; round < kRounds; round++) {
    make_child();
    const char c = (char)('a' + round);
    for (int i = 0; i < kThreads; i++) CHECK_EQ(write(ends[i][1], &c, 1), 1);
    CHECK_SYS(raise(SIGUSR1));
    CHECK_EQ(atomic_load(&handled), round + 1);
  }
  for (int i = 0; i < kThreads; i++) CHECK_OK(pthread_join(threads[i], NULL));
  return 0;
}
