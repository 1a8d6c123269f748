// Input and output of the program's threads: every call does what the system call of its name does, but parks the G
// instead of blocking a kernel thread (D7). No flag of a descriptor is ever changed for that.
//
// All return the call's result or -errno; on a G with preemption on; cancellation points (thread_test_cancel) at entry
// and while they wait.
#pragma once

#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/base.h"

namespace goshim {

struct G;

long io_read(int fd, void* buf, size_t n);
long io_readv(int fd, const iovec* v, int n);
// Blocking writes to streams return when everything is written, as the kernel's do.
long io_write(int fd, const void* buf, size_t n);
long io_writev(int fd, const iovec* v, int n);

long io_recv(int fd, void* buf, size_t n, int flags, sockaddr* from, socklen_t* from_size);
long io_recvmsg(int fd, msghdr* message, int flags);
long io_recvmmsg(int fd, mmsghdr* messages, unsigned n, int flags, timespec* timeout);
long io_send(int fd, const void* buf, size_t n, int flags, const sockaddr* to, socklen_t to_size);
// A message is about to be sent, by any thread: it may pass descriptors on to other processes.
void io_sharing(const msghdr* message);
long io_sendmsg(int fd, const msghdr* message, int flags);
long io_sendmmsg(int fd, mmsghdr* messages, unsigned n, int flags);
// flags as of accept4(2).
long io_accept(int fd, sockaddr* from, socklen_t* from_size, int flags);

// left: the time-out, null for none; what is left of it is written back. mask: the signal mask of the caller for the
// time of the wait, null to keep it.
long io_poll(pollfd* fds, nfds_t n, timespec* left, const uint64_t* mask);
long io_select(int n, fd_set* in, fd_set* out, fd_set* except, timespec* left, const uint64_t* mask);
// timeout: kForever for none, 0 only looks.
long io_epoll_wait(int epoll, epoll_event* events, int max, Nanos timeout, const uint64_t* mask);

// In the child of a fork, where nothing waits. survivor: the G that has forked, null if none has.
void io_after_fork_child(G* survivor);
// g ends, perhaps out of the middle of a wait. On g.
void io_thread_exit(G* g);

}  // namespace goshim
