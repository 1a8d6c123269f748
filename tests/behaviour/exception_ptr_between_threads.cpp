// Shows that an exception caught in one thread can be rethrown in others, many times at once, and outlives its thread.
#include "check.h"

#include <exception>
#include <future>
#include <stdexcept>
#include <string>

int main() {
  static std::exception_ptr shared;
  for (int round = 0; round < 5; round++) {
    shared = nullptr;
    join(spawn([round] {
      try {
        throw std::out_of_range("round " + std::to_string(round));
      } catch (...) {
        sched_yield();
        shared = std::current_exception();
      }
    }));
    parallel(30, [round](int index) {
      for (unsigned step = 0; step < 10; step++) {
        try {
          std::rethrow_exception(shared);
        } catch (const std::out_of_range& error) {
          stir(step + static_cast<unsigned>(index));
          CHECK_STR(error.what(), ("round " + std::to_string(round)).c_str());
        }
      }
    });
  }
  auto failing = std::async(std::launch::async, []() -> int {
    usleep(100);
    throw std::logic_error("from async");
  });
  try {
    failing.get();
    CHECK(false);
  } catch (const std::logic_error& error) {
    CHECK_STR(error.what(), "from async");
  }
  return 0;
}
