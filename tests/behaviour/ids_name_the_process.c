// Shows that a thread's id, where a process's is expected, names the process it belongs to: kill and sigqueue send to
// the process, not to the thread.
#include "check.h"

#include <signal.h>

static pthread_barrier_t begun, taken;
static pid_t blocks_it;
static volatile sig_atomic_t taken_by;
static volatile int value;

static void on_signal(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)context;
  value = info->si_value.sival_int;
  taken_by = gettid();
}

static void* block(void* arg) {
  blocks_it = gettid();
  pthread_barrier_wait(&begun);
  for (;;) pause();
  return arg;
}

static void* take(void* arg) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
  pthread_barrier_wait(&begun);
  for (int i = 0; i < 2; i++) {
    EVENTUALLY(taken_by != 0);
    CHECK_EQ(taken_by, gettid());
    CHECK_EQ(value, i == 0 ? value : 5);
    taken_by = 0;
    pthread_barrier_wait(&taken);
  }
  return arg;
}

int main(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
  CHECK_SYS(sigaction(SIGUSR1, &action, NULL));
  CHECK_OK(pthread_barrier_init(&begun, NULL, 3));
  CHECK_OK(pthread_barrier_init(&taken, NULL, 2));
  pthread_t blocker, taker;
  CHECK_OK(pthread_create(&blocker, NULL, block, NULL));
  CHECK_OK(pthread_create(&taker, NULL, take, NULL));
  pthread_barrier_wait(&begun);
  CHECK_SYS(kill(blocks_it, 0));
  CHECK_SYS(kill(blocks_it, SIGUSR1));
  pthread_barrier_wait(&taken);
  CHECK_SYS(sigqueue(blocks_it, SIGUSR1, (union sigval){.sival_int = 5}));
  pthread_barrier_wait(&taken);
  CHECK_OK(pthread_join(taker, NULL));
  CHECK_ERRNO(kill(blocks_it, NSIG + 1), EINVAL);
  CHECK_OK(pthread_cancel(blocker));
  CHECK_OK(pthread_join(blocker, NULL));
  return 0;
}
