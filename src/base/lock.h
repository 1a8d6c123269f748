// The runtime's own lock: guards run-time structures for a few dozen instructions. Never held across a switch.
//
// Contract: the caller has raised its no-preempt counter (or runs on a g0, or is a foreign thread), so the holder can
// lose its core only to the kernel. A waiter spins a little and then blocks its kernel thread on a futex: the case of a
// holder that the kernel has descheduled.
#pragma once

#include "arch/arch.h"
#include "base/base.h"
#include "base/sys.h"

namespace goshim {

class Lock {
 public:
  void lock() {
    uint32_t free = 0;
    // acquire: what the last holder wrote is seen.
    if (GOSHIM_LIKELY(word_.compare_exchange_strong(free, 1, std::memory_order_acquire, std::memory_order_relaxed)))
      return;
    lock_slow();
  }
  bool try_lock() {
    uint32_t free = 0;
    return word_.compare_exchange_strong(free, 1, std::memory_order_acquire, std::memory_order_relaxed);
  }
  void unlock() {
    // release: pairs with lock(). 2 says that somebody sleeps.
    if (GOSHIM_UNLIKELY(word_.exchange(0, std::memory_order_release) == 2)) sys::futex_wake(&word_, 1);
  }
  bool held() const { return word_.load(std::memory_order_relaxed) != 0; }
  // For the child of a fork: forgets a holder that no longer exists.
  void reset() { word_.store(0, std::memory_order_relaxed); }

 private:
  GOSHIM_COLD void lock_slow() {
    for (int spin = 0; spin < 100; spin++) {
      arch::pause();
      if (word_.load(std::memory_order_relaxed) == 0 && try_lock()) return;
    }
    while (word_.exchange(2, std::memory_order_acquire) != 0) sys::futex_wait(&word_, 2);
  }
  std::atomic<uint32_t> word_{0};  // 0 free, 1 held, 2 held and somebody may sleep
};

class LockGuard {
 public:
  explicit LockGuard(Lock& l) : lock_(l) { lock_.lock(); }
  ~LockGuard() { lock_.unlock(); }
  LockGuard(const LockGuard&) = delete;
  LockGuard& operator=(const LockGuard&) = delete;

 private:
  Lock& lock_;
};

}  // namespace goshim
