// Start and switch-off of the library.
#pragma once

#include "sched/sched.h"

namespace goshim {

// True once the runtime has started and threads are Gs.
inline bool runtime_running() { return runtime_started; }

// Starts the runtime if it has not been; false if the program runs natively (GOSHIM=off, or something is missing, of
// which one line was written).
bool runtime_ensure();

// False if the program runs natively for good.
bool runtime_possible();

// In the child of a fork: the next creation of a thread starts the runtime anew.
void runtime_forget();

// True once the program has changed the attributes of threads made without any (interpose/ident.cpp).
bool default_attr_changed();

}  // namespace goshim
