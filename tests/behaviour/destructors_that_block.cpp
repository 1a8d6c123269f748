// Shows that a thread's last destructors are ordinary code: thread_local and key destructors that sleep, wait on
// semaphores, lock, allocate, throw and catch, and create and join threads; join returns after them.
#include "check.h"

#include <semaphore.h>

#include <atomic>

namespace {

std::atomic<int> finished;
sem_t gate;
pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
pthread_key_t key;

void run_all_kinds(unsigned step) {
  usleep(200);
  CHECK_SYS(sem_wait(&gate));
  pthread_mutex_lock(&mutex);
  sched_yield();
  pthread_mutex_unlock(&mutex);
  try {
    stir(step);
    throw step;
  } catch (unsigned value) {
    CHECK_EQ(value, step);
  }
  const pthread_t self = pthread_self();
  join(spawn([self] {
    CHECK(!pthread_equal(self, pthread_self()));
    free(malloc(3000));
    CHECK_SYS(sem_post(&gate));
    finished++;
  }));
  CHECK(pthread_equal(self, pthread_self()));
  compute(100000);
}

struct Guard {
  explicit Guard(unsigned step) : step(step) {}
  ~Guard() { run_all_kinds(step); }
  unsigned step;
};

}  // namespace

int main() {
  CHECK_SYS(sem_init(&gate, 0, 2));
  CHECK_OK(pthread_key_create(&key, [](void* value) {
    const int round = static_cast<int*>(value)[0]++;
    run_all_kinds(static_cast<unsigned>(round));
    if (round < 2) {
      CHECK_OK(pthread_setspecific(key, value));
    } else {
      delete[] static_cast<int*>(value);
    }
  }));
  for (int round = 1; round <= 3; round++) {
    parallel(12, [](int index) {
      thread_local Guard guard(static_cast<unsigned>(index));
      CHECK_EQ(guard.step, index);
      CHECK_OK(pthread_setspecific(key, new int[1]()));
    });
    CHECK_EQ(finished.load(), round * 12 * 4);
  }
  return 0;
}
