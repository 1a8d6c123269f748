// Shows fork and exec while threads wait for input: the child's own input and output work, alone and with threads of
// its own, on the parent's descriptors and on new ones; what it closes stays open in the parent, whose threads go on
// waiting and get what comes, from the child too.
#include "io.h"

#include <spawn.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

extern char** environ;

namespace {

void traffic(int index) {
  const Channel channel = kStreams[index % 3]();
  Call reader([channel] {
    char bytes[100];
    return read_fully(channel.in, bytes, sizeof bytes);
  });
  if (index % 2 == 0) reader.settle();
  char bytes[100] = {};
  CHECK_EQ(write(channel.out, bytes, 50), 50);
  stir(static_cast<unsigned>(index));
  CHECK_EQ(write(channel.out, bytes, 50), 50);
  CHECK_EQ(reader.result(), 100);
  channel.close_both();
}

constexpr int kWaiters = 6;

// A child that does one of several things with what it inherits; each sends one byte to each of the parent's waiters.
void child(int way, const Channel* channels) {
  switch (way) {
    case 0: break;
    case 1: parallel(6, traffic); break;
    case 2:
      // Closes the ends at which the parent waits, and reuses their numbers.
      for (int i = 0; i < kWaiters; i++) CHECK_SYS(close(channels[i].in));
      parallel(6, traffic);
      break;
    case 3: {
      // Waits itself for what it sends itself.
      const Channel own = pipe_channel();
      Call reader([own] {
        char byte;
        return read(own.in, &byte, 1);
      });
      reader.settle();
      const pid_t grandchild = fork();
      CHECK_SYS(grandchild);
      if (grandchild == 0) {
        parallel(3, traffic);
        CHECK_EQ(write(own.out, "x", 1), 1);
        _exit(0);
      }
      CHECK_EQ(reader.result(), 1);
      CHECK_EQ(wait_status(grandchild), 0);
      break;
    }
    default: {
      // Sleeps and polls, alone.
      pollfd wanted = {channels[0].in, 0, 0};
      CHECK_EQ(poll(&wanted, 1, 2), 0);
    }
  }
  for (int i = 0; i < kWaiters; i++) CHECK_EQ(write(channels[i].out, "c", 1), 1);
  _exit(7);
}

void fork_while_waiting(int way) {
  Channel channels[kWaiters];
  for (int i = 0; i < kWaiters; i++) channels[i] = kStreams[i % 3]();
  pthread_t waiters = spawn([&] {
    parallel(kWaiters, [&](int i) {
      char byte;
      pollfd wanted = {channels[i].in, POLLIN, 0};
      if (i % 2 == 0) CHECK_EQ(poll(&wanted, 1, -1), 1);
      CHECK_EQ(read(channels[i].in, &byte, 1), 1);
      CHECK_EQ(byte, 'c');
      CHECK_EQ(read(channels[i].in, &byte, 1), 1);
      CHECK_EQ(byte, 'p');
      CHECK_EQ(read(channels[i].in, &byte, 1), 0);
    });
  });
  usleep(300);
  const pid_t pid = fork();
  CHECK_SYS(pid);
  if (pid == 0) child(way, channels);
  CHECK_EQ(wait_status(pid), 7);
  for (const Channel& c : channels) CHECK_EQ(write(c.out, "p", 1), 1);
  usleep(200);
  for (const Channel& c : channels) CHECK_SYS(close(c.out));
  join(waiters);
  for (const Channel& c : channels) CHECK_SYS(close(c.in));
}

// Programs started while threads wait see exactly the descriptors that are theirs.
void programs_see_only_theirs() {
  const Channel channel = pipe_channel();
  for (int fd : {channel.in, channel.out}) CHECK_SYS(fcntl(fd, F_SETFD, FD_CLOEXEC));
  Call waits([channel] {
    char byte;
    return read(channel.in, &byte, 1);
  });
  waits.settle();
  parallel(3, [](int index) {
    const Channel out = pipe_channel();
    for (int fd : {out.in, out.out}) CHECK_SYS(fcntl(fd, F_SETFD, FD_CLOEXEC));
    posix_spawn_file_actions_t actions;
    CHECK_OK(posix_spawn_file_actions_init(&actions));
    CHECK_OK(posix_spawn_file_actions_adddup2(&actions, out.out, 1));
    char script[] = "for f in /proc/self/fd/*; do n=${f##*/}; if [ $n -gt 2 ]; then readlink $f; fi; done; echo end";
    char shell[] = "sh", option[] = "-c";
    char* arguments[] = {shell, option, script, nullptr};
    pid_t pid;
    if (index % 2 == 0) {
      CHECK_OK(posix_spawn(&pid, "/bin/sh", &actions, nullptr, arguments, environ));
    } else {
      pid = fork();
      CHECK_SYS(pid);
      if (pid == 0) {
        dup2(out.out, 1);
        execv("/bin/sh", arguments);
        _exit(126);
      }
    }
    CHECK_SYS(close(out.out));
    char text[1000] = {};
    // The shell's own reading of /proc/self/fd may show; nothing of a library that makes threads may.
    const size_t n = read_fully(out.in, text, sizeof text - 1);
    CHECK(n >= 4);
    CHECK(strstr(text, "eventpoll") == nullptr);
    CHECK(strstr(text, "eventfd") == nullptr);
    CHECK(strstr(text, "/task") == nullptr);
    CHECK_EQ(wait_status(pid), 0);
    CHECK_OK(posix_spawn_file_actions_destroy(&actions));
    CHECK_SYS(close(out.in));
  });
  CHECK_EQ(write(channel.out, "x", 1), 1);
  CHECK_EQ(waits.result(), 1);
  channel.close_both();
}

// An epoll set and an eventfd of the program are shared with the child.
void shared_sets() {
  const int set = epoll_create1(0), event = eventfd(0, 0);
  epoll_event interest = {};
  interest.events = EPOLLIN;
  CHECK_SYS(epoll_ctl(set, EPOLL_CTL_ADD, event, &interest));
  Call waits([set] {
    epoll_event got;
    return epoll_wait(set, &got, 1, -1);
  });
  waits.settle();
  const pid_t pid = fork();
  CHECK_SYS(pid);
  if (pid == 0) {
    const uint64_t one = 1;
    CHECK_EQ(write(event, &one, sizeof one), 8);
    Call also([set] {
      epoll_event got;
      return epoll_wait(set, &got, 1, -1);
    });
    CHECK_EQ(also.result(), 1);
    _exit(0);
  }
  CHECK_EQ(wait_status(pid), 0);
  CHECK_EQ(waits.result(), 1);
  CHECK_SYS(close(set));
  CHECK_SYS(close(event));
}

}  // namespace

int main() {
  for (int round = 0; round < 3; round++) {
    for (int way = 0; way < 5; way++) fork_while_waiting(way);
    programs_see_only_theirs();
    shared_sets();
  }
  return 0;
}
