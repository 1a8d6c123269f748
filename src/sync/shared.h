// Process-shared objects: glibc's own functions work on them, because the other process may not run goshim. They block a
// kernel thread, so they run in a blocking region.
//
// Those that store thread ids, or that the kernel must find when their owner dies (robust, priority-inheriting), need
// true ones: a virtual id may be another process's too. There the G stays locked to its M for as long as it holds the
// object, and glibc's code runs with the thread pointer on the M's own TCB.
#pragma once

#include "sched/sched.h"

namespace goshim {

// Learns where a TCB keeps the head of the kernel's list of robust mutexes. On the main thread, before there are others.
void shared_init();

// The calling G ends: the robust mutexes that its kernel thread holds for it are its estate.
void shared_thread_exit();

// Onto the M's TCB and back; preemption stays off in between, and no thread-local variable may be used.
void* shared_swap_in();
void shared_swap_out(void* mine);

// Calls call() as the kernel thread. The G is locked to it once more if keep(result), once less if drop(result).
template <typename Call, typename Keep, typename Drop>
int as_kernel_thread(Call call, Keep keep, Drop drop) {
  if (!getg()) return call();
  lock_os_thread();
  region_enter(RegionClass::Long);
  preempt_off();
  void* mine = shared_swap_in();
  int result = call();
  shared_swap_out(mine);
  preempt_on();
  region_exit();
  if (drop(result)) unlock_os_thread();
  if (!keep(result)) unlock_os_thread();
  return result;
}

}  // namespace goshim
