// Shows daemon(3) from a program with and without threads, from main and from another thread: the daemon makes threads
// again, and they serve sockets; it is in a session of its own, and where it was asked for in / with /dev/null.
// run: limit=60
#include "check.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <atomic>

namespace {

constexpr int kClients = 8;
constexpr int kRequests = 20;

// Threads that serve, and threads that ask.
void serve_and_ask() {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  CHECK_SYS(listener);
  sockaddr_in here = {};
  here.sin_family = AF_INET;
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK_SYS(bind(listener, reinterpret_cast<sockaddr*>(&here), sizeof here));
  CHECK_SYS(listen(listener, kClients));
  socklen_t size = sizeof here;
  CHECK_SYS(getsockname(listener, reinterpret_cast<sockaddr*>(&here), &size));
  std::atomic<int> answered{0};
  const pthread_t server = spawn([&] {
    parallel(kClients, [&](int) {
      const int fd = accept(listener, nullptr, nullptr);
      CHECK_SYS(fd);
      int number;
      while (read(fd, &number, sizeof number) == sizeof number) {
        number++;
        CHECK_EQ(write(fd, &number, sizeof number), sizeof number);
      }
      close(fd);
    });
  });
  parallel(kClients, [&](int index) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_SYS(fd);
    CHECK_SYS(connect(fd, reinterpret_cast<sockaddr*>(&here), sizeof here));
    for (int i = 0; i < kRequests; i++) {
      int number = index * 1000 + i;
      CHECK_EQ(write(fd, &number, sizeof number), sizeof number);
      CHECK_EQ(read(fd, &number, sizeof number), sizeof number);
      CHECK_EQ(number, index * 1000 + i + 1);
      answered++;
    }
    close(fd);
  });
  join(server);
  close(listener);
  CHECK_EQ(answered, kClients * kRequests);
}

void become_daemon(int report, bool stays, pid_t starter) {
  char before[4096];
  char after[4096];
  CHECK(getcwd(before, sizeof before) != nullptr);
  CHECK_SYS(daemon(stays, stays));
  CHECK(getpid() != starter);
  CHECK(getsid(0) != starter);
  CHECK_EQ(getpgrp(), getsid(0));
  CHECK(getcwd(after, sizeof after) != nullptr);
  CHECK_STR(after, stays ? before : "/");
  if (!stays) {
    struct stat null = {};
    CHECK_SYS(stat("/dev/null", &null));
    for (int fd = 0; fd < 3; fd++) {
      struct stat found = {};
      CHECK_SYS(fstat(fd, &found));
      CHECK_EQ(found.st_rdev, null.st_rdev);
    }
  }
  for (int i = 0; i < 2; i++) serve_and_ask();
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    serve_and_ask();
    _exit(7);
  }
  CHECK_EQ(wait_status(child), 7);
  CHECK_EQ(write(report, "well", 4), 4);
  _exit(0);
}

// before: there are threads when it becomes a daemon; aside: another thread than main does it.
void start(bool before, bool aside, bool stays) {
  int ends[2];
  CHECK_SYS(pipe(ends));
  const pid_t starter = fork();
  CHECK_SYS(starter);
  if (starter == 0) {
    close(ends[0]);
    if (before) {
      serve_and_ask();
      for (int i = 0; i < 4; i++) {
        spawn([i] {
          for (unsigned step = static_cast<unsigned>(i);; step++) stir(step);
        });
      }
    }
    const pid_t self = getpid();
    if (aside) join(spawn([=] { become_daemon(ends[1], stays, self); }));
    else become_daemon(ends[1], stays, self);
  }
  close(ends[1]);
  CHECK_EQ(wait_status(starter), 0);
  char word[8];
  size_t got = 0;
  for (ssize_t n; (n = read(ends[0], word + got, sizeof word - got)) > 0;) got += static_cast<size_t>(n);
  CHECK_EQ(got, 4);  // else the daemon has failed; it may have no stderr
  close(ends[0]);
}

}  // namespace

int main() {
  for (bool threads_here : {false, true}) {
    if (threads_here) serve_and_ask();
    for (int way = 0; way < 8; way++) start((way & 1) != 0, (way & 2) != 0, (way & 4) != 0);
  }
  return 0;
}
