// Shows alternate signal stacks with SS_AUTODISARM: a handler that runs on one finds none, may declare another for the
// handlers that interrupt it, and has the first back when it returns, but not when it jumps out. For signals and for
// faults. And what a handler is told of the stack without it.
#include "check.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

enum { kSize = 64 << 10 };

struct thread {
  char* first;
  char* second;
  char* page;  // may not be touched
  int handled, nested;
  int declares, jumps;
  sigjmp_buf out;
};
static __thread struct thread* self;

static int within(const char* stack, const void* p) {
  return (const char*)p >= stack && (const char*)p < stack + kSize;
}

static void declare(char* stack, unsigned flags) {
  stack_t s = {.ss_sp = stack, .ss_size = kSize, .ss_flags = (int)flags};
  CHECK_EQ(sigaltstack(&s, NULL), 0);
}

static unsigned declared(const char* stack) {
  stack_t now;
  CHECK_EQ(sigaltstack(NULL, &now), 0);
  CHECK((now.ss_flags & SS_DISABLE) || within(stack, now.ss_sp));
  return (unsigned)now.ss_flags;
}

static void on_second(int sig, siginfo_t* info, void* context) {
  char here;
  (void)sig, (void)info, (void)context;
  CHECK(within(self->second, &here));
  CHECK_EQ(declared(self->second), SS_ONSTACK);
  self->nested++;
}

static void on_first(int sig, siginfo_t* info, void* context) {
  char here;
  const ucontext_t* uc = context;
  (void)info;
  CHECK(within(self->first, &here));
  CHECK_EQ((unsigned)uc->uc_stack.ss_flags, SS_AUTODISARM);
  CHECK(within(self->first, uc->uc_stack.ss_sp));
  CHECK_EQ(declared(NULL), SS_DISABLE);
  self->handled++;
  if (self->declares) {
    declare(self->second, 0);
    CHECK_EQ(raise(SIGUSR2), 0);
    sched_yield();
  }
  if (self->jumps) siglongjmp(self->out, 1);
  if (sig == SIGSEGV) CHECK_EQ(mprotect(self->page, 4096, PROT_READ | PROT_WRITE), 0);
}

static void plain(int sig, siginfo_t* info, void* context) {
  char here;
  const ucontext_t* uc = context;
  (void)sig, (void)info;
  CHECK(within(self->first, &here));
  CHECK_EQ(uc->uc_stack.ss_flags, 0);
  CHECK_EQ(declared(self->first), SS_ONSTACK);
  self->handled++;
}

static void* work(void* arg) {
  struct thread me = {0};
  char first[kSize];  // in the thread's own stack, as some programs have it
  self = &me;
  me.first = first;
  me.second = malloc(kSize);
  me.page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(me.second != NULL && me.page != MAP_FAILED);
  declare(first, SS_AUTODISARM);
  CHECK_EQ(declared(first), SS_AUTODISARM);
  for (int i = 0; i < 100; i++) {
    me.declares = i & 1;
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(declared(first), SS_AUTODISARM);
    sched_yield();
  }
  CHECK_EQ(me.handled, 100);
  CHECK_EQ(me.nested, 50);
  *(volatile char*)me.page = 1;
  CHECK_EQ(me.handled, 101);
  CHECK_EQ(declared(first), SS_AUTODISARM);
  me.declares = 0;
  me.jumps = 1;
  if (sigsetjmp(me.out, 1) == 0) raise(SIGUSR1);
  CHECK_EQ(me.handled, 102);
  CHECK_EQ(declared(first), SS_DISABLE);
  declare(first, SS_ONSTACK | SS_AUTODISARM);
  declare(first, 0);
  CHECK_EQ(raise(SIGURG), 0);
  CHECK_EQ(me.handled, 103);
  CHECK_EQ(declared(first), 0);
  stack_t none = {.ss_flags = SS_DISABLE};
  CHECK_EQ(sigaltstack(&none, NULL), 0);
  free(me.second);
  munmap(me.page, 4096);
  return arg;
}

int main(void) {
  enum { kThreads = 4 };
  pthread_t threads[kThreads];
  struct sigaction action = {.sa_sigaction = on_first, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
  CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
  action.sa_sigaction = on_second;
  CHECK_EQ(sigaction(SIGUSR2, &action, NULL), 0);
  action.sa_sigaction = plain;
  CHECK_EQ(sigaction(SIGURG, &action, NULL), 0);
  work(NULL);
  for (int i = 0; i < kThreads; i++) CHECK_EQ(pthread_create(&threads[i], NULL, work, NULL), 0);
  for (int i = 0; i < kThreads; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  work(NULL);
  return 0;
}
