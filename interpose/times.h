// Times as the interposed functions are given them.
#pragma once

#include <sys/time.h>
#include <time.h>

#include "base/clock.h"

namespace goshim {

// Both fields in range: what sleeps and time-outs demand.
inline bool valid_duration(const timespec* t) { return t->tv_sec >= 0 && valid_nanoseconds(t); }

// The deadline of something that is to last so long from now; never 0.
inline Nanos deadline_in(Nanos duration) {
  Nanos now = sys::nanotime();
  return duration < kForever - now ? now + duration : kForever;
}

}  // namespace goshim
