// Shows programs that close every descriptor from 3 to the limit, as daemons do, before and after they have threads,
// while threads are about: input and output go on as if nothing but the program's own had been closed.
#include "io.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

namespace {

void traffic() {
  parallel(6, [](int index) {
    const Channel channel = kStreams[index % 3]();
    Call reader([channel] {
      char bytes[1000];
      CHECK_EQ(read_fully(channel.in, bytes, sizeof bytes), sizeof bytes);
      check_stamps(bytes, sizeof bytes, 0);
      pollfd wanted = {channel.in, POLLIN, 0};
      return poll(&wanted, 1, 2);
    });
    reader.settle();
    char bytes[1000];
    put_stamps(bytes, sizeof bytes, 0);
    CHECK_EQ(write(channel.out, bytes, 500), 500);
    stir(static_cast<unsigned>(index));
    CHECK_EQ(write(channel.out, bytes + 500, 500), 500);
    CHECK_EQ(reader.result(), 0);
    channel.close_both();
    const int event = eventfd(0, 0), set = epoll_create1(0);
    CHECK_SYS(event);
    epoll_event interest = {};
    interest.events = EPOLLIN;
    CHECK_SYS(epoll_ctl(set, EPOLL_CTL_ADD, event, &interest));
    Call waits([set] {
      epoll_event got;
      return epoll_wait(set, &got, 1, -1);
    });
    waits.settle();
    const uint64_t one = 1;
    CHECK_EQ(write(event, &one, sizeof one), 8);
    CHECK_EQ(waits.result(), 1);
    CHECK_SYS(close(event));
    CHECK_SYS(close(set));
    usleep(100);
  });
}

void close_one_by_one() {
  rlimit limit;
  CHECK_SYS(getrlimit(RLIMIT_NOFILE, &limit));
  const int end = limit.rlim_cur > 65536 ? 65536 : static_cast<int>(limit.rlim_cur);
  for (int fd = 3; fd < end; fd++) {
    if (close(fd) == -1) CHECK_EQ(errno, EBADF);
  }
}

// Puts something else at every number, and takes it away again.
void overwrite_all() {
  for (int fd = 3; fd < 300; fd++) CHECK_EQ(dup2(0, fd), fd);
  traffic();
  close_one_by_one();
}

int in_child(void (*body)()) {
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    body();
    _exit(0);
  }
  return wait_status(child);
}

}  // namespace

int main() {
  // Before the first thread.
  CHECK_EQ(in_child([] {
             close_one_by_one();
             traffic();
           }),
           0);
  traffic();
  // After, in the process that has them.
  close_one_by_one();
  traffic();
  closefrom(3);
  traffic();
  CHECK_SYS(close_range(3, UINT32_MAX, 0));
  traffic();
  overwrite_all();
  traffic();
  // While a thread waits without a descriptor among those.
  Channel low = pipe_channel();
  Call sleeper([] { return poll(nullptr, 0, 20); });
  Call reader([low] {
    char byte;
    return read(low.in, &byte, 1);
  });
  reader.settle();
  sleeper.settle();
  for (int fd = 3; fd < 2000; fd++) {
    if (fd != low.in && fd != low.out) close(fd);
  }
  CHECK_EQ(write(low.out, "x", 1), 1);
  CHECK_EQ(reader.result(), 1);
  CHECK_EQ(sleeper.result(), 0);
  low.close_both();
  // In the child of a fork, as a daemon.
  CHECK_EQ(in_child([] {
             CHECK_SYS(setsid());
             close_one_by_one();
             traffic();
             CHECK_EQ(in_child([] {
                        closefrom(0);
                        CHECK_EQ(open("/dev/null", O_RDWR), 0);
                        CHECK_EQ(dup(0), 1);
                        CHECK_EQ(dup(0), 2);
                        traffic();
                      }),
                      0);
             traffic();
           }),
           0);
  traffic();
  return 0;
}
