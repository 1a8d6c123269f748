// Shows that a signal which a call of the caller sends to its process, or of which a call tells, has been delivered
// when that call returns: kill to the group, pidfd_send_signal, waiting for a child. The caller is the one that takes
// it.
#include "check.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>

static atomic_int handled;

static void on_signal(int signal) {
  (void)signal;
  atomic_fetch_add(&handled, 1);
}

static void* other(void* arg) {
  const intptr_t index = (intptr_t)arg;
  for (unsigned i = 0; i < 200; i++) stir(i + (unsigned)index);
  return arg;
}

int main(void) {
  sigset_t all, none;
  sigfillset(&all);
  sigemptyset(&none);
  if (getpgrp() != getpid()) CHECK_SYS(setpgid(0, 0));
  CHECK(signal(SIGUSR1, on_signal) != SIG_ERR);
  CHECK(signal(SIGCHLD, on_signal) != SIG_ERR);
  // All the others block everything.
  CHECK_OK(pthread_sigmask(SIG_SETMASK, &all, NULL));
  pthread_t threads[4];
  for (intptr_t i = 0; i < 4; i++) CHECK_OK(pthread_create(&threads[i], NULL, other, (void*)i));
  CHECK_OK(pthread_sigmask(SIG_SETMASK, &none, NULL));
  const int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
  CHECK_SYS(self);
  int wanted = 0;
  for (int round = 0; round < 50; round++) {
    CHECK_SYS(kill(0, SIGUSR1));
    CHECK_EQ(atomic_load(&handled), ++wanted);
    CHECK_SYS(killpg(getpgrp(), SIGUSR1));
    CHECK_EQ(atomic_load(&handled), ++wanted);
    CHECK_SYS(syscall(SYS_kill, getpid(), SIGUSR1));
    CHECK_EQ(atomic_load(&handled), ++wanted);
    CHECK_SYS(syscall(SYS_pidfd_send_signal, self, SIGUSR1, NULL, 0));
    CHECK_EQ(atomic_load(&handled), ++wanted);
    if (round % 10 != 0) continue;
    const pid_t child = fork();
    CHECK_SYS(child);
    if (child == 0) _exit(0);
    CHECK_EQ(wait_status(child), 0);
    CHECK_EQ(atomic_load(&handled), ++wanted);
    FILE* stream = popen("true", "r");
    CHECK(stream != NULL);
    CHECK_EQ(pclose(stream), 0);
    CHECK_EQ(atomic_load(&handled), ++wanted);
  }
  // Blocked, it is pending.
  CHECK_OK(pthread_sigmask(SIG_SETMASK, &all, NULL));
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) _exit(0);
  CHECK_EQ(wait_status(child), 0);
  struct timespec now = {0, 0};
  siginfo_t info;
  CHECK_EQ(sigtimedwait(&all, &info, &now), SIGCHLD);
  CHECK_EQ(info.si_pid, child);
  CHECK_EQ(info.si_code, CLD_EXITED);
  for (int i = 0; i < 4; i++) CHECK_OK(pthread_join(threads[i], NULL));
  return 0;
}
