// Shows that the process ends at once, with the right status, while threads compute, sleep, block and wait: by return
// from main, exit from any thread, _exit, quick_exit, abort and a fatal signal; atexit handlers run once.
#include "check.h"

#include <semaphore.h>
#include <signal.h>
#include <sys/resource.h>

#include <atomic>

namespace {

std::atomic<int> started;
int ends[2];
sem_t never;
pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;

void start_threads() {
  sem_init(&never, 0, 0);
  CHECK_SYS(pipe(ends));
  pthread_mutex_lock(&held);
  for (int i = 0; i < 24; i++) {
    spawn([i] {
      started++;
      char byte;
      switch (i % 6) {
        case 0:
          for (;;) compute(1000);
        case 1:
          for (;;) sleep_ms(1000);
        case 2: sem_wait(&never); break;
        case 3: pthread_mutex_lock(&held); break;
        case 4: CHECK(read(ends[0], &byte, 1) <= 0); break;
        default:
          for (;;) {
            void* block = malloc(100);
            asm volatile("" : : "r"(block) : "memory");
            free(block);
          }
      }
    });
  }
  EVENTUALLY(started == 24);
}

int end_of(int way) {
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child != 0) return wait_status(child);
  const struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  static std::atomic<int> handlers;
  atexit([] { _exit(++handlers == 1 ? 40 : 41); });
  at_quick_exit([] { _exit(50); });
  start_threads();
  switch (way) {
    case 0: exit(3);
    case 1: spawn([] { exit(4); }); break;
    case 2: spawn([] { _exit(5); }); break;
    case 3: spawn([] { quick_exit(6); }); break;
    case 4: spawn([] { abort(); }); break;
    case 5: kill(getpid(), SIGKILL); break;
    case 6: raise(SIGTERM); break;
    default: spawn([] { *static_cast<volatile int*>(nullptr) = 1; });
  }
  for (;;) pause();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) {
    start_threads();
    return 9;
  }
  CHECK_EQ(end_of(0), 40);
  CHECK_EQ(end_of(1), 40);
  CHECK_EQ(end_of(2), 5);
  CHECK_EQ(end_of(3), 50);
  CHECK_EQ(end_of(4), -SIGABRT);
  CHECK_EQ(end_of(5), -SIGKILL);
  CHECK_EQ(end_of(6), -SIGTERM);
  CHECK_EQ(end_of(7), -SIGSEGV);
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    execl("/proc/self/exe", argv[0], "return", nullptr);
    _exit(127);
  }
  CHECK_EQ(wait_status(child), 9);
  return 0;
}
