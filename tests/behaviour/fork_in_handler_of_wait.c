// Shows that the child of a fork in a handler that has interrupted a wait goes on with that wait as natively: its only
// thread finds other threads ended, runs a pthread_once that another was running, and gets EINTR where a handler gives
// that.
#include "check.h"

#include <semaphore.h>
#include <signal.h>

// Seconds until the child counts as one that was forked before the wait, which nothing interrupts then.
enum { kPatience = 3, kAttempts = 5 };
enum Wait { kJoin, kTimedJoin, kOnce, kSemaphore, kSleep, kPause, kWaits };

static enum Wait wait_for;
static pid_t parent;
static volatile pid_t child;
static pthread_t other;
static pthread_once_t once;
static sem_t semaphore;
static volatile int running, let_go, interrupted, back;

static void on_signal(int signal) {
  (void)signal;
  if (interrupted) return;
  const pid_t pid = fork();
  CHECK_SYS(pid);
  if (pid) child = pid;
  else alarm(kPatience);
  interrupted = 1;
}

static void run_once(void) {
  running++;
  while (getpid() == parent && !let_go) usleep(500);
}

static void* is_waited_for(void* arg) {
  if (wait_for == kOnce) CHECK_OK(pthread_once(&once, run_once));
  while (!let_go) usleep(500);
  return arg;
}

static void* waits(void* arg) {
  void* result = arg;
  struct timespec late = ms_from_now(CLOCK_REALTIME, 60000);
  const struct timespec minute = {60, 0};
  running++;
  switch (wait_for) {
    case kJoin:
      CHECK_OK(pthread_join(other, &result));
      CHECK_EQ(result, getpid() == parent ? 5 : 0);
      break;
    case kTimedJoin: CHECK_OK(pthread_timedjoin_np(other, &result, &late)); break;
    case kOnce: CHECK_OK(pthread_once(&once, run_once)); break;
    case kSemaphore: CHECK_ERRNO(sem_wait(&semaphore), EINTR); break;
    case kSleep: CHECK_ERRNO(nanosleep(&minute, NULL), EINTR); break;
    default: CHECK_ERRNO(pause(), EINTR);
  }
  if (getpid() != parent) _exit(12);
  back = 1;
  return arg;
}

// The child's status.
static int attempt(void) {
  running = let_go = interrupted = back = 0;
  once = PTHREAD_ONCE_INIT;
  CHECK_OK(pthread_create(&other, NULL, is_waited_for, (void*)5));
  EVENTUALLY(wait_for != kOnce || running == 1);
  pthread_t thread;
  CHECK_OK(pthread_create(&thread, NULL, waits, NULL));
  EVENTUALLY(running == (wait_for == kOnce ? 2 : 1));
  sleep_ms(20);
  CHECK_OK(pthread_kill(thread, SIGUSR1));
  EVENTUALLY(interrupted);
  const int status = wait_status(child);
  let_go = 1;
  while (!back) {
    CHECK_OK(pthread_kill(thread, SIGUSR1));
    sleep_ms(1);
  }
  CHECK_OK(pthread_join(thread, NULL));
  if (wait_for != kJoin && wait_for != kTimedJoin) CHECK_OK(pthread_join(other, NULL));
  return status;
}

int main(void) {
  parent = getpid();
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  CHECK_SYS(sigaction(SIGUSR1, &action, NULL));
  CHECK_SYS(sem_init(&semaphore, 0, 0));
  for (int w = 0; w < kWaits; w++) {
    wait_for = (enum Wait)w;
    int status = -SIGALRM;
    for (int i = 0; i < kAttempts && status == -SIGALRM; i++) status = attempt();
    CHECK_EQ(status, 12);
  }
  return 0;
}
