// Shows that calls which wait are neither cut short nor turned into others by what interrupts their thread, as long as
// the program has no handler: libc's own calls and those of the runtime.
// run: env=GOSHIM_CHAOS_PREEMPT=50 limit=60
#include "check.h"

#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>

static int silent[2], epoll_fd;
static sem_t* semaphore;  // Process-shared: libc's.

static void* wait_a_little(void* arg) {
  struct pollfd none = {silent[0], POLLIN, 0};
  struct timespec ms = {0, 1000000}, left;
  struct timeval receive = {0, 1000};
  int pair[2];
  CHECK_SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  CHECK_SYS(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &receive, sizeof receive));
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  for (int i = 0; i < 60; i++) {
    CHECK_EQ(poll(NULL, 0, 1), 0);
    CHECK_EQ(poll(&none, 1, 1), 0);
    CHECK_EQ(ppoll(&none, 1, &ms, NULL), 0);
    fd_set in;
    FD_ZERO(&in);
    FD_SET(silent[0], &in);
    struct timeval limit = {0, 1000};
    CHECK_EQ(select(silent[0] + 1, &in, NULL, NULL, &limit), 0);
    struct epoll_event event;
    CHECK_EQ(epoll_wait(epoll_fd, &event, 1, 1), 0);
    CHECK_EQ(nanosleep(&ms, &left), 0);
    CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &ms, NULL), 0);
    CHECK_EQ(usleep(100), 0);
    const struct timespec until = ms_from_now(CLOCK_REALTIME, 1);
    CHECK_ERRNO(sem_timedwait(semaphore, &until), ETIMEDOUT);
    CHECK_ERRNO(sigtimedwait(&set, NULL, &ms), EAGAIN);
    char c;
    CHECK_ERRNO(recv(pair[0], &c, 1, 0), EAGAIN);
    compute(20000);
  }
  close(pair[0]);
  close(pair[1]);
  return arg;
}

int main(void) {
  CHECK_SYS(pipe(silent));
  CHECK_SYS(epoll_fd = epoll_create1(0));
  struct epoll_event event = {.events = EPOLLIN};
  CHECK_SYS(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, silent[0], &event));
  semaphore = mmap(NULL, sizeof *semaphore, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(semaphore != MAP_FAILED);
  CHECK_SYS(sem_init(semaphore, 1, 0));
  run_threads(12, wait_a_little);
  return 0;
}
