// Shows that a call whose wait is over, but which has not run yet, still has its file when another thread closes the
// number and opens something else there: a read takes the old bytes, a write goes on into the old pipe.
#include "io.h"

namespace {

// As in io_close_while_waiting, an attempt in which the close comes before the wait is void.
void reader() {
  for (int attempt = 0;; attempt++) {
    CHECK(attempt < 50);
    Channel channel = pipe_channel();
    char bytes[8] = {};
    Call blocked([channel, &bytes] { return read(channel.in, bytes, sizeof bytes - 1); });
    blocked.settle();
    usleep(static_cast<useconds_t>(attempt) * 1000);
    CHECK_EQ(write(channel.out, "old", 3), 3);
    CHECK_SYS(close(channel.in));
    Channel next = pipe_channel();
    CHECK_EQ(write(next.out, "new", 3), 3);
    const bool old = blocked.result() == 3 && memcmp(bytes, "old", 3) == 0;
    if (old) {
      CHECK_EQ(read(next.in, bytes, 3), 3);
      CHECK_EQ(memcmp(bytes, "new", 3), 0);
    }
    next.close_both();
    CHECK_SYS(close(channel.out));
    if (old) return;
  }
}

void writer() {
  static char big[200000];
  put_stamps(big, sizeof big, 0);
  for (int attempt = 0;; attempt++) {
    CHECK(attempt < 50);
    Channel channel = pipe_channel();
    Call blocked([channel] { return write(channel.out, big, sizeof big); });
    blocked.settle();
    usleep(static_cast<useconds_t>(attempt) * 1000);
    static char got[sizeof big];
    const ssize_t first = read(channel.in, got, 65536);
    CHECK(first > 0);
    CHECK_SYS(close(channel.out));
    FILE* victim = tmpfile();
    CHECK(victim != nullptr);
    size_t n = static_cast<size_t>(first);
    for (ssize_t r; (r = read(channel.in, got + n, sizeof got - n)) > 0;) n += static_cast<size_t>(r);
    const bool whole = blocked.result() == static_cast<long>(sizeof big) && n == sizeof big;
    if (whole) {
      check_stamps(got, n, 0);
      CHECK_EQ(lseek(fileno(victim), 0, SEEK_END), 0);
    }
    CHECK_EQ(fclose(victim), 0);
    CHECK_SYS(close(channel.in));
    if (whole) return;
  }
}

}  // namespace

int main() {
  signal(SIGPIPE, SIG_IGN);
  for (int i = 0; i < 5; i++) {
    reader();
    writer();
  }
  return 0;
}
