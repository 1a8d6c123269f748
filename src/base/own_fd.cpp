// Where the runtime's own descriptors lie (see own_fd.h).
#include "base/own_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>

#include "base/sys.h"

namespace goshim {

OwnFd own_fds[static_cast<int>(OwnFdName::Count)];

namespace {

// A higher number would make the kernel's table, which every fork copies, that much larger.
constexpr uint64_t kHighest = 1024;
constexpr uint64_t kRoom = 16;

int move_up(int fd) {
  rlimit limit{};
  uint64_t top = kHighest;
  if (sys::call(SYS_prlimit64, 0, RLIMIT_NOFILE, nullptr, &limit) == 0 && limit.rlim_cur < top) top = limit.rlim_cur;
  for (uint64_t least = top > kRoom ? top - kRoom : 0;; least /= 2) {
    long moved = sys::call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, least);
    if (moved >= 0) return static_cast<int>(moved);
    if (least == 0) return -1;
  }
}

}  // namespace

int OwnFd::keep(int fd) {
  if (fd < 0) return fd;
  int moved = move_up(fd);
  if (moved < 0) {
    moved = fd;  // the table is full: it stays where it is
  } else {
    sys::close(fd);
  }
  fd_.store(moved, std::memory_order_relaxed);
  return moved;
}

void OwnFd::drop() {
  int fd = fd_.exchange(-1, std::memory_order_relaxed);
  if (fd >= 0) sys::close(fd);
}

bool own_fd(int fd) {
  if (fd < 0) return false;
  for (const OwnFd& own : own_fds) {
    if (own.fd_.load(std::memory_order_relaxed) == fd) return true;
  }
  return false;
}

int own_fd_from(unsigned fd) {
  int lowest = -1;
  for (const OwnFd& own : own_fds) {
    int at = own.fd_.load(std::memory_order_relaxed);
    if (at >= 0 && static_cast<unsigned>(at) >= fd && (lowest < 0 || at < lowest)) lowest = at;
  }
  return lowest;
}

void own_fd_make_way(int fd) {
  for (OwnFd& own : own_fds) {
    if (fd < 0 || own.fd_.load(std::memory_order_relaxed) != fd) continue;
    // Without room for a copy it is lost, and made anew when it is missed.
    own.fd_.store(move_up(fd), std::memory_order_relaxed);
  }
}

}  // namespace goshim
