// Shows that a signalfd gives a thread the signals that were sent to that thread, by read and poll. One thread after
// the other: the same signal to several threads at once is among the limits (docs/limits.md).
#include "io.h"

#include <sys/signalfd.h>

#include <mutex>

int main() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &set, nullptr));
  const int fd = signalfd(-1, &set, SFD_CLOEXEC);
  CHECK_SYS(fd);
  auto take = [fd] {
    signalfd_siginfo info;
    CHECK_EQ(read(fd, &info, sizeof info), sizeof info);
    CHECK_EQ(info.ssi_pid, getpid());
    return static_cast<int>(info.ssi_signo);
  };
  std::mutex turn;
  parallel(4, [&](int) {
    std::lock_guard hold(turn);
    CHECK_OK(pthread_kill(pthread_self(), SIGUSR2));
    pollfd wanted = {fd, POLLIN, 0};
    CHECK_EQ(poll(&wanted, 1, -1), 1);
    CHECK_EQ(take(), SIGUSR2);
    // Not seen by it any more, and never by others.
    CHECK_EQ(poll(&wanted, 1, 0), 0);
  });
  Call waits(take);
  waits.settle();
  waits.signal(SIGUSR2);
  CHECK_EQ(waits.result(), SIGUSR2);
  return 0;
}
