// Shows MSG_PEEK: a peek waits for data as a read does, any number of peeks see the same, and a read takes it; on
// streams, datagrams and records; with MSG_TRUNC the true length.
#include "io.h"

namespace {

void peek_and_read(Channel channel, bool stream) {
  Call first([channel] {
    char bytes[100] = {};
    for (int i = 0; i < 3; i++) {
      CHECK_EQ(recv(channel.in, bytes, sizeof bytes, MSG_PEEK), 5);
      CHECK_EQ(memcmp(bytes, "hello", 5), 0);
    }
    CHECK_EQ(recv(channel.in, bytes, 2, MSG_PEEK), 2);
    CHECK_EQ(recv(channel.in, bytes, sizeof bytes, MSG_PEEK), 5);
    iovec pieces[] = {{bytes, 1}, {bytes + 1, 99}};
    msghdr message = {};
    message.msg_iov = pieces;
    message.msg_iovlen = 2;
    CHECK_EQ(recvmsg(channel.in, &message, MSG_PEEK), 5);
    return recv(channel.in, bytes, sizeof bytes, 0);
  });
  first.settle();
  CHECK_EQ(send(channel.out, "hello", 5, 0), 5);
  CHECK_EQ(first.result(), 5);
  char bytes[100];
  CHECK_ERRNO(recv(channel.in, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT), EAGAIN);

  // A peek that took less than there is, then a wait for more.
  Call second([channel, stream] {
    char got[100];
    CHECK_EQ(recv(channel.in, got, 1, MSG_PEEK), 1);
    CHECK_EQ(recv(channel.in, got, 3, 0), 3);
    if (stream) {
      CHECK_EQ(recv(channel.in, got, 3, MSG_PEEK), 2);
      CHECK_EQ(read(channel.in, got, 3), 2);
    }
    CHECK_EQ(recv(channel.in, got, 100, MSG_PEEK), 4);
    CHECK_EQ(read(channel.in, got, 100), 4);
    CHECK_EQ(memcmp(got, "more", 4), 0);
    return 0;
  });
  second.settle();
  CHECK_EQ(send(channel.out, "first", 5, 0), 5);
  second.settle();
  int left;
  do CHECK_SYS(ioctl(channel.in, FIONREAD, &left));
  while (left > 0 && (usleep(200), true));
  CHECK_EQ(send(channel.out, "more", 4, 0), 4);
  CHECK_EQ(second.result(), 0);

  if (!stream) {
    Call length([channel] {
      char got[2];
      CHECK_EQ(recv(channel.in, got, 2, MSG_PEEK | MSG_TRUNC), 9);
      CHECK_EQ(recv(channel.in, nullptr, 0, MSG_PEEK | MSG_TRUNC), 9);
      return recv(channel.in, got, 2, MSG_TRUNC);
    });
    length.settle();
    CHECK_EQ(send(channel.out, "nine char", 9, 0), 9);
    CHECK_EQ(length.result(), 9);
  }

  // Peekers of a stream wait together and all see it; one reader takes it. (A datagram wakes one.)
  if (!stream) {
    channel.close_both();
    return;
  }
  std::atomic<int> saw{0};
  pthread_t peekers = spawn([channel, &saw] {
    parallel(4, [channel, &saw](int) {
      char byte;
      CHECK_EQ(recv(channel.in, &byte, 1, MSG_PEEK), 1);
      CHECK_EQ(byte, 'x');
      saw++;
    });
  });
  sched_yield();
  CHECK_EQ(send(channel.out, "x", 1, 0), 1);
  join(peekers);
  CHECK_EQ(saw.load(), 4);
  CHECK_EQ(recv(channel.in, bytes, 1, 0), 1);
  channel.close_both();
}

}  // namespace

int main() {
  for (int round = 0; round < 5; round++) {
    peek_and_read(unix_channel(), true);
    peek_and_read(tcp_channel(), true);
    peek_and_read(udp_channel(), false);
    peek_and_read(unix_channel(SOCK_DGRAM), false);
    peek_and_read(unix_channel(SOCK_SEQPACKET), false);
  }
  // At the end of the stream a peek says so, again and again.
  const Channel channel = tcp_channel();
  Call peek([channel] {
    char byte;
    for (int i = 0; i < 3; i++) CHECK_EQ(recv(channel.in, &byte, 1, MSG_PEEK), 0);
    return 0;
  });
  peek.settle();
  CHECK_SYS(close(channel.out));
  CHECK_EQ(peek.result(), 0);
  return 0;
}
