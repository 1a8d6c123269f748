// Shows that the child of a fork in a handler that has interrupted a write in the middle gets back, as its parent, how
// much was written before: from a pipe and from a socket.
#include "check.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { kSize = 4 << 20 };

static int ends[2];
static pid_t parent;
static volatile pid_t child;
static volatile sig_atomic_t interrupted;

static void on_signal(int signal) {
  (void)signal;
  if (interrupted++) return;
  child = fork();
  CHECK_SYS(child);
}

static void* writes(void* arg) {
  char* bytes = calloc(1, kSize);
  const ssize_t wrote = write(ends[1], bytes, kSize);
  CHECK(wrote > 0 && wrote < kSize);
  if (getpid() != parent) _exit(0);
  free(bytes);
  return arg;
}

static void interrupt_it(void) {
  pthread_t writer;
  int there = 0, before = -1, status;
  interrupted = 0;
  CHECK_OK(pthread_create(&writer, NULL, writes, NULL));
  // Until nothing more goes in.
  while (there == 0 || there != before) {
    before = there;
    sleep_ms(5);
    CHECK_SYS(ioctl(ends[0], FIONREAD, &there));
  }
  CHECK_OK(pthread_kill(writer, SIGUSR1));
  CHECK_OK(pthread_join(writer, NULL));
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
  close(ends[0]);
  close(ends[1]);
}

int main(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  CHECK_SYS(sigaction(SIGUSR1, &action, NULL));
  parent = getpid();
  CHECK_SYS(pipe(ends));
  interrupt_it();
  CHECK_SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  interrupt_it();
  return 0;
}
