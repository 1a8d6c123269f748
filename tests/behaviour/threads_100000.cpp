// Shows a hundred thousand threads alive at once with default stacks, waiting on a semaphore; each then adds its part.
// run: native=no limit=120 alone=yes
#include "check.h"

#include <semaphore.h>

#include <atomic>

int main() {
  constexpr int kThreads = 100000;
  static sem_t gate;
  static std::atomic<int> alive;
  static std::atomic<long> sum;
  CHECK_SYS(sem_init(&gate, 0, 0));
  pthread_t* threads = new pthread_t[kThreads];
  for (intptr_t i = 0; i < kThreads; i++) {
    CHECK_OK(pthread_create(
        &threads[i], nullptr,
        [](void* arg) -> void* {
          alive++;
          while (sem_wait(&gate) == -1) CHECK_EQ(errno, EINTR);
          sum += reinterpret_cast<intptr_t>(arg);
          return arg;
        },
        reinterpret_cast<void*>(i)));
  }
  EVENTUALLY(alive == kThreads);
  CHECK_EQ(sum.load(), 0);
  for (int i = 0; i < kThreads; i++) CHECK_SYS(sem_post(&gate));
  for (intptr_t i = 0; i < kThreads; i++) {
    void* result = nullptr;
    CHECK_OK(pthread_join(threads[i], &result));
    CHECK_EQ(result, i);
  }
  CHECK_EQ(sum.load(), static_cast<long>(kThreads) * (kThreads - 1) / 2);
  return 0;
}
