// Shows sendfile, splice, tee and vmsplice by threads that wait for the other ends: between files, pipes and sockets,
// every byte arrives, in order, and the calls that wait do not stop others.
#include "io.h"

#include <sys/sendfile.h>

namespace {

constexpr size_t kSize = 600000;

int stamped_file() {
  FILE* file = tmpfile();
  CHECK(file != nullptr);
  const int fd = dup(fileno(file));
  CHECK_EQ(fclose(file), 0);
  char* bytes = new char[kSize];
  put_stamps(bytes, kSize, 0);
  CHECK_EQ(write(fd, bytes, kSize), kSize);
  delete[] bytes;
  return fd;
}

void check_all(int fd) {
  char* bytes = new char[kSize + 1];
  CHECK_EQ(read_fully(fd, bytes, kSize + 1), kSize);
  check_stamps(bytes, kSize, 0);
  delete[] bytes;
}

// A file to a socket, through two more channels, to the end: each stage a thread.
void chain(int index) {
  const int file = stamped_file();
  const Channel first = kStreamSockets[index % 2](), pipe = pipe_channel(), last = kStreams[index % 3](),
                copy = pipe_channel();
  Call sends([=] {
    off_t at = 0;
    while (at < static_cast<off_t>(kSize)) CHECK_SYS(sendfile(first.out, file, &at, kSize));
    CHECK_SYS(close(first.out));
    return at;
  });
  Call into_pipe([=] {
    long total = 0;
    ssize_t n;
    while ((n = splice(first.in, nullptr, pipe.out, nullptr, 50000, SPLICE_F_MOVE)) > 0) total += n;
    CHECK_EQ(n, 0);
    CHECK_SYS(close(pipe.out));
    return total;
  });
  Call twice([=] {
    // What is teed is then spliced on, no more and no less.
    long total = 0;
    ssize_t n;
    while ((n = tee(pipe.in, copy.out, 30000, 0)) > 0) {
      for (ssize_t left = n; left > 0;) {
        const ssize_t moved = splice(pipe.in, nullptr, last.out, nullptr, static_cast<size_t>(left), 0);
        CHECK(moved > 0);
        left -= moved;
      }
      total += n;
    }
    CHECK_EQ(n, 0);
    CHECK_SYS(close(last.out));
    CHECK_SYS(close(copy.out));
    return total;
  });
  pthread_t copies = spawn([copy] { check_all(copy.in); });
  check_all(last.in);
  join(copies);
  CHECK_EQ(sends.result(), kSize);
  CHECK_EQ(into_pipe.result(), kSize);
  CHECK_EQ(twice.result(), kSize);
  for (int fd : {file, first.in, pipe.in, last.in, copy.in}) CHECK_SYS(close(fd));
}

void pages() {
  const Channel channel = pipe_channel();
  Call reader([channel] {
    check_all(channel.in);
    return 0;
  });
  reader.settle();
  char* bytes = new char[kSize];
  put_stamps(bytes, kSize, 0);
  for (size_t sent = 0; sent < kSize;) {
    iovec piece = {bytes + sent, kSize - sent};
    const ssize_t n = vmsplice(channel.out, &piece, 1, 0);
    CHECK_SYS(n);
    sent += static_cast<size_t>(n);
  }
  CHECK_SYS(close(channel.out));
  CHECK_EQ(reader.result(), 0);
  CHECK_SYS(close(channel.in));
  delete[] bytes;
}

}  // namespace

int main() {
  for (int i = 0; i < 6; i++) chain(i);
  parallel(4, chain);
  pages();
  // Waiting for data and for room, and a file's end.
  const Channel a = pipe_channel(), b = pipe_channel();
  Call waits([&] { return splice(a.in, nullptr, b.out, nullptr, 100, 0); });
  waits.settle();
  CHECK_EQ(write(a.out, "abc", 3), 3);
  CHECK_EQ(waits.result(), 3);
  CHECK_ERRNO(splice(a.in, nullptr, b.out, nullptr, 100, SPLICE_F_NONBLOCK), EAGAIN);
  Call ends([&] { return splice(a.in, nullptr, b.out, nullptr, 100, 0); });
  ends.settle();
  CHECK_SYS(close(a.out));
  CHECK_EQ(ends.result(), 0);
  for (int fd : {a.in, b.in, b.out}) CHECK_SYS(close(fd));
  return 0;
}
