// Shows the signals of descriptors (O_ASYNC): to the process, with a signal of its own that names the descriptor, and
// to the one thread that was named and leaves them open.
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>

static atomic_int handled, from_fd;
static pthread_t handler_thread;

static void on_signal(int signal, siginfo_t* info, void* context) {
  (void)context;
  if (signal == SIGRTMIN + 1) {
    CHECK_EQ(info->si_code, POLL_IN);
    atomic_store(&from_fd, info->si_fd);
  }
  handler_thread = pthread_self();
  atomic_fetch_add(&handled, 1);
}

static void send_and_wait(int fd) {
  atomic_store(&handled, 0);
  CHECK_EQ(write(fd, "x", 1), 1);
  EVENTUALLY(atomic_load(&handled) != 0);
}

static void* to_thread(void* arg) {
  sigset_t open;
  sigemptyset(&open);
  sigaddset(&open, SIGIO);
  sigaddset(&open, SIGRTMIN + 1);
  int ends[2];
  char c;
  CHECK_SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  struct f_owner_ex owner = {.type = F_OWNER_TID, .pid = gettid()}, now;
  CHECK_SYS(fcntl(ends[0], F_SETOWN_EX, &owner));
  CHECK_SYS(fcntl(ends[0], F_GETOWN_EX, &now));
  CHECK_EQ(now.type, F_OWNER_TID);
  CHECK_EQ(now.pid, gettid());
  CHECK_SYS(fcntl(ends[0], F_SETFL, O_ASYNC));
  CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &open, NULL));
  send_and_wait(ends[1]);
  CHECK(pthread_equal(handler_thread, pthread_self()));
  CHECK_SYS(fcntl(ends[0], F_SETSIG, SIGRTMIN + 1));
  CHECK_EQ(read(ends[0], &c, 1), 1);
  send_and_wait(ends[1]);
  CHECK_EQ(atomic_load(&from_fd), ends[0]);
  CHECK(pthread_equal(handler_thread, pthread_self()));
  owner = (struct f_owner_ex){.type = F_OWNER_PID, .pid = getpid()};
  CHECK_SYS(fcntl(ends[0], F_SETOWN_EX, &owner));
  CHECK_SYS(fcntl(ends[0], F_GETOWN_EX, &now));
  CHECK_EQ(now.type, F_OWNER_PID);
  CHECK_EQ(now.pid, getpid());
  CHECK_EQ(read(ends[0], &c, 1), 1);
  send_and_wait(ends[1]);
  owner = (struct f_owner_ex){.type = F_OWNER_TID, .pid = 0x0fffffff};
  CHECK_ERRNO(fcntl(ends[0], F_SETOWN_EX, &owner), ESRCH);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &open, NULL));
  close(ends[0]);
  close(ends[1]);
  return arg;
}

static void* idles(void* arg) {
  for (;;) sleep(100);
  return arg;
}

int main(void) {
  sigset_t both;
  sigemptyset(&both);
  sigaddset(&both, SIGIO);
  sigaddset(&both, SIGRTMIN + 1);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &both, NULL));
  struct sigaction action = {.sa_flags = SA_SIGINFO | SA_RESTART};
  action.sa_sigaction = on_signal;
  CHECK_SYS(sigaction(SIGIO, &action, NULL));
  CHECK_SYS(sigaction(SIGRTMIN + 1, &action, NULL));
  pthread_t thread;
  CHECK_OK(pthread_create(&thread, NULL, idles, NULL));
  run_threads(1, to_thread);
  to_thread(NULL);
  return 0;
}
