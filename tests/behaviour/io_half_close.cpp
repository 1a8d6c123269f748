// Shows half-closed sockets: shutdown of either direction while threads read and write, by the own end or the other;
// data before the end is not lost, the other direction goes on, and RDHUP is told to those who poll for it.
#include "io.h"

#include <sys/epoll.h>

namespace {

char big[16 << 20];

void other_end_stops_writing(Channel channel) {
  Call reader([channel] {
    char bytes[100];
    size_t got = 0;
    for (;;) {
      const ssize_t n = read(channel.in, bytes, sizeof bytes);
      CHECK_SYS(n);
      if (n == 0) break;
      check_stamps(bytes, static_cast<size_t>(n), got);
      got += static_cast<size_t>(n);
    }
    CHECK_EQ(read(channel.in, bytes, 1), 0);
    // The way back is open.
    CHECK_EQ(write(channel.in, "back", 4), 4);
    return got;
  });
  Call hang_up([channel] {
    pollfd wanted = {channel.in, POLLRDHUP, 0};
    CHECK_EQ(poll(&wanted, 1, -1), 1);
    return wanted.revents;
  });
  Call by_epoll([channel] {
    const int set = epoll_create1(0);
    CHECK_SYS(set);
    epoll_event event = {};
    event.events = EPOLLRDHUP | EPOLLET;
    CHECK_SYS(epoll_ctl(set, EPOLL_CTL_ADD, channel.in, &event));
    CHECK_EQ(epoll_wait(set, &event, 1, -1), 1);
    close(set);
    return event.events;
  });
  reader.settle();
  by_epoll.settle();
  char bytes[1000];
  put_stamps(bytes, sizeof bytes, 0);
  CHECK_EQ(write(channel.out, bytes, sizeof bytes), sizeof bytes);
  CHECK_SYS(shutdown(channel.out, SHUT_WR));
  CHECK_EQ(reader.result(), sizeof bytes);
  CHECK_EQ(hang_up.result(), POLLRDHUP);
  CHECK_EQ(by_epoll.result(), EPOLLRDHUP);
  CHECK_EQ(read_fully(channel.out, bytes, 4), 4);
  CHECK_ERRNO(send(channel.out, "x", 1, MSG_NOSIGNAL), EPIPE);
  channel.close_both();
}

// shutdown in this process wakes the readers and writers of the same socket.
void own_end_stops(Channel channel) {
  Call read_one([channel] {
    char byte;
    return read(channel.in, &byte, 1);
  });
  Call read_two([channel] {
    char bytes[10];
    return recv(channel.in, bytes, sizeof bytes, MSG_WAITALL);
  });
  read_one.settle();
  read_two.settle();
  CHECK_SYS(shutdown(channel.in, SHUT_RD));
  CHECK_EQ(read_one.result(), 0);
  CHECK_EQ(read_two.result(), 0);
  char byte;
  CHECK_EQ(read(channel.in, &byte, 1), 0);
  // The other direction works.
  CHECK_EQ(write(channel.in, "x", 1), 1);
  CHECK_EQ(read(channel.out, &byte, 1), 1);

  Call writer([channel] { return send(channel.in, big, sizeof big, MSG_NOSIGNAL); });
  CHECK_EQ(read(channel.out, &byte, 1), 1);
  writer.settle();
  CHECK_SYS(shutdown(channel.in, SHUT_WR));
  const long sent = writer.result();
  CHECK(sent >= 1 && sent < static_cast<long>(sizeof big));
  CHECK_ERRNO(send(channel.in, "x", 1, MSG_NOSIGNAL), EPIPE);
  // What was taken before arrives, then the end.
  char* sink = new char[sizeof big];
  CHECK_EQ(read_fully(channel.out, sink, sizeof big), sent - 1);
  check_stamps(sink, static_cast<size_t>(sent) - 1, 1);
  delete[] sink;
  channel.close_both();
}

void both_ways_at_once(Channel channel) {
  constexpr size_t kSize = 300000;
  parallel(4, [channel](int index) {
    const int fd = index % 2 == 0 ? channel.in : channel.out;
    if (index < 2) {
      CHECK_EQ(write(fd, big, kSize), kSize);
      CHECK_SYS(shutdown(fd, SHUT_WR));
    } else {
      char* sink = new char[kSize + 1];
      CHECK_EQ(read_fully(fd, sink, kSize + 1), kSize);
      check_stamps(sink, kSize, 0);
      delete[] sink;
    }
  });
  pollfd both[] = {{channel.in, POLLIN, 0}, {channel.out, POLLIN, 0}};
  CHECK_EQ(poll(both, 2, -1), 2);
  CHECK_EQ(both[0].revents & POLLHUP, POLLHUP);
  channel.close_both();
}

}  // namespace

int main() {
  put_stamps(big, sizeof big, 0);
  for (int round = 0; round < 3; round++) {
    for (auto make : kStreamSockets) {
      other_end_stops_writing(make());
      own_end_stops(make());
      both_ways_at_once(make());
    }
  }
  // shutdown of a listening socket wakes those in accept.
  sockaddr_in address;
  const int listener = listening_socket(&address);
  Call waiting([listener] { return accept(listener, nullptr, nullptr); });
  waiting.settle();
  CHECK_SYS(shutdown(listener, SHUT_RD));
  CHECK_FAILED(waiting, EINVAL);
  CHECK_SYS(close(listener));
  // A UDP receiver is woken by shutdown too.
  const Channel datagrams = udp_channel();
  Call receiver([datagrams] {
    char byte;
    return recv(datagrams.in, &byte, 1, 0);
  });
  receiver.settle();
  CHECK_SYS(shutdown(datagrams.in, SHUT_RD));
  CHECK_EQ(receiver.result(), 0);
  datagrams.close_both();
  return 0;
}
