// Shows that input and output go on when the kernel refuses what a poller is made of: epoll_create1 and eventfd2 fail
// with EMFILE or ENOMEM, descriptors cannot be added to an epoll instance, or a newer call does not exist; from the
// start, or from some moment on while threads already wait. A filter of system calls (seccomp) refuses them.
#include "io.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

namespace {

struct Refusal {
  const char* what;
  int error;
  std::initializer_list<unsigned> calls;
};

const Refusal kRefusals[] = {
    {"no epoll instance, too many files", EMFILE, {SYS_epoll_create1}},
    {"no epoll instance, no memory", ENOMEM, {SYS_epoll_create1}},
    {"no event descriptor, too many files", EMFILE, {SYS_eventfd2}},
    {"no event descriptor, no memory", ENOMEM, {SYS_eventfd2}},
    {"nothing can be added, no memory", ENOMEM, {SYS_epoll_ctl}},
    {"nothing can be added, no space", ENOSPC, {SYS_epoll_ctl}},
    {"no waits in microseconds", ENOSYS, {SYS_epoll_pwait2}},
    {"no memory file", EMFILE, {SYS_memfd_create}},
    {"no descriptors of processes", EMFILE, {SYS_pidfd_open, SYS_pidfd_getfd}},
    {"none of them", ENOMEM, {SYS_epoll_create1, SYS_eventfd2, SYS_epoll_ctl, SYS_memfd_create, SYS_pidfd_open}},
};

// From now on for all threads. False where there are no filters.
bool refuse(const Refusal& refusal) {
  sock_filter program[16];
  unsigned short length = 0;
  const auto add = [&](sock_filter step) { program[length++] = step; };
  add(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  for (unsigned call : refusal.calls) {
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1));
    add(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(refusal.error)));
  }
  add(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog all = {length, program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &all) == 0;
}

// Both directions of a channel in turn, by two threads.
void ping_pong(Channel channel, int rounds) {
  const pthread_t other = spawn([=] {
    char byte;
    for (int i = 0; i < rounds; i++) {
      CHECK_EQ(read(channel.in, &byte, 1), 1);
      CHECK_EQ(byte, stamp(static_cast<uint64_t>(i)));
      CHECK_EQ(write(channel.in, &byte, 1), 1);
    }
  });
  for (int i = 0; i < rounds; i++) {
    char byte = stamp(static_cast<uint64_t>(i));
    CHECK_EQ(write(channel.out, &byte, 1), 1);
    CHECK_EQ(read(channel.out, &byte, 1), 1);
    CHECK_EQ(byte, stamp(static_cast<uint64_t>(i)));
  }
  join(other);
  channel.close_both();
}

// More than the channel holds, so that the writer waits for room.
void stream(Channel channel, size_t size) {
  const pthread_t writer = spawn([=] {
    char* bytes = new char[size];
    put_stamps(bytes, size, 0);
    CHECK_EQ(write(channel.out, bytes, size), size);
    CHECK_SYS(close(channel.out));
    delete[] bytes;
  });
  char* bytes = new char[size + 1];
  CHECK_EQ(read_fully(channel.in, bytes, size + 1), size);
  check_stamps(bytes, size, 0);
  delete[] bytes;
  join(writer);
  CHECK_SYS(close(channel.in));
}

void server(int connections) {
  sockaddr_in address;
  const int listener = listening_socket(&address);
  const pthread_t acceptor = spawn([=] {
    parallel(connections, [=](int) {
      const int fd = accept(listener, nullptr, nullptr);
      CHECK_SYS(fd);
      char bytes[64];
      for (ssize_t n; (n = read(fd, bytes, sizeof bytes)) > 0;) CHECK_EQ(write(fd, bytes, static_cast<size_t>(n)), n);
      CHECK_SYS(close(fd));
    });
  });
  parallel(connections, [=](int i) {
    const int fd = connected_socket(address);
    char bytes[64];
    for (int round = 0; round < 5; round++) {
      put_stamps(bytes, sizeof bytes, static_cast<uint64_t>(i + round));
      CHECK_EQ(write(fd, bytes, sizeof bytes), sizeof bytes);
      CHECK_EQ(read_fully(fd, bytes, sizeof bytes), sizeof bytes);
      check_stamps(bytes, sizeof bytes, static_cast<uint64_t>(i + round));
    }
    CHECK_SYS(close(fd));
  });
  join(acceptor);
  CHECK_SYS(close(listener));
}

void deadlines_and_resets() {
  const Channel channel = tcp_channel();
  const timeval soon = {0, 20000};
  CHECK_SYS(setsockopt(channel.in, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon));
  char byte;
  const int64_t before = now_ns(CLOCK_MONOTONIC);
  CHECK_ERRNO(read(channel.in, &byte, 1), EAGAIN);
  CHECK(elapsed_ms(before) >= 19);
  pollfd none = {channel.in, POLLIN, 0};
  CHECK_EQ(poll(&none, 1, 10), 0);

  const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  CHECK_SYS(timer);
  const itimerspec due = {{0, 0}, {0, 10000000}};
  CHECK_SYS(timerfd_settime(timer, 0, &due, nullptr));
  uint64_t times = 0;
  CHECK_EQ(read(timer, &times, sizeof times), sizeof times);
  CHECK_EQ(times, 1);
  CHECK_SYS(close(timer));

  const timeval never = {0, 0};
  CHECK_SYS(setsockopt(channel.in, SOL_SOCKET, SO_RCVTIMEO, &never, sizeof never));
  Call reader([fd = channel.in] {
    char one;
    return read(fd, &one, 1);
  });
  reader.settle();
  const linger at_once = {1, 0};
  CHECK_SYS(setsockopt(channel.out, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
  CHECK_SYS(close(channel.out));
  CHECK_FAILED(reader, ECONNRESET);
  CHECK_SYS(close(channel.in));
}

void all_of_it() {
  // What needs no descriptor goes on beside it.
  std::atomic<bool> end{false};
  const pthread_t sleeper = spawn([&] {
    while (!end) sleep_ms(1);
  });
  ping_pong(unix_channel(), 30);
  ping_pong(tcp_channel(), 30);
  parallel(6, [](int i) { stream(kStreams[i % 3](), 256 << 10); });
  server(8);
  deadlines_and_resets();
  end = true;
  join(sleeper);
}

// In a child, where nothing has been started yet.
template <class Body>
void in_child(const char* what, Body body) {
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    body();
    _exit(0);
  }
  const int status = wait_status(child);
  if (status == SKIP_STATUS) exit(SKIP_STATUS);
  if (status != 0) check_fail(__FILE__, __LINE__, "%s: exit status %d", what, status);
}

}  // namespace

int main() {
  signal(SIGPIPE, SIG_IGN);
  for (const Refusal& refusal : kRefusals) {
    in_child(refusal.what, [&] {
      if (!refuse(refusal)) _exit(SKIP_STATUS);
      all_of_it();
    });
    in_child(refusal.what, [&] {
      // Some wait already, on descriptors that have been added.
      const Channel early[] = {unix_channel(), tcp_channel(), pipe_channel()};
      parallel(4, [&](int i) {
        if (i == 3) {
          sleep_ms(5);
          if (!refuse(refusal)) _exit(SKIP_STATUS);
          for (const Channel& channel : early) {
            CHECK_EQ(write(channel.out, "x", 1), 1);
          }
        } else {
          char byte;
          CHECK_EQ(read(early[i].in, &byte, 1), 1);
          early[i].close_both();
        }
      });
      all_of_it();
    });
  }
  return 0;
}
