// Shows what exec makes of signals, from main and from another thread, into a program with the library and without:
// ignored ones stay ignored, handled ones get their default action, the mask is the calling thread's, what is pending
// for that thread and for the process stays pending with what it carries, what other threads were sent is gone. And an
// exec that fails changes nothing of it.
// run: limit=60
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include <atomic>

namespace {

constexpr int kQueued = 3;

int first_queued() { return SIGRTMIN; }
int queued_to_process() { return SIGRTMIN + 1; }
int of_another_thread() { return SIGRTMIN + 2; }

std::atomic<int> handled{0};
void on_signal(int) { handled++; }

void check_pending(bool is_pending) {
  sigset_t set;
  CHECK_SYS(sigpending(&set));
  for (int signal : {SIGTERM, SIGUSR2, first_queued(), queued_to_process()}) {
    CHECK_EQ(sigismember(&set, signal), is_pending);
  }
  for (int signal : {SIGINT, SIGHUP, SIGUSR1}) CHECK_EQ(sigismember(&set, signal), 0);
}

void take(int signal, int value) {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, signal);
  timespec none = {};
  siginfo_t info;
  CHECK_EQ(sigtimedwait(&one, &info, &none), signal);
  CHECK_EQ(info.si_pid, getpid());
  CHECK_EQ(info.si_uid, getuid());
  if (value >= 0) CHECK_EQ(info.si_value.sival_int, value);
}

void take_all() {
  check_pending(true);
  take(SIGTERM, -1);
  take(SIGUSR2, -1);
  for (int i = 0; i < kQueued; i++) take(first_queued(), 100 + i);
  for (int i = 0; i < kQueued; i++) take(queued_to_process(), 200 + i);
  check_pending(false);
}

void* handler_of(int signal) {
  struct sigaction action;
  CHECK_SYS(sigaction(signal, nullptr, &action));
  return reinterpret_cast<void*>(action.sa_handler);
}

// The new program.
int after_exec(bool with_threads) {
  if (with_threads) join(spawn([] { sched_yield(); }));
  for (int signal = 1; signal <= SIGRTMAX; signal++) {
    if (signal == 32 || signal == 33) continue;
    const bool ignored = signal == SIGHUP || signal == SIGUSR1;
    CHECK_EQ(handler_of(signal), reinterpret_cast<void*>(ignored ? SIG_IGN : SIG_DFL));
  }
  sigset_t mask;
  CHECK_SYS(sigprocmask(SIG_BLOCK, nullptr, &mask));
  for (int signal = 1; signal <= SIGRTMAX; signal++) {
    if (signal == 32 || signal == 33) continue;
    const bool blocked = signal == SIGTERM || signal == SIGUSR2 || signal == SIGCHLD ||
                         (signal >= first_queued() && signal <= of_another_thread());
    CHECK_EQ(sigismember(&mask, signal), blocked);
  }
  sigset_t pending;
  CHECK_SYS(sigpending(&pending));
  CHECK_EQ(sigismember(&pending, of_another_thread()), 0);
  take_all();
  kill(getpid(), SIGUSR1);
  CHECK_OK(raise(SIGCHLD));
  take(SIGCHLD, -1);
  return 21;
}

void send_all() {
  CHECK_SYS(kill(getpid(), SIGTERM));
  CHECK_OK(pthread_kill(pthread_self(), SIGUSR2));
  for (int i = 0; i < kQueued; i++) {
    sigval value = {};
    value.sival_int = 100 + i;
    CHECK_OK(pthread_sigqueue(pthread_self(), first_queued(), value));
    value.sival_int = 200 + i;
    CHECK_SYS(sigqueue(getpid(), queued_to_process(), value));
  }
}

void become(char** argv, bool with_library, bool with_threads) {
  sigset_t mask;
  sigemptyset(&mask);
  for (int signal : {SIGTERM, SIGUSR2, SIGCHLD, first_queued(), queued_to_process(), of_another_thread()}) {
    sigaddset(&mask, signal);
  }
  CHECK_OK(pthread_sigmask(SIG_SETMASK, &mask, nullptr));
  send_all();
  for (int i = 0; i < 2; i++) {
    CHECK_ERRNO(execl("/nonexistent", "x", nullptr), ENOENT);
    check_pending(true);
  }
  take_all();
  send_all();
  if (!with_library) unsetenv("LD_PRELOAD");
  execl("/proc/self/exe", argv[0], with_threads ? "threads" : "none", nullptr);
  check_fail(__FILE__, __LINE__, "execl: errno %d", errno);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2) return after_exec(strcmp(argv[1], "threads") == 0);
  for (int signal = 1; signal < 32; signal++) {  // whatever the shell has left
    struct sigaction action = {};
    if (signal != SIGKILL && signal != SIGSTOP) CHECK_SYS(sigaction(signal, &action, nullptr));
  }
  for (int way = 0; way < 8; way++) {
    const pid_t child = fork();
    CHECK_SYS(child);
    if (child == 0) {
      struct sigaction action = {};
      action.sa_handler = SIG_IGN;
      CHECK_SYS(sigaction(SIGHUP, &action, nullptr));
      CHECK_SYS(sigaction(SIGUSR1, &action, nullptr));
      action.sa_handler = on_signal;
      for (int signal : {SIGINT, SIGTERM, SIGUSR2, SIGSEGV, SIGPIPE, SIGCHLD, first_queued(), queued_to_process()}) {
        CHECK_SYS(sigaction(signal, &action, nullptr));
      }
      sigset_t all;
      sigfillset(&all);
      CHECK_OK(pthread_sigmask(SIG_SETMASK, &all, nullptr));
      for (int i = 0; i < 4; i++) {
        const pthread_t other = spawn([] {
          for (unsigned step = 0;; step++) stir(step);
        });
        sigval value = {};
        CHECK_OK(pthread_sigqueue(other, of_another_thread(), value));
      }
      auto go = [&] { become(argv, (way & 2) == 0, (way & 4) != 0); };
      if (way % 2 == 0) go();
      spawn(go);
      for (;;) pause();
    }
    CHECK_EQ(wait_status(child), 21);
  }
  return 0;
}
