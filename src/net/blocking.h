// System calls of the program that may block in the kernel: a blocking region around each, a cancellation point before
// it, and the rules of signal(7) for one that was interrupted. On a G with preemption on.
//
// The poller takes calls over one by one; what stays here blocks a kernel thread, and its P goes to others (D8).
#pragma once

#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

#include "sched/sched.h"

namespace goshim {

// What becomes of a call during which a signal handler ran. When none ran, the runtime itself has interrupted the call,
// and it always goes on.
enum class OnHandler : uint8_t {
  Restart,        // it goes on if every handler was installed with SA_RESTART
  RestartSocket,  // the same, but fails on a socket (argument a) with SO_RCVTIMEO or SO_SNDTIMEO
  Fail,           // EINTR
};

// The call's result, or -errno.
long blocking_call(RegionClass c, OnHandler rule, long nr, long a = 0, long b = 0, long c2 = 0, long d = 0, long e = 0,
                   long f = 0);

// The waits for descriptors. left: the time-out, null for none; what the kernel left of it is written back. mask: the
// signal mask of the caller for the time of the wait, null to keep it.
long blocking_poll(pollfd* fds, nfds_t n, timespec* left, const uint64_t* mask);
long blocking_select(int n, fd_set* in, fd_set* out, fd_set* except, timespec* left, const uint64_t* mask);
long blocking_epoll_wait(int epoll, epoll_event* events, int max, Nanos timeout, const uint64_t* mask);

}  // namespace goshim
