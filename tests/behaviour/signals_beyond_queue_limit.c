// Shows that signals, masks, cancellation and the sharing of processors work where the kernel queues no more signals
// (RLIMIT_SIGPENDING: other processes of the user may have used it up): those that need no queue arrive as ever.
#include "check.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

static volatile sig_atomic_t taken;
static void take(int signal) { taken += signal == SIGUSR1; }

static void mask(int how, int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  CHECK_OK(pthread_sigmask(how, &set, NULL));
}

static void* changes_masks(void* arg) {
  for (int signal = 1; signal <= SIGRTMAX; signal++) {
    if (signal == SIGKILL || signal == SIGSTOP || (signal >= 32 && signal < SIGRTMIN)) continue;
    mask(SIG_BLOCK, signal);
    mask(SIG_UNBLOCK, signal);
  }
  return arg;
}

static void* sends_to_itself(void* arg) {
  mask(SIG_UNBLOCK, SIGUSR1);
  for (int i = 1; i <= 20; i++) {
    CHECK_OK(i % 2 ? pthread_kill(pthread_self(), SIGUSR1) : raise(SIGUSR1));
    CHECK_EQ(taken, i);
  }
  mask(SIG_BLOCK, SIGUSR1);
  CHECK_SYS(kill(getpid(), SIGUSR1));
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  int got = 0;
  CHECK_OK(sigwait(&set, &got));
  CHECK_EQ(got, SIGUSR1);
  mask(SIG_UNBLOCK, SIGUSR1);
  return arg;
}

static atomic_int turns, stop;
static void* computes(void* arg) {
  while (!stop) {
  }
  return arg;
}
static void* counts(void* arg) {
  for (int i = 0; i < 20; i++) {
    turns++;
    sched_yield();
  }
  return arg;
}

// Asks the kernel for signals, and then computes: what the runtime sends to its kernel thread must not get lost there.
static atomic_int computing;
static void* asks_and_computes(void* arg) {
  sigset_t pending;
  while (!stop) {
    for (int i = 0; i < 50; i++) CHECK_SYS(sigpending(&pending));
    computing = 1;
    while (computing && !stop) {
    }
  }
  return arg;
}

static void reaches_who_has_asked(void) {
  pthread_t thread;
  stop = 0;
  mask(SIG_UNBLOCK, SIGUSR1);
  CHECK_OK(pthread_create(&thread, NULL, asks_and_computes, NULL));
  for (int round = 0; round < 20; round++) {
    while (!computing) CHECK_OK(pthread_kill(thread, SIGUSR1));
    const int before = taken;
    CHECK_OK(pthread_kill(thread, SIGUSR1));
    EVENTUALLY(taken != before);
    computing = 0;
  }
  stop = 1;
  CHECK_OK(pthread_join(thread, NULL));
}

static void* waits(void* arg) {
  for (;;) {
    pthread_testcancel();
    sched_yield();
  }
  return arg;
}

int main(void) {
  pthread_t threads[4];
  struct rlimit none = {0, 0};
  CHECK_SYS(setrlimit(RLIMIT_SIGPENDING, &none));
  CHECK(signal(SIGUSR1, take) != SIG_ERR);
  run_threads(1, changes_masks);
  mask(SIG_BLOCK, SIGUSR1);  // main stays out of what is sent to the process
  run_threads(1, sends_to_itself);

  for (int i = 0; i < 4; i++) CHECK_OK(pthread_create(&threads[i], NULL, computes, NULL));
  run_threads(1, counts);
  CHECK_EQ(turns, 20);
  stop = 1;
  for (int i = 0; i < 4; i++) CHECK_OK(pthread_join(threads[i], NULL));

  reaches_who_has_asked();

  void* result;
  CHECK_OK(pthread_create(&threads[0], NULL, waits, NULL));
  // libc needs a place in the queue for it, and tells when it has none; the request is made all the same.
  const int error = pthread_cancel(threads[0]);
  CHECK(error == 0 || error == EAGAIN);
  CHECK_OK(pthread_join(threads[0], &result));
  CHECK(result == PTHREAD_CANCELED);

  // One that ends the process, if it finds a place in the queue or needs none.
  pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    run_threads(1, changes_masks);
    errno = 0;
    raise(SIGRTMIN + 3);
    _exit(errno);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  if (WIFSIGNALED(status)) CHECK_EQ(WTERMSIG(status), SIGRTMIN + 3);
  else CHECK_EQ(WEXITSTATUS(status), EAGAIN);
  return 0;
}
