// Shows that a timer which has been stopped sends nothing more: what it sent before has been handled when the call that
// stops it returns, and goes to nobody else.
// libs: rt
#include "check.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <atomic>

namespace {

constexpr int kThreads = 4;
constexpr int kRounds = 300;
std::atomic<int> handled{0};
thread_local volatile int handled_here, wanted_value = -1, wrong;

void on_signal(int, siginfo_t* info, void*) {
  handled++;
  handled_here = handled_here + 1;
  if (info->si_code == SI_TIMER && info->si_value.sival_int != wanted_value) wrong = wrong + 1;
}

void handle(int signal) {
  struct sigaction action {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  CHECK_SYS(sigaction(signal, &action, nullptr));
}

void spin(int steps) {
  for (int i = 0; i < steps; i++) {
    asm volatile("" ::: "memory");
  }
}

void interval_timers() {
  for (int which : {ITIMER_REAL, ITIMER_PROF}) {
    itimerval often{{0, 50}, {0, 50}}, none{};
    for (int round = 0; round < kRounds; round++) {
      CHECK_SYS(setitimer(which, &often, nullptr));
      spin(1000 * (round % 50));
      CHECK_SYS(setitimer(which, &none, nullptr));
      const int after = handled;
      spin(20000);
      if (which == ITIMER_REAL) CHECK_EQ(handled, after);
    }
  }
}

void alarms() {
  for (int round = 0; round < kRounds; round++) {
    itimerval once{{0, 0}, {0, 100}};
    CHECK_SYS(setitimer(ITIMER_REAL, &once, nullptr));
    spin(1000 * (round % 50));
    alarm(0);
    const int after = handled;
    spin(20000);
    CHECK_EQ(handled, after);
  }
}

// Each with a timer of its own, for itself.
void* own_timer(void* arg) {
  wanted_value = static_cast<int>(reinterpret_cast<intptr_t>(arg));
  for (int round = 0; round < kRounds; round++) {
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGUSR1;
    event.sigev_value.sival_int = wanted_value;
    event._sigev_un._tid = static_cast<int>(syscall(SYS_gettid));
    timer_t timer;
    CHECK_SYS(timer_create(CLOCK_MONOTONIC, &event, &timer));
    itimerspec often{{0, 50000}, {0, 50000}}, none{};
    CHECK_SYS(timer_settime(timer, 0, &often, nullptr));
    spin(1000 * (round % 50));
    if (round % 2) {
      CHECK_SYS(timer_settime(timer, 0, &none, nullptr));
      const int after = handled_here;
      spin(20000);
      CHECK_EQ(handled_here, after);
    }
    CHECK_SYS(timer_delete(timer));
    const int after = handled_here;
    spin(20000);
    CHECK_EQ(handled_here, after);
  }
  CHECK_EQ(wrong, 0);
  return arg;
}

void* idle(void* arg) { return arg; }

}  // namespace

int main() {
  pthread_t thread;
  CHECK_OK(pthread_create(&thread, nullptr, idle, nullptr));
  CHECK_OK(pthread_join(thread, nullptr));
  for (int signal : {SIGALRM, SIGPROF, SIGUSR1}) handle(signal);
  interval_timers();
  alarms();
  run_threads(kThreads, own_timer);
  return 0;
}
