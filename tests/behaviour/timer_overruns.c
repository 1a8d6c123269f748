// Shows that a timer has one signal: while that is pending, for the process or for one thread, further expirations are
// counted, and whoever gets the signal finds the count in it and by timer_getoverrun.
// libs: rt
#include "check.h"

#include <signal.h>
#include <sys/syscall.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum { kEveryNs = 200 * 1000, kMany = 10 };

static timer_t start(int signal, int notify, int value) {
  struct sigevent event = {.sigev_signo = signal, .sigev_notify = notify};
  event.sigev_value.sival_int = value;
  if (notify == SIGEV_THREAD_ID) event.sigev_notify_thread_id = gettid();
  timer_t timer;
  CHECK_SYS(timer_create(CLOCK_MONOTONIC, &event, &timer));
  const struct itimerspec often = {{0, kEveryNs}, {0, kEveryNs}};
  CHECK_SYS(timer_settime(timer, 0, &often, NULL));
  return timer;
}

static void stop(timer_t timer) {
  const struct itimerspec never = {{0, 0}, {0, 0}};
  CHECK_SYS(timer_settime(timer, 0, &never, NULL));
}

static volatile int most_overruns;

static void on_signal(int signal, siginfo_t* info, void* context) {
  (void)signal;
  (void)context;
  if (info->si_overrun > most_overruns) most_overruns = info->si_overrun;
}

static void one_timer(int signal, int notify) {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, signal);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &one, NULL));
  most_overruns = 0;
  const int64_t begun = now_ns(CLOCK_MONOTONIC);
  const timer_t timer = start(signal, notify, 7);
  const timer_t other = notify == SIGEV_SIGNAL ? start(signal, notify, 8) : NULL;
  int found = 0;
  for (int round = 0; found != (other ? 3 : 1); round++) {
    CHECK(round < 1000);
    if (round % 2 == 0) sleep_ms(20);
    siginfo_t info;
    CHECK_EQ(sigwaitinfo(&one, &info), signal);
    CHECK_EQ(info.si_code, SI_TIMER);
    const timer_t which = info.si_value.sival_int == 7 ? timer : other;
    CHECK_EQ(timer_getoverrun(which), info.si_overrun);
    CHECK(info.si_overrun >= 0 && info.si_overrun <= (now_ns(CLOCK_MONOTONIC) - begun) / kEveryNs);
    if (info.si_overrun >= kMany) found |= which == timer ? 1 : 2;
  }
  stop(timer);
  if (other) stop(other);
  const struct timespec none = {0, 0};
  for (int i = 0; sigtimedwait(&one, NULL, &none) == signal; i++) CHECK(i < 2);  // came before they were stopped
  if (other) CHECK_SYS(timer_delete(other));

  const struct itimerspec often = {{0, kEveryNs}, {0, kEveryNs}};
  CHECK_SYS(timer_settime(timer, 0, &often, NULL));
  for (int round = 0; most_overruns < kMany; round++) {
    CHECK(round < 1000);
    sleep_ms(10);
    CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &one, NULL));
    CHECK_OK(pthread_sigmask(SIG_BLOCK, &one, NULL));
  }
  stop(timer);
  CHECK_SYS(timer_delete(timer));
  CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &one, NULL));
}

static void* on_thread(void* arg) {
  one_timer(SIGRTMIN + 1, SIGEV_THREAD_ID);
  one_timer(SIGUSR2, SIGEV_THREAD_ID);
  return arg;
}

static void* sleeps(void* arg) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, NULL);
  for (;;) sleep(100);
  return arg;
}

int main(void) {
  sigset_t all, before;
  sigfillset(&all);
  CHECK_OK(pthread_sigmask(SIG_SETMASK, &all, &before));
  pthread_t other;
  CHECK_OK(pthread_create(&other, NULL, sleeps, NULL));
  CHECK_OK(pthread_sigmask(SIG_SETMASK, &before, NULL));
  struct sigaction action = {.sa_flags = SA_SIGINFO | SA_RESTART};
  action.sa_sigaction = on_signal;
  CHECK_SYS(sigaction(SIGRTMIN + 1, &action, NULL));
  CHECK_SYS(sigaction(SIGUSR2, &action, NULL));
  one_timer(SIGRTMIN + 1, SIGEV_SIGNAL);
  one_timer(SIGUSR2, SIGEV_SIGNAL);
  on_thread(NULL);
  CHECK_OK(pthread_sigmask(SIG_SETMASK, &all, NULL));
  run_threads(2, on_thread);
  return 0;
}
