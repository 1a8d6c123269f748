// Process-shared objects: glibc's own functions work on them, because the other process may not run goshim. They block
// a kernel thread, so they run in a blocking region.
//
// Those that store thread ids, or that the kernel must find when their owner dies (robust, priority-inheriting), need
// true ones: a virtual id may be another process's too. There the G stays locked to its M for as long as it holds the
// object, and glibc's code runs with the thread pointer on the M's own TCB.
#pragma once

#include "sched/sched.h"

namespace goshim {

// Learns where a TCB keeps the head of the kernel's list of robust mutexes. On the main thread, before there are
// others.
void shared_init();

// What set_robust_list(2) has of g, or would have natively.
constexpr size_t kRobustListSize = 24;
void* robust_list_of(const G* g);

// The calling G ends: the robust mutexes that its kernel thread holds for it are its estate.
void shared_thread_exit();

// The calling G onto the M's TCB, with preemption off, and back, which lets preemption on again. No thread-local
// variable may be used in between.
void shared_swap_in(const G* g);
void shared_swap_out(const G* g);

// A wait as the kernel thread: no handler runs meanwhile, and libc's function knows nothing of cancellation. So it is
// given a time-out, which the preemption signal's handler moves into the past when the G has something else to do
// (Interrupt bits of `by`): the function reads it at each system call, and ends with ETIMEDOUT.
struct SharedWait {
  timespec* end;
  uint32_t by;
};
void shared_wait_begin(G* g, const SharedWait& wait);
void shared_wait_end(G* g);

// What a thread without a G holds: the main thread may take a lock before it becomes one, and is locked to its kernel
// thread as often from then on (runtime_start()).
void shared_held(int more);
int shared_held_before();
void shared_after_fork_child();  // which holds nothing

// Calls call() as the kernel thread. The G is locked to it once more if keep(result), once less if drop(result).
template <typename Call, typename Keep, typename Drop>
int as_kernel_thread(Call call, Keep keep, Drop drop, SharedWait wait = {nullptr, 0}) {
  G* g = getg();
  if (!g) {
    int result = call();
    shared_held((keep(result) ? 1 : 0) - (drop(result) ? 1 : 0));
    return result;
  }
  lock_os_thread();
  region_enter(RegionClass::Long);
  preempt_off();
  shared_swap_in(g);
  if (wait.end) shared_wait_begin(g, wait);
  int result = call();
  if (wait.end) shared_wait_end(g);
  shared_swap_out(g);
  region_exit();
  if (drop(result)) unlock_os_thread();
  if (!keep(result)) unlock_os_thread();
  return result;
}

}  // namespace goshim
