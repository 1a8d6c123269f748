// Shows where a signal for the process goes: to a thread that leaves it open; nowhere while all block it; to those that
// wait for it; and that timers of every kind send theirs.
// libs: rt
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>

enum { kThreads = 8 };

static __thread int index_here = -1;
static atomic_int handled[kThreads];
static atomic_int total, last_code, last_value;
static __thread volatile int code_here, value_here;
static atomic_int stop;

static void on_signal(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)context;
  atomic_store(&last_code, info->si_code);
  atomic_store(&last_value, info->si_value.sival_int);
  code_here = info->si_code;
  value_here = info->si_value.sival_int;
  if (index_here >= 0) atomic_fetch_add(&handled[index_here], 1);
  atomic_fetch_add(&total, 1);
}

static void block(int how, int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  CHECK_OK(pthread_sigmask(how, &set, NULL));
}

static int is_pending(int signal) {
  sigset_t set;
  CHECK_SYS(sigpending(&set));
  return sigismember(&set, signal);
}

// ---- one of them takes it ----

static atomic_int taker = -1, ready;

static void* open_on_demand(void* arg) {
  index_here = (int)(intptr_t)arg;
  while (!atomic_load(&stop)) {
    if (atomic_load(&taker) == index_here) {
      const int before = atomic_load(&handled[index_here]);
      block(SIG_UNBLOCK, SIGUSR1);
      atomic_store(&ready, 1);
      while (atomic_load(&handled[index_here]) == before) stir((unsigned)before);
      block(SIG_BLOCK, SIGUSR1);
      atomic_store(&taker, -1);
    }
    usleep(200);
  }
  return arg;
}

static void only_who_takes_it(void) {
  block(SIG_BLOCK, SIGUSR1);
  pthread_t threads[kThreads];
  for (intptr_t i = 0; i < kThreads; i++) CHECK_OK(pthread_create(&threads[i], NULL, open_on_demand, (void*)i));
  for (int round = 0; round < 40; round++) {
    const int who = round % kThreads;
    atomic_store(&ready, 0);
    if (round % 2) {  // Pending first: it waits for someone to open it.
      CHECK_SYS(kill(getpid(), SIGUSR1));
      CHECK_EQ(is_pending(SIGUSR1), 1);
      CHECK_EQ(atomic_load(&total), round);
      atomic_store(&taker, who);
    } else {
      atomic_store(&taker, who);
      EVENTUALLY(atomic_load(&ready));
      CHECK_SYS(kill(getpid(), SIGUSR1));
    }
    EVENTUALLY(atomic_load(&taker) == -1);
    CHECK_EQ(atomic_load(&total), round + 1);
    CHECK_EQ(atomic_load(&handled[who]), round / kThreads + 1);
    CHECK_EQ(atomic_load(&last_code), SI_USER);
    CHECK_EQ(is_pending(SIGUSR1), 0);
  }
  atomic_store(&stop, 1);
  for (int i = 0; i < kThreads; i++) CHECK_OK(pthread_join(threads[i], NULL));
}

// ---- waiting for it ----

static atomic_int waited, sum;

static void* wait_for_some(void* arg) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 1);
  sigaddset(&set, SIGRTMIN + 2);
  for (;;) {
    siginfo_t info;
    const int got = sigwaitinfo(&set, &info);
    if (got == -1 && errno == EINTR) continue;  // Another one was faster: the kernel answers so.
    CHECK_EQ(got, info.si_signo);
    CHECK_EQ(info.si_code, SI_QUEUE);
    if (got == SIGRTMIN + 2) return arg;
    atomic_fetch_add(&sum, info.si_value.sival_int);
    atomic_fetch_add(&waited, 1);
  }
}

static void waiters_share(void) {
  block(SIG_BLOCK, SIGRTMIN + 1);
  block(SIG_BLOCK, SIGRTMIN + 2);
  pthread_t threads[kThreads];
  for (intptr_t i = 0; i < kThreads; i++) CHECK_OK(pthread_create(&threads[i], NULL, wait_for_some, (void*)i));
  int wanted = 0;
  for (int i = 1; i <= 300; i++) {
    union sigval value = {.sival_int = i};
    CHECK_SYS(sigqueue(getpid(), SIGRTMIN + 1, value));
    wanted += i;
  }
  EVENTUALLY(atomic_load(&waited) == 300);
  CHECK_EQ(atomic_load(&sum), wanted);
  for (int i = 0; i < kThreads; i++) CHECK_SYS(sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 0}));
  for (int i = 0; i < kThreads; i++) CHECK_OK(pthread_join(threads[i], NULL));
}

static void orders_and_limits(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 3);
  sigaddset(&set, SIGRTMIN + 4);
  sigaddset(&set, SIGUSR2);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
  // By number, and in the order they were sent; standard ones once.
  for (int i = 1; i <= 3; i++) {
    CHECK_SYS(sigqueue(getpid(), SIGRTMIN + 4, (union sigval){.sival_int = i}));
    CHECK_SYS(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 10 + i}));
    CHECK_SYS(kill(getpid(), SIGUSR2));
  }
  struct timespec none = {0, 0}, soon = {0, 1000000};
  siginfo_t info;
  CHECK_EQ(sigtimedwait(&set, &info, &none), SIGUSR2);
  CHECK_EQ(info.si_code, SI_USER);
  CHECK_EQ(info.si_pid, getpid());
  for (int i = 1; i <= 3; i++) {
    CHECK_EQ(sigtimedwait(&set, &info, &none), SIGRTMIN + 3);
    CHECK_EQ(info.si_value.sival_int, 10 + i);
  }
  for (int i = 1; i <= 3; i++) {
    CHECK_EQ(sigtimedwait(&set, &info, &soon), SIGRTMIN + 4);
    CHECK_EQ(info.si_value.sival_int, i);
  }
  CHECK_ERRNO(sigtimedwait(&set, &info, &none), EAGAIN);
  CHECK_ERRNO(sigtimedwait(&set, &info, &soon), EAGAIN);
  struct timespec bad = {0, 1000000000};
  CHECK_ERRNO(sigtimedwait(&set, &info, &bad), EINVAL);
}

static void* send_later(void* arg) {
  usleep(2000);
  CHECK_SYS(kill(getpid(), (int)(intptr_t)arg));
  return NULL;
}

static void suspend(void) {
  block(SIG_BLOCK, SIGUSR1);
  for (int round = 0; round < 20; round++) {
    sigset_t open;
    CHECK_OK(pthread_sigmask(SIG_BLOCK, NULL, &open));
    sigdelset(&open, SIGUSR1);
    const int before = atomic_load(&total);
    pthread_t sender;
    if (round % 2) CHECK_SYS(kill(getpid(), SIGUSR1));
    else CHECK_OK(pthread_create(&sender, NULL, send_later, (void*)SIGUSR1));
    CHECK_ERRNO(sigsuspend(&open), EINTR);
    CHECK_EQ(atomic_load(&total), before + 1);
    if (round % 2 == 0) CHECK_OK(pthread_join(sender, NULL));
    CHECK_SYS(kill(getpid(), SIGUSR1));
    CHECK_EQ(is_pending(SIGUSR1), 1);
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    int got = 0;
    CHECK_OK(sigwait(&one, &got));
    CHECK_EQ(got, SIGUSR1);
  }
}

static void* read_signals(void* arg) {
  for (int i = 0; i < 50; i++) {
    struct signalfd_siginfo info;
    CHECK_EQ(read((int)(intptr_t)arg, &info, sizeof info), sizeof info);
    CHECK_EQ(info.ssi_signo, SIGRTMIN + 5);
    CHECK_EQ(info.ssi_int, i);
    CHECK_EQ(info.ssi_pid, getpid());
  }
  return NULL;
}

static void by_descriptor(void) {
  block(SIG_BLOCK, SIGRTMIN + 5);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 5);
  const int fd = signalfd(-1, &set, SFD_CLOEXEC);
  CHECK_SYS(fd);
  pthread_t reader;
  CHECK_OK(pthread_create(&reader, NULL, read_signals, (void*)(intptr_t)fd));
  for (int i = 0; i < 50; i++) CHECK_SYS(sigqueue(getpid(), SIGRTMIN + 5, (union sigval){.sival_int = i}));
  CHECK_OK(pthread_join(reader, NULL));
  close(fd);
}

// ---- timers ----

static atomic_int notified;
static void notify(union sigval value) {
  CHECK_EQ(value.sival_int, 7);
  atomic_fetch_add(&notified, 1);
}

static void* own_timer(void* arg) {
  const int index = index_here = (int)(intptr_t)arg;
  const int before = atomic_load(&handled[index]);
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1, .sigev_value.sival_int = index};
  event._sigev_un._tid = gettid();
  timer_t timer;
  CHECK_SYS(timer_create(CLOCK_MONOTONIC, &event, &timer));
  struct itimerspec every = {{0, 1000000}, {0, 1000000}};
  CHECK_SYS(timer_settime(timer, 0, &every, NULL));
  for (unsigned i = 0; atomic_load(&handled[index]) < before + 10; i++) stir(i);
  CHECK_SYS(timer_delete(timer));
  CHECK_EQ(code_here, SI_TIMER);
  CHECK_EQ(value_here, index);
  return arg;
}

// Made before there are threads.
static timer_t early;
static void make_early_timer(void) {
  struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM, .sigev_value.sival_int = 11};
  event._sigev_un._tid = gettid();
  CHECK_SYS(timer_create(CLOCK_MONOTONIC, &event, &early));
}

static void timers(void) {
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
  CHECK_SYS(sigaction(SIGALRM, &action, NULL));
  int before = atomic_load(&total);
  struct itimerval every = {{0, 1000}, {0, 1000}}, none = {{0, 0}, {0, 0}};
  CHECK_SYS(setitimer(ITIMER_REAL, &every, NULL));
  EVENTUALLY(atomic_load(&total) >= before + 10);
  CHECK_SYS(setitimer(ITIMER_REAL, &none, NULL));
  CHECK_SYS(sigaction(SIGPROF, &action, NULL));
  before = atomic_load(&total);
  CHECK_SYS(setitimer(ITIMER_PROF, &every, NULL));
  while (atomic_load(&total) < before + 5) compute(100000);
  CHECK_SYS(setitimer(ITIMER_PROF, &none, NULL));
  before = atomic_load(&total);
  alarm(1);
  pause();
  CHECK_EQ(alarm(0), 0);
  CHECK(atomic_load(&total) > before);
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM, .sigev_value.sival_int = 9};
  timer_t timer;
  CHECK_SYS(timer_create(CLOCK_MONOTONIC, &event, &timer));
  struct itimerspec soon = {{0, 0}, {0, 1000000}};
  before = atomic_load(&total);
  CHECK_SYS(timer_settime(timer, 0, &soon, NULL));
  EVENTUALLY(atomic_load(&total) == before + 1);
  CHECK_EQ(atomic_load(&last_code), SI_TIMER);
  CHECK_EQ(atomic_load(&last_value), 9);
  CHECK_SYS(timer_delete(timer));
  before = atomic_load(&total);
  CHECK_SYS(timer_settime(early, 0, &soon, NULL));
  EVENTUALLY(atomic_load(&total) == before + 1);
  CHECK_EQ(value_here, 11);
  CHECK_SYS(timer_delete(early));
  struct sigevent by_thread = {
      .sigev_notify = SIGEV_THREAD, .sigev_notify_function = notify, .sigev_value.sival_int = 7};
  CHECK_SYS(timer_create(CLOCK_REALTIME, &by_thread, &timer));
  struct itimerspec often = {{0, 1000000}, {0, 1000000}};
  CHECK_SYS(timer_settime(timer, 0, &often, NULL));
  EVENTUALLY(atomic_load(&notified) >= 5);
  CHECK_SYS(timer_delete(timer));
  block(SIG_UNBLOCK, SIGUSR1);
  run_threads(kThreads, own_timer);
  own_timer(0);
}

int main(void) {
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
  CHECK_SYS(sigaction(SIGUSR1, &action, NULL));
  make_early_timer();
  only_who_takes_it();
  waiters_share();
  orders_and_limits();
  suspend();
  by_descriptor();
  timers();
  return 0;
}
