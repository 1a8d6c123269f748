// The raw system calls that need more than one line (see sys.h).
#include "base/sys.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#include "base/host.h"

namespace goshim {
constinit Host host{};
}

namespace goshim::sys {

void* map(size_t size, int prot, int extra_flags) {
  long r = call(SYS_mmap, nullptr, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | extra_flags, -1, 0);
  return r < 0 && r > -4096 ? nullptr : reinterpret_cast<void*>(r);
}

Nanos clock_now(clockid_t clock) {
  timespec ts{};
  if (GOSHIM_UNLIKELY(!host.clock_gettime)) {
    call(SYS_clock_gettime, clock, &ts);
  } else {
    host.clock_gettime(clock, &ts);  // libc's is the vDSO's: no lock, no errno on these clocks
  }
  return ts.tv_sec * kSecond + ts.tv_nsec;
}

Nanos nanotime() { return clock_now(CLOCK_MONOTONIC); }

void die_by_signal(int sig) {
  arch::KernelAction action{};
  uint64_t mask = ~(1UL << (sig - 1));
  call(SYS_rt_sigaction, sig, &action, nullptr, 8);
  call(SYS_rt_sigprocmask, SIG_SETMASK, &mask, nullptr, 8);
  tgkill(getpid(), gettid(), sig);
  call(SYS_kill, getpid(), sig);  // a real-time signal may have found no place in the queue: this way it needs none
  for (;;) call(SYS_exit_group, 128 + sig);
}

}  // namespace goshim::sys
