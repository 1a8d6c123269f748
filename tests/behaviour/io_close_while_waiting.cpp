// Shows what becomes of threads that wait on a descriptor which another thread closes, or puts another description in
// the place of: they stay with the description they began with, get its data, its end and its errors, and nothing of
// whatever has the number now.
#include "io.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>

namespace {

long wait_on(int way, int fd, char* bytes) {
  pollfd wanted = {fd, POLLIN, 0};
  fd_set set;
  FD_ZERO(&set);
  FD_SET(fd, &set);
  switch (way) {
    case 0: return read(fd, bytes, 3);
    case 1: return poll(&wanted, 1, -1) == 1 ? 3 : -1;
    case 2: return select(fd + 1, &set, nullptr, nullptr, nullptr) == 1 ? 3 : -1;
    default: return recv(fd, bytes, 3, 0);
  }
}

// The thread is surely in its call: it has been seen asleep, or, where that cannot be seen, the number of the call's
// thread says nothing and time must do. A test in which the close comes first would be void, not wrong: the call gives
// EBADF, or meets the new description; so it is tried until the waiter was there first.
template <class Close>
void closed_under(Channel (*make)(), int way, Close close_it) {
  for (int attempt = 0;; attempt++) {
    CHECK(attempt < 50);
    const Channel channel = make();
    char bytes[4] = {};
    Call waits([channel, way, &bytes] { return wait_on(way, channel.in, bytes); });
    waits.settle();
    if (attempt > 0) sleep_ms(attempt);
    const int other = close_it(channel.in);
    // `other` writes into what has the number now, if anything has.
    if (other >= 0) CHECK_EQ(write(other, "new", 3), 3);
    if (other >= 0) waits.settle();
    const bool void_attempt = waits.done();
    if (!void_attempt) {
      CHECK_EQ(write(channel.out, "old", 3), 3);
      CHECK_EQ(waits.result(), 3);
      if (way == 0 || way == 3) CHECK_STR(bytes, "old");
    }
    waits.result();
    if (other >= 0) {
      if (!void_attempt) {
        CHECK_EQ(read(channel.in, bytes, 3), 3);
        CHECK_STR(bytes, "new");
      }
      CHECK_SYS(close(channel.in));
      CHECK_SYS(close(other));
    }
    CHECK_SYS(close(channel.out));
    if (!void_attempt) return;
  }
}

int just_close(int fd) {
  CHECK_SYS(close(fd));
  return -1;
}

// Closes, and at once has a new pipe's reading end at that number.
int close_and_reuse(int fd) {
  const Channel fresh = pipe_channel();
  CHECK_SYS(close(fd));
  CHECK_EQ(fcntl(fresh.in, F_DUPFD, fd), fd);
  CHECK_SYS(close(fresh.in));
  return fresh.out;
}

int put_over(int fd) {
  const Channel fresh = pipe_channel();
  CHECK_EQ(dup2(fresh.in, fd), fd);
  CHECK_SYS(close(fresh.in));
  return fresh.out;
}

int put_over_by_dup3(int fd) {
  const Channel fresh = unix_channel();
  CHECK_EQ(dup3(fresh.in, fd, O_CLOEXEC), fd);
  CHECK_SYS(close(fresh.in));
  return fresh.out;
}

// The end of the stream and errors reach a reader whose number is gone.
void the_end_comes() {
  for (auto make : kStreams) {
    for (int attempt = 0;; attempt++) {
      CHECK(attempt < 50);
      const Channel channel = make();
      Call waits([channel] {
        char byte;
        return read(channel.in, &byte, 1);
      });
      waits.settle();
      if (attempt > 0) sleep_ms(attempt);
      CHECK_SYS(close(channel.in));
      const bool tried = !waits.done();
      CHECK_SYS(close(channel.out));
      if (waits.result() == -1) CHECK_EQ(waits.error(), EBADF);
      else CHECK_EQ(waits.result(), 0);
      if (tried && waits.result() == 0) break;
    }
  }
}

// A writer whose number is closed writes all the same.
void writers() {
  static char big[1 << 20];
  put_stamps(big, sizeof big, 0);
  for (auto make : kStreams) {
    const Channel channel = make();
    Call writes([channel] { return write(channel.out, big, sizeof big); });
    char* sink = new char[sizeof big];
    CHECK_EQ(read(channel.in, sink, 1), 1);
    writes.settle();
    CHECK_SYS(close(channel.out));
    const size_t got = read_fully(channel.in, sink, sizeof big);
    CHECK_EQ(got, sizeof big - 1);
    check_stamps(sink, got, 1);
    CHECK_EQ(writes.result(), sizeof big);
    CHECK_EQ(read(channel.in, sink, 1), 0);
    CHECK_SYS(close(channel.in));
    delete[] sink;
  }
}

// accept on a closed number takes a connection all the same, as long as it waits.
void accepting() {
  for (int attempt = 0;; attempt++) {
    CHECK(attempt < 50);
    sockaddr_in address;
    const int listener = listening_socket(&address);
    Call waits([listener] { return accept(listener, nullptr, nullptr); });
    waits.settle();
    if (attempt > 0) sleep_ms(attempt);
    CHECK_SYS(close(listener));
    const int client = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_SYS(client);
    const int n = connect(client, plain(&address), sizeof address);
    if (n == -1) CHECK_EQ(errno, ECONNREFUSED);
    CHECK_SYS(close(client));
    if (n == -1) {
      CHECK_FAILED(waits, EBADF);
      continue;
    }
    CHECK_SYS(static_cast<int>(waits.result()));
    CHECK_SYS(close(static_cast<int>(waits.result())));
    return;
  }
}

// A closed epoll descriptor, an eventfd.
void others() {
  for (int attempt = 0;; attempt++) {
    CHECK(attempt < 50);
    const int event = eventfd(0, 0), set = epoll_create1(0);
    epoll_event interest = {};
    interest.events = EPOLLIN;
    CHECK_SYS(epoll_ctl(set, EPOLL_CTL_ADD, event, &interest));
    Call waits([set] {
      epoll_event got;
      return epoll_wait(set, &got, 1, -1);
    });
    waits.settle();
    if (attempt > 0) sleep_ms(attempt);
    CHECK_SYS(close(set));
    const uint64_t one = 1;
    CHECK_EQ(write(event, &one, sizeof one), 8);
    if (waits.result() == -1) CHECK_EQ(waits.error(), EBADF);
    else CHECK_EQ(waits.result(), 1);
    CHECK_SYS(close(event));
    if (waits.result() == 1) return;
  }
}

}  // namespace

int main() {
  for (auto close_it : {just_close, close_and_reuse, put_over, put_over_by_dup3}) {
    for (auto make : kStreams) {
      for (int way = 0; way < (make == kStreams[0] ? 3 : 4); way++) closed_under(make, way, close_it);
    }
  }
  the_end_comes();
  writers();
  accepting();
  others();
  return 0;
}
