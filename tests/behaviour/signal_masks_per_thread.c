// Shows that the signal mask is per thread and inherited, kept over switches and siglongjmp, that a directed signal's
// handler runs in its thread, and that one all block stays pending until sigwait takes it.
#include "check.h"

#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>

static atomic_int handled[16];
static __thread int self = -1;

static void on_signal(int signal) {
  (void)signal;
  if (self < 0) check_fail(__FILE__, __LINE__, "handler in a thread that was not asked");
  atomic_fetch_add(&handled[self], 1);
}

static void* keep_mask(void* arg) {
  const int index = (int)(intptr_t)arg;
  sigset_t set, seen;
  CHECK_OK(pthread_sigmask(SIG_BLOCK, NULL, &seen));
  CHECK_EQ(sigismember(&seen, SIGUSR2), 1);  // Inherited.
  CHECK_EQ(sigismember(&seen, SIGUSR1), 0);
  sigemptyset(&set);
  sigaddset(&set, 34 + index);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
  self = index;
  for (unsigned step = 0; step < 40; step++) {
    stir(step + (unsigned)index);
    sigjmp_buf buffer;
    if (sigsetjmp(buffer, 1) == 0) {
      sigset_t all;
      sigfillset(&all);
      CHECK_OK(pthread_sigmask(SIG_SETMASK, &all, NULL));
      sched_yield();
      siglongjmp(buffer, 1);
    }
    CHECK_OK(pthread_sigmask(SIG_BLOCK, NULL, &seen));
    for (int signal = 34; signal < 50; signal++) CHECK_EQ(sigismember(&seen, signal), signal == 34 + index);
    const int before = atomic_load(&handled[index]);
    CHECK_OK(pthread_kill(pthread_self(), SIGUSR1));
    CHECK_EQ(atomic_load(&handled[index]), before + 1);
  }
  CHECK_OK(pthread_kill(pthread_self(), 34 + index));
  CHECK_SYS(sigpending(&seen));
  CHECK_EQ(sigismember(&seen, 34 + index), 1);
  int taken = 0;
  CHECK_OK(sigwait(&set, &taken));
  CHECK_EQ(taken, 34 + index);
  return arg;
}

int main(void) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigset_t set;
  CHECK_SYS(sigaction(SIGUSR1, &action, NULL));
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
  run_threads(16, keep_mask);
  for (int i = 0; i < 16; i++) CHECK_EQ(atomic_load(&handled[i]), 40);
  CHECK_SYS(kill(getpid(), SIGUSR2));
  int taken = 0;
  CHECK_OK(sigwait(&set, &taken));
  CHECK_EQ(taken, SIGUSR2);
  return 0;
}
