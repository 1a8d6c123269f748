// Shows that no queued signal is lost when the thread takes some of them with sigtimedwait, some by a handler, and
// blocks them in between, while others send more of the same number: at the end each has come once.
#include "check.h"

#include <signal.h>

#include <atomic>

namespace {

constexpr int kSenders = 3;
constexpr int kEach = 3000;

std::atomic<long> handled{0};
std::atomic<int> done{0};

void on_signal(int) { handled++; }

}  // namespace

int main() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  CHECK_SYS(sigaction(SIGRTMIN, &action, nullptr));
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGRTMIN);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &one, nullptr));
  std::atomic<bool> go{false};
  std::atomic<long> outstanding{0};
  pthread_t taker = spawn([&] {
    go = true;
    long taken = 0;
    unsigned round = 0;
    while (done < kSenders) {
      timespec none{};
      long before = handled;
      for (int i = 0; i < static_cast<int>(round % 5); i++) {
        if (sigtimedwait(&one, nullptr, &none) == SIGRTMIN) taken++, outstanding--;
        else CHECK_EQ(errno, EAGAIN);
      }
      if (++round % 3 == 0) {
        CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &one, nullptr));
        CHECK_OK(pthread_sigmask(SIG_BLOCK, &one, nullptr));
      }
      outstanding -= handled - before;
    }
    CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &one, nullptr));
    CHECK_EQ(taken + handled, static_cast<long>(kSenders) * kEach);
  });
  while (!go) sched_yield();
  parallel(kSenders, [&](int index) {
    for (int i = 0; i < kEach; i++) {
      while (outstanding > 200) sched_yield();
      outstanding++;
      sigval value{};
      value.sival_int = i;
      CHECK_OK(pthread_sigqueue(taker, SIGRTMIN, value));
      if ((i + index) % 50 == 0) usleep(1);
    }
    done++;
  });
  join(taker);
  return 0;
}
