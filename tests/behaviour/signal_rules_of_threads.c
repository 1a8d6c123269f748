// Shows rules that hold for each thread: a thread gets the signal that it waits for, though its action is to ignore it;
// what stops and what lets go on take each other back, also when sent to a thread; abort() runs the handler in a
// thread that blocks SIGABRT; a handler that resets runs once; signal() puts the signal into the mask.
#include "check.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>

static sigset_t set_of(int a, int b, int c) {
  sigset_t set;
  sigemptyset(&set);
  if (a) sigaddset(&set, a);
  if (b) sigaddset(&set, b);
  if (c) sigaddset(&set, c);
  return set;
}

static void* nothing(void* arg) { return arg; }

static void* waits(void* arg) {
  const int sig = *(int*)arg;
  const sigset_t set = set_of(sig, 0, 0);
  int got;
  CHECK_OK(sigwait(&set, &got));
  CHECK_EQ(got, sig);
  return NULL;
}

static void ignored_signals_are_waited_for(void) {
  signal(SIGUSR1, SIG_IGN);
  const int signals[] = {SIGWINCH, SIGCHLD, SIGURG, SIGCONT, SIGUSR1};
  for (int i = 0; i < 5; i++) {
    sigset_t set = set_of(signals[i], 0, 0);
    CHECK_OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
    for (int when = 0; when < 2; when++) {
      pthread_t thread;
      int sig = signals[i];
      CHECK_OK(pthread_create(&thread, NULL, waits, &sig));
      if (when) usleep(2000);  // it waits already, most likely
      CHECK_OK(pthread_kill(thread, sig));
      CHECK_OK(pthread_join(thread, NULL));
    }
    CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
  }
  signal(SIGUSR1, SIG_DFL);
}

static int is_pending(int sig) {
  sigset_t pending;
  CHECK_SYS(sigpending(&pending));
  return sigismember(&pending, sig);
}

static void* stops_and_continues(void* arg) {
  const sigset_t set = set_of(SIGTSTP, SIGTTIN, SIGCONT);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
  CHECK_OK(pthread_kill(pthread_self(), SIGTSTP));
  CHECK(is_pending(SIGTSTP));
  CHECK_OK(pthread_kill(pthread_self(), SIGCONT));
  CHECK(!is_pending(SIGTSTP));
  CHECK(is_pending(SIGCONT));
  CHECK_OK(raise(SIGTTIN));
  CHECK(is_pending(SIGTTIN));
  CHECK(!is_pending(SIGCONT));
  CHECK_SYS(kill(getpid(), SIGCONT));
  CHECK(!is_pending(SIGTTIN));
  CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
  return arg;
}

static sigjmp_buf out;
static void jump(int sig) {
  (void)sig;
  siglongjmp(out, 1);
}
static void leave(int sig) {
  (void)sig;
  _exit(42);
}

static void* aborts(void* jumps) {
  sigset_t all;
  sigfillset(&all);
  CHECK_OK(pthread_sigmask(SIG_SETMASK, &all, NULL));
  signal(SIGABRT, jumps ? jump : leave);
  if (sigsetjmp(out, 1) == 0) abort();
  _exit(43);
}

static void handlers_of_abort(void) {
  for (int jumps = 0; jumps < 2; jumps++) {
    for (int in_main = 0; in_main < 2; in_main++) {
      const pid_t child = fork();
      CHECK_SYS(child);
      if (child == 0) {
        pthread_t thread;
        CHECK_OK(pthread_create(&thread, NULL, in_main ? nothing : aborts, jumps ? &thread : NULL));
        CHECK_OK(pthread_join(thread, NULL));
        aborts(jumps ? &thread : NULL);
      }
      CHECK_EQ(wait_status(child), jumps ? 43 : 42);
    }
  }
}

static int ran;
static pthread_barrier_t together;
static void once(int sig) {
  (void)sig;
  __atomic_fetch_add(&ran, 1, __ATOMIC_SEQ_CST);
}
static void* raises(void* arg) {
  pthread_barrier_wait(&together);
  raise(SIGURG);  // ignored by default
  return arg;
}

static void a_handler_that_resets_runs_once(void) {
  CHECK_OK(pthread_barrier_init(&together, NULL, 3));
  for (int round = 0; round < 200; round++) {
    struct sigaction action = {.sa_flags = (int)SA_RESETHAND};
    action.sa_handler = once;
    CHECK_SYS(sigaction(SIGURG, &action, NULL));
    ran = 0;
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) CHECK_OK(pthread_create(&threads[i], NULL, raises, NULL));
    for (int i = 0; i < 3; i++) CHECK_OK(pthread_join(threads[i], NULL));
    CHECK_EQ(ran, 1);
  }
}

static void the_mask_of_signal(void) {
  struct sigaction seen;
  signal(SIGUSR2, once);
  CHECK_SYS(sigaction(SIGUSR2, NULL, &seen));
  CHECK_EQ(sigismember(&seen.sa_mask, SIGUSR2), 1);
  CHECK_EQ(sigismember(&seen.sa_mask, SIGUSR1), 0);
  CHECK(seen.sa_flags & SA_RESTART);
  signal(SIGUSR2, SIG_DFL);
}

int main(void) {
  pthread_t thread;
  the_mask_of_signal();
  CHECK_OK(pthread_create(&thread, NULL, stops_and_continues, NULL));
  CHECK_OK(pthread_join(thread, NULL));
  the_mask_of_signal();
  stops_and_continues(NULL);
  ignored_signals_are_waited_for();
  handlers_of_abort();
  a_handler_that_resets_runs_once();
  return 0;
}
