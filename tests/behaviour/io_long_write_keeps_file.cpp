// Shows that calls which move their bytes in several parts stay with their file when another thread closes the number
// between two of these parts, and opens something else there: writes of all kinds, batches of messages, and receives
// that wait for all. Nothing of theirs gets into the file that has the number now, and nothing of that into theirs.
#include "io.h"

#include <sys/stat.h>

namespace {

constexpr size_t kSize = 3 << 20;
char* bytes;

ssize_t write_by(int way, int fd) {
  iovec pieces[8];
  for (size_t i = 0; i < 8; i++) pieces[i] = {bytes + i * (kSize / 8), kSize / 8};
  msghdr message = {};
  message.msg_iov = pieces;
  message.msg_iovlen = 8;
  mmsghdr batch[8] = {};
  ssize_t sent = 0;
  switch (way) {
    case 0: return write(fd, bytes, kSize);
    case 1: return writev(fd, pieces, 8);
    case 2: return send(fd, bytes, kSize, 0);
    case 3: return sendmsg(fd, &message, 0);
    default:
      for (int i = 0; i < 8; i++) {
        batch[i].msg_hdr.msg_iov = &pieces[i];
        batch[i].msg_hdr.msg_iovlen = 1;
      }
      if (sendmmsg(fd, batch, 8, 0) != 8) return -1;
      for (auto& one : batch) sent += one.msg_len;
      return sent;
  }
}

// What gets to know that the writer has its file is its first byte. A writer that was caught between two parts may
// return early, but does so rarely.
void writer(Channel (*make)(), int way) {
  static char* sink = new char[kSize + 1];
  for (int attempt = 0;; attempt++) {
    CHECK(attempt < 50);
    const Channel channel = make();
    Call writes([channel, way] { return write_by(way, channel.out); });
    size_t got = 0;
    const size_t before = static_cast<size_t>(attempt) * 7919 % 200000 + 1;
    got = read_fully(channel.in, sink, before);
    CHECK_SYS(close(channel.out));
    FILE* victim = tmpfile();
    CHECK(victim != nullptr);
    const Channel other = unix_channel();
    for (ssize_t n; (n = read(channel.in, sink + got, kSize + 1 - got)) > 0;) got += static_cast<size_t>(n);
    check_stamps(sink, got, 0);
    const bool whole = got == kSize && writes.result() == static_cast<ssize_t>(kSize);
    if (writes.result() >= 0) CHECK_EQ(writes.result(), got);
    CHECK_EQ(lseek(fileno(victim), 0, SEEK_END), 0);
    char byte;
    for (int end : {other.in, other.out}) CHECK_ERRNO(recv(end, &byte, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(fclose(victim), 0);
    other.close_both();
    CHECK_SYS(close(channel.in));
    if (whole && attempt >= 3) return;
  }
}

void reader(Channel (*make)(), bool by_message) {
  for (int attempt = 0;; attempt++) {
    CHECK(attempt < 50);
    const Channel channel = make();
    char got[1000];
    Call reads([&got, channel, by_message] {
      iovec piece = {got, sizeof got};
      msghdr message = {};
      message.msg_iov = &piece;
      message.msg_iovlen = 1;
      return by_message ? recvmsg(channel.in, &message, MSG_WAITALL) : recv(channel.in, got, sizeof got, MSG_WAITALL);
    });
    CHECK_EQ(send(channel.out, bytes, 600, 0), 600);
    int left = 600;
    // Until it has taken the first part.
    for (int i = 0; left != 0 && i < 5000; i++) {
      CHECK_SYS(ioctl(channel.in, FIONREAD, &left));
      usleep(100);
    }
    CHECK_EQ(left, 0);
    CHECK_SYS(close(channel.in));
    const Channel other = unix_channel();
    for (int end : {other.in, other.out}) CHECK_EQ(send(end, "other", 5, 0), 5);
    const ssize_t sent = send(channel.out, bytes + 600, 400, MSG_NOSIGNAL);
    const long n = reads.result();
    CHECK(n == 600 || n == 1000);
    check_stamps(got, static_cast<size_t>(n), 0);
    char back[10];
    for (int end : {other.in, other.out}) CHECK_EQ(recv(end, back, sizeof back, MSG_DONTWAIT), 5);
    other.close_both();
    CHECK_SYS(close(channel.out));
    if (n == 1000 && sent == 400 && attempt >= 3) return;
  }
}

}  // namespace

int main() {
  signal(SIGPIPE, SIG_IGN);
  bytes = new char[kSize];
  put_stamps(bytes, kSize, 0);
  for (int way = 0; way < 2; way++) writer(kStreams[0], way);
  for (auto make : kStreamSockets) {
    for (int way = 0; way < 5; way++) writer(make, way);
    for (bool by_message : {false, true}) reader(make, by_message);
  }
  return 0;
}
