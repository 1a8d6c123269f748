// Shows cancellation: at a blocking call, at testcancel, asynchronously in a loop, held off while disabled; cleanup
// handlers, C++ destructors and key destructors run; a mutex is held again in a cond wait's handler.
#include "check.h"

#include <semaphore.h>

#include <atomic>

namespace {

std::atomic<int> entered, cleaned, destroyed, keyed;
pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
pthread_key_t key;
int ends[2];
sem_t never;

struct Guard {
  ~Guard() { destroyed++; }
};

void block(int way) {
  char byte;
  pollfd wanted = {ends[0], POLLIN, 0};
  switch (way) {
    case 0: CHECK(read(ends[0], &byte, 1) != 1); break;
    case 1: sem_wait(&never); break;
    case 2:
      for (;;) pthread_cond_wait(&cond, &mutex);
    case 3: sleep(1000); break;
    case 4: poll(&wanted, 1, -1); break;
    case 5:
      for (;;) {
        pthread_testcancel();
        sched_yield();
      }
    case 6:
      CHECK_OK(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, nullptr));
      for (;;) compute(1000);
    default: pause();
  }
  check_fail(__FILE__, __LINE__, "way %d: not cancelled", way);
}

void* victim(void* arg) {
  const int way = static_cast<int>(reinterpret_cast<intptr_t>(arg)) % 8;
  CHECK_OK(pthread_setspecific(key, &key));
  Guard guard;
  if (way == 2) CHECK_OK(pthread_mutex_lock(&mutex));
  pthread_cleanup_push(
      [](void* p) {
        if (reinterpret_cast<intptr_t>(p) == 2) {
          CHECK_EQ(pthread_mutex_trylock(&mutex), EBUSY);
          CHECK_OK(pthread_mutex_unlock(&mutex));
        }
        cleaned++;
        if (reinterpret_cast<intptr_t>(p) != 6) sched_yield();
      },
      reinterpret_cast<void*>(static_cast<intptr_t>(way)));
  entered++;
  block(way);
  pthread_cleanup_pop(0);
  return nullptr;
}

void* hold_off(void*) {
  int old = -1;
  CHECK_OK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old));
  CHECK_EQ(old, PTHREAD_CANCEL_ENABLE);
  CHECK_OK(pthread_cancel(pthread_self()));
  pthread_testcancel();
  usleep(100);
  for (unsigned step = 0; step < 10; step++) stir(step);
  CHECK_EQ(pthread_setcancelstate(77, nullptr), EINVAL);
  CHECK_EQ(pthread_setcanceltype(77, nullptr), EINVAL);
  entered++;
  CHECK_OK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, nullptr));
  pthread_testcancel();
  check_fail(__FILE__, __LINE__, "not cancelled");
}

}  // namespace

int main() {
  CHECK_SYS(pipe(ends));
  CHECK_SYS(sem_init(&never, 0, 0));
  CHECK_OK(pthread_key_create(&key, [](void*) { keyed++; }));
  constexpr int kThreads = 40;
  for (int round = 1; round <= 3; round++) {
    pthread_t threads[kThreads];
    entered = 0;
    for (intptr_t i = 0; i < kThreads; i++) {
      CHECK_OK(pthread_create(&threads[i], nullptr, i == 15 ? hold_off : victim, reinterpret_cast<void*>(i)));
    }
    EVENTUALLY(entered == kThreads);
    for (pthread_t thread : threads) {
      if (thread != threads[15]) CHECK_OK(pthread_cancel(thread));
    }
    for (pthread_t thread : threads) {
      void* result = nullptr;
      CHECK_OK(pthread_join(thread, &result));
      CHECK_EQ(result, PTHREAD_CANCELED);
    }
    CHECK_EQ(cleaned.load(), round * (kThreads - 1));
    CHECK_EQ(destroyed.load(), round * (kThreads - 1));
    CHECK_EQ(keyed.load(), round * (kThreads - 1));
  }
  CHECK_OK(pthread_mutex_lock(&mutex));
  return 0;
}
