// Spin locks (see spin.h).
#include "sync/spin.h"

#include "base/sys.h"
#include "sched/sched.h"

namespace goshim {

void spin_lock_slow(SpinLock* l) {
  constexpr int kPauses = 100;
  for (;;) {
    int pauses = runtime_started && max_procs() == 1 ? 1 : kPauses;
    for (int i = 0; i < pauses; i++) {
      if (l->load(std::memory_order_relaxed) == arch::kSpinFree && spin_try_lock(l)) return;
      arch::pause();
    }
    if (getg()) yield();
    else sys::sched_yield();
  }
}

}  // namespace goshim
