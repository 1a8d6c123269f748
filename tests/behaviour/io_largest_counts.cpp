// Shows the most that one call moves: 0x7ffff000 bytes, whatever more it was given, and 1024 messages of a batch that
// is sent. What is written goes to nowhere; the memory is one page's.
// run: procs=2 chaos=no limit=120
#include "io.h"

#include <sys/mman.h>

namespace {

constexpr size_t kMost = 0x7ffff000, kGiven = (size_t{1} << 31) + (1 << 20);

void bytes(bool vector, const char* zeros) {
  const Channel channel = pipe_channel();
  const int sink = open("/dev/null", O_WRONLY);
  CHECK_SYS(sink);
  Call reader([channel, sink] {
    long total = 0;
    CHECK_SYS(fcntl(channel.in, F_SETPIPE_SZ, 1 << 20));
    for (;;) {
      const ssize_t n = splice(channel.in, nullptr, sink, nullptr, 1 << 20, 0);
      CHECK_SYS(n);
      if (n == 0) return total;
      total += n;
    }
  });
  iovec pieces[3] = {
      {const_cast<char*>(zeros), kGiven / 2}, {const_cast<char*>(zeros), 100}, {const_cast<char*>(zeros), kGiven / 2}};
  CHECK_EQ(vector ? writev(channel.out, pieces, 3) : write(channel.out, zeros, kGiven), kMost);
  CHECK_SYS(close(channel.out));
  CHECK_EQ(reader.result(), kMost);
  CHECK_SYS(close(channel.in));
  CHECK_SYS(close(sink));
}

void messages(Channel channel) {
  constexpr unsigned kMessages = 1500;
  static mmsghdr batch[kMessages];
  static char one[1];
  static iovec piece = {one, 1};
  for (auto& m : batch) {
    m = {};
    m.msg_hdr.msg_iov = &piece;
    m.msg_hdr.msg_iovlen = 1;
  }
  Call sends([&] { return sendmmsg(channel.out, batch, kMessages, 0); });
  static mmsghdr got[1024];
  static char bytes[1024][1];
  static iovec pieces[1024];
  for (int i = 0; i < 1024; i++) {
    pieces[i] = {bytes[i], 1};
    got[i] = {};
    got[i].msg_hdr.msg_iov = &pieces[i];
    got[i].msg_hdr.msg_iovlen = 1;
  }
  CHECK_EQ(recvmmsg(channel.in, got, 1024, 0, nullptr), 1024);
  CHECK_EQ(sends.result(), 1024);
  char byte;
  CHECK_ERRNO(recv(channel.in, &byte, 1, MSG_DONTWAIT), EAGAIN);
  channel.close_both();
}

}  // namespace

int main() {
  const void* zeros = mmap(nullptr, kGiven, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(zeros != MAP_FAILED);
  // A thread that does nothing else: natively too the process has several.
  join(spawn([] {}));
  for (bool vector : {false, true}) bytes(vector, static_cast<const char*>(zeros));
  messages(unix_channel());
  messages(unix_channel(SOCK_SEQPACKET));
  return 0;
}
