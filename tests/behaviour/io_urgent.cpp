// Shows TCP's urgent data: MSG_OOB and SO_OOBINLINE, sockatmark, POLLPRI and exceptfds, and reads that stop short at
// the mark with more behind it, which the next read gets without anything new coming.
#include "io.h"

#include <sys/epoll.h>
#include <sys/select.h>

namespace {

std::atomic<int> urgent;

void read_around_the_mark(bool in_line) {
  const Channel channel = tcp_channel();
  const int on = in_line;
  CHECK_SYS(setsockopt(channel.in, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on));
  Call reader([channel, in_line] {
    char bytes[100] = {};
    // What is there first comes whole or in two pieces; what lies behind the mark comes by a read of its own.
    size_t before = 0;
    while (before < 4) {
      const ssize_t n = read(channel.in, bytes + before, sizeof bytes - before);
      CHECK(n > 0 && n <= 4);
      before += static_cast<size_t>(n);
    }
    CHECK_EQ(before, 4);
    CHECK_EQ(memcmp(bytes, "norm", 4), 0);
    // The urgent byte may still be on its way.
    EVENTUALLY(sockatmark(channel.in) == 1);
    if (in_line) {
      CHECK_ERRNO(recv(channel.in, bytes, 1, MSG_OOB), EINVAL);
    } else {
      pollfd wanted = {channel.in, POLLPRI, 0};
      CHECK_EQ(poll(&wanted, 1, -1), 1);
      CHECK_EQ(wanted.revents, POLLPRI);
      CHECK_EQ(recv(channel.in, bytes, 1, MSG_OOB), 1);
      CHECK_EQ(bytes[0], '!');
    }
    const size_t wanted = in_line ? 6 : 5;
    CHECK_EQ(read_fully(channel.in, bytes, wanted), wanted);
    CHECK_EQ(memcmp(bytes, in_line ? "!after" : "after", wanted), 0);
    CHECK_EQ(sockatmark(channel.in), 0);
    return 0;
  });
  reader.settle();
  CHECK_EQ(send(channel.out, "norm", 4, 0), 4);
  CHECK_EQ(send(channel.out, "!", 1, MSG_OOB), 1);
  CHECK_EQ(send(channel.out, "after", 5, 0), 5);
  CHECK_EQ(reader.result(), 0);
  channel.close_both();
}

// All of it is there before the first read, which then stops at the mark with a buffer that is not full.
void short_read_at_the_mark() {
  const Channel channel = tcp_channel();
  CHECK_EQ(send(channel.out, "12345!", 6, MSG_OOB), 6);
  CHECK_EQ(send(channel.out, "6789", 4, 0), 4);
  int there = 0;
  while (there < 5) CHECK_SYS(ioctl(channel.in, FIONREAD, &there));
  pollfd pri = {channel.in, POLLPRI, 0};
  CHECK_EQ(poll(&pri, 1, -1), 1);
  // Several streams read by several threads, so that the second read may be made elsewhere.
  Call reader([channel] {
    char bytes[100];
    CHECK_EQ(read(channel.in, bytes, sizeof bytes), 5);
    stir(3);
    CHECK_EQ(read_fully(channel.in, bytes, 4), 4);
    CHECK_EQ(memcmp(bytes, "6789", 4), 0);
    return 0;
  });
  CHECK_EQ(reader.result(), 0);
  channel.close_both();
}

void waits_for_urgent_data() {
  const Channel channel = tcp_channel();
  Call by_poll([channel] {
    pollfd wanted = {channel.in, POLLPRI, 0};
    CHECK_EQ(poll(&wanted, 1, -1), 1);
    return wanted.revents;
  });
  Call by_select([channel] {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(channel.in, &set);
    const int n = select(channel.in + 1, nullptr, nullptr, &set, nullptr);
    CHECK(FD_ISSET(channel.in, &set));
    return n;
  });
  Call by_epoll([channel] {
    const int set = epoll_create1(0);
    CHECK_SYS(set);
    epoll_event event = {};
    event.events = EPOLLPRI;
    CHECK_SYS(epoll_ctl(set, EPOLL_CTL_ADD, channel.in, &event));
    CHECK_EQ(epoll_wait(set, &event, 1, -1), 1);
    close(set);
    return event.events;
  });
  by_poll.settle();
  by_select.settle();
  by_epoll.settle();
  CHECK_SYS(fcntl(channel.in, F_SETOWN, getpid()));
  urgent = 0;
  CHECK_EQ(send(channel.out, "!", 1, MSG_OOB), 1);
  CHECK_EQ(by_poll.result(), POLLPRI);
  CHECK_EQ(by_select.result(), 1);
  CHECK_EQ(by_epoll.result(), EPOLLPRI);
  EVENTUALLY(urgent == 1);
  // The urgent byte is nothing that a read returns: it passes over it, and then nobody is told of it any more.
  Call reader([channel] {
    char bytes[10];
    return read(channel.in, bytes, sizeof bytes);
  });
  reader.settle();
  CHECK(!reader.done());
  CHECK_EQ(send(channel.out, "plain", 5, 0), 5);
  CHECK_EQ(reader.result(), 5);
  channel.close_both();
}

}  // namespace

int main() {
  on_signal(
      SIGURG, [](int) { urgent++; }, SA_RESTART);
  for (int round = 0; round < 10; round++) {
    read_around_the_mark(false);
    read_around_the_mark(true);
    short_read_at_the_mark();
    waits_for_urgent_data();
  }
  parallel(8, [](int) { short_read_at_the_mark(); });
  const Channel channel = tcp_channel();
  char byte;
  CHECK_ERRNO(recv(channel.in, &byte, 1, MSG_OOB), EINVAL);
  channel.close_both();
  return 0;
}
