// Shows in which order a call with a signal mask of its own looks: what is ready at once comes first, and the signals
// that the mask lets in stay pending; if nothing is, one handler interrupts it, even if the call only looks (other than
// epoll_pwait's, which then lets none in).
#include "check.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>

static volatile int handled;

static void on_signal(int signal) {
  (void)signal;
  handled = handled + 1;
}

static void send_blocked(void) {
  sigset_t one, set;
  sigemptyset(&one);
  sigaddset(&one, SIGUSR1);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &one, NULL));
  handled = 0;
  CHECK_OK(raise(SIGUSR1));
  CHECK_SYS(sigpending(&set));
  CHECK_EQ(sigismember(&set, SIGUSR1), 1);
}

static void check_pending(int pending) {
  sigset_t set;
  CHECK_EQ(handled, !pending);
  CHECK_SYS(sigpending(&set));
  CHECK_EQ(sigismember(&set, SIGUSR1), pending);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, NULL, &set));
  CHECK_EQ(sigismember(&set, SIGUSR1), 1);
}

static void* look(void* arg) {
  const sigset_t open = {0};
  const struct timespec none = {0, 0};
  int ends[2];
  CHECK_SYS(pipe(ends));
  struct pollfd asked = {.fd = ends[0], .events = POLLIN};
  const int epoll = epoll_create1(0);
  CHECK_SYS(epoll);
  struct epoll_event event = {.events = EPOLLIN};
  CHECK_SYS(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event));
  fd_set in;
  for (int ready = 1; ready >= 0; ready--) {
    for (int waits = 0; waits < 2; waits++) {
      if (ready) CHECK_EQ(write(ends[1], "x", 1), 1);
      const struct timespec* timeout = waits ? NULL : &none;

      send_blocked();
      if (ready) CHECK_EQ(ppoll(&asked, 1, timeout, &open), 1);
      else CHECK_ERRNO(ppoll(&asked, 1, timeout, &open), EINTR);
      check_pending(ready);

      send_blocked();
      FD_ZERO(&in);
      FD_SET(ends[0], &in);
      if (ready) CHECK_EQ(pselect(ends[0] + 1, &in, NULL, NULL, timeout, &open), 1);
      else CHECK_ERRNO(pselect(ends[0] + 1, &in, NULL, NULL, timeout, &open), EINTR);
      check_pending(ready);

      send_blocked();
      if (ready) CHECK_EQ(epoll_pwait(epoll, &event, 1, waits ? -1 : 0, &open), 1);
      else if (waits) CHECK_ERRNO(epoll_pwait(epoll, &event, 1, -1, &open), EINTR);
      else CHECK_EQ(epoll_pwait(epoll, &event, 1, 0, &open), 0);
      check_pending(ready || !waits);

      char c;
      if (ready) CHECK_EQ(read(ends[0], &c, 1), 1);
    }
  }
  close(ends[0]);
  close(ends[1]);
  close(epoll);
  return arg;
}

int main(void) {
  const struct sigaction action = {.sa_handler = on_signal};
  CHECK_SYS(sigaction(SIGUSR1, &action, NULL));
  run_threads(1, look);
  look(NULL);
  return 0;
}
