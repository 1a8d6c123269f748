// Reading, writing and waiting for descriptors.
#include <linux/close_range.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/time.h>

#include "base/own_fd.h"
#include "interpose/calls.h"
#include "interpose/times.h"
#include "sched/user_memory.h"

using namespace goshim;

namespace {

// The part of a sigset_t that the kernel has.
const uint64_t* kernel_mask(const sigset_t* set) { return reinterpret_cast<const uint64_t*>(set); }

int wait_poll(pollfd* fds, nfds_t n, int ms) {
  timespec left{ms / 1000, ms % 1000 * kMillisecond};
  return static_cast<int>(answer(io_poll(fds, n, ms < 0 ? nullptr : &left, nullptr)));
}

int wait_ppoll(pollfd* fds, nfds_t n, const timespec* timeout, const sigset_t* mask) {
  timespec left{};
  if (timeout && !user_readable(timeout, sizeof *timeout)) return static_cast<int>(answer(-EFAULT));
  if (timeout) left = *timeout;
  return static_cast<int>(answer(io_poll(fds, n, timeout ? &left : nullptr, kernel_mask(mask))));
}

int wait_epoll(int epoll, epoll_event* events, int max, int ms, const sigset_t* mask) {
  return static_cast<int>(
      answer(io_epoll_wait(epoll, events, max, ms < 0 ? kForever : ms * kMillisecond, kernel_mask(mask))));
}

}  // namespace

// ---- read and write ----

GOSHIM_EXPORT ssize_t read(int fd, void* buf, size_t n) {
  if (!on_g()) return REAL(read)(fd, buf, n);
  return answer(io_read(fd, buf, n));
}

GOSHIM_EXPORT ssize_t __read(int fd, void* buf, size_t n) { return read(fd, buf, n); }

GOSHIM_EXPORT ssize_t __read_chk(int fd, void* buf, size_t n, size_t size) {
  if (n > size) return REAL(__read_chk)(fd, buf, n, size);  // ends the program
  return read(fd, buf, n);
}

GOSHIM_EXPORT ssize_t write(int fd, const void* buf, size_t n) {
  if (!on_g()) return REAL(write)(fd, buf, n);
  return answer(io_write(fd, buf, n));
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
  return answer(io_readv(fd, v, n));
}

GOSHIM_EXPORT ssize_t writev(int fd, const iovec* v, int n) {
  if (!on_g()) return REAL(writev)(fd, v, n);
  return answer(io_writev(fd, v, n));
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
  return short_call(OnHandler::RestartIn, SYS_preadv2, fd, v, n, at, 0, flags);
}

GOSHIM_EXPORT ssize_t preadv2(int fd, const iovec* v, int n, off_t at, int flags) {
  return preadv64v2(fd, v, n, at, flags);
}

GOSHIM_EXPORT ssize_t pwritev64v2(int fd, const iovec* v, int n, off64_t at, int flags) {
  if (!on_g()) return REAL(pwritev64v2)(fd, v, n, at, flags);
  return short_call(OnHandler::RestartOut, SYS_pwritev2, fd, v, n, at, 0, flags);
}

GOSHIM_EXPORT ssize_t pwritev2(int fd, const iovec* v, int n, off_t at, int flags) {
  return pwritev64v2(fd, v, n, at, flags);
}

// ---- sockets ----

GOSHIM_EXPORT ssize_t recvfrom(int fd, void* buf, size_t n, int flags, sockaddr* from, socklen_t* from_size) {
  if (!on_g()) return REAL(recvfrom)(fd, buf, n, flags, from, from_size);
  return answer(io_recv(fd, buf, n, flags, from, from_size));
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
  return answer(io_recvmsg(fd, message, flags));
}

GOSHIM_EXPORT int recvmmsg(int fd, mmsghdr* messages, unsigned n, int flags, timespec* timeout) {
  if (!on_g()) return REAL(recvmmsg)(fd, messages, n, flags, timeout);
  return static_cast<int>(answer(io_recvmmsg(fd, messages, n, flags, timeout)));
}

GOSHIM_EXPORT ssize_t sendto(int fd, const void* buf, size_t n, int flags, const sockaddr* to, socklen_t to_size) {
  if (!on_g()) return REAL(sendto)(fd, buf, n, flags, to, to_size);
  return answer(io_send(fd, buf, n, flags, to, to_size));
}

GOSHIM_EXPORT ssize_t send(int fd, const void* buf, size_t n, int flags) {
  if (!on_g()) return REAL(send)(fd, buf, n, flags);
  return sendto(fd, buf, n, flags, nullptr, 0);
}

GOSHIM_EXPORT ssize_t __send(int fd, const void* buf, size_t n, int flags) { return send(fd, buf, n, flags); }

GOSHIM_EXPORT ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  io_sharing(message);
  if (!on_g()) return REAL(sendmsg)(fd, message, flags);
  return answer(io_sendmsg(fd, message, flags));
}

GOSHIM_EXPORT int sendmmsg(int fd, mmsghdr* messages, unsigned n, int flags) {
  constexpr unsigned kMost = 1024;  // UIO_MAXIOV: the kernel sends no more
  for (unsigned i = 0; i < n && i < kMost; i++) io_sharing(&messages[i].msg_hdr);
  if (!on_g()) return REAL(sendmmsg)(fd, messages, n, flags);
  return static_cast<int>(answer(io_sendmmsg(fd, messages, n, flags)));
}

GOSHIM_EXPORT int accept4(int fd, sockaddr* from, socklen_t* from_size, int flags) {
  if (!on_g()) return REAL(accept4)(fd, from, from_size, flags);
  return static_cast<int>(answer(io_accept(fd, from, from_size, flags)));
}

GOSHIM_EXPORT int accept(int fd, sockaddr* from, socklen_t* from_size) {
  if (!on_g()) return REAL(accept)(fd, from, from_size);
  return accept4(fd, from, from_size, 0);
}

GOSHIM_EXPORT int connect(int fd, const sockaddr* to, socklen_t to_size) {
  if (!on_g()) return REAL(connect)(fd, to, to_size);
  return static_cast<int>(long_call(OnHandler::RestartOut, SYS_connect, fd, to, to_size));
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
  if (!timeout) return static_cast<int>(answer(io_select(n, in, out, except, nullptr, nullptr)));
  if (timeout->tv_sec < 0 || timeout->tv_usec < 0) return static_cast<int>(answer(-EINVAL));
  timespec left{0, timeout->tv_usec % 1000000 * kMicrosecond};
  if (__builtin_add_overflow(timeout->tv_sec, timeout->tv_usec / 1000000, &left.tv_sec)) left.tv_sec = INT64_MAX;
  long r = io_select(n, in, out, except, &left, nullptr);
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
  if (timeout && !user_readable(timeout, sizeof *timeout)) return static_cast<int>(answer(-EFAULT));
  if (timeout) left = *timeout;
  return static_cast<int>(answer(io_select(n, in, out, except, timeout ? &left : nullptr, kernel_mask(mask))));
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
  if (timeout && !user_readable(timeout, sizeof *timeout)) return static_cast<int>(answer(-EFAULT));
  if (timeout && !valid_duration(timeout)) return static_cast<int>(answer(-EINVAL));
  Nanos wait = timeout ? nanos_of(timeout) : kForever;
  return static_cast<int>(answer(io_epoll_wait(epoll, events, max, wait, kernel_mask(mask))));
}

// ---- the life of descriptors: goshim's own are not open to the program ----

namespace {

constexpr int kPassPidfd = 76;  // SO_PASSPIDFD, Linux 6.5; not in older headers
constexpr uint32_t kPipe = kLearned | kStream | kExact;

uint32_t traits_of_socket(int domain, int type, int protocol) {
  uint32_t traits = kLearned | kSocket;
  if ((type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != SOCK_STREAM) return traits;
  traits |= kStream;
  bool tcp = (domain == AF_INET || domain == AF_INET6) && (protocol == 0 || protocol == IPPROTO_TCP);
  return tcp ? traits | kExact : traits;
}

int opened(int fd) {
  record_opened(fd, 0, false);
  return fd;
}

}  // namespace

// Linux has closed the descriptor even when close fails with EINTR: it is made once, whatever waits for the thread.
GOSHIM_EXPORT int close(int fd) {
  if (GOSHIM_UNLIKELY(own_fd(fd))) return static_cast<int>(answer(-EBADF));
  if (!on_g()) {
    Closing closing(fd);
    return REAL(close)(fd);
  }
  thread_test_cancel();
  Closing closing(fd);
  Region region;
  return static_cast<int>(plain_call(SYS_close, fd));
}

GOSHIM_EXPORT int __close(int fd) { return close(fd); }

GOSHIM_EXPORT int dup(int fd) noexcept {
  if (GOSHIM_UNLIKELY(own_fd(fd))) return static_cast<int>(answer(-EBADF));
  int copy = REAL(dup)(fd);
  record_dupped(fd, copy);
  return copy;
}

GOSHIM_EXPORT int dup3(int fd, int copy, int flags) noexcept {
  if (GOSHIM_UNLIKELY(own_fd(fd))) return static_cast<int>(answer(-EBADF));
  if (fd != copy) {
    own_fd_make_way(copy);
    // Only what will be closed: a copy of nothing leaves its target as it is.
    if (REAL(fcntl)(fd, F_GETFD) >= 0) record_closing(copy);
  }
  int r = REAL(dup3)(fd, copy, flags);
  if (r >= 0) record_dupped(fd, copy);
  else record_closed(copy);
  return r;
}

GOSHIM_EXPORT int dup2(int fd, int copy) noexcept {
  if (fd == copy) return REAL(dup2)(fd, copy);
  return dup3(fd, copy, 0);
}

GOSHIM_EXPORT int __dup2(int fd, int copy) noexcept { return dup2(fd, copy); }

// In pieces, around goshim's own.
GOSHIM_EXPORT int close_range(unsigned first, unsigned last, int flags) noexcept {
  if ((flags & ~CLOSE_RANGE_UNSHARE) || first > last) return REAL(close_range)(first, last, flags);  // closes nothing
  if ((flags & CLOSE_RANGE_UNSHARE) && !own_files()) flags &= ~CLOSE_RANGE_UNSHARE;
  record_closing_range(first, last);
  int r = 0;
  for (unsigned from = first; r == 0;) {
    int own = own_fd_from(from);
    bool ours = own >= 0 && static_cast<unsigned>(own) <= last;
    unsigned next = static_cast<unsigned>(own);
    if (!ours) r = REAL(close_range)(from, last, flags);
    else if (next != from) r = REAL(close_range)(from, next - 1, flags);
    if (!ours || next == last) break;
    from = next + 1;
  }
  record_closed_range(first, last);
  return r;
}

GOSHIM_EXPORT void closefrom(int first) noexcept {
  if (close_range(static_cast<unsigned>(first < 0 ? 0 : first), ~0U, 0) != 0) REAL(closefrom)(first);
}

GOSHIM_EXPORT int fclose(FILE* stream) {
  Closing closing(fileno(stream));
  return REAL(fclose)(stream);
}

GOSHIM_EXPORT int closedir(DIR* dir) {
  Closing closing(dirfd(dir));
  return REAL(closedir)(dir);
}

GOSHIM_EXPORT FILE* freopen(const char* path, const char* mode, FILE* stream) {
  Closing closing(fileno(stream));
  return in_region(REAL(freopen), path, mode, stream);
}

GOSHIM_EXPORT FILE* freopen64(const char* path, const char* mode, FILE* stream) {
  Closing closing(fileno(stream));
  return in_region(REAL(freopen64), path, mode, stream);
}

GOSHIM_EXPORT int socket(int domain, int type, int protocol) noexcept {
  int fd = REAL(socket)(domain, type, protocol);
  record_opened(fd, traits_of_socket(domain, type, protocol), (type & SOCK_NONBLOCK) != 0);
  return fd;
}

GOSHIM_EXPORT int socketpair(int domain, int type, int protocol, int ends[2]) noexcept {
  int r = REAL(socketpair)(domain, type, protocol, ends);
  if (r != 0) return r;
  uint32_t traits = traits_of_socket(domain, type, protocol);
  // All that is sent to them is sent by this process, as long as they are private; what bears more than bytes makes
  // them shared (io_sendmsg).
  if (traits & kStream) traits |= kExact;
  for (int i = 0; i < 2; i++) record_opened(ends[i], traits, (type & SOCK_NONBLOCK) != 0);
  record_peers(ends[0], ends[1]);
  return 0;
}

static int new_pipe(int r, const int ends[2], int flags) {
  if (r != 0) return r;
  uint32_t traits = flags & O_DIRECT ? kLearned : kPipe;  // one in packets gives them one by one
  for (int i = 0; i < 2; i++) record_opened(ends[i], traits, (flags & O_NONBLOCK) != 0);
  record_peers(ends[0], ends[1]);
  return 0;
}

GOSHIM_EXPORT int pipe(int ends[2]) noexcept { return new_pipe(REAL(pipe)(ends), ends, 0); }
GOSHIM_EXPORT int __pipe(int ends[2]) noexcept { return pipe(ends); }
GOSHIM_EXPORT int pipe2(int ends[2], int flags) noexcept { return new_pipe(REAL(pipe2)(ends, flags), ends, flags); }

GOSHIM_EXPORT int epoll_create(int size) noexcept { return opened(REAL(epoll_create)(size)); }
GOSHIM_EXPORT int epoll_create1(int flags) noexcept { return opened(REAL(epoll_create1)(flags)); }
GOSHIM_EXPORT int eventfd(unsigned value, int flags) noexcept { return opened(REAL(eventfd)(value, flags)); }
GOSHIM_EXPORT int timerfd_create(clockid_t clock, int flags) noexcept {
  return opened(REAL(timerfd_create)(clock, flags));
}
GOSHIM_EXPORT int inotify_init() noexcept { return opened(REAL(inotify_init)()); }
GOSHIM_EXPORT int inotify_init1(int flags) noexcept { return opened(REAL(inotify_init1)(flags)); }

GOSHIM_EXPORT int setsockopt(int fd, int level, int option, const void* value, socklen_t size) noexcept {
  bool timeout = level == SOL_SOCKET && (option == SO_RCVTIMEO || option == SO_SNDTIMEO || option == SO_RCVLOWAT);
  if (GOSHIM_UNLIKELY(timeout)) records_have_timeouts();
  int r = REAL(setsockopt)(fd, level, option, value, size);
  if (GOSHIM_UNLIKELY(timeout)) record_status_changed(fd);
  bool inexact = (level == IPPROTO_TCP && option == TCP_ULP) ||
                 (level == SOL_SOCKET && (option == SO_PASSCRED || option == SO_PASSSEC || option == kPassPidfd));
  if (GOSHIM_UNLIKELY(inexact)) record_inexact(fd);
  return r;
}
