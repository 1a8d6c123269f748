// Whether other programs keep the processors busy.
//
// Where they do, to wake one more M for a G that waits for its turn gains nothing: no processor is free for it, and it
// gets one by making somebody wait, often the very client that the Gs are to answer. So wake-ups are left to sysmon
// then, as where they were in vain (wake_for_ready() in proc.cpp).
#pragma once

#include "base/clock.h"

namespace goshim {

// By sysmon, each time it is awake: looks now and then at how long processors were idle and how much of the rest was
// this process's (procs: how many it may use), and notes it in sched.crowded.
void crowd_look(Nanos now, int procs);

}  // namespace goshim
