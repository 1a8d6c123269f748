// Shows std::async, promise and shared_future: values, broken promises, time-outs, and a tree of tasks that wait for
// their children.
#include "check.h"

#include <chrono>
#include <future>
#include <vector>

namespace {

long sum(int low, int high) {
  if (high - low <= 8) {
    long total = 0;
    for (int i = low; i < high; i++) total += i;
    sched_yield();
    return total;
  }
  const int middle = (low + high) / 2;
  auto left = std::async(std::launch::async, sum, low, middle);
  const long right = sum(middle, high);
  return left.get() + right;
}

}  // namespace

int main() {
  CHECK_EQ(sum(0, 1000), 499500);

  std::promise<int> promise;
  std::shared_future<int> shared = promise.get_future().share();
  CHECK(shared.wait_for(std::chrono::milliseconds(1)) == std::future_status::timeout);
  pthread_t readers = spawn([shared] { parallel(40, [shared](int) { CHECK_EQ(shared.get(), 17); }); });
  sleep_ms(2);
  promise.set_value(17);
  join(readers);

  std::future<void> broken;
  {
    std::promise<void> dropped;
    broken = dropped.get_future();
  }
  try {
    broken.get();
    CHECK(false);
  } catch (const std::future_error& error) {
    CHECK(error.code() == std::future_errc::broken_promise);
  }

  std::promise<int> at_exit;
  std::future<int> late = at_exit.get_future();
  join(spawn([&at_exit] { at_exit.set_value_at_thread_exit(5); }));
  CHECK_EQ(late.get(), 5);

  std::vector<std::packaged_task<int(int)>> tasks;
  std::vector<std::future<int>> results;
  for (int i = 0; i < 30; i++) {
    tasks.emplace_back([](int x) {
      stir(static_cast<unsigned>(x));
      return x * x;
    });
    results.push_back(tasks.back().get_future());
  }
  parallel(30, [&tasks](int index) { tasks[static_cast<size_t>(index)](index); });
  for (int i = 0; i < 30; i++) CHECK_EQ(results[static_cast<size_t>(i)].get(), i * i);
  return 0;
}
