// Shows ten thousand threads asleep at once, which all wake, none too early.
// run: limit=60 alone=yes
#include "check.h"

#include <atomic>

int main() {
  constexpr int kThreads = 10000;
  static std::atomic<int> asleep, awake;
  static int64_t wake_time;
  wake_time = now_ns(CLOCK_MONOTONIC) + 500 * NS_PER_MS;
  pthread_attr_t attr;
  CHECK_OK(pthread_attr_init(&attr));
  CHECK_OK(pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN + 48 * 1024));
  pthread_t* threads = new pthread_t[kThreads];
  for (intptr_t i = 0; i < kThreads; i++) {
    CHECK_OK(pthread_create(
        &threads[i], &attr,
        [](void* arg) -> void* {
          asleep++;
          const timespec until = ns_to_timespec(wake_time + reinterpret_cast<intptr_t>(arg) % 100 * NS_PER_MS);
          CHECK_OK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr));
          CHECK(now_ns(CLOCK_MONOTONIC) >= until.tv_sec * NS_PER_S + until.tv_nsec);
          awake++;
          return arg;
        },
        reinterpret_cast<void*>(i)));
  }
  for (intptr_t i = 0; i < kThreads; i++) {
    void* result = nullptr;
    CHECK_OK(pthread_join(threads[i], &result));
    CHECK_EQ(result, i);
  }
  CHECK_EQ(asleep.load(), kThreads);
  CHECK_EQ(awake.load(), kThreads);
  return 0;
}
