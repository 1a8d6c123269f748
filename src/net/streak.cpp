// Streaks of reads and writes (see streak.h).
#include "net/streak.h"

#include <fcntl.h>
#include <sys/ioctl.h>

namespace goshim {
namespace {

constexpr int kLong = 16;       // calls in a row that show a streak
constexpr int kNotWorth = 128;  // and after an answer that covers less than that
constexpr size_t kLargest = 2048;
constexpr size_t kSparePages = 2;

// Bytes that lie in the pipe.
size_t content(int fd) {
  int n = 0;
  return sys::call(SYS_ioctl, fd, FIONREAD, &n) == 0 && n > 0 ? static_cast<size_t>(n) : 0;
}

// How many writes fit (K3).
size_t room(int fd, size_t bytes, size_t largest) {
  long size = sys::call(SYS_fcntl, fd, F_GETPIPE_SZ);
  if (size <= 0 || largest > kLargest) return 0;
  size_t pages = static_cast<size_t>(size) / kPage;
  size_t used = bytes == 0 ? 0 : 2 + bytes / (kPage - largest + 1);
  return pages > used + kSparePages ? (pages - used - kSparePages) * (kPage / largest) : 0;
}

// K1.
bool ours_alone(const Descriptor* d) { return !d->dupped.load(std::memory_order_relaxed) && record_private(d); }

}  // namespace

bool streak_covers(Descriptor* d, Direction direction, size_t n) {
  size_t sure = d->sure.load(std::memory_order_relaxed);
  size_t need = direction == kIn ? n : 1;
  if (sure < need || d->streak_of.load(std::memory_order_relaxed) != getg()) return false;
  if (direction == kOut && n > d->largest.load(std::memory_order_relaxed)) return false;
  if (!ours_alone(d)) return false;
  d->sure.store(sure - need, std::memory_order_relaxed);
  return true;
}

void streak_goes_on(int fd, Descriptor* d, Direction direction, size_t n) {
  if (direction == kOut && n > d->largest.load(std::memory_order_relaxed))
    d->largest.store(n, std::memory_order_relaxed);
  const G* self = getg();
  int calls = d->streak.load(std::memory_order_relaxed) + 1;
  if (d->streak_of.load(std::memory_order_relaxed) != self) {
    d->streak_of.store(self, std::memory_order_relaxed);
    d->sure.store(0, std::memory_order_relaxed);
    calls = calls < 0 ? calls : 1;
  }
  if (calls < kLong || !ours_alone(d)) {
    d->streak.store(calls, std::memory_order_relaxed);
    return;
  }
  size_t bytes = content(fd);
  size_t calls_covered;
  if (direction == kIn) {
    d->sure.store(bytes, std::memory_order_relaxed);
    calls_covered = bytes / n;
  } else {
    if (bytes == 0) d->largest.store(n, std::memory_order_relaxed);
    calls_covered = room(fd, bytes, d->largest.load(std::memory_order_relaxed));
    d->sure.store(calls_covered, std::memory_order_relaxed);
  }
  d->streak.store(calls_covered < kLong ? -kNotWorth : kLong - 1, std::memory_order_relaxed);
}

}  // namespace goshim
