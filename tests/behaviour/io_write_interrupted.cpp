// Shows what a signal does to a blocked write: the count so far if some bytes went, whether or not SA_RESTART is set;
// else EINTR, or with SA_RESTART a write that goes on.
#include "io.h"

namespace {

std::atomic<int> handled;
char big[16 << 20];

void count(int) { handled++; }

}  // namespace

int main() {
  put_stamps(big, sizeof big, 0);
  for (int flags : {0, SA_RESTART}) {
    on_signal(SIGUSR1, count, flags);
    for (auto make : kStreams) {
      // Some bytes went: the count is what the reader finds.
      Channel channel = make();
      Call writer([channel] { return write(channel.out, big, sizeof big); });
      // Sees the first bytes, so that an interruption comes after them.
      char first;
      CHECK_EQ(read(channel.in, &first, 1), 1);
      CHECK_EQ(first, stamp(0));
      writer.settle();
      writer.interrupt(SIGUSR1);
      const long sent = writer.result();
      CHECK(sent > 0 && sent < static_cast<long>(sizeof big));
      CHECK_SYS(close(channel.out));
      char* sink = new char[sizeof big];
      CHECK_EQ(read_fully(channel.in, sink, sizeof big), sent - 1);
      check_stamps(sink, static_cast<size_t>(sent) - 1, 1);
      CHECK_SYS(close(channel.in));

      // No byte could go.
      channel = make();
      const size_t before = fill_up(channel.out);
      handled = 0;
      static char more[4096];
      put_stamps(more, sizeof more, before);
      Call stuck([channel] { return write(channel.out, more, sizeof more); });
      stuck.settle();
      if (flags == 0) {
        stuck.interrupt(SIGUSR1);
        // Room may have been found in a socket that said it was full; on a pipe a full page was asked for.
        if (make == kStreams[0]) CHECK_EQ(stuck.result(), -1);
        if (stuck.result() == -1) {
          CHECK_EQ(stuck.error(), EINTR);
          CHECK(handled > 0);
        }
      } else {
        for (int i = 1; i <= 3; i++) {
          stuck.signal(SIGUSR1);
          EVENTUALLY(handled == i);
          stuck.settle();
        }
        size_t got = read_fully(channel.in, sink, before);
        check_stamps(sink, got, 0);
        if (make == kStreams[0]) CHECK_EQ(stuck.result(), sizeof more);
        CHECK(stuck.result() > 0);
        const size_t rest = read_fully(channel.in, sink, static_cast<size_t>(stuck.result()));
        check_stamps(sink, rest, before);
        CHECK_EQ(rest, stuck.result());
      }
      channel.close_both();
      delete[] sink;
    }
  }
  return 0;
}
