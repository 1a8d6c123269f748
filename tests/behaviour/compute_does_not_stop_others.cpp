// Shows that threads in loops without a call, more of them than processors, do not stop others that sleep, wait and
// wake each other; the same when the process may use one processor only.
// run: limit=60
#include "check.h"

#include <semaphore.h>

#include <atomic>

namespace {

void run_beside_loops() {
  static std::atomic<bool> stop;
  static bool* const plain_stop = reinterpret_cast<bool*>(&stop);
  stop = false;
  static std::atomic<int> looping;
  looping = 0;
  pthread_t loops = spawn([] {
    parallel(5, [](int) {
      looping++;
      while (!*const_cast<volatile bool*>(plain_stop)) {
      }
    });
  });
  EVENTUALLY(looping == 5);
  static sem_t ping, pong;
  CHECK_SYS(sem_init(&ping, 0, 0));
  CHECK_SYS(sem_init(&pong, 0, 0));
  pthread_t partner = spawn([] {
    for (int i = 0; i < 10; i++) {
      CHECK_SYS(sem_wait(&ping));
      CHECK_SYS(sem_post(&pong));
    }
  });
  pthread_t sleeper = spawn([] {
    for (int i = 0; i < 5; i++) usleep(100);
  });
  for (int i = 0; i < 10; i++) {
    CHECK_SYS(sem_post(&ping));
    CHECK_SYS(sem_wait(&pong));
  }
  join(partner);
  join(sleeper);
  parallel(10, [](int) { sched_yield(); });
  stop = true;
  join(loops);
}

}  // namespace

int main() {
  run_beside_loops();
  cpu_set_t all, one;
  CHECK_SYS(sched_getaffinity(0, sizeof all, &all));
  int first = 0;
  while (!CPU_ISSET(first, &all)) first++;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    CHECK_SYS(sched_setaffinity(0, sizeof one, &one));
    run_beside_loops();
    _exit(0);
  }
  CHECK_EQ(wait_status(child), 0);
  return 0;
}
