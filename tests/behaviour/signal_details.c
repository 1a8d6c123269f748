// Shows what handlers and waiting threads see of a signal besides its number: the alternate stack in the context, and
// that what a handler does to it is undone; the flags of an action; raise's code by sigwaitinfo.
#include "check.h"

#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>

enum { kStack = 64 * 1024 };

static __thread char* own_stack;
static __thread volatile int depth;

static void on_signal(int signal, siginfo_t* info, void* context) {
  (void)info;
  const ucontext_t* uc = context;
  stack_t now;
  CHECK_SYS(sigaltstack(NULL, &now));
  CHECK_EQ(uc->uc_stack.ss_sp, own_stack);
  CHECK_EQ(uc->uc_stack.ss_size, kStack);
  CHECK_EQ(uc->uc_stack.ss_flags, 0);
  const int on_it = (char*)&now > own_stack && (char*)&now < own_stack + kStack;
  CHECK_EQ(now.ss_flags, on_it ? SS_ONSTACK : 0);
  const stack_t off = {.ss_flags = SS_DISABLE};
  if (on_it) {
    CHECK_ERRNO(sigaltstack(&off, NULL), EPERM);
    if (depth++ == 0) CHECK_OK(raise(signal == SIGUSR1 ? SIGUSR2 : SIGUSR1));
  } else {
    CHECK_SYS(sigaltstack(&off, NULL));
    CHECK_SYS(sigaltstack(NULL, &now));
    CHECK_EQ(now.ss_flags, SS_DISABLE);
  }
}

static void act(int signal, int flags) {
  struct sigaction action = {.sa_flags = flags | SA_SIGINFO};
  action.sa_sigaction = on_signal;
  CHECK_SYS(sigaction(signal, &action, NULL));
}

static void* alternate(void* arg) {
  stack_t stack = {.ss_sp = malloc(kStack), .ss_size = kStack}, now;
  own_stack = stack.ss_sp;
  CHECK_SYS(sigaltstack(NULL, &now));
  CHECK_EQ(now.ss_flags, SS_DISABLE);
  CHECK_SYS(sigaltstack(&stack, NULL));
  act(SIGUSR1, SA_ONSTACK);
  act(SIGUSR2, SA_ONSTACK);
  act(SIGHUP, 0);
  depth = 0;
  CHECK_OK(raise(SIGUSR1));
  CHECK_EQ(depth, 2);
  CHECK_OK(raise(SIGHUP));
  CHECK_SYS(sigaltstack(NULL, &now));
  CHECK_EQ(now.ss_flags, 0);
  CHECK_EQ(now.ss_sp, own_stack);
  depth = 0;
  CHECK_OK(raise(SIGUSR2));
  CHECK_EQ(depth, 2);
  const stack_t off = {.ss_flags = SS_DISABLE};
  CHECK_SYS(sigaltstack(&off, &now));
  CHECK_EQ(now.ss_sp, own_stack);
  free(own_stack);
  return arg;
}

static void flags(void) {
  const int unknown = 0x12340;
  struct sigaction action = {.sa_handler = SIG_IGN, .sa_flags = SA_RESTART | SA_NOCLDSTOP | unknown}, plain, now;
  plain = action;
  plain.sa_flags &= ~unknown;
  CHECK_SYS(sigaction(SIGWINCH, &plain, NULL));
  CHECK_SYS(sigaction(SIGWINCH, NULL, &now));
  const int kept = now.sa_flags;
  CHECK_EQ(kept & plain.sa_flags, plain.sa_flags);
  CHECK_SYS(sigaction(SIGWINCH, &action, NULL));
  CHECK_SYS(sigaction(SIGWINCH, NULL, &now));
  CHECK_EQ(now.sa_flags, kept);
#ifdef __x86_64__
  CHECK_EQ(kept & 0x04000000, 0x04000000);  // libc's SA_RESTORER
#endif
}

static void codes(void) {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGUSR1);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &one, NULL));
  siginfo_t info;
  struct timespec none = {0, 0};
  CHECK_OK(raise(SIGUSR1));
  CHECK_EQ(sigwaitinfo(&one, &info), SIGUSR1);
  CHECK_EQ(info.si_code, SI_USER);
  CHECK_EQ(info.si_pid, getpid());
  CHECK_OK(raise(SIGUSR1));
  CHECK_EQ(sigtimedwait(&one, &info, &none), SIGUSR1);
  CHECK_EQ(info.si_code, SI_USER);
  CHECK_OK(raise(SIGUSR1));
  CHECK_EQ(syscall(SYS_rt_sigtimedwait, &one, &info, &none, sizeof(long)), SIGUSR1);
  CHECK_EQ(info.si_code, SI_TKILL);
}

static void* all(void* arg) {
  alternate(NULL);
  flags();
  codes();
  return arg;
}

int main(void) {
  run_threads(1, all);
  all(NULL);
  return 0;
}
