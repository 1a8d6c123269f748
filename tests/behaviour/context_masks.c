// Shows the signal mask that a context (getcontext, makecontext, swapcontext, setcontext) carries: the thread's, as it
// is, with single signals removed, or one that the program has made.
#include "check.h"

#include <signal.h>
#include <ucontext.h>

enum { kStack = 64 * 1024 };

static __thread ucontext_t here, there;
static __thread uint64_t seen;

static uint64_t bits(const sigset_t* set) {
  uint64_t word = 0;
  for (int signal = 1; signal <= SIGRTMAX; signal++) {
    if (sigismember(set, signal) == 1) word |= UINT64_C(1) << (signal - 1);
  }
  return word;
}

static uint64_t mask(void) {
  sigset_t set;
  CHECK_OK(pthread_sigmask(SIG_BLOCK, NULL, &set));
  return bits(&set);
}

static void set_mask(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  CHECK_OK(pthread_sigmask(SIG_SETMASK, &set, NULL));
}

static void body(void) {
  seen = mask();
  set_mask(SIGALRM);
  setcontext(&here);
}

// The mask in a context that was made with SIGUSR1 blocked, and changed by change().
static uint64_t mask_there(void (*change)(sigset_t*)) {
  char* stack = malloc(kStack);
  set_mask(SIGUSR1);
  CHECK_SYS(getcontext(&there));
  there.uc_stack.ss_sp = stack;
  there.uc_stack.ss_size = kStack;
  there.uc_link = NULL;
  change(&there.uc_sigmask);
  makecontext(&there, body, 0);
  set_mask(SIGTERM);
  const uint64_t before = mask();
  CHECK_SYS(swapcontext(&here, &there));
  CHECK_EQ(mask(), before);
  free(stack);
  return seen;
}

static void keep(sigset_t* set) { (void)set; }
static void delete (sigset_t* set) { sigdelset(set, SIGUSR1); }
static void make_small(sigset_t* set) {
  sigemptyset(set);
  sigaddset(set, SIGINT);
}
static void make_large(sigset_t* set) {
  sigfillset(set);
  sigdelset(set, SIGUSR2);
}

static void* contexts(void* arg) {
  const uint64_t usr1 = UINT64_C(1) << (SIGUSR1 - 1);
  CHECK_EQ(mask_there(keep), usr1);
  CHECK_EQ(mask_there(delete), 0);
  CHECK_EQ(mask_there(make_small), UINT64_C(1) << (SIGINT - 1));
  sigset_t wanted;
  sigfillset(&wanted);
  CHECK_OK(pthread_sigmask(SIG_SETMASK, &wanted, NULL));
  const uint64_t all = mask();
  CHECK_EQ(mask_there(make_large), all & ~(UINT64_C(1) << (SIGUSR2 - 1)));
  return arg;
}

int main(void) {
  run_threads(1, contexts);
  run_threads(4, contexts);
  contexts(NULL);
  return 0;
}
