// Shows several threads reading one pipe, socket or queue of datagrams: every message goes to exactly one of them, all
// are served in the end, and several who accept on one socket get one connection each.
#include "io.h"

namespace {

constexpr int kReaders = 6, kMessages = 1500;

void read_by_many(Channel channel, int way) {
  static std::atomic<int> seen[kMessages];
  for (auto& n : seen) n = 0;
  pthread_t readers = spawn([channel, way] {
    parallel(kReaders, [channel, way](int index) {
      for (;;) {
        int number = -2;
        iovec piece = {&number, sizeof number};
        msghdr message = {};
        message.msg_iov = &piece;
        message.msg_iovlen = 1;
        ssize_t n;
        switch (way == 0 ? index % 2 : index % 4) {
          case 0: n = read(channel.in, &number, sizeof number); break;
          case 1: n = readv(channel.in, &piece, 1); break;
          case 2: n = recv(channel.in, &number, sizeof number, 0); break;
          default: n = recvmsg(channel.in, &message, 0);
        }
        CHECK_EQ(n, sizeof number);
        if (number == -1) return;
        CHECK(number >= 0 && number < kMessages);
        seen[number]++;
      }
    });
  });
  // Two writers, in bursts, so that readers are waiting at times and at times are not.
  parallel(2, [channel](int index) {
    for (int i = index; i < kMessages; i += 2) {
      CHECK_EQ(write(channel.out, &i, sizeof i), sizeof i);
      if (i % 40 < 2) stir(static_cast<unsigned>(i / 40));
    }
  });
  const int end = -1;
  for (int i = 0; i < kReaders; i++) CHECK_EQ(write(channel.out, &end, sizeof end), sizeof end);
  join(readers);
  for (auto& n : seen) CHECK_EQ(n.load(), 1);
  channel.close_both();
}

void accepted_by_many() {
  constexpr int kClients = 120, kServers = 6;
  sockaddr_in address;
  const int listener = listening_socket(&address);
  std::atomic<int> served{0};
  pthread_t servers = spawn([&] {
    parallel(kServers, [&](int index) {
      for (;;) {
        sockaddr_in peer;
        socklen_t length = sizeof peer;
        const int fd = index % 2 == 0 ? accept(listener, plain(&peer), &length)
                                      : accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        CHECK_SYS(fd);
        if (index % 2 == 0) CHECK_EQ(peer.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
        char byte;
        CHECK_EQ(read(fd, &byte, 1), 1);
        if (byte != 'E') CHECK_EQ(write(fd, &byte, 1), 1);
        CHECK_SYS(close(fd));
        if (byte == 'E') return;
        served++;
      }
    });
  });
  parallel(8, [&](int index) {
    for (int i = index; i < kClients; i += 8) {
      const int fd = connected_socket(address);
      const char byte = static_cast<char>('a' + i % 26);
      char back = 0;
      CHECK_EQ(write(fd, &byte, 1), 1);
      CHECK_EQ(read(fd, &back, 1), 1);
      CHECK_EQ(back, byte);
      CHECK_EQ(read(fd, &back, 1), 0);
      CHECK_SYS(close(fd));
    }
  });
  for (int i = 0; i < kServers; i++) {
    const int fd = connected_socket(address);
    CHECK_EQ(write(fd, "E", 1), 1);
    CHECK_SYS(close(fd));
  }
  join(servers);
  CHECK_EQ(served.load(), kClients);
  CHECK_SYS(close(listener));
}

}  // namespace

int main() {
  for (int round = 0; round < 2; round++) {
    read_by_many(pipe_channel(), 0);
    read_by_many(unix_channel(SOCK_DGRAM), 1);
    read_by_many(unix_channel(SOCK_SEQPACKET), 1);
    accepted_by_many();
  }
  return 0;
}
