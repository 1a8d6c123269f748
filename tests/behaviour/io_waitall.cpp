// Shows MSG_WAITALL: the whole count although it comes in parts, less at the end of the stream or on a signal; with
// recv, recvfrom and recvmsg into several pieces; not on datagrams; with MSG_DONTWAIT it does not wait.
#include "io.h"

namespace {

std::atomic<int> handled;

void send_in_parts(int fd, size_t size, uint64_t offset) {
  char bytes[4096];
  size_t sent = 0;
  for (unsigned step = 0; sent < size; step++) {
    size_t part = 1 + (step * 613) % 700;
    if (part > size - sent) part = size - sent;
    put_stamps(bytes, part, offset + sent);
    CHECK_EQ(send(fd, bytes, part, 0), part);
    sent += part;
    stir(step);
  }
}

ssize_t receive_all(int way, int fd, char* bytes, size_t size) {
  iovec pieces[] = {{bytes, 1}, {bytes + 1, 0}, {bytes + 1, size / 2}, {bytes + 1 + size / 2, size - 1 - size / 2}};
  msghdr message = {};
  message.msg_iov = pieces;
  message.msg_iovlen = 4;
  switch (way) {
    case 0: return recv(fd, bytes, size, MSG_WAITALL);
    case 1: return recvfrom(fd, bytes, size, MSG_WAITALL, nullptr, nullptr);
    default: return recvmsg(fd, &message, MSG_WAITALL);
  }
}

}  // namespace

int main() {
  on_signal(SIGUSR1, [](int) { handled++; });
  for (auto make : kStreamSockets) {
    for (int way = 0; way < 3; way++) {
      const Channel channel = make();
      static char bytes[10000];
      // In parts.
      Call whole([=] { return receive_all(way, channel.in, bytes, sizeof bytes); });
      send_in_parts(channel.out, sizeof bytes, 0);
      CHECK_EQ(whole.result(), sizeof bytes);
      check_stamps(bytes, sizeof bytes, 0);
      // More than asked for stays.
      send_in_parts(channel.out, 5000, 0);
      CHECK_EQ(receive_all(way, channel.in, bytes, 3000), 3000);
      check_stamps(bytes, 3000, 0);
      CHECK_EQ(receive_all(way, channel.in, bytes, 2000), 2000);
      check_stamps(bytes, 2000, 3000);
      // A signal in the middle: what came so far.
      Call interrupted([=] { return receive_all(way, channel.in, bytes, sizeof bytes); });
      send_in_parts(channel.out, 1234, 0);
      int left;
      // UNIX sockets and TCP take bytes as they come, so that none is left to be counted.
      do CHECK_SYS(ioctl(channel.in, FIONREAD, &left));
      while (left > 0 && (usleep(200), true));
      interrupted.settle();
      interrupted.interrupt(SIGUSR1);
      CHECK_EQ(interrupted.result(), 1234);
      check_stamps(bytes, 1234, 0);
      CHECK(handled > 0);
      // The end in the middle, then the end.
      Call ended([=] { return receive_all(way, channel.in, bytes, sizeof bytes); });
      send_in_parts(channel.out, 777, 0);
      CHECK_SYS(shutdown(channel.out, SHUT_WR));
      CHECK_EQ(ended.result(), 777);
      check_stamps(bytes, 777, 0);
      CHECK_EQ(receive_all(way, channel.in, bytes, sizeof bytes), 0);
      channel.close_both();
    }
    // Together with MSG_DONTWAIT.
    const Channel channel = make();
    char bytes[100];
    CHECK_ERRNO(recv(channel.in, bytes, sizeof bytes, MSG_WAITALL | MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(send(channel.out, "12345", 5, 0), 5);
    CHECK_EQ(recv(channel.in, bytes, sizeof bytes, MSG_WAITALL | MSG_DONTWAIT), 5);
    // Peeking for all: they stay.
    CHECK_EQ(send(channel.out, "123", 3, 0), 3);
    if (make == kStreamSockets[1]) {
      Call peek([channel] {
        char six[6];
        return recv(channel.in, six, sizeof six, MSG_WAITALL | MSG_PEEK);
      });
      peek.settle();
      CHECK_EQ(send(channel.out, "456", 3, 0), 3);
      CHECK_EQ(peek.result(), 6);
      CHECK_EQ(recv(channel.in, bytes, 6, MSG_WAITALL), 6);
      CHECK_EQ(memcmp(bytes, "123456", 6), 0);
    }
    channel.close_both();
  }
  for (auto make :
       {udp_channel, +[] { return unix_channel(SOCK_DGRAM); }, +[] { return unix_channel(SOCK_SEQPACKET); }}) {
    const Channel channel = make();
    Call one([channel] {
      char bytes[100];
      return recv(channel.in, bytes, sizeof bytes, MSG_WAITALL);
    });
    one.settle();
    CHECK_EQ(send(channel.out, "record", 6, 0), 6);
    CHECK_EQ(one.result(), 6);
    channel.close_both();
  }
  return 0;
}
