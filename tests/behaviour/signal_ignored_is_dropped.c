// Shows that a signal which is pending, for the process or for any thread, is pending no more once its action is to
// ignore it: by SIG_IGN, or by SIG_DFL where that ignores; and that others stay.
#include "check.h"

#include <signal.h>
#include <stdatomic.h>

enum { kThreads = 4 };

static atomic_int handled;
static pthread_barrier_t barrier;

static void on_signal(int signal) {
  (void)signal;
  atomic_fetch_add(&handled, 1);
}

static int pending(int signal) {
  sigset_t set;
  CHECK_SYS(sigpending(&set));
  return sigismember(&set, signal);
}

// SIGUSR2 is never dropped.
static void check_pending(int others) {
  CHECK_EQ(pending(SIGUSR1), others);
  CHECK_EQ(pending(SIGCHLD), others);
  CHECK_EQ(pending(SIGRTMIN), others);
  CHECK_EQ(pending(SIGUSR2), 1);
}

static void* block_and_look(void* arg) {
  sigset_t set;
  for (int round = 0; round < 3; round++) {
    pthread_barrier_wait(&barrier);  // sent
    check_pending(1);
    pthread_barrier_wait(&barrier);  // looked
    pthread_barrier_wait(&barrier);  // dropped
    check_pending(0);
    pthread_barrier_wait(&barrier);  // looked again
    pthread_barrier_wait(&barrier);  // handlers are back
    // It is not taken for pending still: another one comes.
    CHECK_OK(pthread_kill(pthread_self(), SIGUSR1));
    CHECK_EQ(pending(SIGUSR1), 1);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    int taken = 0;
    CHECK_OK(sigwait(&set, &taken));
    CHECK_EQ(taken, SIGUSR1);
    CHECK_EQ(pending(SIGUSR1), 0);
    pthread_barrier_wait(&barrier);
  }
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGCHLD);
  sigaddset(&set, SIGRTMIN);
  CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
  return arg;
}

static void set_actions(void (*handler)(int), void (*child_handler)(int)) {
  struct sigaction action = {.sa_handler = handler};
  CHECK_SYS(sigaction(SIGUSR1, &action, NULL));
  CHECK_SYS(sigaction(SIGRTMIN, &action, NULL));
  action.sa_handler = child_handler;
  CHECK_SYS(sigaction(SIGCHLD, &action, NULL));
}

int main(void) {
  const int all[] = {SIGUSR1, SIGCHLD, SIGRTMIN, SIGUSR2};
  sigset_t set;
  sigemptyset(&set);
  for (int i = 0; i < 4; i++) sigaddset(&set, all[i]);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
  set_actions(on_signal, on_signal);
  pthread_barrier_init(&barrier, NULL, kThreads + 1);
  pthread_t threads[kThreads];
  for (intptr_t i = 0; i < kThreads; i++) CHECK_OK(pthread_create(&threads[i], NULL, block_and_look, (void*)i));
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 4; i++) {
      CHECK_SYS(kill(getpid(), all[i]));
      for (int k = 0; k < kThreads; k++) {
        for (int n = 0; n < 3; n++) CHECK_OK(pthread_kill(threads[k], all[i]));
      }
    }
    pthread_barrier_wait(&barrier);  // sent
    pthread_barrier_wait(&barrier);  // looked
    set_actions(SIG_IGN, SIG_DFL);
    pthread_barrier_wait(&barrier);  // dropped
    check_pending(0);
    pthread_barrier_wait(&barrier);  // looked again
    set_actions(on_signal, on_signal);
    pthread_barrier_wait(&barrier);  // handlers are back
    pthread_barrier_wait(&barrier);
  }
  for (int k = 0; k < kThreads; k++) CHECK_OK(pthread_join(threads[k], NULL));
  CHECK_EQ(handled, 0);
  return 0;
}
