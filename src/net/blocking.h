// System calls of the program that may block in the kernel: a blocking region around each, a cancellation point before
// it, and the rules of signal(7) for one that was interrupted. On a G with preemption on.
//
// What the poller can wait for is in io.h; what is here blocks a kernel thread, and its P goes to others (D8).
#pragma once

#include "sched/sched.h"
#include "thread/signal.h"

namespace goshim {

// What becomes of a call during which a signal handler ran. When none ran, the runtime itself has interrupted the call,
// and it always goes on.
enum class OnHandler : uint8_t {
  Restart,        // it goes on if every handler was installed with SA_RESTART
  RestartIn,      // the same, but fails on a socket (argument a) with SO_RCVTIMEO
  RestartOut,     // the same with SO_SNDTIMEO
  RestartSplice,  // from argument a to argument c2, both in this way
  Fail,           // EINTR
};

// Whether a call that was interrupted, by handlers that have run since the mark, goes on.
bool call_restarts(const HandlerMark& mark, OnHandler rule, long a, long c2 = -1);

// The call's result, or -errno.
long blocking_call(RegionClass c, OnHandler rule, long nr, long a = 0, long b = 0, long c2 = 0, long d = 0, long e = 0,
                   long f = 0);

}  // namespace goshim
