// Shows thread parkers built on the futex call as Rust's standard library builds them: unpark before park, park with a
// time-out, and a ring of thousands of hand-overs without a lost wake-up.
#include "check.h"

#include <linux/futex.h>
#include <sys/syscall.h>

#include <atomic>

namespace {

class Parker {
 public:
  // Returns false when the time ran out first.
  bool park(const timespec* timeout = nullptr) {
    if (state_.fetch_sub(1, std::memory_order_acquire) == kNotified) return true;
    for (;;) {
      const long result = syscall(SYS_futex, &state_, FUTEX_WAIT_PRIVATE, kParked, timeout, nullptr, 0);
      if (timeout != nullptr) {
        CHECK(result == 0 || errno == ETIMEDOUT || errno == EAGAIN || errno == EINTR);
        return state_.exchange(kEmpty, std::memory_order_acquire) == kNotified;
      }
      unsigned notified = kNotified;
      if (state_.compare_exchange_strong(notified, kEmpty, std::memory_order_acquire)) return true;
    }
  }

  void unpark() {
    if (state_.exchange(kNotified, std::memory_order_release) == kParked) {
      syscall(SYS_futex, &state_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
    }
  }

 private:
  static constexpr unsigned kParked = ~0u, kEmpty = 0, kNotified = 1;
  std::atomic<unsigned> state_{kEmpty};
};

}  // namespace

int main() {
  Parker early;
  early.unpark();
  CHECK(early.park());
  const timespec soon = {0, 1000000};
  CHECK(!early.park(&soon));

  constexpr int kThreads = 24, kRounds = 150;
  static Parker parkers[kThreads];
  static std::atomic<int> holder;
  parallel(kThreads, [](int index) {
    for (int i = 0; i < kRounds; i++) {
      const timespec short_time = {0, 20000 + i * 100};
      while (holder != index) parkers[index].park(i % 8 == 0 ? &short_time : nullptr);
      if (i % 16 == index % 16) stir(static_cast<unsigned>(i));
      holder = (index + 1) % kThreads;
      parkers[(index + 1) % kThreads].unpark();
    }
  });
  CHECK_EQ(holder.load(), 0);
  return 0;
}
