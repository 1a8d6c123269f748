// Shows that an object may be destroyed and unmapped as soon as the last user was let through: a mutex after its last
// unlock, a semaphore after its wait, a condition variable after a broadcast, a rwlock after its last unlock.
#include "check.h"

#include <semaphore.h>
#include <sys/mman.h>

#include <atomic>

namespace {

// A page of its own per object: a touch after the destruction faults.
template <class Object>
Object* fresh() {
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(page != MAP_FAILED);
  return static_cast<Object*>(page);
}
void drop(void* page) { CHECK_SYS(munmap(page, 4096)); }

constexpr int kRounds = 60;

struct Counted {
  pthread_mutex_t mutex;
  int users;
};

void last_user_frees_mutex() {
  parallel(8, [](int pair) {
    for (int round = 0; round < kRounds; round++) {
      Counted* object = fresh<Counted>();
      CHECK_OK(pthread_mutex_init(&object->mutex, nullptr));
      object->users = 4;
      auto release = [object, round](int index) {
        if ((index + round) % 3 == 0) stir(static_cast<unsigned>(round));
        CHECK_OK(pthread_mutex_lock(&object->mutex));
        const bool last = --object->users == 0;
        if ((index + round) % 8 == 0) sched_yield();
        CHECK_OK(pthread_mutex_unlock(&object->mutex));
        if (last) {
          CHECK_OK(pthread_mutex_destroy(&object->mutex));
          drop(object);
        }
      };
      parallel(3, release);
      release(3 + pair);
    }
  });
}

void waiter_frees_semaphore() {
  parallel(8, [](int) {
    for (int round = 0; round < kRounds; round++) {
      sem_t* sem = fresh<sem_t>();
      CHECK_SYS(sem_init(sem, 0, 0));
      pthread_t poster = spawn([sem] { CHECK_SYS(sem_post(sem)); });
      if (round % 4 == 0) sched_yield();
      CHECK_SYS(sem_wait(sem));
      CHECK_SYS(sem_destroy(sem));
      drop(sem);
      join(poster);
    }
  });
}

struct Event {
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  bool set;
};

void waiter_frees_event() {
  parallel(8, [](int) {
    for (int round = 0; round < kRounds; round++) {
      Event* event = fresh<Event>();
      CHECK_OK(pthread_mutex_init(&event->mutex, nullptr));
      CHECK_OK(pthread_cond_init(&event->cond, nullptr));
      pthread_t setter = spawn([event, round] {
        CHECK_OK(pthread_mutex_lock(&event->mutex));
        event->set = true;
        CHECK_OK(round % 2 == 0 ? pthread_cond_signal(&event->cond) : pthread_cond_broadcast(&event->cond));
        CHECK_OK(pthread_mutex_unlock(&event->mutex));
      });
      CHECK_OK(pthread_mutex_lock(&event->mutex));
      while (!event->set) CHECK_OK(pthread_cond_wait(&event->cond, &event->mutex));
      CHECK_OK(pthread_mutex_unlock(&event->mutex));
      CHECK_OK(pthread_cond_destroy(&event->cond));
      CHECK_OK(pthread_mutex_destroy(&event->mutex));
      drop(event);
      join(setter);
    }
  });
}

struct Shared {
  pthread_rwlock_t lock;
  int users;
};

void last_user_frees_rwlock() {
  parallel(6, [](int) {
    for (int round = 0; round < kRounds; round++) {
      Shared* object = fresh<Shared>();
      CHECK_OK(pthread_rwlock_init(&object->lock, nullptr));
      object->users = 4;
      parallel(4, [object](int index) {
        CHECK_OK(pthread_rwlock_wrlock(&object->lock));
        if (index == 0) sched_yield();
        const bool last = --object->users == 0;
        CHECK_OK(pthread_rwlock_unlock(&object->lock));
        if (last) {
          CHECK_OK(pthread_rwlock_destroy(&object->lock));
          drop(object);
        }
      });
    }
  });
}

}  // namespace

int main() {
  last_user_frees_mutex();
  waiter_frees_semaphore();
  waiter_frees_event();
  last_user_frees_rwlock();
  return 0;
}
