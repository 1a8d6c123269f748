// Shows SO_RCVTIMEO and SO_SNDTIMEO: EAGAIN after the time from recv, read, accept, send and write, partial counts with
// them, data that comes in time, and change while nobody waits; SO_RCVLOWAT. Only lower bounds of times are checked.
#include "io.h"

namespace {

void limit(int fd, int option, long us) {
  const timeval time = {us / 1000000, us % 1000000};
  CHECK_SYS(setsockopt(fd, SOL_SOCKET, option, &time, sizeof time));
}

ssize_t receive_by(int way, int fd, char* bytes, size_t size) {
  iovec piece = {bytes, size};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  switch (way) {
    case 0: return read(fd, bytes, size);
    case 1: return recv(fd, bytes, size, 0);
    case 2: return readv(fd, &piece, 1);
    case 3: return recvmsg(fd, &message, 0);
    default: return recv(fd, bytes, size, MSG_PEEK);
  }
}

void receive(Channel channel) {
  limit(channel.in, SO_RCVTIMEO, 5000);
  for (int way = 0; way < 5; way++) {
    Call times_out([=] {
      char bytes[10];
      const int64_t began = now_ns(CLOCK_MONOTONIC);
      const ssize_t n = receive_by(way, channel.in, bytes, sizeof bytes);
      const int error = errno;
      CHECK(now_ns(CLOCK_MONOTONIC) - began >= 4 * NS_PER_MS);
      errno = error;
      return n;
    });
    CHECK_FAILED(times_out, EAGAIN);
  }
  // In time.
  limit(channel.in, SO_RCVTIMEO, 60 * 1000000);
  for (int way = 0; way < 5; way++) {
    Call in_time([=] {
      char bytes[10];
      return receive_by(way, channel.in, bytes, sizeof bytes);
    });
    in_time.settle();
    CHECK_EQ(send(channel.out, "abc", 3, 0), 3);
    CHECK_EQ(in_time.result(), 3);
  }
  char bytes[10];
  CHECK_EQ(recv(channel.in, bytes, sizeof bytes, 0), 3);
  // Off again.
  limit(channel.in, SO_RCVTIMEO, 0);
  Call forever([=] {
    char more[10];
    return recv(channel.in, more, sizeof more, 0);
  });
  forever.settle();
  CHECK_EQ(send(channel.out, "abcd", 4, 0), 4);
  CHECK_EQ(forever.result(), 4);
  channel.close_both();
}

void partial(Channel channel) {
  limit(channel.in, SO_RCVTIMEO, 10000);
  Call waits_for_all([=] {
    char bytes[100];
    return recv(channel.in, bytes, sizeof bytes, MSG_WAITALL);
  });
  // They may come after the time: then there was nothing.
  CHECK_EQ(send(channel.out, "1234567", 7, 0), 7);
  if (waits_for_all.result() == -1) CHECK_EQ(waits_for_all.error(), EAGAIN);
  else CHECK_EQ(waits_for_all.result(), 7);

  limit(channel.out, SO_SNDTIMEO, 5000);
  static char big[16 << 20];
  Call sends([=] {
    const ssize_t first = write(channel.out, big, sizeof big);
    CHECK(first > 0 && first < static_cast<ssize_t>(sizeof big));
    // What may still move is a matter of the network's buffers.
    ssize_t n;
    do n = write(channel.out, big, 100000);
    while (n > 0);
    return n;
  });
  CHECK_FAILED(sends, EAGAIN);
  Call sends_again([=] { return send(channel.out, big, 1000000, 0); });
  if (sends_again.result() == -1) CHECK_EQ(sends_again.error(), EAGAIN);
  // With a reader there is room in time.
  limit(channel.out, SO_SNDTIMEO, 60 * 1000000);
  Call whole([=] {
    const ssize_t n = write(channel.out, big, 1000000);
    CHECK_SYS(shutdown(channel.out, SHUT_WR));
    return n;
  });
  static char sink[100000];
  limit(channel.in, SO_RCVTIMEO, 0);
  while (read(channel.in, sink, sizeof sink) > 0) {
  }
  CHECK_EQ(whole.result(), 1000000);
  channel.close_both();
}

void accept_times_out() {
  sockaddr_in address;
  const int listener = listening_socket(&address);
  limit(listener, SO_RCVTIMEO, 5000);
  pthread_t all = spawn([listener] {
    parallel(4, [listener](int) {
      const int64_t began = now_ns(CLOCK_MONOTONIC);
      CHECK_ERRNO(accept(listener, nullptr, nullptr), EAGAIN);
      CHECK(now_ns(CLOCK_MONOTONIC) - began >= 4 * NS_PER_MS);
    });
  });
  join(all);
  limit(listener, SO_RCVTIMEO, 60 * 1000000);
  Call in_time([listener] { return accept(listener, nullptr, nullptr); });
  in_time.settle();
  const int client = connected_socket(address);
  const int served = static_cast<int>(in_time.result());
  CHECK_SYS(served);
  // The time-out is not inherited from the listener by every kernel; ask.
  for (int fd : {client, served, listener}) CHECK_SYS(close(fd));
}

// connect waits for room in the backlog no longer than SO_SNDTIMEO.
void connect_times_out() {
  const int listener = socket(AF_UNIX, SOCK_STREAM, 0), first = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK_SYS(listener);
  CHECK_SYS(first);
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  CHECK_SYS(bind(listener, plain(&name), sizeof(sa_family_t)));
  socklen_t length = sizeof name;
  CHECK_SYS(getsockname(listener, plain(&name), &length));
  CHECK_SYS(listen(listener, 0));
  CHECK_SYS(connect(first, plain(&name), length));
  parallel(4, [&](int) {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_SYS(fd);
    limit(fd, SO_SNDTIMEO, 5000);
    sockaddr_un own = name;
    const int64_t began = now_ns(CLOCK_MONOTONIC);
    CHECK_ERRNO(connect(fd, plain(&own), length), EAGAIN);
    CHECK(now_ns(CLOCK_MONOTONIC) - began >= 4 * NS_PER_MS);
    CHECK_SYS(close(fd));
  });
  CHECK_SYS(close(first));
  CHECK_SYS(close(listener));
}

void low_water_mark() {
  const Channel channel = tcp_channel();
  int mark = 10;
  CHECK_SYS(setsockopt(channel.in, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof mark));
  Call reader([=] {
    char bytes[100];
    return recv(channel.in, bytes, sizeof bytes, 0);
  });
  Call poller([=] {
    pollfd wanted = {channel.in, POLLIN, 0};
    return poll(&wanted, 1, -1);
  });
  reader.settle();
  poller.settle();
  for (int i = 0; i < 9; i++) CHECK_EQ(send(channel.out, "x", 1, 0), 1);
  reader.settle();
  CHECK(!reader.done());
  CHECK_EQ(send(channel.out, "yz", 2, 0), 2);
  CHECK(reader.result() >= 10);
  // The reader may have taken the bytes before the other one looked.
  CHECK_EQ(send(channel.out, "0123456789", 10, 0), 10);
  CHECK_EQ(poller.result(), 1);
  mark = 1;
  CHECK_SYS(setsockopt(channel.in, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof mark));
  char bytes[100];
  CHECK(recv(channel.in, bytes, sizeof bytes, 0) >= 10);
  channel.close_both();
}

}  // namespace

int main() {
  for (int round = 0; round < 2; round++) {
    for (auto make : kStreamSockets) {
      receive(make());
      partial(make());
    }
    receive(udp_channel());
    receive(unix_channel(SOCK_DGRAM));
    receive(unix_channel(SOCK_SEQPACKET));
    accept_times_out();
    connect_times_out();
    low_water_mark();
  }
  // Many with different times at once.
  parallel(30, [](int index) {
    const Channel channel = unix_channel();
    limit(channel.in, SO_RCVTIMEO, 1000 * (1 + index % 7));
    char byte;
    for (int i = 0; i < 3; i++) {
      const int64_t began = now_ns(CLOCK_MONOTONIC);
      CHECK_ERRNO(recv(channel.in, &byte, 1, 0), EAGAIN);
      CHECK(now_ns(CLOCK_MONOTONIC) - began >= (index % 7) * NS_PER_MS);
    }
    channel.close_both();
  });
  return 0;
}
