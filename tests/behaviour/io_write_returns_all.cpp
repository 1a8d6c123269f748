// Shows that blocking writes of every form return only when all bytes are taken, however slowly the other end reads,
// and that the bytes arrive in order: write, writev, send, sendto, sendmsg on pipes, UNIX and TCP sockets.
#include "io.h"

#include <vector>

namespace {

constexpr size_t kSize = 1 << 20;

// Cuts the bytes into uneven pieces, an empty one among them, as many as one call takes.
std::vector<iovec> pieces_of(char* bytes, size_t size) {
  std::vector<iovec> pieces;
  size_t at = 0;
  for (size_t i = 0; at < size; i++) {
    size_t length = i % 7 == 3 ? 0 : 1 + (i * 7919) % 40000;
    if (length > size - at) length = size - at;
    pieces.push_back({bytes + at, length});
    at += length;
  }
  return pieces;
}

ssize_t write_by(int way, int fd, char* bytes, size_t size) {
  std::vector<iovec> pieces;
  msghdr message = {};
  switch (way) {
    case 0: return write(fd, bytes, size);
    case 1: pieces = pieces_of(bytes, size); return writev(fd, pieces.data(), static_cast<int>(pieces.size()));
    case 2: return send(fd, bytes, size, 0);
    case 3: return sendto(fd, bytes, size, MSG_NOSIGNAL, nullptr, 0);
    default:
      pieces = pieces_of(bytes, size);
      message.msg_iov = pieces.data();
      message.msg_iovlen = pieces.size();
      return sendmsg(fd, &message, 0);
  }
}

void transfer(Channel channel, int way) {
  char* bytes = new char[kSize];
  put_stamps(bytes, kSize, 0);
  Call writer([=] {
    const ssize_t n = write_by(way, channel.out, bytes, kSize);
    CHECK_SYS(close(channel.out));
    return n;
  });
  writer.settle();
  char* sink = new char[kSize];
  size_t got = 0;
  for (unsigned step = 0;; step++) {
    const size_t wanted = 1 + (step * 104729) % 60000;
    const ssize_t n = read(channel.in, sink, wanted);
    CHECK_SYS(n);
    if (n == 0) break;
    check_stamps(sink, static_cast<size_t>(n), got);
    got += static_cast<size_t>(n);
    stir(step);
  }
  CHECK_EQ(got, kSize);
  CHECK_EQ(writer.result(), kSize);
  CHECK_SYS(close(channel.in));
  delete[] bytes;
  delete[] sink;
}

}  // namespace

int main() {
  for (auto make : kStreams) {
    for (int way = 0; way < 5; way++) {
      if (make == kStreams[0] && way >= 2) continue;
      transfer(make(), way);
    }
  }
  // Several at once, so that writers of different channels share what runs them.
  parallel(9, [](int index) { transfer(kStreams[index % 3](), index / 3 % 2); });

  // Writers of one pipe: a write up to PIPE_BUF is never torn.
  const Channel channel = pipe_channel();
  Call reader([channel] {
    char record[512];
    int seen[4] = {};
    for (int i = 0; i < 4 * 300; i++) {
      CHECK_EQ(read_fully(channel.in, record, sizeof record), sizeof record);
      for (char c : record) CHECK_EQ(c, record[0]);
      CHECK(record[0] >= 0 && record[0] < 4);
      seen[static_cast<int>(record[0])]++;
    }
    for (int n : seen) CHECK_EQ(n, 300);
    return 0;
  });
  parallel(4, [channel](int index) {
    char record[512];
    memset(record, index, sizeof record);
    for (int i = 0; i < 300; i++) CHECK_EQ(write(channel.out, record, sizeof record), sizeof record);
  });
  CHECK_EQ(reader.result(), 0);
  return 0;
}
