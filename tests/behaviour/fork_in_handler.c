// Shows fork in a signal handler, in a computing thread and in a sleeping one: the child returns from the handler into
// the interrupted code with the mask from before, and can start threads there, or in the handler; and fork in a
// destructor of thread-specific data.
#include "check.h"

#include <signal.h>

static pid_t parent;
static volatile pid_t child;
static volatile int threads_in_handler;
static __thread volatile sig_atomic_t forked;

static void* stir_a_little(void* arg) {
  for (unsigned step = 0; step < 5; step++) usleep(step);
  return arg;
}

static void on_signal(int signal) {
  CHECK_EQ(signal, SIGUSR1);
  const pid_t pid = fork();
  CHECK_SYS(pid);
  if (pid == 0 && threads_in_handler) run_threads(3, stir_a_little);
  if (pid != 0) child = pid;
  forked = 1;
}

static void end_child(void) {
  if (getpid() == parent) {
    CHECK_EQ(wait_status(child), 12);
    return;
  }
  sigset_t mask;
  CHECK_OK(pthread_sigmask(SIG_SETMASK, NULL, &mask));
  CHECK_EQ(sigismember(&mask, SIGUSR1), 0);
  CHECK_EQ(sigismember(&mask, SIGUSR2), 1);
  run_threads(3, stir_a_little);
  _exit(12);
}

static volatile int ready;

static void* be_interrupted(void* arg) {
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR2);
  CHECK_OK(pthread_sigmask(SIG_SETMASK, &mask, NULL));
  forked = 0;
  ready = 1;
  if (arg) {
    while (!forked) compute(1000);
  } else {
    while (!forked) usleep(20000);
  }
  end_child();
  return NULL;
}

static void fork_at_end(void* value) {
  const pid_t pid = fork();
  CHECK_SYS(pid);
  if (pid == 0) {
    run_threads(2, stir_a_little);
    return;  // The end of the child's first thread, and with it of the child.
  }
  *(pid_t*)value = pid;
}

static pthread_key_t key;
static pid_t child_of_destructor;

static void* end_with_fork(void* arg) {
  CHECK_OK(pthread_setspecific(key, &child_of_destructor));
  return arg;
}

int main(void) {
  parent = getpid();
  struct sigaction action = {.sa_handler = on_signal};
  CHECK_SYS(sigaction(SIGUSR1, &action, NULL));
  for (int round = 0; round < 8; round++) {
    threads_in_handler = round / 4;
    ready = 0;
    pthread_t thread;
    CHECK_OK(pthread_create(&thread, NULL, be_interrupted, round % 2 ? &parent : NULL));
    EVENTUALLY(ready);
    if (round % 4 > 1) usleep(1000);
    CHECK_OK(pthread_kill(thread, SIGUSR1));
    CHECK_OK(pthread_join(thread, NULL));
  }
  CHECK_OK(pthread_key_create(&key, fork_at_end));
  run_threads(1, end_with_fork);
  CHECK_EQ(wait_status(child_of_destructor), 0);
  return 0;
}
