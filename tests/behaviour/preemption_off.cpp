// Shows that GOSHIM_PREEMPT=off does what it says: on one P a thread that computes without a call keeps it until its
// next call, however long that takes, and makes room then.
// run: native=no chaos=no procs=1 env=GOSHIM_PREEMPT=off
#include "check.h"

#include <atomic>

int main() {
  std::atomic<long> counter{0};
  std::atomic<bool> stop{false};
  pthread_t other = spawn([&] {
    while (!stop) {
      counter++;
      sched_yield();
    }
  });
  join(spawn([&] {
    for (int turn = 0; turn < 3; turn++) {
      const long before = counter;
      for (volatile long i = 0; i < 50'000'000;) i = i + 1;  // many slices
      CHECK_EQ(counter, before);
      EVENTUALLY(counter > before);
    }
  }));
  stop = true;
  join(other);
  return 0;
}
