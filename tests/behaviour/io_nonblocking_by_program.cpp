// Shows that O_NONBLOCK is the program's: a call after it is set gives EAGAIN and one after it is cleared waits,
// however it was set: fcntl, FIONBIO, through a dup'ed descriptor, by another process, by SOCK_NONBLOCK and pipe2; and
// that per-call forms give EAGAIN without it.
#include "io.h"

namespace {

ssize_t get(int fd) {
  char bytes[10];
  return read(fd, bytes, sizeof bytes);
}

// Switches by one of the ways.
void switch_nonblocking(int way, int fd, bool on) {
  const int value = on;
  int other;
  pid_t child;
  switch (way) {
    case 0: set_nonblocking(fd, on); break;
    case 1: CHECK_SYS(ioctl(fd, FIONBIO, &value)); break;
    case 2:
      other = dup(fd);
      CHECK_SYS(other);
      set_nonblocking(other, on);
      CHECK_SYS(close(other));
      break;
    case 3:
      other = fcntl(fd, F_DUPFD_CLOEXEC, 100);
      CHECK_SYS(other);
      CHECK_SYS(ioctl(other, FIONBIO, &value));
      CHECK_SYS(close(other));
      break;
    default:
      child = fork();
      CHECK_SYS(child);
      if (child == 0) {
        set_nonblocking(fd, on);
        _exit(0);
      }
      CHECK_EQ(wait_status(child), 0);
  }
}

void read_both_ways(Channel channel, int way) {
  // First a read that waits, so that whatever is remembered of the descriptor is remembered.
  for (int round = 0; round < 2; round++) {
    Call waits([channel] { return get(channel.in); });
    waits.settle();
    CHECK_EQ(write(channel.out, "12345", 5), 5);
    CHECK_EQ(waits.result(), 5);
    switch_nonblocking(way, channel.in, true);
    CHECK_ERRNO(get(channel.in), EAGAIN);
    Call does_not([channel] { return get(channel.in); });
    CHECK_FAILED(does_not, EAGAIN);
    CHECK_EQ(write(channel.out, "123", 3), 3);
    CHECK_EQ(get(channel.in), 3);
    CHECK_ERRNO(get(channel.in), EAGAIN);
    CHECK_EQ(flags_of(channel.in) & O_NONBLOCK, O_NONBLOCK);
    switch_nonblocking(way, channel.in, false);
  }
  channel.close_both();
}

// A flag set while a thread waits: a pipe's or UNIX socket's reader, once in the kernel, need not look at it again, but
// its next read does.
void set_while_waiting(Channel channel, int way) {
  std::atomic<bool> entered{false};
  Call reader([channel, &entered] {
    entered = true;
    ssize_t n = get(channel.in);
    // The flag may have come before this thread waited.
    if (n == -1) return n;
    CHECK_EQ(n, 1);
    return get(channel.in);
  });
  EVENTUALLY(entered);
  reader.settle();
  switch_nonblocking(way, channel.in, true);
  if (!reader.done()) CHECK_EQ(write(channel.out, "x", 1), 1);
  CHECK_FAILED(reader, EAGAIN);
  channel.close_both();
}

// The same for writers: one that waits, and one that comes after the flag.
void set_while_writing(Channel channel, int way) {
  fill_up(channel.out);
  static char bytes[4096];
  Call waits([channel] { return write(channel.out, bytes, sizeof bytes); });
  waits.settle();
  switch_nonblocking(way, channel.out, true);
  Call does_not([channel] {
    ssize_t n;
    do n = write(channel.out, bytes, sizeof bytes);
    while (n > 0);
    return n;
  });
  CHECK_FAILED(does_not, EAGAIN);
  Call drain([channel] {
    char sink[4096];
    ssize_t n;
    do n = read(channel.in, sink, sizeof sink);
    while (n > 0);
    return n;
  });
  CHECK(waits.result() > 0 || waits.error() == EAGAIN);
  CHECK_SYS(close(channel.out));
  CHECK_EQ(drain.result(), 0);
  CHECK_SYS(close(channel.in));
}

}  // namespace

int main() {
  for (auto make : kStreams) {
    for (int way = 0; way < 5; way++) {
      read_both_ways(make(), way);
      set_while_waiting(make(), way);
      set_while_writing(make(), way);
    }
  }
  parallel(10, [](int index) { read_both_ways(kStreams[index % 3](), index % 4); });
  // Born so.
  int ends[2];
  CHECK_SYS(pipe2(ends, O_NONBLOCK));
  parallel(4, [&](int) { CHECK_ERRNO(get(ends[0]), EAGAIN); });
  set_nonblocking(ends[0], false);
  Call waits([&] { return get(ends[0]); });
  waits.settle();
  CHECK_EQ(write(ends[1], "x", 1), 1);
  CHECK_EQ(waits.result(), 1);
  CHECK_SYS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends));
  parallel(4, [&](int) { CHECK_ERRNO(get(ends[0]), EAGAIN); });
  sockaddr_in address;
  const int listener = listening_socket(&address);
  Call connection([&] {
    const int fd = accept(listener, nullptr, nullptr);
    CHECK_SYS(fd);
    CHECK_SYS(close(fd));
    set_nonblocking(listener, true);
    return accept(listener, nullptr, nullptr);
  });
  connection.settle();
  CHECK_SYS(close(connected_socket(address)));
  CHECK_FAILED(connection, EAGAIN);
  // accept4's flag, and connect in progress.
  const int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  CHECK_SYS(client);
  if (connect(client, plain(&address), sizeof address) == -1) CHECK_EQ(errno, EINPROGRESS);
  pollfd ready = {listener, POLLIN, 0};
  CHECK_EQ(poll(&ready, 1, -1), 1);
  const int served = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  CHECK_SYS(served);
  CHECK_EQ(flags_of(served) & O_NONBLOCK, O_NONBLOCK);
  parallel(4, [&](int) { CHECK_ERRNO(get(served), EAGAIN); });

  // Per-call forms on descriptors that block, while others wait on them.
  for (auto make : kStreams) {
    const Channel channel = make();
    Call waiting([channel] { return get(channel.in); });
    waiting.settle();
    char byte;
    iovec piece = {&byte, 1};
    CHECK_ERRNO(preadv2(channel.in, &piece, 1, -1, RWF_NOWAIT), EAGAIN);
    if (make != kStreams[0]) CHECK_ERRNO(recv(channel.in, &byte, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(write(channel.out, "x", 1), 1);
    CHECK_EQ(waiting.result(), 1);
    channel.close_both();
  }
  return 0;
}
