// Shows several threads in epoll_wait on one epoll: level-triggered, edge-triggered, one-shot, exclusive and nested
// sets; interest added, changed and removed while others wait; the waiters' own threads woken one by one.
#include "io.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

namespace {

int new_set() {
  const int set = epoll_create1(EPOLL_CLOEXEC);
  CHECK_SYS(set);
  return set;
}

void control(int set, int operation, int fd, uint32_t events) {
  epoll_event interest = {};
  interest.events = events;
  interest.data.fd = fd;
  CHECK_SYS(epoll_ctl(set, operation, fd, &interest));
}

constexpr int kWaiters = 5, kChannels = 8, kMessages = 40;

// Server style: threads share a set of channels; every message is handled once, and answers are counted.
void served_by_many(uint32_t mode) {
  const int set = new_set(), stop = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK);
  CHECK_SYS(stop);
  Channel channels[kChannels];
  for (int i = 0; i < kChannels; i++) {
    channels[i] = kStreams[i % 3]();
    set_nonblocking(channels[i].in, true);
    control(set, EPOLL_CTL_ADD, channels[i].in, EPOLLIN | mode);
  }
  control(set, EPOLL_CTL_ADD, stop, EPOLLIN);
  std::atomic<int> got{0};
  pthread_t servers = spawn([&] {
    parallel(kWaiters, [&](int index) {
      epoll_event events[3];
      for (;;) {
        const int n = epoll_wait(set, events, 1 + index % 3, index % 2 == 0 ? -1 : 60000);
        CHECK(n >= 1 && n <= 1 + index % 3);
        bool leave = false;
        for (int i = 0; i < n; i++) {
          const int fd = events[i].data.fd;
          uint64_t one;
          if (fd == stop) {
            if (read(stop, &one, sizeof one) == 8) leave = true;
            continue;
          }
          char byte;
          ssize_t r;
          while ((r = read(fd, &byte, 1)) == 1) got++;
          CHECK_EQ(r, -1);
          CHECK_EQ(errno, EAGAIN);
          if ((mode & EPOLLONESHOT) != 0) control(set, EPOLL_CTL_MOD, fd, EPOLLIN | mode);
        }
        if (leave) return;
      }
    });
  });
  parallel(4, [&](int index) {
    for (int i = 0; i < kMessages; i++) {
      for (int c = index; c < kChannels; c += 4) CHECK_EQ(write(channels[c].out, "m", 1), 1);
      stir(static_cast<unsigned>(i + index));
    }
  });
  EVENTUALLY(got == kChannels * kMessages);
  const uint64_t all = kWaiters;
  CHECK_EQ(write(stop, &all, sizeof all), 8);
  join(servers);
  for (Channel& c : channels) c.close_both();
  CHECK_SYS(close(stop));
  CHECK_SYS(close(set));
}

// A level-triggered event wakes all who wait, in whatever order, as long as nobody takes the data.
void level_wakes_all() {
  const Channel channel = pipe_channel();
  const int set = new_set();
  control(set, EPOLL_CTL_ADD, channel.in, EPOLLIN);
  std::atomic<int> woken{0};
  pthread_t waiters = spawn([&] {
    parallel(kWaiters, [&](int) {
      epoll_event event;
      CHECK_EQ(epoll_wait(set, &event, 1, -1), 1);
      CHECK_EQ(event.data.fd, channel.in);
      woken++;
    });
  });
  usleep(500);
  CHECK_EQ(write(channel.out, "x", 1), 1);
  join(waiters);
  CHECK_EQ(woken.load(), kWaiters);
  CHECK_SYS(close(set));
  channel.close_both();
}

// An edge and a one-shot are seen by one of those who wait; the others time out or go on waiting.
void one_sees_it(uint32_t mode) {
  const Channel channel = pipe_channel();
  const int set = new_set();
  control(set, EPOLL_CTL_ADD, channel.in, EPOLLIN | mode);
  std::atomic<int> woken{0};
  pthread_t waiters = spawn([&] {
    parallel(kWaiters, [&](int) {
      epoll_event event;
      const int n = epoll_wait(set, &event, 1, -1);
      CHECK_EQ(n, 1);
      woken++;
    });
  });
  for (int i = 1; i <= kWaiters; i++) {
    if (i % 2 == 1) usleep(500);
    CHECK_EQ(woken.load(), i - 1);
    CHECK_EQ(write(channel.out, "x", 1), 1);
    EVENTUALLY(woken == i);
    if ((mode & EPOLLONESHOT) != 0) {
      char byte;
      CHECK_EQ(read(channel.in, &byte, 1), 1);
      control(set, EPOLL_CTL_MOD, channel.in, EPOLLIN | mode);
    }
  }
  join(waiters);
  CHECK_SYS(close(set));
  channel.close_both();
}

// Many sets watch one descriptor exclusively: at least one wakes, all in the end.
void exclusive() {
  const Channel channel = pipe_channel();
  std::atomic<int> got{0};
  pthread_t waiters = spawn([&] {
    parallel(kWaiters, [&](int) {
      const int set = new_set();
      control(set, EPOLL_CTL_ADD, channel.in, EPOLLIN | EPOLLEXCLUSIVE);
      for (;;) {
        epoll_event event;
        CHECK_EQ(epoll_wait(set, &event, 1, -1), 1);
        char byte;
        CHECK_EQ(read(channel.in, &byte, 1), 1);
        if (byte == 'E') break;
        got++;
      }
      CHECK_SYS(close(set));
    });
  });
  for (int i = 0; i < 100; i++) {
    CHECK_EQ(write(channel.out, "x", 1), 1);
    stir(static_cast<unsigned>(i));
  }
  EVENTUALLY(got == 100);
  for (int i = 0; i < kWaiters; i++) CHECK_EQ(write(channel.out, "E", 1), 1);
  join(waiters);
  channel.close_both();
}

// A set in a set in a set; poll on a set.
void nested() {
  const Channel channel = unix_channel();
  const int inner = new_set(), middle = new_set(), outer = new_set();
  control(outer, EPOLL_CTL_ADD, middle, EPOLLIN);
  control(middle, EPOLL_CTL_ADD, inner, EPOLLIN);
  control(inner, EPOLL_CTL_ADD, channel.in, EPOLLIN);
  for (int i = 0; i < 10; i++) {
    Call by_epoll([&] {
      epoll_event event = {};
      CHECK_EQ(epoll_wait(outer, &event, 1, -1), 1);
      return event.data.fd;
    });
    Call by_poll([&] {
      pollfd wanted = {inner, POLLIN, 0};
      CHECK_EQ(poll(&wanted, 1, -1), 1);
      return wanted.revents;
    });
    if (i % 2 == 0) by_epoll.settle();
    CHECK_EQ(write(channel.out, "x", 1), 1);
    CHECK_EQ(by_epoll.result(), middle);
    CHECK_EQ(by_poll.result(), POLLIN);
    epoll_event event = {};
    CHECK_EQ(epoll_wait(inner, &event, 1, 0), 1);
    CHECK_EQ(event.data.fd, channel.in);
    char byte;
    CHECK_EQ(read(channel.in, &byte, 1), 1);
    CHECK_EQ(epoll_wait(outer, &event, 1, 0), 0);
  }
  for (int fd : {inner, middle, outer}) CHECK_SYS(close(fd));
  channel.close_both();
}

// Interest that changes under a waiter.
void changed_under_a_waiter() {
  const Channel first = pipe_channel(), second = pipe_channel();
  const int set = new_set();
  Call waits([&] {
    epoll_event event = {};
    CHECK_EQ(epoll_wait(set, &event, 1, -1), 1);
    return event.data.fd;
  });
  waits.settle();
  control(set, EPOLL_CTL_ADD, first.in, EPOLLIN);
  control(set, EPOLL_CTL_ADD, second.in, 0);
  control(set, EPOLL_CTL_DEL, first.in, 0);
  CHECK_EQ(write(first.out, "x", 1), 1);
  CHECK_EQ(write(second.out, "x", 1), 1);
  waits.settle();
  CHECK(!waits.done());
  control(set, EPOLL_CTL_MOD, second.in, EPOLLIN);
  CHECK_EQ(waits.result(), second.in);
  // Added while it has data already.
  Call again([&] {
    epoll_event events[4];
    int n = 0;
    while (n < 2) CHECK((n = epoll_wait(set, events, 4, -1)) >= 1);
    return n;
  });
  again.settle();
  control(set, EPOLL_CTL_ADD, first.in, EPOLLIN);
  CHECK_EQ(again.result(), 2);
  // A closed descriptor leaves the set by itself.
  CHECK_SYS(close(first.in));
  CHECK_SYS(close(second.in));
  epoll_event event;
  CHECK_EQ(epoll_wait(set, &event, 1, 2), 0);
  CHECK_ERRNO(epoll_ctl(set, EPOLL_CTL_DEL, first.in, nullptr), EBADF);
  for (int fd : {first.out, second.out, set}) CHECK_SYS(close(fd));
}

}  // namespace

int main() {
  for (uint32_t mode : {0u, static_cast<uint32_t>(EPOLLET), static_cast<uint32_t>(EPOLLONESHOT),
                        static_cast<uint32_t>(EPOLLET) | static_cast<uint32_t>(EPOLLONESHOT)}) {
    served_by_many(mode);
    if (mode != 0) one_sees_it(mode);
  }
  for (int round = 0; round < 10; round++) {
    level_wakes_all();
    exclusive();
    nested();
    changed_under_a_waiter();
  }
  return 0;
}
