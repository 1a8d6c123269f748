// Shows the timer slack of threads (prctl): as the process had it, what a thread has set, which those that it makes
// inherit and 0 gives back, and which a child of a fork has.
#include "check.h"

#include <sys/prctl.h>
#include <sys/syscall.h>

static int at_start;

static int slack(void) {
  const int now = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
  CHECK_EQ(syscall(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0), now);
  return now;
}

static void* heir(void* arg) {
  for (unsigned i = 0; i < 50; i++) {
    CHECK_EQ(slack(), (intptr_t)arg);
    stir(i);
  }
  CHECK_SYS(prctl(PR_SET_TIMERSLACK, 80000, 0, 0, 0));
  CHECK_EQ(slack(), 80000);
  CHECK_SYS(syscall(SYS_prctl, PR_SET_TIMERSLACK, 0, 0, 0, 0));
  CHECK_EQ(slack(), (intptr_t)arg);
  return NULL;
}

static void run_heir(int its) {
  pthread_t thread;
  CHECK_OK(pthread_create(&thread, NULL, heir, (void*)(intptr_t)its));
  CHECK_OK(pthread_join(thread, NULL));
}

static void in_child(int wanted) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    CHECK_EQ(slack(), wanted);
    run_heir(wanted);
    CHECK_SYS(prctl(PR_SET_TIMERSLACK, 90000, 0, 0, 0));
    run_heir(90000);
    _exit(0);
  }
  CHECK_EQ(wait_status(child), 0);
}

static void* setter(void* arg) {
  CHECK_EQ(slack(), at_start);
  CHECK_SYS(prctl(PR_SET_TIMERSLACK, 70000, 0, 0, 0));
  sleep_ms(1);
  CHECK_EQ(slack(), 70000);
  run_heir(70000);
  in_child(70000);
  CHECK_SYS(prctl(PR_SET_TIMERSLACK, 0, 0, 0, 0));
  CHECK_EQ(slack(), at_start);
  run_heir(at_start);
  return arg;
}

int main(void) {
  CHECK_SYS(prctl(PR_SET_TIMERSLACK, 60000, 0, 0, 0));
  at_start = slack();
  if (at_start != 60000) SKIP("has no timer slack");  // under a policy with priorities
  run_threads(1, setter);
  CHECK_EQ(slack(), at_start);
  CHECK_SYS(prctl(PR_SET_TIMERSLACK, 75000, 0, 0, 0));
  run_heir(75000);
  return 0;
}
