// Shows datagrams and records: boundaries kept, truncation, senders' addresses, a blocking sendto to a UNIX datagram
// socket whose queue is full, SEQPACKET records by write and writev, refused UDP.
#include "io.h"

namespace {

void records(Channel channel, bool sequenced) {
  Call reader([channel, sequenced] {
    char bytes[100];
    for (size_t i = 1; i <= 50; i++) {
      iovec piece = {bytes, i % 5 == 0 ? i - 1 : sizeof bytes};
      msghdr message = {};
      message.msg_iov = &piece;
      message.msg_iovlen = 1;
      ssize_t n;
      switch (i % 3) {
        case 0: n = read(channel.in, bytes, piece.iov_len); break;
        case 1: n = recv(channel.in, bytes, piece.iov_len, 0); break;
        default:
          n = recvmsg(channel.in, &message, 0);
          CHECK_EQ(message.msg_flags & MSG_TRUNC, i % 5 == 0 ? MSG_TRUNC : 0);
          if (sequenced && i % 5 != 0) CHECK_EQ(message.msg_flags & MSG_EOR, 0);
      }
      CHECK_EQ(n, i % 5 == 0 ? i - 1 : i);
      check_stamps(bytes, static_cast<size_t>(n), i);
    }
    return 0;
  });
  char bytes[100];
  for (size_t i = 1; i <= 50; i++) {
    put_stamps(bytes, i, i);
    iovec pieces[] = {{bytes, i / 2}, {bytes + i / 2, i - i / 2}};
    CHECK_EQ(i % 2 == 0 ? write(channel.out, bytes, i) : writev(channel.out, pieces, 2), i);
    if (i % 10 == 0) reader.settle();
  }
  CHECK_EQ(reader.result(), 0);
  if (!sequenced) {
    channel.close_both();
    return;
  }
  // The end of a sequence of records.
  Call end([channel] {
    char byte;
    return read(channel.in, &byte, 1);
  });
  end.settle();
  CHECK_SYS(close(channel.out));
  CHECK_EQ(end.result(), 0);
  CHECK_SYS(close(channel.in));
}

// More senders than the receiver's queue has room for: all wait, and none of their datagrams is lost or torn.
void full_queue() {
  const int receiver = socket(AF_UNIX, SOCK_DGRAM, 0);
  CHECK_SYS(receiver);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  socklen_t length = sizeof(sa_family_t);
  CHECK_SYS(bind(receiver, plain(&address), length));  // The kernel finds a name.
  length = sizeof address;
  CHECK_SYS(getsockname(receiver, plain(&address), &length));
  constexpr int kSenders = 8, kEach = 100;
  static std::atomic<int> sent;
  sent = 0;
  pthread_t senders = spawn([&] {
    parallel(kSenders, [&](int index) {
      const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
      CHECK_SYS(fd);
      if (index % 2 == 0) CHECK_SYS(connect(fd, plain(&address), length));
      for (int i = 0; i < kEach; i++) {
        const int record[2] = {index, i};
        if (index % 2 == 0) CHECK_EQ(send(fd, record, sizeof record, 0), sizeof record);
        else CHECK_EQ(sendto(fd, record, sizeof record, 0, plain(&address), length), sizeof record);
        sent++;
      }
      CHECK_SYS(close(fd));
    });
  });
  // Till the queue is full: its length is the system's affair.
  int before;
  do {
    before = sent;
    sleep_ms(1);
  } while (sent != before);
  int next[kSenders] = {};
  for (int n = 0; n < kSenders * kEach; n++) {
    int record[3];
    CHECK_EQ(recv(receiver, record, sizeof record, 0), 2 * sizeof(int));
    CHECK(record[0] >= 0 && record[0] < kSenders);
    CHECK_EQ(record[1], next[record[0]]++);
  }
  join(senders);
  // Those who wait for room are told when the receiver goes.
  const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  CHECK_SYS(fd);
  while (sendto(fd, "x", 1, MSG_DONTWAIT, plain(&address), length) == 1) {
  }
  CHECK_EQ(errno, EAGAIN);
  Call stuck([&] { return sendto(fd, "x", 1, 0, plain(&address), length); });
  stuck.settle();
  CHECK_SYS(close(receiver));
  CHECK_FAILED(stuck, ECONNREFUSED);
  CHECK_SYS(close(fd));
}

void udp() {
  sockaddr_in server_address, client_address;
  const int server = bound_socket(SOCK_DGRAM, &server_address), client = bound_socket(SOCK_DGRAM, &client_address);
  Call answers([server] {
    for (;;) {
      char bytes[100];
      sockaddr_in from;
      socklen_t length = sizeof from;
      const ssize_t n = recvfrom(server, bytes, sizeof bytes, 0, plain(&from), &length);
      CHECK_SYS(n);
      CHECK_EQ(length, sizeof from);
      if (n == 0) return ntohs(from.sin_port);
      CHECK_EQ(sendto(server, bytes, static_cast<size_t>(n), 0, plain(&from), length), n);
    }
  });
  for (size_t size = 1; size < 100; size++) {
    char bytes[100];
    sockaddr_in from;
    socklen_t length = sizeof from;
    put_stamps(bytes, size, size);
    CHECK_EQ(sendto(client, bytes, size, 0, plain(&server_address), sizeof server_address), size);
    CHECK_EQ(recvfrom(client, bytes, sizeof bytes, 0, plain(&from), &length), size);
    check_stamps(bytes, size, size);
    CHECK_EQ(from.sin_port, server_address.sin_port);
  }
  CHECK_EQ(sendto(client, "", 0, 0, plain(&server_address), sizeof server_address), 0);
  CHECK_EQ(answers.result(), ntohs(client_address.sin_port));
  CHECK_ERRNO(send(client, "x", 1, 0), EDESTADDRREQ);
  CHECK_EQ(sendto(client, client_address.sin_zero, 0, 0, plain(&client_address), sizeof client_address), 0);

  // Nobody there: a connected socket learns of it, also one that waits in recv.
  CHECK_SYS(close(server));
  CHECK_SYS(connect(client, plain(&server_address), sizeof server_address));
  char byte;
  CHECK_EQ(recv(client, &byte, 1, MSG_DONTWAIT), 0);
  Call waits([client] {
    char bytes[10];
    return recv(client, bytes, sizeof bytes, 0);
  });
  waits.settle();
  const ssize_t n = send(client, "x", 1, 0);
  CHECK(n == 1);
  CHECK_FAILED(waits, ECONNREFUSED);
  // Too long for a datagram.
  static char huge[70000];
  CHECK_ERRNO(send(client, huge, sizeof huge, 0), EMSGSIZE);
  CHECK_SYS(close(client));
}

}  // namespace

int main() {
  for (int round = 0; round < 5; round++) {
    records(unix_channel(SOCK_SEQPACKET), true);
    records(unix_channel(SOCK_DGRAM), false);
    records(udp_channel(), false);
    full_queue();
    udp();
  }
  parallel(6, [](int index) {
    if (index % 2 == 0) full_queue();
    else records(unix_channel(SOCK_SEQPACKET), true);
  });
  return 0;
}
