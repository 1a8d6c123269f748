// Shows what writers see when nobody can read any more: SIGPIPE in the thread that wrote, death by default, EPIPE when
// ignored or with MSG_NOSIGNAL, and the partial count when the reader leaves in the middle of a blocked write.
#include "io.h"

namespace {

thread_local int pipes_seen;
std::atomic<int> handled;
char big[16 << 20];

void on_pipe(int) {
  pipes_seen++;
  handled++;
}

}  // namespace

int main() {
  for (auto make : kStreams) {
    const bool is_pipe = make == kStreams[0];
    // Default: the process dies of it, whatever thread wrote.
    const pid_t child = fork();
    CHECK_SYS(child);
    if (child == 0) {
      const Channel channel = make();
      CHECK_SYS(close(channel.in));
      Call writer([channel] {
        for (;;) {
          if (write(channel.out, big, 1) == -1) return errno;
        }
      });
      writer.result();
      _exit(1);
    }
    CHECK_EQ(wait_status(child), -SIGPIPE);

    // Handled: in the thread that wrote.
    on_signal(SIGPIPE, on_pipe);
    handled = 0;
    Channel channel = make();
    CHECK_SYS(close(channel.in));
    parallel(4, [channel, is_pipe](int index) {
      ssize_t n;
      // TCP learns by a reset that came for an earlier write.
      int before;
      do {
        before = pipes_seen;
        errno = 0;
        n = write(channel.out, big, 1);
      } while (n == 1 || errno == ECONNRESET);
      CHECK_EQ(n, -1);
      CHECK_EQ(errno, EPIPE);
      CHECK_EQ(pipes_seen, before + 1);
      if (is_pipe) return;
      stir(static_cast<unsigned>(index));
      CHECK_ERRNO(send(channel.out, big, 1, MSG_NOSIGNAL), EPIPE);
      msghdr message = {};
      iovec piece = {big, 1};
      message.msg_iov = &piece;
      message.msg_iovlen = 1;
      CHECK_ERRNO(sendmsg(channel.out, &message, MSG_NOSIGNAL | MSG_DONTWAIT), EPIPE);
      CHECK_EQ(pipes_seen, before + 1);
      CHECK_ERRNO(send(channel.out, big, 1, MSG_DONTWAIT), EPIPE);
      CHECK_EQ(pipes_seen, before + 2);
    });
    CHECK_EQ(handled.load(), is_pipe ? 4 : 8);
    CHECK_SYS(close(channel.out));

    // The reader leaves in the middle: the partial count, then EPIPE. A UNIX socket and a pipe differ in whether the
    // first also raises the signal.
    handled = 0;
    channel = make();
    Call writer([channel] {
      const ssize_t sent = write(channel.out, big, sizeof big);
      const int during = pipes_seen;
      ssize_t again;
      do again = write(channel.out, big, 1);
      while (again == -1 && errno == ECONNRESET);
      CHECK_EQ(again, -1);
      CHECK_EQ(errno, EPIPE);
      CHECK_EQ(pipes_seen, during + 1);
      return sent;
    });
    char sink[1000];
    CHECK_EQ(read_fully(channel.in, sink, sizeof sink), sizeof sink);
    writer.settle();
    CHECK_SYS(close(channel.in));
    CHECK(writer.result() >= 1000 && writer.result() < static_cast<long>(sizeof big));
    CHECK_EQ(handled.load(), is_pipe ? 2 : 1);
    CHECK_SYS(close(channel.out));

    // Ignored.
    on_signal(SIGPIPE, SIG_IGN);
    channel = make();
    CHECK_SYS(close(channel.in));
    Call ignoring([channel] {
      ssize_t n;
      do n = write(channel.out, big, 1);
      while (n == 1 || (n == -1 && errno == ECONNRESET));
      return n;
    });
    CHECK_FAILED(ignoring, EPIPE);
    CHECK_SYS(close(channel.out));
    // Blocked: it stays pending for the thread that wrote.
    on_signal(SIGPIPE, SIG_DFL);
    channel = make();
    CHECK_SYS(close(channel.in));
    Call blocking([channel] {
      sigset_t set;
      sigemptyset(&set);
      sigaddset(&set, SIGPIPE);
      CHECK_OK(pthread_sigmask(SIG_BLOCK, &set, nullptr));
      ssize_t n;
      do n = write(channel.out, big, 1);
      while (n == 1 || (n == -1 && errno == ECONNRESET));
      CHECK_EQ(errno, EPIPE);
      sigset_t pending;
      CHECK_SYS(sigpending(&pending));
      CHECK_EQ(sigismember(&pending, SIGPIPE), 1);
      const timespec now = {};
      CHECK_EQ(sigtimedwait(&set, nullptr, &now), SIGPIPE);
      errno = EPIPE;
      return n;
    });
    CHECK_FAILED(blocking, EPIPE);
    CHECK_SYS(close(channel.out));
  }
  return 0;
}
