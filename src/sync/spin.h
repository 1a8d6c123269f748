// pthread_spinlock_t: glibc's own representation, so that a process that does not run goshim may share it.
#pragma once

#include <pthread.h>

#include "arch/arch.h"

namespace goshim {

// Acquire when taken, release when given up; looks in between are relaxed.
using SpinLock = std::atomic<int>;
inline SpinLock* spin_of(pthread_spinlock_t* l) { return reinterpret_cast<SpinLock*>(const_cast<int*>(l)); }

// Spins a little, then lets others run: the holder may be a G that waits for a P.
GOSHIM_COLD void spin_lock_slow(SpinLock* l);

inline bool spin_try_lock(SpinLock* l) {
  int free = arch::kSpinFree;
  return l->compare_exchange_strong(free, arch::kSpinHeld, std::memory_order_acquire, std::memory_order_relaxed);
}
inline void spin_lock(SpinLock* l) {
  if (GOSHIM_UNLIKELY(!spin_try_lock(l))) spin_lock_slow(l);
}
inline void spin_unlock(SpinLock* l) { l->store(arch::kSpinFree, std::memory_order_release); }

}  // namespace goshim
