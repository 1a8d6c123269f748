// Shows that what another process has sent is there as soon as one can know that it was sent: pending, or its handler
// run, when a wait for the sender's end returns, and when the signal is unblocked; and that signals of one number
// come in the order in which they were sent, by whomever.
#include "check.h"

#include <signal.h>
#include <sys/wait.h>

#include <atomic>

namespace {

std::atomic<int> handled{0};
void count(int) { handled++; }

sigset_t set_of(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int sig : signals) sigaddset(&set, sig);
  return set;
}

// Runs body in a child, waits for its end.
template <class Body>
void in_child(Body body) {
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    body();
    _exit(0);
  }
  CHECK_EQ(wait_status(child), 0);
}

void send(int sig, int value) {
  sigval v;
  v.sival_int = value;
  CHECK_SYS(sigqueue(getppid(), sig, v));
}

void blocked_is_pending() {
  const sigset_t set = set_of({SIGUSR2, SIGRTMIN});
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &set, nullptr));
  for (int i = 0; i < 100; i++) {
    in_child([] {
      CHECK_SYS(kill(getppid(), SIGUSR2));
      send(SIGRTMIN, 1);
    });
    sigset_t pending;
    CHECK_SYS(sigpending(&pending));
    CHECK_EQ(sigismember(&pending, SIGUSR2), 1);
    CHECK_EQ(sigismember(&pending, SIGRTMIN), 1);
    timespec none = {};
    CHECK_EQ(sigtimedwait(&set, nullptr, &none), SIGUSR2);
    CHECK_EQ(sigtimedwait(&set, nullptr, &none), SIGRTMIN);
    CHECK_ERRNO(sigtimedwait(&set, nullptr, &none), EAGAIN);
  }
}

void handlers_have_run() {
  signal(SIGUSR1, count);
  for (int i = 1; i <= 100; i++) {
    handled = 0;
    in_child([] { CHECK_SYS(kill(getppid(), SIGUSR1)); });
    CHECK_EQ(handled, 1);
  }
  // The sender goes on: unblocking is what lets the signal in.
  const sigset_t set = set_of({SIGUSR1});
  int ends[2];
  CHECK_SYS(pipe(ends));
  for (int i = 1; i <= 100; i++) {
    handled = 0;
    CHECK_OK(pthread_sigmask(SIG_BLOCK, &set, nullptr));
    const pid_t child = fork();
    CHECK_SYS(child);
    if (child == 0) {
      CHECK_SYS(kill(getppid(), SIGUSR1));
      CHECK_EQ(write(ends[1], "x", 1), 1);
      _exit(0);
    }
    char byte;
    CHECK_EQ(read(ends[0], &byte, 1), 1);
    CHECK_EQ(handled, 0);
    CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &set, nullptr));
    CHECK_EQ(handled, 1);
    CHECK_EQ(wait_status(child), 0);
  }
  close(ends[0]);
  close(ends[1]);
}

void in_order() {
  const sigset_t set = set_of({SIGRTMIN + 1});
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &set, nullptr));
  constexpr int kMany = 2000;
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    for (int i = 0; i < kMany; i++) send(SIGRTMIN + 1, i);
    _exit(0);
  }
  siginfo_t info;
  for (int i = 0; i < kMany; i++) {
    CHECK_EQ(sigwaitinfo(&set, &info), SIGRTMIN + 1);
    CHECK_EQ(info.si_value.sival_int, i);
  }
  CHECK_EQ(wait_status(child), 0);
  // What a child has sent comes before what the process sends to itself afterwards.
  int ends[2];
  CHECK_SYS(pipe(ends));
  for (int i = 0; i < 100; i++) {
    const pid_t sender = fork();
    CHECK_SYS(sender);
    if (sender == 0) {
      send(SIGRTMIN + 1, 1);
      CHECK_EQ(write(ends[1], "x", 1), 1);
      _exit(0);
    }
    char byte;
    CHECK_EQ(read(ends[0], &byte, 1), 1);
    sigval second;
    second.sival_int = 2;
    CHECK_SYS(sigqueue(getpid(), SIGRTMIN + 1, second));
    for (const int value : {1, 2}) {
      CHECK_EQ(sigwaitinfo(&set, &info), SIGRTMIN + 1);
      CHECK_EQ(info.si_value.sival_int, value);
    }
    CHECK_EQ(wait_status(sender), 0);
  }
  // Many that wait, by several numbers: the lowest first.
  const sigset_t both = set_of({SIGRTMIN + 1, SIGRTMIN + 2});
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &both, nullptr));
  for (int i = 0; i < 10000; i++) {
    sigval v;
    v.sival_int = i;
    CHECK_SYS(sigqueue(getpid(), SIGRTMIN + 1 + i % 2, v));
  }
  for (int number = 0; number < 2; number++) {
    for (int i = number; i < 10000; i += 2) {
      CHECK_EQ(sigwaitinfo(&both, &info), SIGRTMIN + 1 + number);
      CHECK_EQ(info.si_value.sival_int, i);
    }
  }
}

}  // namespace

int main() {
  // With threads, in the main one and in another one.
  join(spawn([] {}));
  blocked_is_pending();
  handlers_have_run();
  in_order();
  const sigset_t all = set_of({SIGUSR1, SIGUSR2, SIGRTMIN, SIGRTMIN + 1, SIGRTMIN + 2});
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &all, nullptr));
  join(spawn([] { blocked_is_pending(); }));
  join(spawn([] { in_order(); }));
  return 0;
}
