// Shows std::latch, std::barrier with a completion, counting_semaphore, jthread with stop tokens, shared_mutex and
// timed locks.
#include "check.h"

#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <latch>
#include <mutex>
#include <semaphore>
#include <shared_mutex>
#include <stop_token>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

void latches() {
  static std::atomic<int> before;
  std::latch latch(20);
  parallel(20, [&latch](int index) {
    stir(static_cast<unsigned>(index));
    before++;
    latch.arrive_and_wait();
    CHECK_EQ(before.load(), 20);
  });
  CHECK(latch.try_wait());
}

void barriers() {
  static int phases;
  static std::atomic<int> arrivals;
  auto on_phase = []() noexcept { CHECK_EQ(arrivals.load(), 12 * ++phases); };
  std::barrier barrier(12, on_phase);
  parallel(12, [&barrier](int index) {
    for (int i = 0; i < 50; i++) {
      if (i % 16 == 0) stir(static_cast<unsigned>(index + i / 16));
      arrivals++;
      barrier.wait(barrier.arrive());
      CHECK(phases == i + 1);  // Nobody comes to the next phase's end before this thread.
    }
  });
}

void semaphores() {
  static std::counting_semaphore<8> slots(3);
  static std::binary_semaphore never(0);
  static std::atomic<int> inside;
  parallel(16, [](int index) {
    for (int i = 0; i < 50; i++) {
      // libstdc++ 12's acquire() may sleep for ever, natively too (its bug 104928).
      while (!slots.try_acquire_for(100ms)) {
      }
      CHECK(++inside <= 3);
      if (i % 16 == 0) stir(static_cast<unsigned>(index));
      inside--;
      slots.release();
    }
    CHECK(!never.try_acquire());
    CHECK(!never.try_acquire_for(1ms));
    CHECK(!never.try_acquire_until(std::chrono::steady_clock::now() + 1ms));
  });
}

void jthreads() {
  std::atomic<int> stopped = 0;
  {
    std::mutex mutex;
    std::condition_variable_any never;
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < 16; i++) {
      threads.emplace_back([&, i](std::stop_token token) {
        if (i % 2 == 0) {
          for (unsigned step = i; !token.stop_requested(); step++) stir(step);
        } else {
          std::unique_lock lock(mutex);
          CHECK(!never.wait(lock, token, [] { return false; }));
        }
        stopped++;
      });
    }
    std::this_thread::sleep_for(3ms);
  }
  CHECK_EQ(stopped.load(), 16);
}

void shared_mutexes() {
  static std::shared_timed_mutex mutex;
  static long first, second;
  parallel(16, [](int index) {
    for (int i = 0; i < 100; i++) {
      if ((i + index) % 5 == 0) {
        std::unique_lock lock(mutex);
        first++;
        if (i % 8 == 0) stir(static_cast<unsigned>(index * 2));
        second++;
      } else if ((i + index) % 5 == 1) {
        std::shared_lock lock(mutex, 50us);
        if (lock.owns_lock()) CHECK_EQ(first, second);
      } else {
        std::shared_lock lock(mutex);
        const long seen = first;
        if (i % 8 == 0) stir(static_cast<unsigned>(index));
        CHECK_EQ(second, seen);
      }
    }
  });
  CHECK_EQ(first, 320);
  std::scoped_lock held(mutex);
  join(
      spawn([] { CHECK(!mutex.try_lock_shared_for(1ms) && !mutex.try_lock_until(std::chrono::system_clock::now())); }));
}

}  // namespace

int main() {
  latches();
  barriers();
  semaphores();
  jthreads();
  shared_mutexes();
  return 0;
}
