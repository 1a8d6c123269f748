// The poller: where the last idle M sleeps, until a timer is due or something needs an M.
#pragma once

#include "base/base.h"

namespace goshim {

// Sleeps until the given time (kForever: none) or until poller_break(). One M at a time (sched.last_poll). Preemption off.
void poller_wait(Nanos until);
// Ends the current or the next poller_wait(). Any thread.
void poller_break();
void poller_after_fork_child();

}  // namespace goshim
