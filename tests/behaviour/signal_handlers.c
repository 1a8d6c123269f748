// Shows how handlers run: SA_SIGINFO's contents, SA_NODEFER, SA_RESETHAND, SA_ONSTACK per thread, sa_mask, nesting,
// jumps out of them, and what they change in their context.
#include "check.h"

#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { kThreads = 12, kAltSize = 65536 };

static void install(int signal, void (*handler)(int, siginfo_t*, void*), int flags, int masked) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
  sigemptyset(&action.sa_mask);
  if (masked) sigaddset(&action.sa_mask, masked);
  CHECK_SYS(sigaction(signal, &action, NULL));
}

static int blocked(int signal) {
  sigset_t now;
  CHECK_OK(pthread_sigmask(SIG_BLOCK, NULL, &now));
  return sigismember(&now, signal);
}

// ---- SA_SIGINFO ----

static __thread volatile siginfo_t last;
static __thread atomic_int count;

static void keep_info(int signal, siginfo_t* info, void* context) {
  CHECK_EQ(signal, info->si_signo);
  CHECK(context != NULL);
  last = *info;
  atomic_fetch_add(&count, 1);
}

static void* contents(void* arg) {
  const int index = (int)(intptr_t)arg;
  for (int round = 0; round < 30; round++) {
    stir((unsigned)(round + index));
    atomic_store(&count, 0);
    CHECK_OK(pthread_kill(pthread_self(), SIGUSR1));
    CHECK_EQ(atomic_load(&count), 1);
    CHECK_EQ(last.si_code, SI_TKILL);
    CHECK_EQ(last.si_pid, getpid());
    CHECK_EQ(last.si_uid, getuid());
    union sigval value = {.sival_ptr = (void*)&value};
    CHECK_OK(pthread_sigqueue(pthread_self(), SIGRTMIN + 1, value));
    CHECK_EQ(atomic_load(&count), 2);
    CHECK_EQ(last.si_code, SI_QUEUE);
    CHECK_EQ(last.si_value.sival_ptr, (void*)&value);
    CHECK_EQ(last.si_pid, getpid());
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(atomic_load(&count), 3);
    CHECK_EQ(last.si_code, SI_TKILL);
  }
  return arg;
}

// ---- faults ----

static __thread sigjmp_buf out;
static __thread void* volatile fault_at;
static __thread char* page;

static void on_fault(int signal, siginfo_t* info, void* context) {
  CHECK_EQ(signal, SIGSEGV);
  fault_at = info->si_addr;
  ucontext_t* uc = context;
#if defined(__x86_64__)
  CHECK(uc->uc_mcontext.gregs[REG_RIP] != 0);
#elif defined(__aarch64__)
  CHECK(uc->uc_mcontext.pc != 0);
#else
  (void)uc;
#endif
  CHECK_SYS(mprotect(page, 4096, PROT_READ | PROT_WRITE));
}

static void jump_out(int signal, siginfo_t* info, void* context) {
  (void)info, (void)context;
  siglongjmp(out, signal);
}

static void* faults(void* arg) {
  page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(page != MAP_FAILED);
  for (int round = 0; round < 20; round++) {
    stir((unsigned)round);
    CHECK_SYS(mprotect(page, 4096, PROT_NONE));
    *(volatile char*)(page + 17) = (char)round;  // The handler lets it happen.
    CHECK_EQ(fault_at, page + 17);
    CHECK_EQ(page[17], (char)round);
  }
  CHECK_SYS(munmap(page, 4096));
  return arg;
}

static void* jumps(void* arg) {
  const int index = (int)(intptr_t)arg;
  for (volatile int round = 0; round < 50; round++) {
    stir((unsigned)(round + index));
    int value = sigsetjmp(out, 1);
    if (value == 0) {
      if (round % 2) {
        CHECK_OK(pthread_kill(pthread_self(), SIGUSR2));
      } else {
        volatile int zero = 0;
        *(volatile int*)(intptr_t)zero = 1;
      }
      check_fail(__FILE__, __LINE__, "the handler returned");
    }
    CHECK_EQ(value, round % 2 ? SIGUSR2 : SIGSEGV);
    CHECK_EQ(blocked(value), 0);
  }
  return arg;
}

// ---- masks during handlers, nesting ----

// Volatile: the headers tell the compiler that pthread_kill calls nothing here.
static __thread volatile int depth, deepest, order[8], n_order;

static void nodefer(int signal, siginfo_t* info, void* context) {
  (void)info, (void)context;
  CHECK_EQ(blocked(signal), 0);
  if (++depth > deepest) deepest = depth;
  if (depth < 5) CHECK_OK(pthread_kill(pthread_self(), signal));
  depth--;
}

static void inner(int signal, siginfo_t* info, void* context) {
  (void)info, (void)context;
  order[n_order++] = signal;
}

static void outer(int signal, siginfo_t* info, void* context) {
  (void)info, (void)context;
  if (++deepest == 2) {  // For the one that it sent itself.
    sigset_t all;
    sigfillset(&all);
    CHECK_OK(pthread_sigmask(SIG_SETMASK, &all, NULL));  // Undone by the return.
    return;
  }
  depth = 1;
  CHECK_EQ(blocked(signal), 1);
  CHECK_EQ(blocked(SIGUSR2), 1);  // Of sa_mask.
  CHECK_EQ(blocked(SIGTERM), 0);
  CHECK_OK(pthread_kill(pthread_self(), SIGUSR2));
  CHECK_OK(pthread_kill(pthread_self(), SIGUSR2));  // Pending once.
  CHECK_OK(pthread_kill(pthread_self(), signal));
  CHECK_EQ(n_order, 0);
  CHECK_OK(pthread_kill(pthread_self(), SIGTERM));  // Nests.
  CHECK_EQ(n_order, 1);
  stir((unsigned)signal + 4);
  CHECK_EQ(deepest, 1);
  depth = 0;
}

static void* nests(void* arg) {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGHUP);
  for (int round = 0; round < 10; round++) {
    depth = deepest = 0;
    CHECK_OK(pthread_kill(pthread_self(), SIGRTMIN + 2));
    CHECK_EQ(deepest, 5);
    deepest = n_order = 0;
    CHECK_OK(pthread_sigmask(SIG_BLOCK, &one, NULL));
    CHECK_OK(pthread_kill(pthread_self(), SIGHUP));
    stir((unsigned)round);
    CHECK_EQ(deepest, 0);
    CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &one, NULL));
    CHECK_EQ(deepest, 2);
    CHECK_EQ(n_order, 2);
    CHECK_EQ(order[0], SIGTERM);
    CHECK_EQ(order[1], SIGUSR2);
    CHECK_EQ(blocked(SIGHUP), 0);
    CHECK_EQ(blocked(SIGUSR1), 0);
  }
  return arg;
}

// ---- SA_ONSTACK ----

static __thread char* alternate;
static __thread volatile int on_alternate;

static void see_stack(int signal, siginfo_t* info, void* context) {
  (void)info;
  char here;
  ucontext_t* uc = context;
  stack_t now;
  CHECK_SYS(sigaltstack(NULL, &now));
  on_alternate = &here >= alternate && &here < alternate + kAltSize;
  CHECK_EQ(now.ss_flags, on_alternate ? SS_ONSTACK : alternate ? 0 : SS_DISABLE);
  if (alternate) {
    CHECK_EQ(uc->uc_stack.ss_sp, alternate);
    CHECK_EQ(uc->uc_stack.ss_size, kAltSize);
  }
  if (on_alternate) {
    CHECK_ERRNO(sigaltstack(&now, NULL), EPERM);
    sched_yield();
    stir(7);
    if (signal == SIGRTMIN + 3) CHECK_OK(pthread_kill(pthread_self(), SIGRTMIN + 4));  // Stays on it.
    CHECK(on_alternate);
  }
}

static void* stacks(void* arg) {
  const int index = (int)(intptr_t)arg;
  const int mine = index % 2;
  if (mine) {
    alternate = malloc(kAltSize);
    stack_t stack = {.ss_sp = alternate, .ss_size = kAltSize};
    CHECK_SYS(sigaltstack(&stack, NULL));
  }
  for (int round = 0; round < 20; round++) {
    stir((unsigned)(round + index));
    on_alternate = -1;
    CHECK_OK(pthread_kill(pthread_self(), SIGRTMIN + 3));
    CHECK_EQ(on_alternate, mine);
    on_alternate = -1;
    CHECK_OK(pthread_kill(pthread_self(), SIGRTMIN + 5));  // Without SA_ONSTACK.
    CHECK_EQ(on_alternate, 0);
  }
  if (mine) {
    stack_t none = {.ss_flags = SS_DISABLE}, old;
    CHECK_SYS(sigaltstack(&none, &old));
    CHECK_EQ(old.ss_sp, alternate);
    free(alternate);
    alternate = NULL;
  }
  return arg;
}

// ---- the context ----

static void block_after(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)info;
  ucontext_t* uc = context;
  CHECK_EQ(sigismember(&uc->uc_sigmask, SIGUSR1), 0);
  sigaddset(&uc->uc_sigmask, SIGUSR1);  // In force when this returns.
}

static void* edits(void* arg) {
  for (int round = 0; round < 20; round++) {
    CHECK_OK(pthread_kill(pthread_self(), SIGRTMIN + 6));
    CHECK_EQ(blocked(SIGUSR1), 1);
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &one, NULL));
    stir((unsigned)round);
  }
  return arg;
}

static atomic_int once;
static void only_once(int signal) {
  struct sigaction now;
  CHECK_SYS(sigaction(signal, NULL, &now));
  CHECK(now.sa_handler == SIG_DFL);
  CHECK_EQ(blocked(signal), 1);
  atomic_fetch_add(&once, 1);
}

static void reset_hand(void) {
  for (int round = 0; round < 20; round++) {
    struct sigaction action = {.sa_handler = only_once, .sa_flags = (int)SA_RESETHAND}, now;
    CHECK_SYS(sigaction(SIGCHLD, &action, NULL));
    CHECK_SYS(kill(getpid(), SIGCHLD));
    EVENTUALLY(atomic_load(&once) == round + 1);
    CHECK_SYS(sigaction(SIGCHLD, NULL, &now));
    CHECK(now.sa_handler == SIG_DFL);
    CHECK(now.sa_flags & (int)SA_RESETHAND);
    CHECK_SYS(kill(getpid(), SIGCHLD));  // Ignored.
  }
}

int main(void) {
  install(SIGUSR1, keep_info, SA_RESTART, 0);
  install(SIGRTMIN + 1, keep_info, 0, 0);
  run_threads(kThreads, contents);
  install(SIGSEGV, on_fault, 0, 0);
  run_threads(kThreads, faults);
  install(SIGSEGV, jump_out, 0, 0);
  install(SIGUSR2, jump_out, 0, 0);
  run_threads(kThreads, jumps);
  install(SIGRTMIN + 2, nodefer, SA_NODEFER, 0);
  install(SIGUSR2, inner, 0, 0);
  install(SIGTERM, inner, 0, 0);
  install(SIGHUP, outer, 0, SIGUSR2);
  run_threads(kThreads, nests);
  install(SIGRTMIN + 3, see_stack, SA_ONSTACK, 0);
  install(SIGRTMIN + 4, see_stack, SA_ONSTACK, 0);
  install(SIGRTMIN + 5, see_stack, 0, 0);
  run_threads(kThreads, stacks);
  install(SIGRTMIN + 6, block_after, 0, 0);
  run_threads(kThreads, edits);
  reset_hand();
  return 0;
}
