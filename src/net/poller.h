// The poller: one edge-triggered epoll instance that all waiting Gs share, and where the last idle M sleeps until an
// event comes, a timer is due or something needs an M.
#pragma once

#include <sys/epoll.h>

#include "base/base.h"

namespace goshim {

constexpr int kPollerBatch = 128;

// Gs that wait for an event. Raised and lowered by them (relaxed: a hint).
extern std::atomic<int> poller_waiters;

// Makes the instance, at the start of the runtime: later the program may have used up its descriptors. Where that fails
// poller_add() tries again.
void poller_start();

// Adds fd, edge-triggered for everything; token comes back with its events. The poller's life (above 0), or -errno:
// -EPERM is a file that is always ready. Makes the instance if there is none. Preemption off.
long poller_add(int fd, uint64_t token);
// Forgets a descriptor whose file stays open elsewhere.
void poller_remove(int fd);
// The poller's life now, 0 before its first use. A descriptor that was added in an earlier one is to be added again.
uint32_t poller_life();

// Looks without waiting, and wakes who waits for what came. How many that were; 0 if another M looks at this moment.
int poller_look();

struct PollerEvents {
  int count = 0;
  epoll_event events[kPollerBatch];
};
// Sleeps until the given time (kForever: none), an event, or poller_break(). One M at a time (sched.last_poll). The
// events are to be given to poller_dispatch(), with a P if there is one. Preemption off.
void poller_wait(Nanos until, PollerEvents* out);
int poller_dispatch(const PollerEvents& in);  // how many Gs it wakes
// Ends the current or the next poller_wait(). Any thread.
void poller_break();

// By a thread that has a table of descriptors of its own (sysmon): the numbers there of the poller's descriptors, which
// poller_look() and poller_break() are to use on that thread. Fetched anew when the poller begins a new life, and as
// long as the kernel does not let us.
void poller_fetch(int pidfd);

void poller_after_fork_child();

}  // namespace goshim
