// Shows that running off the main thread's stack kills a program with threads by SIGSEGV, says so, and that a handler
// on the main thread's alternate stack gets the fault and may jump out of it.
// run: expect-status=SIGSEGV expect-stderr=stack overflow in thread "stack_overflow_"
#include "check.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>

static sigjmp_buf escape;
static volatile int times;

__attribute__((noinline)) static unsigned descend(unsigned level) {
  volatile char frame[256];
  frame[0] = (char)level;
  if (level == ~0u) return 0;
  return descend(level + 1) + (unsigned)frame[0];
}

static void on_fault(int signal) {
  CHECK_EQ(signal, SIGSEGV);
  siglongjmp(escape, 1);
}

static void* nothing(void* arg) {
  sched_yield();
  return arg;
}

int main(void) {
  struct rlimit core = {0, 0};
  CHECK_SYS(setrlimit(RLIMIT_CORE, &core));
  run_threads(4, nothing);
  static char alternate[64 * 1024];
  stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
  struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_ONSTACK};
  CHECK_SYS(sigaltstack(&stack, NULL));
  CHECK_SYS(sigaction(SIGSEGV, &action, NULL));
  for (times = 0; times < 3; times++) {
    if (sigsetjmp(escape, 1) == 0) descend(0);
  }
  CHECK_EQ(times, 3);
  stack.ss_flags = SS_DISABLE;
  CHECK_SYS(sigaltstack(&stack, NULL));
  action.sa_handler = SIG_DFL;
  CHECK_SYS(sigaction(SIGSEGV, &action, NULL));
  run_threads(4, nothing);
  descend(0);
  return 0;
}
