// A futex sleep (see poller.h).
#include "net/poller.h"

#include <errno.h>

#include "base/sys.h"

namespace goshim {
namespace {
std::atomic<uint32_t> broken{0};  // 1: a break is due. Set by poller_break (release), taken by poller_wait (acquire)
}

void poller_wait(Nanos until) {
  while (broken.exchange(0, std::memory_order_acquire) == 0) {
    if (sys::futex_wait(&broken, 0, until) == -ETIMEDOUT) return;
  }
}

void poller_break() {
  if (broken.exchange(1, std::memory_order_release) == 0) sys::futex_wake(&broken, 1);
}

void poller_after_fork_child() { broken.store(0, std::memory_order_relaxed); }

}  // namespace goshim
