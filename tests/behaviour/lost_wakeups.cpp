// Shows that no wake-up is lost under storms: producers and consumers whose sums agree, dining philosophers, a chain
// of semaphores, timed waits that race with signals.
#include "check.h"

#include <semaphore.h>

#include <atomic>
#include <mutex>

namespace {

template <int kCapacity>
class Queue {
 public:
  void put(long value) {
    pthread_mutex_lock(&mutex_);
    while (count_ == kCapacity) pthread_cond_wait(&not_full_, &mutex_);
    items_[(head_ + count_++) % kCapacity] = value;
    pthread_cond_signal(&not_empty_);
    pthread_mutex_unlock(&mutex_);
  }
  long take() {
    pthread_mutex_lock(&mutex_);
    while (count_ == 0) pthread_cond_wait(&not_empty_, &mutex_);
    const long value = items_[head_];
    head_ = (head_ + 1) % kCapacity;
    count_--;
    pthread_cond_signal(&not_full_);
    pthread_mutex_unlock(&mutex_);
    return value;
  }

 private:
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t not_empty_ = PTHREAD_COND_INITIALIZER, not_full_ = PTHREAD_COND_INITIALIZER;
  long items_[kCapacity] = {};
  int head_ = 0, count_ = 0;
};

void produce_and_consume() {
  static Queue<4> queue;
  static std::atomic<long> sum;
  constexpr int kSides = 12, kItems = 500;
  parallel(2 * kSides, [](int index) {
    long own = 0;
    for (int i = 0; i < kItems; i++) {
      if (index < kSides) {
        queue.put(index * kItems + i);
      } else {
        own += queue.take();
      }
      if (i % 64 == 0) stir(static_cast<unsigned>(index + i / 64));
    }
    sum += own;
  });
  const long all = kSides * kItems;
  CHECK_EQ(sum.load(), all * (all - 1) / 2);
}

void dine() {
  constexpr int kPhilosophers = 9, kMeals = 200;
  static std::mutex forks[kPhilosophers];
  static std::atomic<bool> eating[kPhilosophers];
  parallel(kPhilosophers, [](int index) {
    const int left = index, right = (index + 1) % kPhilosophers;
    for (int meal = 0; meal < kMeals; meal++) {
      std::lock_guard low(forks[left < right ? left : right]);
      if (meal % 16 == 0) sched_yield();
      std::lock_guard high(forks[left < right ? right : left]);
      eating[index] = true;
      CHECK(!eating[(index + 1) % kPhilosophers] && !eating[(index + kPhilosophers - 1) % kPhilosophers]);
      if (meal % 32 == 0) stir(static_cast<unsigned>(meal / 32 + index));
      eating[index] = false;
    }
  });
}

void pass_along_semaphores() {
  constexpr int kLinks = 60, kTokens = 60;
  static sem_t links[kLinks];
  for (sem_t& link : links) CHECK_SYS(sem_init(&link, 0, 0));
  pthread_t chain = spawn([] {
    parallel(kLinks - 1, [](int index) {
      for (int i = 0; i < kTokens; i++) {
        CHECK_SYS(sem_wait(&links[index]));
        if (i % 20 == index % 20) stir(static_cast<unsigned>(index));
        CHECK_SYS(sem_post(&links[index + 1]));
      }
    });
  });
  for (int i = 0; i < kTokens; i++) CHECK_SYS(sem_post(&links[0]));
  for (int i = 0; i < kTokens; i++) CHECK_SYS(sem_wait(&links[kLinks - 1]));
  join(chain);
}

// Each unit is taken exactly once, by an untimed waiter or by one whose deadline comes at about the same moment.
void race_with_deadlines() {
  static sem_t units;
  static std::atomic<int> taken, given;
  CHECK_SYS(sem_init(&units, 0, 0));
  parallel(20, [](int index) {
    for (int i = 0; i < 200; i++) {
      if (index < 4) {
        CHECK_SYS(sem_post(&units));
        given++;
        usleep(static_cast<unsigned>(i % 7) * 10);
      } else {
        const timespec soon = ns_to_timespec(now_ns(CLOCK_REALTIME) + (i * 13 + index) % 100 * 1000);
        if (sem_timedwait(&units, &soon) == 0) {
          taken++;
        } else {
          CHECK_EQ(errno, ETIMEDOUT);
        }
      }
    }
  });
  int left = -1;
  CHECK_SYS(sem_getvalue(&units, &left));
  CHECK_EQ(given.load(), 800);
  CHECK_EQ(taken + left, 800);
}

}  // namespace

int main() {
  produce_and_consume();
  dine();
  pass_along_semaphores();
  race_with_deadlines();
  return 0;
}
