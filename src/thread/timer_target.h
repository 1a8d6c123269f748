// Timers of the kernel: the overruns of the signals that were delivered, and those whose signal is for one thread
// (SIGEV_THREAD_ID). The kernel knows nothing of Gs: such a timer sends to the
// signal receiver, which asks here for the G that is meant. Before the runtime starts it sends to the process, whose
// only thread is meant.
//
// A timer is named as the kernel does, by timer_create(2)'s number, which is si_timerid of its signals and glibc's
// timer_t.
#pragma once

#include <signal.h>

#include "sched/runtime.h"

namespace goshim {

// Any thread, preemption on or off.
bool timer_target_set(int timer, G* g);  // g null: the thread that will be the main G; false: no memory
bool timer_target_known(int timer);      // anything
// A thread has got this signal of a timer. Preemption off.
void timer_delivered(const siginfo_t& info);
int timer_overrun(int timer);  // of the signal that was delivered last; negative: none was
// The timer is gone, and no signal of it is on the way any more.
void timer_target_drop(int timer);
// True if info comes from such a timer; *g is then its G, null if that has ended. main: as above.
bool timer_target_of(const siginfo_t& info, G* main, G** g);
void timer_target_after_fork_child();  // a child has no timers

}  // namespace goshim
