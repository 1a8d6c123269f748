// Shows that what the only thread blocked and was sent before it made others stays its own: a new thread does not see
// it, and signals for the process are seen by all.
#include "check.h"

#include <signal.h>

static volatile sig_atomic_t handled[65];
static void on_signal(int signal) { handled[signal]++; }

static void expect_pending(int to_thread, int to_process) {
  sigset_t set;
  CHECK_SYS(sigpending(&set));
  CHECK_EQ(sigismember(&set, SIGUSR1), to_thread);
  CHECK_EQ(sigismember(&set, SIGUSR2), to_process);
}

static void* look(void* arg) {
  for (int i = 0; i < 100; i++) {  // on whatever kernel thread
    expect_pending(0, 1);
    sched_yield();
  }
  return arg;
}

int main(void) {
  sigset_t both;
  sigemptyset(&both);
  sigaddset(&both, SIGUSR1);
  sigaddset(&both, SIGUSR2);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &both, NULL));
  struct sigaction action = {.sa_handler = on_signal};
  CHECK_SYS(sigaction(SIGUSR1, &action, NULL));
  CHECK_SYS(sigaction(SIGUSR2, &action, NULL));
  CHECK_SYS(raise(SIGUSR1));
  CHECK_SYS(kill(getpid(), SIGUSR2));
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) CHECK_OK(pthread_create(&threads[i], NULL, look, NULL));
  for (int i = 0; i < 3; i++) CHECK_OK(pthread_join(threads[i], NULL));
  expect_pending(1, 1);
  CHECK_EQ(handled[SIGUSR1] + handled[SIGUSR2], 0);
  CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &both, NULL));
  CHECK_EQ(handled[SIGUSR1], 1);
  CHECK_EQ(handled[SIGUSR2], 1);
  expect_pending(0, 0);
  return 0;
}
