// Shows what a full descriptor table gives: EMFILE from open, pipe, socket, accept, dup and eventfd, at exactly the
// number of descriptors that the program may have, whatever else is open behind its back; waiting calls go on to work
// there; and the limit can be raised and lowered while threads wait.
#include "io.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

namespace {

void limit_to(rlim_t count) {
  rlimit limit;
  CHECK_SYS(getrlimit(RLIMIT_NOFILE, &limit));
  limit.rlim_cur = count;
  CHECK_SYS(setrlimit(RLIMIT_NOFILE, &limit));
  rlimit now;
  CHECK_SYS(getrlimit(RLIMIT_NOFILE, &now));
  CHECK_EQ(now.rlim_cur, count);
}

// Opens until it fails; returns how many went.
int fill_table(int* fds, int most) {
  int n = 0;
  while (n < most && (fds[n] = open("/dev/null", O_RDONLY)) >= 0) n++;
  CHECK(n < most);
  CHECK_EQ(errno, EMFILE);
  return n;
}

void body(bool threads_first) {
  constexpr int kLimit = 64;
  int fds[kLimit];
  if (threads_first) join(spawn([] { usleep(100); }));
  const int first_free = dup(0);
  CHECK_SYS(first_free);
  CHECK_SYS(close(first_free));
  limit_to(kLimit);
  sockaddr_in address;
  const int listener = listening_socket(&address), client = socket(AF_INET, SOCK_STREAM, 0);
  CHECK_SYS(client);
  const Channel channel = pipe_channel();
  Call reader([channel] {
    char bytes[10];
    return read(channel.in, bytes, sizeof bytes);
  });
  reader.settle();
  const int opened = fill_table(fds, kLimit);
  // Every number below the limit was the program's to have; a library that makes threads and has to start in so small a
  // table may need a few.
  if (threads_first) CHECK_EQ(first_free + 4 + opened, kLimit);
  CHECK(first_free + 4 + opened >= kLimit - 4);
  int ends[2];
  CHECK_ERRNO(pipe(ends), EMFILE);
  CHECK_ERRNO(socket(AF_INET, SOCK_STREAM, 0), EMFILE);
  CHECK_ERRNO(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), EMFILE);
  CHECK_ERRNO(dup(0), EMFILE);
  CHECK_ERRNO(fcntl(0, F_DUPFD, 0), EMFILE);
  CHECK_ERRNO(dup2(0, kLimit), EBADF);
  CHECK_ERRNO(fcntl(0, F_DUPFD, kLimit), EINVAL);
  CHECK_ERRNO(eventfd(0, 0), EMFILE);
  CHECK_ERRNO(epoll_create1(0), EMFILE);
  CHECK(fopen("/dev/null", "r") == nullptr);
  CHECK_EQ(errno, EMFILE);
  // accept has a connection but no number for it, and says so at once.
  CHECK_SYS(connect(client, plain(&address), sizeof address));
  Call accepts([listener] { return accept(listener, nullptr, nullptr); });
  CHECK_FAILED(accepts, EMFILE);
  // Waiting works in a full table: reads, polls, time-outs.
  CHECK_EQ(write(channel.out, "x", 1), 1);
  CHECK_EQ(reader.result(), 1);
  parallel(8, [channel](int) {
    pollfd wanted = {channel.in, POLLIN, 0};
    CHECK_EQ(poll(&wanted, 1, 1), 0);
    usleep(100);
  });
  Call again([channel] {
    char byte;
    return read(channel.in, &byte, 1);
  });
  again.settle();
  CHECK_EQ(write(channel.out, "x", 1), 1);
  CHECK_EQ(again.result(), 1);
  // One number free: accept gets it.
  CHECK_SYS(close(fds[3]));
  Call accepts_now([listener] { return accept(listener, nullptr, nullptr); });
  CHECK_EQ(accepts_now.result(), fds[3]);
  // Lowered below what is open, then raised.
  limit_to(10);
  CHECK_ERRNO(dup(0), EMFILE);
  CHECK_EQ(write(client, "abc", 3), 3);
  Call served([&fds] {
    char bytes[3];
    return recv(fds[3], bytes, sizeof bytes, MSG_WAITALL);
  });
  CHECK_EQ(served.result(), 3);
  limit_to(kLimit + 40);
  CHECK_EQ(dup(0), kLimit);
  parallel(10, [](int) {
    const Channel own = unix_channel();
    Call waits([own] {
      char byte;
      return read(own.in, &byte, 1);
    });
    waits.settle();
    CHECK_EQ(write(own.out, "x", 1), 1);
    CHECK_EQ(waits.result(), 1);
    own.close_both();
  });
}

}  // namespace

int main() {
  for (bool threads_first : {false, true}) {
    const pid_t child = fork();
    CHECK_SYS(child);
    if (child == 0) {
      body(threads_first);
      _exit(0);
    }
    CHECK_EQ(wait_status(child), 0);
  }
  body(true);
  return 0;
}
