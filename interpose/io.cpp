// Reading, writing and waiting for descriptors.
#include <sys/time.h>

#include "interpose/calls.h"
#include "interpose/times.h"

using namespace goshim;

namespace {

// The part of a sigset_t that the kernel has.
const uint64_t* kernel_mask(const sigset_t* set) { return reinterpret_cast<const uint64_t*>(set); }

int wait_poll(pollfd* fds, nfds_t n, int ms) {
  timespec left{ms / 1000, ms % 1000 * kMillisecond};
  return static_cast<int>(answer(blocking_poll(fds, n, ms < 0 ? nullptr : &left, nullptr)));
}

int wait_ppoll(pollfd* fds, nfds_t n, const timespec* timeout, const sigset_t* mask) {
  timespec left{};
  if (timeout) left = *timeout;
  return static_cast<int>(answer(blocking_poll(fds, n, timeout ? &left : nullptr, kernel_mask(mask))));
}

int wait_epoll(int epoll, epoll_event* events, int max, int ms, const sigset_t* mask) {
  return static_cast<int>(
      answer(blocking_epoll_wait(epoll, events, max, ms < 0 ? kForever : ms * kMillisecond, kernel_mask(mask))));
}

}  // namespace

// ---- read and write ----

GOSHIM_EXPORT ssize_t read(int fd, void* buf, size_t n) {
  if (!on_g()) return REAL(read)(fd, buf, n);
  return short_call(OnHandler::Restart, SYS_read, fd, buf, n);
}

GOSHIM_EXPORT ssize_t __read(int fd, void* buf, size_t n) { return read(fd, buf, n); }

GOSHIM_EXPORT ssize_t __read_chk(int fd, void* buf, size_t n, size_t size) {
  if (n > size) return REAL(__read_chk)(fd, buf, n, size);  // ends the program
  return read(fd, buf, n);
}

GOSHIM_EXPORT ssize_t write(int fd, const void* buf, size_t n) {
  if (!on_g()) return REAL(write)(fd, buf, n);
  return short_call(OnHandler::Restart, SYS_write, fd, buf, n);
}

GOSHIM_EXPORT ssize_t __write(int fd, const void* buf, size_t n) { return write(fd, buf, n); }

GOSHIM_EXPORT ssize_t pread64(int fd, void* buf, size_t n, off64_t at) {
  if (!on_g()) return REAL(pread64)(fd, buf, n, at);
  return short_call(OnHandler::Restart, SYS_pread64, fd, buf, n, at);
}

GOSHIM_EXPORT ssize_t pread(int fd, void* buf, size_t n, off_t at) { return pread64(fd, buf, n, at); }

GOSHIM_EXPORT ssize_t __pread64(int fd, void* buf, size_t n, off64_t at) { return pread64(fd, buf, n, at); }

GOSHIM_EXPORT ssize_t __pread64_chk(int fd, void* buf, size_t n, off64_t at, size_t size) {
  if (n > size) return REAL(__pread64_chk)(fd, buf, n, at, size);
  return pread64(fd, buf, n, at);
}

GOSHIM_EXPORT ssize_t __pread_chk(int fd, void* buf, size_t n, off_t at, size_t size) {
  if (n > size) return REAL(__pread_chk)(fd, buf, n, at, size);
  return pread64(fd, buf, n, at);
}

GOSHIM_EXPORT ssize_t pwrite64(int fd, const void* buf, size_t n, off64_t at) {
  if (!on_g()) return REAL(pwrite64)(fd, buf, n, at);
  return short_call(OnHandler::Restart, SYS_pwrite64, fd, buf, n, at);
}

GOSHIM_EXPORT ssize_t pwrite(int fd, const void* buf, size_t n, off_t at) { return pwrite64(fd, buf, n, at); }

GOSHIM_EXPORT ssize_t __pwrite64(int fd, const void* buf, size_t n, off64_t at) { return pwrite64(fd, buf, n, at); }

GOSHIM_EXPORT ssize_t readv(int fd, const iovec* v, int n) {
  if (!on_g()) return REAL(readv)(fd, v, n);
  return short_call(OnHandler::Restart, SYS_readv, fd, v, n);
}

GOSHIM_EXPORT ssize_t writev(int fd, const iovec* v, int n) {
  if (!on_g()) return REAL(writev)(fd, v, n);
  return short_call(OnHandler::Restart, SYS_writev, fd, v, n);
}

// The kernel takes an offset as two words, of which a 64-bit one looks at the first.
GOSHIM_EXPORT ssize_t preadv64(int fd, const iovec* v, int n, off64_t at) {
  if (!on_g()) return REAL(preadv64)(fd, v, n, at);
  return short_call(OnHandler::Restart, SYS_preadv, fd, v, n, at, 0);
}

GOSHIM_EXPORT ssize_t preadv(int fd, const iovec* v, int n, off_t at) { return preadv64(fd, v, n, at); }

GOSHIM_EXPORT ssize_t pwritev64(int fd, const iovec* v, int n, off64_t at) {
  if (!on_g()) return REAL(pwritev64)(fd, v, n, at);
  return short_call(OnHandler::Restart, SYS_pwritev, fd, v, n, at, 0);
}

GOSHIM_EXPORT ssize_t pwritev(int fd, const iovec* v, int n, off_t at) { return pwritev64(fd, v, n, at); }

GOSHIM_EXPORT ssize_t preadv64v2(int fd, const iovec* v, int n, off64_t at, int flags) {
  if (!on_g()) return REAL(preadv64v2)(fd, v, n, at, flags);
  return short_call(OnHandler::Restart, SYS_preadv2, fd, v, n, at, 0, flags);
}

GOSHIM_EXPORT ssize_t preadv2(int fd, const iovec* v, int n, off_t at, int flags) {
  return preadv64v2(fd, v, n, at, flags);
}

GOSHIM_EXPORT ssize_t pwritev64v2(int fd, const iovec* v, int n, off64_t at, int flags) {
  if (!on_g()) return REAL(pwritev64v2)(fd, v, n, at, flags);
  return short_call(OnHandler::Restart, SYS_pwritev2, fd, v, n, at, 0, flags);
}

GOSHIM_EXPORT ssize_t pwritev2(int fd, const iovec* v, int n, off_t at, int flags) {
  return pwritev64v2(fd, v, n, at, flags);
}

// ---- sockets ----

GOSHIM_EXPORT ssize_t recvfrom(int fd, void* buf, size_t n, int flags, sockaddr* from, socklen_t* from_size) {
  if (!on_g()) return REAL(recvfrom)(fd, buf, n, flags, from, from_size);
  return short_call(OnHandler::RestartSocket, SYS_recvfrom, fd, buf, n, flags, from, from_size);
}

GOSHIM_EXPORT ssize_t __recvfrom_chk(int fd, void* buf, size_t n, size_t size, int flags, sockaddr* from,
                                     socklen_t* from_size) {
  if (n > size) return REAL(__recvfrom_chk)(fd, buf, n, size, flags, from, from_size);
  return recvfrom(fd, buf, n, flags, from, from_size);
}

GOSHIM_EXPORT ssize_t recv(int fd, void* buf, size_t n, int flags) {
  if (!on_g()) return REAL(recv)(fd, buf, n, flags);
  return recvfrom(fd, buf, n, flags, nullptr, nullptr);
}

GOSHIM_EXPORT ssize_t __recv_chk(int fd, void* buf, size_t n, size_t size, int flags) {
  if (n > size) return REAL(__recv_chk)(fd, buf, n, size, flags);
  return recv(fd, buf, n, flags);
}

GOSHIM_EXPORT ssize_t recvmsg(int fd, msghdr* message, int flags) {
  if (!on_g()) return REAL(recvmsg)(fd, message, flags);
  return short_call(OnHandler::RestartSocket, SYS_recvmsg, fd, message, flags);
}

GOSHIM_EXPORT int recvmmsg(int fd, mmsghdr* messages, unsigned n, int flags, timespec* timeout) {
  if (!on_g()) return REAL(recvmmsg)(fd, messages, n, flags, timeout);
  return static_cast<int>(short_call(OnHandler::RestartSocket, SYS_recvmmsg, fd, messages, n, flags, timeout));
}

GOSHIM_EXPORT ssize_t sendto(int fd, const void* buf, size_t n, int flags, const sockaddr* to, socklen_t to_size) {
  if (!on_g()) return REAL(sendto)(fd, buf, n, flags, to, to_size);
  return short_call(OnHandler::RestartSocket, SYS_sendto, fd, buf, n, flags, to, to_size);
}

GOSHIM_EXPORT ssize_t send(int fd, const void* buf, size_t n, int flags) {
  if (!on_g()) return REAL(send)(fd, buf, n, flags);
  return sendto(fd, buf, n, flags, nullptr, 0);
}

GOSHIM_EXPORT ssize_t __send(int fd, const void* buf, size_t n, int flags) { return send(fd, buf, n, flags); }

GOSHIM_EXPORT ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  if (!on_g()) return REAL(sendmsg)(fd, message, flags);
  return short_call(OnHandler::RestartSocket, SYS_sendmsg, fd, message, flags);
}

GOSHIM_EXPORT int sendmmsg(int fd, mmsghdr* messages, unsigned n, int flags) {
  if (!on_g()) return REAL(sendmmsg)(fd, messages, n, flags);
  return static_cast<int>(short_call(OnHandler::RestartSocket, SYS_sendmmsg, fd, messages, n, flags));
}

GOSHIM_EXPORT int accept4(int fd, sockaddr* from, socklen_t* from_size, int flags) {
  if (!on_g()) return REAL(accept4)(fd, from, from_size, flags);
  return static_cast<int>(long_call(OnHandler::RestartSocket, SYS_accept4, fd, from, from_size, flags));
}

GOSHIM_EXPORT int accept(int fd, sockaddr* from, socklen_t* from_size) {
  if (!on_g()) return REAL(accept)(fd, from, from_size);
  return accept4(fd, from, from_size, 0);
}

GOSHIM_EXPORT int connect(int fd, const sockaddr* to, socklen_t to_size) {
  if (!on_g()) return REAL(connect)(fd, to, to_size);
  return static_cast<int>(long_call(OnHandler::RestartSocket, SYS_connect, fd, to, to_size));
}

GOSHIM_EXPORT int __connect(int fd, const sockaddr* to, socklen_t to_size) { return connect(fd, to, to_size); }

// ---- poll, select, epoll ----

GOSHIM_EXPORT int poll(pollfd* fds, nfds_t n, int ms) {
  if (!on_g()) return REAL(poll)(fds, n, ms);
  return wait_poll(fds, n, ms);
}

GOSHIM_EXPORT int __poll(pollfd* fds, nfds_t n, int ms) { return poll(fds, n, ms); }

GOSHIM_EXPORT int __poll_chk(pollfd* fds, nfds_t n, int ms, size_t size) {
  if (n > size / sizeof *fds) return REAL(__poll_chk)(fds, n, ms, size);
  return poll(fds, n, ms);
}

GOSHIM_EXPORT int ppoll(pollfd* fds, nfds_t n, const timespec* timeout, const sigset_t* mask) {
  if (!on_g()) return REAL(ppoll)(fds, n, timeout, mask);
  return wait_ppoll(fds, n, timeout, mask);
}

GOSHIM_EXPORT int __ppoll_chk(pollfd* fds, nfds_t n, const timespec* timeout, const sigset_t* mask, size_t size) {
  if (n > size / sizeof *fds) return REAL(__ppoll_chk)(fds, n, timeout, mask, size);
  return ppoll(fds, n, timeout, mask);
}

GOSHIM_EXPORT int select(int n, fd_set* in, fd_set* out, fd_set* except, timeval* timeout) {
  if (!on_g()) return REAL(select)(n, in, out, except, timeout);
  if (!timeout) return static_cast<int>(answer(blocking_select(n, in, out, except, nullptr, nullptr)));
  if (timeout->tv_sec < 0 || timeout->tv_usec < 0) return static_cast<int>(answer(-EINVAL));
  timespec left{0, timeout->tv_usec % 1000000 * kMicrosecond};
  if (__builtin_add_overflow(timeout->tv_sec, timeout->tv_usec / 1000000, &left.tv_sec)) left.tv_sec = INT64_MAX;
  long r = blocking_select(n, in, out, except, &left, nullptr);
  *timeout = {left.tv_sec, left.tv_nsec / kMicrosecond};
  return static_cast<int>(answer(r));
}

GOSHIM_EXPORT int __select(int n, fd_set* in, fd_set* out, fd_set* except, timeval* timeout) {
  return select(n, in, out, except, timeout);
}

GOSHIM_EXPORT int pselect(int n, fd_set* in, fd_set* out, fd_set* except, const timespec* timeout,
                          const sigset_t* mask) {
  if (!on_g()) return REAL(pselect)(n, in, out, except, timeout, mask);
  timespec left{};
  if (timeout) left = *timeout;
  return static_cast<int>(answer(blocking_select(n, in, out, except, timeout ? &left : nullptr, kernel_mask(mask))));
}

GOSHIM_EXPORT int epoll_wait(int epoll, epoll_event* events, int max, int ms) {
  if (!on_g()) return REAL(epoll_wait)(epoll, events, max, ms);
  return wait_epoll(epoll, events, max, ms, nullptr);
}

GOSHIM_EXPORT int epoll_pwait(int epoll, epoll_event* events, int max, int ms, const sigset_t* mask) {
  if (!on_g()) return REAL(epoll_pwait)(epoll, events, max, ms, mask);
  return wait_epoll(epoll, events, max, ms, mask);
}

GOSHIM_EXPORT int epoll_pwait2(int epoll, epoll_event* events, int max, const timespec* timeout, const sigset_t* mask) {
  if (!on_g()) return REAL(epoll_pwait2)(epoll, events, max, timeout, mask);
  if (timeout && !valid_duration(timeout)) return static_cast<int>(answer(-EINVAL));
  Nanos wait = timeout ? nanos_of(timeout) : kForever;
  return static_cast<int>(answer(blocking_epoll_wait(epoll, events, max, wait, kernel_mask(mask))));
}

// ---- close ----

// Linux has closed the descriptor even when close fails with EINTR: it is made once, whatever waits for the thread.
GOSHIM_EXPORT int close(int fd) {
  if (!on_g()) return REAL(close)(fd);
  thread_test_cancel();
  Region region;
  return static_cast<int>(plain_call(SYS_close, fd));
}

GOSHIM_EXPORT int __close(int fd) { return close(fd); }
