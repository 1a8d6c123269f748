// Shows that exceptions in flight belong to the thread: catch blocks that sleep and yield, nested and rethrown ones,
// destructors that switch during unwinding, uncaught_exceptions and current_exception.
#include "check.h"

#include <atomic>
#include <exception>
#include <stdexcept>
#include <string>

namespace {

struct Stirrer {
  explicit Stirrer(unsigned step) : step(step), uncaught(std::uncaught_exceptions()) {}
  ~Stirrer() {
    CHECK_EQ(std::uncaught_exceptions(), uncaught + 1);
    stir(step);
    try {  // A whole exception inside the unwinding of another.
      throw static_cast<int>(step);
    } catch (int value) {
      sched_yield();
      CHECK_EQ(value, step);
    }
    CHECK_EQ(std::uncaught_exceptions(), uncaught + 1);
  }
  unsigned step;
  int uncaught;
};

[[gnu::noinline]] void fail(const std::string& text, unsigned step, int depth) {
  Stirrer stirrer(step);
  if (depth == 0) throw std::runtime_error(text);
  fail(text, step + 1, depth - 1);
}

void thread_body(int index) {
  for (unsigned step = 0; step < 25; step++) {
    const std::string mine = "thread " + std::to_string(index) + " step " + std::to_string(step);
    bool finished = false;
    try {
      try {
        fail(mine, step + static_cast<unsigned>(index), 4);
      } catch (const std::exception& outer) {
        CHECK_EQ(std::uncaught_exceptions(), 0);
        usleep(step);
        CHECK_STR(outer.what(), mine.c_str());
        try {
          fail(mine + " inner", step, 2);
        } catch (const std::runtime_error& inner) {
          stir(step + 2);
          CHECK_STR(inner.what(), (mine + " inner").c_str());
        }
        sched_yield();
        CHECK_STR(outer.what(), mine.c_str());
        throw;
      }
    } catch (const std::runtime_error& again) {
      stir(step + 5);
      CHECK_STR(again.what(), mine.c_str());
      CHECK(std::current_exception() != nullptr);
      finished = true;
    }
    CHECK(finished);
    CHECK(std::current_exception() == nullptr);
  }
}

}  // namespace

int main() {
  parallel(40, thread_body);
  return 0;
}
