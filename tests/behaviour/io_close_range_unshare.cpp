// Shows close_range with CLOSE_RANGE_UNSHARE in a process that has had threads and has one now: the threads that it
// makes afterwards share its descriptors.
#include "io.h"

#include <linux/close_range.h>

namespace {

void traffic(int index) {
  for (int i = 0; i < 20; i++) {
    const Channel channel = kStreams[(index + i) % 3]();
    Call reader([channel] {
      char bytes[10];
      return read(channel.in, bytes, sizeof bytes);
    });
    if (i % 4 == 0) reader.settle();
    CHECK_EQ(write(channel.out, "some", 4), 4);
    CHECK_EQ(reader.result(), 4);
    channel.close_both();
  }
}

}  // namespace

int main() {
  parallel(6, traffic);
  CHECK_SYS(close_range(3, UINT32_MAX, CLOSE_RANGE_UNSHARE));
  parallel(6, traffic);
  return 0;
}
