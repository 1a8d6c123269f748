// Shows that a wait under a mask of its own (sigsuspend, ppoll, pselect, epoll_pwait) lets in one handler, and what
// that one leaves open under the mask; what only the wait's mask opens stays pending afterwards. And that several
// signals that become open at once are handled as the kernel does it: each on top of the ones before. The lines printed
// are the same as natively.
// run: same-output=yes
#include "check.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>

static char seen[200];
static volatile int depth;

static void note(const char* what, int signal) {
  size_t at = strlen(seen);
  snprintf(seen + at, sizeof seen - at, "%s%d ", what, signal);
}

static int name_of(int signal) { return signal == SIGUSR1 ? 1 : signal == SIGUSR2 ? 2 : signal - SIGRTMIN + 10; }

static void on_signal(int signal) {
  note("(", name_of(signal));
  depth++;
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, NULL, &mask);
  depth--;
  note(sigismember(&mask, SIGUSR2) ? ")blocks-2:" : ")", name_of(signal));
}

static void install(int signal, int also_blocks) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  if (also_blocks) sigaddset(&action.sa_mask, also_blocks);
  CHECK_SYS(sigaction(signal, &action, NULL));
}

static void tell(const char* what) {
  sigset_t pending;
  CHECK_SYS(sigpending(&pending));
  printf("%s: %s; pending:", what, seen);
  for (int signal = 1; signal <= SIGRTMIN + 3; signal++) {
    if (sigismember(&pending, signal) == 1) printf(" %d", name_of(signal));
  }
  printf("\n");
  seen[0] = 0;
}

static void wait_suspend(const sigset_t* mask) { CHECK_ERRNO(sigsuspend(mask), EINTR); }
static void wait_poll(const sigset_t* mask) { CHECK_ERRNO(ppoll(NULL, 0, NULL, mask), EINTR); }
static void wait_select(const sigset_t* mask) { CHECK_ERRNO(pselect(0, NULL, NULL, NULL, NULL, mask), EINTR); }
static void wait_epoll(const sigset_t* mask) {
  int set = epoll_create1(0);
  CHECK_SYS(set);
  struct epoll_event event;
  CHECK_ERRNO(epoll_pwait(set, &event, 1, -1, mask), EINTR);
  close(set);
}

static void* tests(void* arg) {
  static void (*const waits[])(const sigset_t*) = {wait_suspend, wait_poll, wait_select, wait_epoll};
  static const char* const names[] = {"sigsuspend", "ppoll", "pselect", "epoll_pwait"};
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  for (int way = 0; way < 4; way++) {
    CHECK_OK(pthread_sigmask(SIG_SETMASK, &all, NULL));
    // One that blocks the other: the other stays.
    install(SIGUSR1, SIGUSR2);
    install(SIGUSR2, SIGUSR1);
    CHECK_OK(pthread_kill(pthread_self(), SIGUSR1));
    CHECK_OK(pthread_kill(pthread_self(), SIGUSR2));
    waits[way](&none);
    tell(names[way]);
    waits[way](&none);
    tell(names[way]);
    // Queued ones of one number: each wait takes one.
    install(SIGRTMIN, 0);
    for (int i = 0; i < 3; i++) CHECK_OK(pthread_kill(pthread_self(), SIGRTMIN));
    for (int i = 0; i < 3; i++) {
      waits[way](&none);
      tell(names[way]);
    }
    // Neither blocks the other: one on top of the other.
    install(SIGUSR1, 0);
    install(SIGUSR2, 0);
    CHECK_OK(pthread_kill(pthread_self(), SIGUSR2));
    CHECK_OK(pthread_kill(pthread_self(), SIGUSR1));
    waits[way](&none);
    tell(names[way]);
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    CHECK(sigismember(&mask, SIGUSR1) && sigismember(&mask, SIGRTMIN) && sigismember(&mask, SIGTERM));
  }
  for (int i = 0; i < 3; i++) install(SIGRTMIN + i, 0);
  for (int i = 2; i >= 0; i--) CHECK_OK(pthread_kill(pthread_self(), SIGRTMIN + i));
  CHECK_OK(pthread_kill(pthread_self(), SIGUSR1));
  CHECK_OK(pthread_sigmask(SIG_SETMASK, &none, NULL));
  tell("unblocked");
  return arg;
}

int main(void) {
  // In a thread beside main, so that main takes nothing.
  sigset_t all;
  sigfillset(&all);
  CHECK_OK(pthread_sigmask(SIG_SETMASK, &all, NULL));
  run_threads(1, tests);
  return 0;
}
