// Shows that each of thousands of threads is found by its id (tgkill and others), again after many more have come and
// gone, and that the id of one that has ended names nobody.
// run: native=no
#include "check.h"

#include <linux/futex.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { kThreads = 5000, kPassing = 20000 };

static pid_t ids[kThreads];
static int got[kThreads];
static int ready, over;
static __thread int self = -1;

static void on_signal(int signal) {
  (void)signal;
  __atomic_add_fetch(&got[self], 1, __ATOMIC_SEQ_CST);
}

static void* stays(void* arg) {
  self = (int)(intptr_t)arg;
  ids[self] = gettid();
  __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
  while (!__atomic_load_n(&over, __ATOMIC_SEQ_CST)) syscall(SYS_futex, &over, FUTEX_WAIT_PRIVATE, 0, NULL);
  return arg;
}

static void* passes(void* id) {
  *(pid_t*)id = gettid();
  return NULL;
}

static void signal_all(int round) {
  for (int i = 0; i < kThreads; i++) CHECK_SYS(tgkill(getpid(), ids[i], SIGUSR1));
  for (int i = 0; i < kThreads; i++) EVENTUALLY(__atomic_load_n(&got[i], __ATOMIC_SEQ_CST) == round);
  const int mine = getpriority(PRIO_PROCESS, 0);
  for (int i = 0; i < kThreads; i++) CHECK_EQ(getpriority(PRIO_PROCESS, (id_t)ids[i]), mine);
}

int main(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  CHECK_SYS(sigaction(SIGUSR1, &action, NULL));
  pthread_t threads[kThreads];
  for (intptr_t i = 0; i < kThreads; i++) CHECK_OK(pthread_create(&threads[i], NULL, stays, (void*)i));
  EVENTUALLY(__atomic_load_n(&ready, __ATOMIC_SEQ_CST) == kThreads);
  signal_all(1);
  for (int i = 0; i < kPassing; i++) {
    pid_t id = 0;
    pthread_t thread;
    CHECK_OK(pthread_create(&thread, NULL, passes, &id));
    CHECK_OK(pthread_join(thread, NULL));
    if (i % 1000 == 0) CHECK_ERRNO(tgkill(getpid(), id, SIGUSR1), ESRCH);
    if (i % 100 == 0) CHECK_SYS(tgkill(getpid(), getpid(), 0));
  }
  signal_all(2);
  __atomic_store_n(&over, 1, __ATOMIC_SEQ_CST);
  syscall(SYS_futex, &over, FUTEX_WAKE_PRIVATE, kThreads);
  for (int i = 0; i < kThreads; i++) CHECK_OK(pthread_join(threads[i], NULL));
  return 0;
}
