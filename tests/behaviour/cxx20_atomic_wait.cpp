// Shows std::atomic wait, notify_one and notify_all, for words of the futex's size and others, and atomic_flag.
#include "check.h"

#include <atomic>

namespace {

template <class Value>
void ping_pong() {
  static std::atomic<Value> turn;
  turn = 0;
  parallel(16, [](int index) {
    for (int i = 0; i < 50; i++) {
      for (;;) {
        const Value now = turn.load();
        if (now % 16 == index) break;
        turn.wait(now);
      }
      if (i % 16 == 0) stir(static_cast<unsigned>(index));
      turn.store(static_cast<Value>((index + 1) % 16));
      turn.notify_all();
    }
  });
  CHECK_EQ(turn.load(), 0);
}

}  // namespace

int main() {
  ping_pong<int>();
  ping_pong<unsigned char>();
  ping_pong<long>();

  static std::atomic<int> gate;
  static std::atomic<int> passed;
  pthread_t waiters = spawn([] {
    parallel(100, [](int) {
      gate.wait(0);
      passed++;
    });
  });
  sleep_ms(5);
  CHECK_EQ(passed.load(), 0);
  gate = 1;
  gate.notify_all();
  join(waiters);
  CHECK_EQ(passed.load(), 100);

  static std::atomic_flag flag = ATOMIC_FLAG_INIT;
  static long counter;
  parallel(12, [](int index) {
    for (int i = 0; i < 100; i++) {
      while (flag.test_and_set(std::memory_order_acquire)) flag.wait(true, std::memory_order_relaxed);
      const long before = counter;
      if (i % 32 == 0) stir(static_cast<unsigned>(index * 2));
      counter = before + 1;
      flag.clear(std::memory_order_release);
      flag.notify_one();
    }
  });
  CHECK_EQ(counter, 1200);
  return 0;
}
