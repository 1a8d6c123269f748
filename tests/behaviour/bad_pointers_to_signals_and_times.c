// Shows that a call about signals or time answers EFAULT where the program has no memory, as the kernel does, in a
// thread and in the main thread.
#include "check.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>

// Bad from its first byte on, or from its fifth.
static void ask(void* bad) {
  const struct timespec soon = {0, 1000};
  sigset_t none, other;
  sigemptyset(&none);
  sigemptyset(&other);
  sigaddset(&other, SIGUSR1);
  struct pollfd nothing = {.fd = -1, .events = 0, .revents = 0};
  struct epoll_event event;
  const int epoll = epoll_create1(0);
  CHECK_SYS(epoll);
  const long kernels = sizeof(uint64_t);
  CHECK_ERRNO(pselect(0, NULL, NULL, NULL, &soon, bad), EFAULT);
  CHECK_ERRNO(ppoll(&nothing, 1, &soon, bad), EFAULT);
  CHECK_ERRNO(epoll_pwait(epoll, &event, 1, 1, bad), EFAULT);
  CHECK_ERRNO(sigsuspend(bad), EFAULT);
  CHECK_ERRNO(sigtimedwait(bad, NULL, &soon), EFAULT);
  CHECK_ERRNO(sigtimedwait(&other, NULL, bad), EFAULT);
  CHECK_ERRNO(sigwaitinfo(bad, NULL), EFAULT);
  CHECK_ERRNO(sigpending(bad), EFAULT);
  CHECK_ERRNO(nanosleep(bad, NULL), EFAULT);
  CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, bad, NULL), EFAULT);
  CHECK_ERRNO(signalfd(-1, bad, 0), EFAULT);
  CHECK_ERRNO(sigaltstack(bad, NULL), EFAULT);
  CHECK_ERRNO(sigaltstack(NULL, bad), EFAULT);
  CHECK_ERRNO(syscall(SYS_pselect6, 0, NULL, NULL, NULL, &soon, bad), EFAULT);
  CHECK_ERRNO(syscall(SYS_rt_sigsuspend, bad, kernels), EFAULT);
  CHECK_ERRNO(syscall(SYS_rt_sigprocmask, SIG_BLOCK, bad, NULL, kernels), EFAULT);
  CHECK_ERRNO(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, bad, kernels), EFAULT);
  CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, bad, NULL, kernels), EFAULT);
  CHECK_ERRNO(syscall(SYS_rt_sigtimedwait, bad, NULL, &soon, kernels), EFAULT);
  CHECK_ERRNO(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, bad), EFAULT);
  CHECK_ERRNO(syscall(SYS_rt_sigpending, bad, kernels), EFAULT);
  CHECK_ERRNO(syscall(SYS_epoll_pwait2, epoll, &event, 1, bad, NULL, kernels), EFAULT);
  CHECK_ERRNO(syscall(SYS_clone3, bad, 64L), EFAULT);
  CHECK_ERRNO(syscall(SYS_timer_create, CLOCK_MONOTONIC, bad, &event), EFAULT);
  CHECK_SYS(close(epoll));
}

static void* ask_all(void* arg) {
  char* memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  CHECK_SYS(munmap(memory + 4096, 4096));
  ask((void*)12);
  ask(memory + 4096 - 4);
  CHECK_SYS(munmap(memory, 4096));
  return arg;
}

int main(void) {
  run_threads(1, ask_all);
  ask_all(NULL);
  return 0;
}
