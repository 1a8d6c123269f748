// Raw system calls of the runtime: no errno, no cancellation, no interposition. Each returns what the kernel
// returned: a value, or -errno.
#pragma once

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

#include "arch/arch.h"
#include "base/base.h"

namespace goshim::sys {

template <typename... Args>
inline long call(long nr, Args... args) {
  return arch::syscall(nr, (long)(args)...);
}

// The same for calls that mostly sleep.
template <typename... Args>
inline long sleep_in(long nr, Args... args) {
  void* tp = arch::sleep_begins();
  long r = arch::syscall(nr, (long)(args)...);
  arch::sleep_ends(tp);
  return r;
}

// Whether r says that there is no such call here: the kernel is older, or a filter does not know it (containers' answer
// EPERM). Only for calls that do not fail so by themselves, or whose stand-in then says the same.
inline bool unknown_call(long r) { return r == -ENOSYS || r == -EPERM; }

inline long write(int fd, const void* p, size_t n) { return call(SYS_write, fd, p, n); }
inline long read(int fd, void* p, size_t n) { return call(SYS_read, fd, p, n); }
inline long close(int fd) { return call(SYS_close, fd); }
inline int getpid() { return static_cast<int>(call(SYS_getpid)); }
inline int gettid() { return static_cast<int>(call(SYS_gettid)); }
inline long tgkill(int pid, int tid, int sig) { return call(SYS_tgkill, pid, tid, sig); }
inline long sched_yield() { return call(SYS_sched_yield); }

// mmap of anonymous private memory; null when the kernel refuses.
void* map(size_t size, int prot, int extra_flags = 0);
inline long unmap(void* p, size_t size) { return call(SYS_munmap, p, size); }
inline long protect(void* p, size_t size, int prot) { return call(SYS_mprotect, p, size, prot); }
inline long advise(void* p, size_t size, int advice) { return call(SYS_madvise, p, size, advice); }

// Private futexes. The word is any 32-bit atomic.
// Waits while *word == expected; until is on CLOCK_MONOTONIC, kForever for none. 0, -EAGAIN, -EINTR or -ETIMEDOUT.
long futex_wait(std::atomic<uint32_t>* word, uint32_t expected, Nanos until = kForever);
inline long futex_wake(std::atomic<uint32_t>* word, int count) {
  return call(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count, 0, 0, 0);
}

// CLOCK_MONOTONIC, through the vDSO.
Nanos nanotime();
Nanos clock_now(clockid_t clock);

// Ends the process by signal sig with its default action, whatever the program installed.
[[noreturn]] void die_by_signal(int sig);

}  // namespace goshim::sys
