// Shows recvmmsg and sendmmsg: whole batches, MSG_WAITFORONE, a time-out, an error after some messages, each datagram
// with its own length and address.
#include "io.h"

namespace {

constexpr unsigned kBatch = 8;

struct Batch {
  char bytes[kBatch][32];
  iovec pieces[kBatch];
  sockaddr_in from[kBatch];
  mmsghdr messages[kBatch];
  Batch() {
    memset(messages, 0, sizeof messages);
    for (unsigned i = 0; i < kBatch; i++) {
      pieces[i] = {bytes[i], sizeof bytes[i]};
      messages[i].msg_hdr.msg_iov = &pieces[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
  }
};

void batches(Channel channel) {
  // Waits for all of them.
  Call all([channel] {
    Batch b;
    const int n = recvmmsg(channel.in, b.messages, kBatch, 0, nullptr);
    CHECK_SYS(n);
    for (unsigned i = 0; i < static_cast<unsigned>(n); i++) {
      CHECK_EQ(b.messages[i].msg_len, i + 1);
      check_stamps(b.bytes[i], i + 1, i);
    }
    return n;
  });
  all.settle();
  Batch b;
  for (unsigned i = 0; i < kBatch; i++) {
    put_stamps(b.bytes[i], i + 1, i);
    b.pieces[i].iov_len = i + 1;
  }
  CHECK_EQ(sendmmsg(channel.out, b.messages, 3, 0), 3);
  all.settle();
  CHECK_EQ(sendmmsg(channel.out, b.messages + 3, kBatch - 3, 0), kBatch - 3);
  CHECK_EQ(b.messages[7].msg_len, 8);
  CHECK_EQ(all.result(), kBatch);
  // One is enough, and the rest only if it is there.
  Call one([channel] {
    Batch got;
    return recvmmsg(channel.in, got.messages, kBatch, MSG_WAITFORONE, nullptr);
  });
  one.settle();
  CHECK_EQ(send(channel.out, "x", 1, 0), 1);
  CHECK_EQ(one.result(), 1);
  CHECK_EQ(sendmmsg(channel.out, b.messages, 5, 0), 5);
  Batch got;
  CHECK_EQ(recvmmsg(channel.in, got.messages, kBatch, MSG_WAITFORONE, nullptr), 5);
  CHECK_ERRNO(recvmmsg(channel.in, got.messages, kBatch, MSG_DONTWAIT, nullptr), EAGAIN);
  // The time-out is looked at when a message has come.
  Call limited([channel] {
    Batch more;
    timespec time = {0, 1000000};
    return recvmmsg(channel.in, more.messages, 2, 0, &time);
  });
  limited.settle();
  sleep_ms(2);
  CHECK_EQ(send(channel.out, "late", 4, 0), 4);
  CHECK_EQ(send(channel.out, "later", 5, 0), 5);
  const long n = limited.result();
  CHECK(n == 1 || n == 2);
  if (n == 1) CHECK_EQ(recv(channel.in, got.bytes, 10, 0), 5);
  CHECK_EQ(recvmmsg(channel.in, got.messages, 0, 0, nullptr), 0);
  timespec wrong = {0, -1};
  CHECK_ERRNO(recvmmsg(channel.in, got.messages, 1, 0, &wrong), EINVAL);
  channel.close_both();
}

// Some waits on a full queue between two of the messages.
void sends_more_than_fits() {
  const Channel channel = unix_channel(SOCK_DGRAM);
  constexpr int kRounds = 100;
  Call sender([channel] {
    Batch b;
    for (int round = 0; round < kRounds; round++) {
      unsigned done = 0;
      while (done < kBatch) {
        for (unsigned i = done; i < kBatch; i++) {
          b.bytes[i][0] = static_cast<char>(i);
          b.pieces[i].iov_len = 1 + i;
        }
        const int n = sendmmsg(channel.out, b.messages + done, kBatch - done, 0);
        CHECK(n > 0);
        done += static_cast<unsigned>(n);
      }
    }
    return 0;
  });
  sender.settle();
  for (int i = 0; i < kRounds * static_cast<int>(kBatch); i++) {
    char bytes[100];
    CHECK_EQ(recv(channel.in, bytes, sizeof bytes, 0), 1 + i % 8);
    CHECK_EQ(bytes[0], i % 8);
  }
  CHECK_EQ(sender.result(), 0);
  channel.close_both();
}

void addresses() {
  sockaddr_in server_address, addresses[3];
  const int server = bound_socket(SOCK_DGRAM, &server_address);
  int clients[3];
  for (int i = 0; i < 3; i++) clients[i] = bound_socket(SOCK_DGRAM, &addresses[i]);
  Call receiver([server] {
    Batch* b = new Batch;
    for (unsigned i = 0; i < 3; i++) {
      b->messages[i].msg_hdr.msg_name = &b->from[i];
      b->messages[i].msg_hdr.msg_namelen = sizeof b->from[i];
    }
    CHECK_EQ(recvmmsg(server, b->messages, 3, 0, nullptr), 3);
    // Back to each, in one call.
    for (unsigned i = 0; i < 3; i++) b->pieces[i].iov_len = b->messages[i].msg_len;
    CHECK_EQ(sendmmsg(server, b->messages, 3, 0), 3);
    delete b;
    return 0;
  });
  receiver.settle();
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(sendto(clients[i], "abc", static_cast<size_t>(i) + 1, 0, plain(&server_address), sizeof server_address),
             i + 1);
  }
  for (int i = 0; i < 3; i++) {
    char bytes[10];
    CHECK_EQ(recv(clients[i], bytes, sizeof bytes, 0), i + 1);
  }
  CHECK_EQ(receiver.result(), 0);
  for (int fd : clients) CHECK_SYS(close(fd));
  CHECK_SYS(close(server));
}

}  // namespace

int main() {
  for (int round = 0; round < 10; round++) {
    batches(udp_channel());
    batches(unix_channel(SOCK_DGRAM));
    batches(unix_channel(SOCK_SEQPACKET));
    addresses();
  }
  parallel(4, [](int) { sends_more_than_fits(); });
  return 0;
}
