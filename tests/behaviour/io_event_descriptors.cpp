// Shows threads waiting on eventfd (counting and EFD_SEMAPHORE, full too), timerfd, signalfd, inotify and pidfd.
#include "io.h"

#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

namespace {

void eventfds() {
  const int counter = eventfd(0, 0);
  CHECK_SYS(counter);
  // All that is written is read, in sums, by several readers.
  static constexpr uint64_t kMark = 1 << 20;
  std::atomic<uint64_t> sum{0};
  pthread_t readers = spawn([&] {
    parallel(4, [&](int) {
      // Each reader ends when it has read the mark that main writes for it, far above all the rest.
      uint64_t value = 0;
      while (value < kMark) {
        CHECK_EQ(read(counter, &value, sizeof value), 8);
        sum += value % kMark;
        if (value < kMark) continue;
        // It may have taken the marks of others too.
        const uint64_t others = value / kMark * kMark - kMark;
        if (others > 0) CHECK_EQ(write(counter, &others, sizeof others), 8);
      }
    });
  });
  const uint64_t two = 2;
  for (unsigned i = 0; i < 500; i++) {
    CHECK_EQ(write(counter, &two, sizeof two), 8);
    if (i % 32 == 0) stir(i);
  }
  for (int i = 0; i < 4; i++) CHECK_EQ(write(counter, &kMark, sizeof kMark), 8);
  join(readers);
  CHECK_EQ(sum.load(), 1000);
  CHECK_SYS(close(counter));

  // A semaphore: each read takes one.
  const int semaphore = eventfd(0, EFD_SEMAPHORE);
  CHECK_SYS(semaphore);
  std::atomic<int> taken{0};
  pthread_t takers = spawn([&] {
    parallel(6, [&](int) {
      for (int i = 0; i < 50; i++) {
        uint64_t value;
        CHECK_EQ(read(semaphore, &value, sizeof value), 8);
        CHECK_EQ(value, 1);
        taken++;
      }
    });
  });
  for (uint64_t left = 300; left > 0;) {
    const uint64_t some = left < 7 ? left : 7;
    CHECK_EQ(write(semaphore, &some, sizeof some), 8);
    left -= some;
    if (left % 3 == 0) stir(static_cast<unsigned>(left));
  }
  join(takers);
  CHECK_EQ(taken.load(), 300);
  CHECK_SYS(close(semaphore));

  // Full: the writer waits until it is read.
  const int full = eventfd(0, 0);
  const uint64_t most = UINT64_MAX - 1, one = 1;
  CHECK_EQ(write(full, &most, sizeof most), 8);
  Call writer([&] { return write(full, &one, sizeof one); });
  writer.settle();
  CHECK(!writer.done());
  uint64_t value;
  CHECK_EQ(read(full, &value, sizeof value), 8);
  CHECK_EQ(value, most);
  CHECK_EQ(writer.result(), 8);
  CHECK_EQ(read(full, &value, sizeof value), 8);
  CHECK_EQ(value, 1);
  const uint64_t wrong = UINT64_MAX;
  CHECK_ERRNO(write(full, &wrong, sizeof wrong), EINVAL);
  CHECK_SYS(close(full));
}

void timerfds() {
  parallel(8, [](int index) {
    const int timer = timerfd_create(index % 2 == 0 ? CLOCK_MONOTONIC : CLOCK_REALTIME, TFD_CLOEXEC);
    CHECK_SYS(timer);
    itimerspec times = {};
    times.it_value.tv_nsec = 2 * NS_PER_MS;
    times.it_interval.tv_nsec = NS_PER_MS;
    const int64_t began = now_ns(CLOCK_MONOTONIC);
    CHECK_SYS(timerfd_settime(timer, 0, &times, nullptr));
    uint64_t ticks = 0, n;
    while (ticks < 6) {
      CHECK_EQ(read(timer, &n, sizeof n), 8);
      CHECK(n >= 1);
      ticks += n;
    }
    CHECK(now_ns(CLOCK_MONOTONIC) - began >= 6 * NS_PER_MS);
    // Set while another waits.
    times = {};
    CHECK_SYS(timerfd_settime(timer, 0, &times, nullptr));
    Call waits([timer] {
      uint64_t count;
      return read(timer, &count, sizeof count) == 8 ? static_cast<long>(count) : -1;
    });
    waits.settle();
    times.it_value.tv_nsec = 1;
    CHECK_SYS(timerfd_settime(timer, 0, &times, nullptr));
    CHECK_EQ(waits.result(), 1);
    CHECK_SYS(close(timer));
  });
}

void signalfds() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  sigaddset(&set, SIGRTMIN + 3);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &set, nullptr));
  const int fd = signalfd(-1, &set, SFD_CLOEXEC);
  CHECK_SYS(fd);
  Call reader([fd] {
    int sum = 0;
    for (int i = 0; i < 6; i++) {
      signalfd_siginfo info;
      CHECK_EQ(read(fd, &info, sizeof info), sizeof info);
      CHECK_EQ(info.ssi_pid, getpid());
      if (info.ssi_signo == static_cast<uint32_t>(SIGRTMIN + 3)) sum += info.ssi_int;
      else CHECK_EQ(info.ssi_signo, SIGUSR2);
    }
    return sum;
  });
  reader.settle();
  for (int i = 1; i <= 5; i++) {
    sigval value = {};
    value.sival_int = i;
    CHECK_SYS(sigqueue(getpid(), SIGRTMIN + 3, value));
  }
  CHECK_SYS(kill(getpid(), SIGUSR2));
  CHECK_EQ(reader.result(), 15);
  pollfd none = {fd, POLLIN, 0};
  CHECK_EQ(poll(&none, 1, 0), 0);
  CHECK_SYS(close(fd));
}

void inotifies() {
  char folder[] = "/tmp/io_inotify_XXXXXX";
  CHECK(mkdtemp(folder) != nullptr);
  const int fd = inotify_init1(IN_CLOEXEC);
  CHECK_SYS(fd);
  CHECK_SYS(inotify_add_watch(fd, folder, IN_CREATE | IN_DELETE));
  Call reader([fd] {
    alignas(inotify_event) char bytes[4096];
    int created = 0, deleted = 0;
    while (created < 5 || deleted < 5) {
      const ssize_t n = read(fd, bytes, sizeof bytes);
      CHECK(n > 0);
      for (ssize_t at = 0; at < n;) {
        inotify_event event;
        memcpy(&event, bytes + at, sizeof event);
        created += (event.mask & IN_CREATE) != 0;
        deleted += (event.mask & IN_DELETE) != 0;
        at += static_cast<ssize_t>(sizeof event + event.len);
      }
    }
    return created * 10 + deleted;
  });
  reader.settle();
  char path[100];
  for (unsigned i = 0; i < 5; i++) {
    snprintf(path, sizeof path, "%s/%u", folder, i);
    const int file = open(path, O_CREAT | O_WRONLY, 0600);
    CHECK_SYS(file);
    CHECK_SYS(close(file));
    stir(i + 3);
    CHECK_SYS(unlink(path));
  }
  CHECK_EQ(reader.result(), 55);
  CHECK_SYS(rmdir(folder));
  CHECK_SYS(close(fd));
}

void pidfds() {
  parallel(3, [](int index) {
    const Channel gate = pipe_channel();
    const pid_t child = fork();
    CHECK_SYS(child);
    if (child == 0) {
      char byte;
      _exit(read(gate.in, &byte, 1) == 1 ? 40 + index : 1);
    }
    const int fd = static_cast<int>(syscall(SYS_pidfd_open, child, 0));
    CHECK_SYS(fd);
    Call polls([fd] {
      pollfd wanted = {fd, POLLIN, 0};
      CHECK_EQ(poll(&wanted, 1, -1), 1);
      return wanted.revents & POLLIN;
    });
    Call waits([fd] {
      siginfo_t info;
      CHECK_SYS(waitid(static_cast<idtype_t>(3), static_cast<id_t>(fd), &info, WEXITED | WNOWAIT));
      return info.si_status;
    });
    polls.settle();
    waits.settle();
    CHECK_EQ(write(gate.out, "x", 1), 1);
    CHECK_EQ(polls.result(), POLLIN);
    CHECK_EQ(waits.result(), 40 + index);
    CHECK_EQ(wait_status(child), 40 + index);
    CHECK_SYS(close(fd));
    gate.close_both();
  });
}

}  // namespace

int main() {
  eventfds();
  timerfds();
  signalfds();
  for (int round = 0; round < 5; round++) inotifies();
  pidfds();
  return 0;
}
