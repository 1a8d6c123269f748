// Calls that block a kernel thread (see blocking.h).
#include "net/blocking.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "thread/cancel.h"
#include "thread/signal.h"

namespace goshim {
namespace {

bool socket_has_timeout(int fd) {
  for (int option : {SO_RCVTIMEO, SO_SNDTIMEO}) {
    timeval limit{};
    socklen_t size = sizeof limit;
    if (sys::call(SYS_getsockopt, fd, SOL_SOCKET, option, &limit, &size) == 0 && (limit.tv_sec || limit.tv_usec))
      return true;
  }
  return false;
}

// Whether an interrupted call goes on.
bool goes_on(const HandlerMark& mark, OnHandler rule, long a) {
  thread_test_cancel();
  if (!handlers_ran(mark)) return true;
  switch (rule) {
    case OnHandler::Restart: return handlers_restart(mark);
    case OnHandler::RestartSocket: return handlers_restart(mark) && !socket_has_timeout(static_cast<int>(a));
    case OnHandler::Fail: return false;
  }
  return false;
}

// The caller's signal mask during a wait. Signals that it opens are delivered under it; those that it blocks, not.
class TemporaryMask {
 public:
  explicit TemporaryMask(const uint64_t* mask) : in_(mask != nullptr) {
    if (in_) old_ = signal_set_mask(*mask);
  }
  ~TemporaryMask() {
    if (in_) signal_set_mask(old_);
  }
  TemporaryMask(const TemporaryMask&) = delete;
  TemporaryMask& operator=(const TemporaryMask&) = delete;

 private:
  bool in_;
  uint64_t old_ = 0;
};

// A wait for descriptors: wait() asks the kernel, which may block; look() asks without blocking.
template <typename Wait, typename Look>
long wait_for_descriptors(bool may_block, const uint64_t* new_mask, Wait wait, Look look) {
  thread_test_cancel();
  chaos();
  if (!may_block && !new_mask) return look();
  HandlerMark mark = handler_mark();
  TemporaryMask masked(new_mask);
  if (handlers_ran(mark)) {  // the new mask let them in: the kernel too would not wait, but say what is ready
    long ready = look();
    return ready == 0 ? -EINTR : ready;
  }
  if (!may_block) return look();
  for (;;) {
    long r = wait();
    if (r != -EINTR || !goes_on(mark, OnHandler::Fail, 0)) return r;
  }
}

}  // namespace

long blocking_call(RegionClass c, OnHandler rule, long nr, long a, long b, long c2, long d, long e, long f) {
  thread_test_cancel();
  chaos();
  for (;;) {
    HandlerMark mark = handler_mark();
    long r = region_syscall(c, nr, a, b, c2, d, e, f);
    if (GOSHIM_LIKELY(r != -EINTR) || !goes_on(mark, rule, a)) return r;
  }
}

long blocking_poll(pollfd* fds, nfds_t n, timespec* left, const uint64_t* mask) {
  auto at = reinterpret_cast<long>(fds);
  auto count = static_cast<long>(n);
  return wait_for_descriptors(
      !left || left->tv_sec != 0 || left->tv_nsec != 0, mask,
      [=] { return region_syscall(RegionClass::Long, SYS_ppoll, at, count, reinterpret_cast<long>(left), 0, 0); },
      [=] {
        timespec none{};
        return sys::call(SYS_ppoll, at, count, &none, 0, 0);
      });
}

long blocking_select(int n, fd_set* in, fd_set* out, fd_set* except, timespec* left, const uint64_t* mask) {
  return wait_for_descriptors(
      !left || left->tv_sec != 0 || left->tv_nsec != 0, mask,
      [=] {
        return region_syscall(RegionClass::Long, SYS_pselect6, n, reinterpret_cast<long>(in),
                              reinterpret_cast<long>(out), reinterpret_cast<long>(except), reinterpret_cast<long>(left),
                              0);
      },
      [=] {
        timespec none{};
        return sys::call(SYS_pselect6, n, in, out, except, &none, 0);
      });
}

long blocking_epoll_wait(int epoll, epoll_event* events, int max, Nanos timeout, const uint64_t* mask) {
  auto at = reinterpret_cast<long>(events);
  Nanos deadline = kForever;
  if (timeout > 0 && timeout != kForever) {
    Nanos now = sys::nanotime();
    deadline = timeout < kForever - now ? now + timeout : kForever;
  }
  // Only epoll_pwait2, which Linux has since 5.11, lets a program ask for these.
  bool finer = timeout != kForever && (timeout % kMillisecond != 0 || timeout / kMillisecond > INT32_MAX);
  return wait_for_descriptors(
      timeout != 0, mask,
      [=] {
        Nanos left = deadline == kForever ? 0 : deadline - sys::nanotime();
        if (left < 0) left = 0;
        if (finer) {
          timespec rest{left / kSecond, left % kSecond};
          return region_syscall(RegionClass::Long, SYS_epoll_pwait2, epoll, at, max, reinterpret_cast<long>(&rest), 0,
                                8);
        }
        long ms = deadline == kForever ? -1 : (left + kMillisecond - 1) / kMillisecond;
        return region_syscall(RegionClass::Long, SYS_epoll_pwait, epoll, at, max, ms, 0, 8);
      },
      [=] { return sys::call(SYS_epoll_pwait, epoll, events, max, 0, 0, 8); });
}

}  // namespace goshim
