// schedtrace: Go's lines about the scheduler, every so many milliseconds.
#pragma once

#include "base/base.h"

namespace goshim {

// At the start of the runtime: with GOSHIM_SCHEDTRACE=N, from now on every N ms, one line to stderr:
//   SCHED 1018ms: gomaxprocs=2 idleprocs=1 threads=4 spinningthreads=0 idlethreads=1 runqueue=0 [ 0 0 ]
// With GOSHIM_SCHEDDETAIL=on also one for each P, each M and each G that has not ended:
//   P0: status=running schedtick=812 syscalltick=3 m=0 runqsize=0 runnext=0 timerslen=1
//   M0: tid=4711 p=0 curg=17 spinning=false blocked=false lockedg=nil
//   G17: status=waiting(cond) m=nil lockedm=nil
void schedtrace_start();

// The line of GOSHIM_STATS=on, at exit. stats_open() at load keeps a descriptor for it: some programs close stderr
// first.
void stats_open();
void stats_line();

}  // namespace goshim
