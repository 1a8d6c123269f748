// schedtrace: Go's one-line summary of the scheduler, every so many milliseconds.
#pragma once

#include "base/base.h"

namespace goshim {

// Writes one line to stderr:
//   SCHED 1018ms: gomaxprocs=2 idleprocs=1 threads=4 spinningthreads=0 idlethreads=1 runqueue=0 [ 0 0 ]
void schedtrace_line(Nanos now);

// The line of GOSHIM_STATS=on, at exit. stats_open() at load keeps a descriptor for it: some programs close stderr first.
void stats_open();
void stats_line();

}  // namespace goshim
