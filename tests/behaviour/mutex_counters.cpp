// Shows mutual exclusion: plain counters under every kind of lock add up, with owners that yield, sleep and compute
// while they hold it, and takers that lock, try and time out.
#include "check.h"

#include <mutex>

namespace {

template <class Lock, class Unlock>
void count(Lock lock, Unlock unlock) {
  static long a, b;
  a = b = 0;
  constexpr int kThreads = 24, kRounds = 400;
  parallel(kThreads, [&](int index) {
    for (int i = 0; i < kRounds; i++) {
      lock(index + i);
      const long before = a++;
      if (i % 32 == 0) stir(static_cast<unsigned>((index + i / 32) * 2 + 4));  // Yields and computes.
      if (i % 128 == 1) usleep(1);
      CHECK_EQ(b, before);
      b = before + 1;
      unlock();
    }
  });
  CHECK_EQ(a, kThreads * kRounds);
  CHECK_EQ(b, a);
}

void with_type(int type) {
  pthread_mutexattr_t attr;
  static pthread_mutex_t mutex;
  CHECK_OK(pthread_mutexattr_init(&attr));
  CHECK_OK(pthread_mutexattr_settype(&attr, type));
  CHECK_OK(pthread_mutex_init(&mutex, &attr));
  count(
      [](int i) {
        if (i % 5 == 0) {
          int error;
          while ((error = pthread_mutex_trylock(&mutex)) != 0) {
            CHECK_EQ(error, EBUSY);
            sched_yield();
          }
        } else if (i % 5 == 1) {
          int error;
          timespec soon;
          do {
            soon = ns_to_timespec(now_ns(CLOCK_REALTIME) + 50000);
            error = pthread_mutex_timedlock(&mutex, &soon);
            CHECK(error == 0 || error == ETIMEDOUT);
          } while (error != 0);
        } else {
          CHECK_OK(pthread_mutex_lock(&mutex));
        }
      },
      [] { CHECK_OK(pthread_mutex_unlock(&mutex)); });
  CHECK_OK(pthread_mutex_destroy(&mutex));
}

}  // namespace

int main() {
  for (int type :
       {PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_ADAPTIVE_NP}) {
    with_type(type);
  }
  static std::recursive_timed_mutex timed;
  count(
      [](int i) {
        while (!(i % 2 ? timed.try_lock_for(std::chrono::microseconds(70)) : timed.try_lock())) sched_yield();
        timed.lock();
      },
      [] { timed.unlock(), timed.unlock(); });
  return 0;
}
