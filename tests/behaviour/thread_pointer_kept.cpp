// Shows that a thread finds its own thread-local variables, errno and pthread_self() behind everything that takes its
// kernel thread off the processor: system calls that sleep, made by the library's functions or by an instruction of the
// program's own, computing for long, handlers of signals, faults of its own, forks and spawned programs, and changes of
// the process's ids. All signals blocked, none, and a handler for SIGSEGV.
#include "check.h"
#include "raw.h"

#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>

#include <atomic>

namespace {

constexpr int kThreads = 24;
constexpr int kRounds = 40;

volatile int* volatile nowhere = nullptr;
__thread long own_id;
__thread volatile int faults;
__thread sigjmp_buf back;
std::atomic<int> sent_seen{0};
std::atomic<int> handled{0};

void check_own(long id, pthread_t self) {
  CHECK_EQ(own_id, id);
  CHECK(pthread_equal(pthread_self(), self));
}

void raw_sleep(long ns) {
  const timespec nap = {0, ns};
  raw<SYS_nanosleep>(reinterpret_cast<long>(&nap), 0, 0, 0);
}

void on_fault(int, siginfo_t* info, void*) {
  if (info->si_code <= 0) {  // sent by kill()
    sent_seen++;
    return;
  }
  faults = faults + 1;
  siglongjmp(back, 1);
}

void on_signal(int) {
  raw_sleep(1000);
  if (own_id != 0) handled++;
}

int child_of_fork(long id) {
  for (int i = 0; i < 3; i++) {
    raw_sleep(100000);
    errno = i;
    if (own_id != id || errno != i) return 1;
  }
  sigset_t all;
  sigfillset(&all);
  if (sigprocmask(SIG_SETMASK, &all, nullptr) != 0) return 2;
  raw_sleep(100000);
  return own_id == id ? 0 : 3;
}

void fork_and_look(long id) {
  pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) _exit(child_of_fork(id));
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
}

void vfork_and_look(long id) {
  pid_t child = vfork();
  CHECK_SYS(child);
  if (child == 0) {
    raw_sleep(100000);
    _exit(own_id == id ? 0 : 1);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
}

void spawn_and_look() {
  char* const argv[] = {const_cast<char*>("true"), nullptr};
  pid_t child;
  CHECK_OK(posix_spawnp(&child, "true", nullptr, nullptr, argv, nullptr));
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
}

void fault_and_come_back() {
  int before = faults;
  if (sigsetjmp(back, 1) == 0) {
    raw_sleep(1000);
    *nowhere = 1;
    CHECK(false);
  }
  CHECK_EQ(faults, before + 1);
}

void* work(void* arg) {
  long id = reinterpret_cast<long>(arg);
  own_id = id;
  pthread_t self = pthread_self();
  unsigned step = static_cast<unsigned>(id);
  for (int round = 0; round < kRounds; round++) {
    step = step * 1103515245 + 12345;
    errno = static_cast<int>(id);
    switch (step >> 16 & 15) {
      case 0: compute(200000); break;
      case 1: sched_yield(); break;
      case 2: CHECK_SYS(kill(getpid(), SIGUSR1)); break;
      case 3: CHECK_OK(pthread_kill(self, SIGUSR2)); break;
      case 4: fault_and_come_back(); break;
      case 5: {
        sigset_t all, before;
        sigfillset(&all);
        CHECK_OK(pthread_sigmask(SIG_SETMASK, &all, &before));
        raw_sleep(10000);
        check_own(id, self);
        CHECK_OK(pthread_sigmask(SIG_SETMASK, &before, nullptr));
        break;
      }
      case 6: CHECK_SYS(kill(getpid(), SIGSEGV)); break;
      case 7:
        if (round % 4 == 0) CHECK_SYS(setuid(getuid()));
        break;
      case 8:
        if (round % 8 == 0) fork_and_look(id);
        break;
      case 9:
        if (round % 8 == 1) spawn_and_look();
        break;
      case 10:
        if (round % 8 == 2) vfork_and_look(id);
        break;
      case 11: usleep(100); break;
      default:
        raw_sleep(static_cast<long>(step >> 20));
        CHECK_EQ(errno, id);
        break;
    }
    check_own(id, self);
  }
  return nullptr;
}

}  // namespace

int main() {
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  CHECK_SYS(sigaction(SIGSEGV, &action, nullptr));
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  CHECK_SYS(sigaction(SIGUSR1, &action, nullptr));
  CHECK_SYS(sigaction(SIGUSR2, &action, nullptr));
  own_id = 1000;
  pthread_t threads[kThreads];
  for (long i = 0; i < kThreads; i++)
    CHECK_OK(pthread_create(&threads[i], nullptr, work, reinterpret_cast<void*>(i + 1)));
  for (int i = 0; i < 100; i++) {
    raw_sleep(50000);
    check_own(1000, pthread_self());
  }
  for (pthread_t t : threads) CHECK_OK(pthread_join(t, nullptr));
  check_own(1000, pthread_self());
  CHECK(handled > 0);
  CHECK(sent_seen > 0);
  return 0;
}
