// The runtime's own lock: guards run-time structures for a few dozen instructions. Never held across a switch.
//
// Contract: the caller has raised its no-preempt counter (or runs on a g0, or is a foreign thread), so the holder can
// lose its core only to the kernel. A waiter spins a little and then blocks its kernel thread on a futex: the case of a
// holder that the kernel has descheduled. unlock() is a release and no full barrier.
//
//   K1  unlock stores "free" and then reads sleepers, without a full barrier in between (a locked instruction costs as
//       much as a short critical section). Who is about to sleep raises sleepers and then issues a membarrier, which
//       stands for that barrier: an unlock whose read came before it has made its store visible, so the sleeper's next
//       look at the word sees it; any later one reads sleepers as raised.
#pragma once

#include <linux/membarrier.h>

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
    word_.store(0, std::memory_order_release);            // pairs with lock()
    std::atomic_signal_fence(std::memory_order_seq_cst);  // K1
    if (GOSHIM_UNLIKELY(sleepers_.load(std::memory_order_relaxed) != 0)) sys::futex_wake(&word_, 1);
  }
  bool held() const { return word_.load(std::memory_order_relaxed) != 0; }
  // For the child of a fork: forgets a holder that no longer exists.
  void reset() {
    word_.store(0, std::memory_order_relaxed);
    sleepers_.store(0, std::memory_order_relaxed);
  }

 private:
  GOSHIM_COLD void lock_slow() {
    for (int spin = 0; spin < 100; spin++) {
      arch::pause();
      if (word_.load(std::memory_order_relaxed) == 0 && try_lock()) return;
    }
    constexpr Nanos kUnsure = kMillisecond;
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    // K1. Before the runtime starts, or where it is forbidden, nobody is sure to wake us.
    bool sure = sys::call(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
    while (word_.exchange(1, std::memory_order_acquire) != 0)
      sys::futex_wait(&word_, 1, sure ? kForever : sys::nanotime() + kUnsure);
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
  }
  // 1: held. Acquire by who takes it, release by who gives it up; looks before an attempt are relaxed, as the attempt
  // decides.
  std::atomic<uint32_t> word_{0};
  // That sleep or are about to. Relaxed in unlock(), where the sleeper's membarrier orders it behind the store (K1);
  // raised before that membarrier, and lowered by one who has the lock, whose own unlock() reads it next.
  std::atomic<uint32_t> sleepers_{0};
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
