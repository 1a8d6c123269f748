// Shows poll, ppoll, select, pselect, epoll_wait, epoll_pwait and epoll_pwait2 with no, a finite and an infinite time
// to wait; many descriptors, closed and odd ones; masks for the time of the call; select's remaining time.
#include "io.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/select.h>

#include <vector>

namespace {

constexpr int kForms = 9;
std::atomic<int> handled;

// Waits by one of the forms for `fd` to become readable; ms < 0 waits for good. Returns what the call returned.
int wait_by(int form, int fd, int ms, const sigset_t* mask = nullptr) {
  pollfd wanted = {fd, POLLIN, 0};
  const timespec time = {ms / 1000, ms % 1000 * NS_PER_MS};
  const timespec* limit = ms < 0 ? nullptr : &time;
  timeval tv = {ms / 1000, ms % 1000 * 1000};
  fd_set reads;
  FD_ZERO(&reads);
  FD_SET(fd, &reads);
  epoll_event event = {};
  event.events = EPOLLIN;
  int n, set = -1;
  if (form >= 4 && form < 7) {
    set = epoll_create1(EPOLL_CLOEXEC);
    CHECK_SYS(set);
    event.data.u64 = 0x123456789abcdef0;
    CHECK_SYS(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
    memset(&event, 0, sizeof event);
  }
  switch (form) {
    case 0: n = poll(&wanted, 1, ms); break;
    case 1: n = ppoll(&wanted, 1, limit, mask); break;
    case 2: n = select(fd + 1, &reads, nullptr, nullptr, ms < 0 ? nullptr : &tv); break;
    case 3: n = pselect(fd + 1, &reads, nullptr, nullptr, limit, mask); break;
    case 4: n = epoll_wait(set, &event, 1, ms); break;
    case 5: n = epoll_pwait(set, &event, 1, ms, mask); break;
    case 6: n = epoll_pwait2(set, &event, 1, limit, mask); break;
    case 7:
      wanted.events = POLLRDNORM;
      n = poll(&wanted, 1, ms);
      break;
    default: {
      // Among others that stay silent.
      pollfd several[] = {{-1, POLLIN, 0}, {fd, 0, 0}, {fd, POLLIN, 0}, {-5, POLLOUT, 0}};
      n = poll(several, 4, ms);
      wanted = several[2];
      CHECK_EQ(several[0].revents | several[1].revents | several[3].revents, 0);
      break;
    }
  }
  const int error = errno;
  if (form < 2 || form >= 7) CHECK_EQ(wanted.revents, n > 0 ? (form == 7 ? POLLRDNORM : POLLIN) : 0);
  if (n >= 0 && (form == 2 || form == 3)) CHECK_EQ(FD_ISSET(fd, &reads) != 0, n == 1);
  if (n == 1 && form >= 4 && form < 7) {
    CHECK_EQ(event.events, EPOLLIN);
    CHECK_EQ(event.data.u64, 0x123456789abcdef0);
  }
  if (set >= 0) CHECK_SYS(close(set));
  errno = error;
  return n;
}

void forms() {
  for (int form = 0; form < kForms; form++) {
    for (auto make : kStreams) {
      const Channel channel = make();
      CHECK_EQ(wait_by(form, channel.in, 0), 0);
      const int64_t began = now_ns(CLOCK_MONOTONIC);
      CHECK_EQ(wait_by(form, channel.in, 3), 0);
      CHECK(now_ns(CLOCK_MONOTONIC) - began >= 3 * NS_PER_MS);
      for (int ms : {-1, 60000}) {
        Call waits([=] { return wait_by(form, channel.in, ms); });
        waits.settle();
        CHECK_EQ(write(channel.out, "x", 1), 1);
        CHECK_EQ(waits.result(), 1);
        CHECK_EQ(wait_by(form, channel.in, ms), 1);
        CHECK_EQ(wait_by(form, channel.in, 0), 1);
        char byte;
        CHECK_EQ(read(channel.in, &byte, 1), 1);
      }
      channel.close_both();
    }
  }
}

// A signal that is let in only for the time of the call.
void masks() {
  on_signal(
      SIGUSR1, [](int) { handled++; }, SA_RESTART);
  for (int form : {1, 3, 5, 6}) {
    const Channel channel = pipe_channel();
    handled = 0;
    std::atomic<int> step{0};
    Call waits([=, &step] {
      sigset_t block, before;
      sigemptyset(&block);
      sigaddset(&block, SIGUSR1);
      CHECK_OK(pthread_sigmask(SIG_BLOCK, &block, &before));
      step = 1;
      while (step != 2) sched_yield();
      // One is pending: the call lets it in and ends.
      CHECK_EQ(handled.load(), 0);
      CHECK_ERRNO(wait_by(form, channel.in, 60000, &before), EINTR);
      CHECK_EQ(handled.load(), 1);
      // Another comes while it waits.
      step = 3;
      const int n = wait_by(form, channel.in, -1, &before);
      const int error = errno;
      sigset_t now;
      CHECK_OK(pthread_sigmask(SIG_BLOCK, nullptr, &now));
      CHECK_EQ(sigismember(&now, SIGUSR1), 1);
      errno = error;
      return n;
    });
    EVENTUALLY(step == 1);
    waits.signal(SIGUSR1);
    step = 2;
    EVENTUALLY(step == 3);
    waits.settle();
    waits.signal(SIGUSR1);
    CHECK_FAILED(waits, EINTR);
    CHECK_EQ(handled.load(), 2);
    channel.close_both();
  }
}

void odd_descriptors() {
  const Channel channel = pipe_channel(), gone = pipe_channel();
  gone.close_both();
  pollfd set[] = {{channel.in, POLLIN, 0}, {gone.in, POLLIN, 0}, {-1, POLLIN, 0}, {channel.out, POLLOUT, 0}};
  CHECK_EQ(poll(set, 4, -1), 2);
  CHECK_EQ(set[0].revents, 0);
  CHECK_EQ(set[1].revents, POLLNVAL);
  CHECK_EQ(set[2].revents, 0);
  CHECK_EQ(set[3].revents, POLLOUT);
  pollfd nothing = {gone.in, 0, 77};
  CHECK_EQ(poll(&nothing, 1, 60000), 1);
  CHECK_EQ(nothing.revents, POLLNVAL);
  fd_set reads;
  FD_ZERO(&reads);
  FD_SET(gone.in, &reads);
  CHECK_ERRNO(select(gone.in + 1, &reads, nullptr, nullptr, nullptr), EBADF);
  CHECK_ERRNO(select(-1, nullptr, nullptr, nullptr, nullptr), EINVAL);
  timeval wrong = {-1, 0};
  CHECK_ERRNO(select(0, nullptr, nullptr, nullptr, &wrong), EINVAL);
  timespec wrong_too = {0, 1000000000};
  CHECK_ERRNO(ppoll(set, 1, &wrong_too, nullptr), EINVAL);
  CHECK_ERRNO(pselect(0, nullptr, nullptr, nullptr, &wrong_too, nullptr), EINVAL);
  epoll_event event = {};
  CHECK_ERRNO(epoll_wait(gone.in, &event, 1, -1), EBADF);
  CHECK_ERRNO(epoll_wait(channel.in, &event, 1, -1), EINVAL);
  const int epoll = epoll_create1(0);
  CHECK_ERRNO(epoll_wait(epoll, &event, 0, -1), EINVAL);
  CHECK_EQ(epoll_wait(epoll, &event, 1, 1), 0);
  CHECK_SYS(close(epoll));
  // The other end goes while one waits.
  Call waits([channel] {
    pollfd wanted = {channel.in, POLLIN, 0};
    CHECK_EQ(poll(&wanted, 1, -1), 1);
    return wanted.revents;
  });
  Call selects([channel] {
    fd_set in;
    FD_ZERO(&in);
    FD_SET(channel.in, &in);
    return select(channel.in + 1, &in, nullptr, nullptr, nullptr);
  });
  waits.settle();
  selects.settle();
  CHECK_SYS(close(channel.out));
  CHECK_EQ(waits.result(), POLLHUP);
  CHECK_EQ(selects.result(), 1);
  CHECK_SYS(close(channel.in));
  // A full pipe whose reader goes: POLLERR.
  const Channel full = pipe_channel();
  fill_up(full.out);
  Call writer([full] {
    pollfd wanted = {full.out, POLLOUT, 0};
    CHECK_EQ(poll(&wanted, 1, -1), 1);
    return wanted.revents;
  });
  writer.settle();
  CHECK_SYS(close(full.in));
  CHECK_EQ(writer.result() & POLLERR, POLLERR);
  CHECK_SYS(close(full.out));
  // Files are always ready; select tells of the remaining time.
  FILE* file = tmpfile();
  pollfd ready = {fileno(file), POLLIN | POLLOUT, 0};
  CHECK_EQ(poll(&ready, 1, -1), 1);
  CHECK_EQ(ready.revents, POLLIN | POLLOUT);
  FD_ZERO(&reads);
  FD_SET(fileno(file), &reads);
  timeval minute = {60, 0};
  CHECK_EQ(select(fileno(file) + 1, &reads, nullptr, nullptr, &minute), 1);
  CHECK(minute.tv_sec >= 1);
  timeval short_time = {0, 2000};
  CHECK_EQ(select(0, nullptr, nullptr, nullptr, &short_time), 0);
  CHECK_EQ(short_time.tv_sec, 0);
  CHECK_EQ(short_time.tv_usec, 0);
  fclose(file);
}

// Hundreds of descriptors, each of which wakes in its turn.
void many() {
  rlimit limit;
  CHECK_SYS(getrlimit(RLIMIT_NOFILE, &limit));
  const size_t count = limit.rlim_cur < 1000 ? 50 : 400;
  std::vector<int> events(count);
  for (int& fd : events) CHECK_SYS(fd = eventfd(0, 0));
  parallel(3, [&](int index) {
    if (index < 2) {
      std::vector<pollfd> wanted(count);
      size_t left = count / 2;
      const size_t first = index == 0 ? 0 : count / 2;
      for (size_t i = 0; i < count; i++)
        wanted[i] = {events[i], static_cast<short>(i / (count / 2) == first / (count / 2) ? POLLIN : 0), 0};
      while (left > 0) {
        int n = poll(wanted.data(), count, -1);
        CHECK(n > 0);
        for (pollfd& p : wanted) {
          if (p.revents == 0) continue;
          CHECK_EQ(p.revents, POLLIN);
          uint64_t value;
          CHECK_EQ(read(p.fd, &value, sizeof value), 8);
          p.fd = -1;
          left--;
          n--;
        }
        CHECK_EQ(n, 0);
      }
    } else {
      const uint64_t one = 1;
      for (size_t i = 0; i < count; i++) {
        CHECK_EQ(write(events[i * 7 % count], &one, sizeof one), 8);
        if (i % 50 == 0) usleep(300);
      }
    }
  });
  for (int fd : events) CHECK_SYS(close(fd));
}

}  // namespace

int main() {
  forms();
  masks();
  odd_descriptors();
  for (int round = 0; round < 5; round++) many();
  join(spawn([] { odd_descriptors(); }));
  return 0;
}
