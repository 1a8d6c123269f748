// Shows that a look which does not wait sees what another thread has written before: poll with time-out 0 after a read
// that drained the socket, and recv with MSG_DONTWAIT.
#include "io.h"

#include <poll.h>

int main() {
  Channel channel = tcp_channel();
  pthread_barrier_t before, after;
  CHECK_OK(pthread_barrier_init(&before, nullptr, 2));
  CHECK_OK(pthread_barrier_init(&after, nullptr, 2));
  constexpr int kRounds = 600;
  pthread_t other = spawn([&] {
    for (int i = 0; i < kRounds; i++) {
      pthread_barrier_wait(&before);
      CHECK_EQ(write(channel.out, "x", 1), 1);
      pthread_barrier_wait(&after);
    }
  });
  char bytes[100];
  for (int i = 0; i < kRounds; i++) {
    pthread_barrier_wait(&before);
    if (i % 3 != 0) pthread_barrier_wait(&after);
    if (i % 3 == 1) {
      pollfd wanted = {channel.in, POLLIN, 0};
      CHECK_EQ(poll(&wanted, 1, 0), 1);
    }
    CHECK_EQ(recv(channel.in, bytes, sizeof bytes, i % 3 == 2 ? MSG_DONTWAIT : 0), 1);
    if (i % 3 == 0) pthread_barrier_wait(&after);
  }
  join(other);
  channel.close_both();
  return 0;
}
