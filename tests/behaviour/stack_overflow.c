// Shows that running off a thread's stack kills the process by SIGSEGV, in a created thread and in a recycled one, and
// that a handler on the thread's alternate stack gets the fault with an address next to the stack's end.
#include "check.h"

#include <setjmp.h>
#include <signal.h>

static volatile unsigned depth;
static char* stack_low;
static sigjmp_buf escape;
static volatile int times;

__attribute__((noinline)) static unsigned descend(unsigned level) {
  volatile char frame[256];
  frame[0] = (char)level;
  depth = level;
  if (level == ~0u) return 0;
  return descend(level + 1) + (unsigned)frame[0];
}

static void* overflow(void* arg) {
  sched_yield();
  descend(0);
  return arg;
}

static void on_fault(int signal, siginfo_t* info, void* context) {
  (void)context;
  CHECK_EQ(signal, SIGSEGV);
  const intptr_t below = stack_low - (char*)info->si_addr;
  CHECK(below > -8192 && below <= 65536);
  siglongjmp(escape, 1);
}

static void find_stack(void) {
  pthread_attr_t attr;
  size_t size;
  CHECK_OK(pthread_getattr_np(pthread_self(), &attr));
  CHECK_OK(pthread_attr_getstack(&attr, (void**)&stack_low, &size));
}

static void* survive(void* arg) {
  static char alternate[64 * 1024];
  stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  CHECK_SYS(sigaltstack(&stack, NULL));
  CHECK_SYS(sigaction(SIGSEGV, &action, NULL));
  find_stack();
  for (times = 0; times < 3; times++) {
    if (sigsetjmp(escape, 1) == 0) descend(0);
    CHECK(depth > 100);
    sched_yield();
  }
  return arg;
}

// The end of a process that runs `before` threads that survive, and then `routine`.
static int end_of(void* (*routine)(void*), int before) {
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    pthread_attr_t attr;
    CHECK_OK(pthread_attr_init(&attr));
    CHECK_OK(pthread_attr_setstacksize(&attr, 256 * 1024));
    for (int i = 0; i <= before; i++) {
      pthread_t thread;
      CHECK_OK(pthread_create(&thread, &attr, i == before ? routine : survive, NULL));
      CHECK_OK(pthread_join(thread, NULL));
    }
    _exit(0);
  }
  return wait_status(child);
}

int main(void) {
  CHECK_EQ(end_of(overflow, 0), -SIGSEGV);
  CHECK_EQ(end_of(survive, 3), 0);
  return 0;
}
