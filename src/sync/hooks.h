// What the rest of the runtime tells the synchronisation objects.
#pragma once

#include "sched/runtime.h"

namespace goshim {

// The calling G ends: the robust mutexes it still holds go to the next lockers as EOWNERDEAD. After all destructors.
void sync_thread_exit(G* g);
// The same for the locks of futex(2), after it is known that the G has ended. Preemption off.
void futex_thread_has_ended();

// In the child of a fork, on the surviving thread, whether the runtime had started or not: a pthread_once that another
// thread was running starts anew, and robust mutexes that the parent holds are not the child's.
void once_after_fork_child();
void mutex_after_fork_child();
void futex_after_fork_child();  // nobody waits

}  // namespace goshim
