// Shows that a handler that jumped out of pthread_kill(), before there was another thread, leaves nothing behind: the
// thread can be interrupted afterwards.
#include "check.h"

#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>

static sigjmp_buf back;
static atomic_int stop;

static void on_signal(int signal) { siglongjmp(back, signal); }

static void* set_stop(void* arg) {
  atomic_store(&stop, 1);
  return arg;
}

int main(void) {
  struct sigaction action = {.sa_handler = on_signal};
  CHECK_SYS(sigaction(SIGUSR1, &action, NULL));
  if (sigsetjmp(back, 1) == 0) {
    CHECK_OK(pthread_kill(pthread_self(), SIGUSR1));
    CHECK(!"the handler has jumped");
  }
  pthread_t thread;
  CHECK_OK(pthread_create(&thread, NULL, set_stop, NULL));
  while (!atomic_load(&stop)) {
  }
  CHECK_OK(pthread_join(thread, NULL));
  return 0;
}
