// Shows several threads waiting on one descriptor at once, by poll, select and read mixed: all pollers see an event,
// and a byte goes to exactly one reader.
#include "io.h"

#include <sys/select.h>

namespace {

void all_pollers_see_it(Channel channel) {
  constexpr int kPollers = 8;
  for (int round = 0; round < 20; round++) {
    std::atomic<int> saw{0};
    pthread_t pollers = spawn([&] {
      parallel(kPollers, [&](int index) {
        if (index % 2 == 0) {
          pollfd wanted = {channel.in, POLLIN, 0};
          CHECK_EQ(poll(&wanted, 1, index % 4 == 0 ? -1 : 60000), 1);
        } else {
          fd_set reads;
          FD_ZERO(&reads);
          FD_SET(channel.in, &reads);
          CHECK_EQ(select(channel.in + 1, &reads, nullptr, nullptr, nullptr), 1);
        }
        saw++;
      });
    });
    if (round % 2 == 0) usleep(300);
    CHECK_EQ(write(channel.out, "x", 1), 1);
    join(pollers);
    CHECK_EQ(saw.load(), kPollers);
    char byte;
    CHECK_EQ(read(channel.in, &byte, 1), 1);
  }
}

// Readers who poll first and readers who just read, and writers on the other direction.
void pollers_and_readers(Channel channel) {
  constexpr int kBytes = 600;
  std::atomic<int> got{0};
  pthread_t readers = spawn([&] {
    parallel(6, [&](int index) {
      for (;;) {
        pollfd wanted = {channel.in, POLLIN, 0};
        char byte;
        if (index % 2 == 0) CHECK_EQ(poll(&wanted, 1, -1), 1);
        CHECK_EQ(read(channel.in, &byte, 1), 1);
        if (byte == 'E') return;
        got++;
      }
    });
  });
  for (int i = 0; i < kBytes; i++) {
    CHECK_EQ(write(channel.out, "x", 1), 1);
    if (i % 16 == 0) stir(static_cast<unsigned>(i));
  }
  EVENTUALLY(got == kBytes);
  for (int i = 0; i < 6; i++) CHECK_EQ(write(channel.out, "E", 1), 1);
  join(readers);
}

// One waits for room, the other for data, on one socket.
void both_directions(Channel channel) {
  static char big[4 << 20];
  Call writer([&] { return write(channel.in, big, sizeof big); });
  Call room([&] {
    pollfd wanted = {channel.in, POLLOUT | POLLIN, 0};
    CHECK_EQ(poll(&wanted, 1, -1), 1);
    return wanted.revents;
  });
  Call reader([&] {
    char bytes[5];
    return recv(channel.in, bytes, sizeof bytes, MSG_WAITALL);
  });
  writer.settle();
  reader.settle();
  CHECK_EQ(write(channel.out, "12345", 5), 5);
  CHECK_EQ(reader.result(), 5);
  char* sink = new char[sizeof big];
  CHECK_EQ(read_fully(channel.out, sink, sizeof big), sizeof big);
  delete[] sink;
  CHECK_EQ(writer.result(), sizeof big);
  CHECK(room.result() != 0);
}

}  // namespace

int main() {
  for (auto make : kStreams) {
    const Channel channel = make();
    all_pollers_see_it(channel);
    pollers_and_readers(channel);
    if (make != kStreams[0]) both_directions(channel);
    channel.close_both();
  }
  return 0;
}
