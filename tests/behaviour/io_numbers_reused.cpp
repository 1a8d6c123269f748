// Shows descriptor numbers that are closed and used again at once by other threads, in every way to close: each user
// sees the bytes of its own channel only. Among them dup2 over a number that others read from, close_range and
// closefrom.
#include "io.h"
#include "raw.h"

#include <dirent.h>
#include <linux/close_range.h>
#include <sys/syscall.h>

namespace {

void close_by(unsigned way, int fd) {
  FILE* stream;
  switch (way % 6) {
    case 0: CHECK_SYS(close(fd)); break;
    case 1: CHECK_SYS(static_cast<int>(syscall(SYS_close, fd))); break;
    case 2: CHECK_SYS(close_range(static_cast<unsigned>(fd), static_cast<unsigned>(fd), 0)); break;
    case 3:
      stream = fdopen(fd, (flags_of(fd) & O_ACCMODE) == O_WRONLY ? "w" : "r");
      CHECK(stream != nullptr);
      CHECK_EQ(fclose(stream), 0);
      break;
    case 4: {
      const int null = open("/dev/null", O_RDONLY);
      CHECK_SYS(dup2(null, fd));
      CHECK_SYS(close(null));
      CHECK_SYS(close(fd));
      break;
    }
    default: CHECK_SYS(static_cast<int>(syscall(SYS_close_range, fd, fd, 0)));
  }
}

// A channel's short life: made, waited on, used, closed. The numbers of one thread's become another's at once.
void lives(int index) {
  for (unsigned i = 0; i < 60; i++) {
    const unsigned step = i * 7 + static_cast<unsigned>(index);
    const Channel channel = kStreams[step % 3]();
    const uint64_t place = static_cast<uint64_t>(index) * 1000 + i;
    Call reader([channel, place] {
      char bytes[64];
      CHECK_EQ(read_fully(channel.in, bytes, sizeof bytes), sizeof bytes);
      check_stamps(bytes, sizeof bytes, place);
      // The end.
      return read(channel.in, bytes, 1);
    });
    if (step % 4 == 0) reader.settle();
    char bytes[64];
    put_stamps(bytes, sizeof bytes, place);
    CHECK_EQ(write(channel.out, bytes, 30), 30);
    if (step % 3 == 0) stir(step);
    CHECK_EQ(write(channel.out, bytes + 30, 34), 34);
    close_by(step, channel.out);
    CHECK_EQ(reader.result(), 0);
    close_by(step + 1, channel.in);
    if (step % 8 == 0) {
      DIR* folder = opendir("/");
      CHECK(folder != nullptr);
      CHECK(readdir(folder) != nullptr);
      CHECK_SYS(closedir(folder));
    }
  }
}

// A close that lasts: its number is another file's long before it returns. A write to that one is not cut short then.
void close_that_lingers() {
  const Channel slow = tcp_channel();
  const linger wait = {1, 20};
  CHECK_SYS(setsockopt(slow.out, SOL_SOCKET, SO_LINGER, &wait, sizeof wait));
  CHECK_SYS(fcntl(slow.out, F_SETFL, O_NONBLOCK));
  char bytes[4096] = {};
  size_t sent = 0;
  for (ssize_t n; (n = write(slow.out, bytes, sizeof bytes)) > 0;) sent += static_cast<size_t>(n);
  Call close_call([&] { return static_cast<ssize_t>(close(slow.out)); });
  Channel next = pipe_channel();
  while (next.out != slow.out && next.in != slow.out) {
    next.close_both();
    sleep_ms(1);
    next = pipe_channel();
  }
  if (next.in == slow.out) {  // it is the writer's number that counts
    const int other = dup(next.in);
    CHECK_SYS(other);
    CHECK_EQ(dup2(next.out, slow.out), slow.out);
    CHECK_SYS(close(next.out));
    next = {other, slow.out};
  }
  constexpr size_t kSize = 1 << 20;
  char* stamped = new char[kSize];
  put_stamps(stamped, kSize, 0);
  Call writer([&] { return write(next.out, stamped, kSize); });
  char* received = new char[kSize];
  CHECK_EQ(read_fully(next.in, received, kSize / 2), kSize / 2);
  writer.settle();
  size_t drained = 0;
  for (ssize_t n; (n = read(slow.in, bytes, sizeof bytes)) > 0;) drained += static_cast<size_t>(n);
  CHECK_EQ(drained, sent);
  CHECK_EQ(close_call.result(), 0);
  CHECK_EQ(read_fully(next.in, received + kSize / 2, kSize / 2), kSize / 2);
  check_stamps(received, kSize, 0);
  CHECK_EQ(writer.result(), kSize);
  delete[] stamped;
  delete[] received;
  next.close_both();
  CHECK_SYS(close(slow.in));
}

// One number under which the description changes while others read from it: each byte is read by someone, once.
void changed_over_and_over() {
  constexpr int kChanges = 40;
  const int number = fcntl(0, F_DUPFD, 200);
  CHECK_SYS(number);
  Channel current = pipe_channel();
  CHECK_EQ(dup2(current.in, number), number);
  std::atomic<int> got{0};
  std::atomic<bool> over{false};
  pthread_t readers = spawn([&] {
    parallel(3, [&](int) {
      char byte;
      while (!over) {
        const ssize_t n = read(number, &byte, 1);
        CHECK_SYS(n);
        if (n == 1) got++;
      }
    });
  });
  int written = 0;
  for (unsigned i = 0; i < kChanges; i++) {
    const Channel next = kStreams[i % 3]();
    CHECK_EQ(write(current.out, "ab", 2), 2);
    written += 2;
    EVENTUALLY(got == written);
    CHECK_EQ(dup2(next.in, number), number);
    CHECK_SYS(close(current.in));
    // Those who are still with the old one see its end and come over.
    CHECK_SYS(close(current.out));
    current = next;
  }
  over = true;
  CHECK_SYS(close(current.out));
  join(readers);
  CHECK_EQ(got.load(), written);
  CHECK_SYS(close(current.in));
  CHECK_SYS(close(number));
}

// Many at once, in a process of its own; and only close-on-exec.
void ranges() {
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    Channel channels[20];
    for (auto& c : channels) c = pipe_channel();
    Call waits([&] {
      char byte;
      return read(channels[0].in, &byte, 1);
    });
    waits.settle();
    CHECK_SYS(close_range(static_cast<unsigned>(channels[5].in), static_cast<unsigned>(channels[9].out), 0));
    char byte;
    CHECK_ERRNO(read(channels[7].in, &byte, 1), EBADF);
    CHECK_SYS(close_range(static_cast<unsigned>(channels[10].in), static_cast<unsigned>(channels[12].out),
                          CLOSE_RANGE_CLOEXEC));
    CHECK_EQ(fcntl(channels[11].in, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(channels[13].in, F_GETFD), 0);
    CHECK_ERRNO(close_range(10, 5, 0), EINVAL);
    CHECK_ERRNO(close_range(10, 50, 1 << 20), EINVAL);
    CHECK_EQ(write(channels[0].out, "x", 1), 1);
    CHECK_EQ(waits.result(), 1);
    closefrom(channels[0].in);
    CHECK_ERRNO(read(channels[0].in, &byte, 1), EBADF);
    // And on with new ones at the same numbers.
    parallel(6, lives);
    CHECK_SYS(close_range(3, UINT32_MAX, 0));
    parallel(6, lives);
    closefrom(3);
    parallel(6, lives);
    _exit(0);
  }
  CHECK_EQ(wait_status(child), 0);
}

// Sockets that have been read and written, and whose numbers become a pipe's by instructions of the program's own.
void sockets_turn_into_pipes() {
  int sockets[2];
  CHECK_SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
  char byte = 's';
  CHECK_EQ(write(sockets[1], &byte, 1), 1);
  CHECK_EQ(read(sockets[0], &byte, 1), 1);
  const Channel pipe = pipe_channel();
  CHECK_EQ(raw<SYS_dup3>(pipe.in, sockets[0], 0, 0), sockets[0]);
  CHECK_EQ(raw<SYS_dup3>(pipe.out, sockets[1], 0, 0), sockets[1]);
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(write(sockets[1], "p", 1), 1);
    CHECK_EQ(read(sockets[0], &byte, 1), 1);
    CHECK_EQ(byte, 'p');
  }
  for (int fd : {sockets[0], sockets[1], pipe.in, pipe.out}) CHECK_SYS(close(fd));
}

}  // namespace

int main() {
  parallel(2, [](int) { sockets_turn_into_pipes(); });
  close_that_lingers();
  parallel(8, lives);
  changed_over_and_over();
  ranges();
  return 0;
}
