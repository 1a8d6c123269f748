// Shows threads on FIFOs (open waits until both ends are there), pseudo-terminals (lines, raw bytes, hang-up), regular
// files (also O_APPEND by many), /dev/zero and /dev/null, directories and odd errors.
#include "io.h"

#include <dirent.h>
#include <pty.h>
#include <sys/stat.h>
#include <termios.h>

namespace {

void fifos() {
  char folder[] = "/tmp/io_fifo_XXXXXX";
  CHECK(mkdtemp(folder) != nullptr);
  char path[100];
  snprintf(path, sizeof path, "%s/fifo", folder);
  CHECK_SYS(mkfifo(path, 0600));
  for (int round = 0; round < 5; round++) {
    Call reader([&path, round] {
      const int fd = round % 2 == 0 ? open(path, O_RDONLY) : openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
      CHECK_SYS(fd);
      char bytes[100];
      size_t got = 0;
      ssize_t n;
      while ((n = read(fd, bytes, sizeof bytes)) > 0) got += static_cast<size_t>(n);
      CHECK_EQ(n, 0);
      // No writer: the end, again and again, and no wait.
      CHECK_EQ(read(fd, bytes, sizeof bytes), 0);
      CHECK_SYS(close(fd));
      return got;
    });
    reader.settle();
    Call writer([&path] {
      const int fd = open(path, O_WRONLY);
      CHECK_SYS(fd);
      for (unsigned i = 0; i < 10; i++) {
        CHECK_EQ(write(fd, "some bytes", 10), 10);
        stir(i);
      }
      CHECK_SYS(close(fd));
      return 0;
    });
    CHECK_EQ(writer.result(), 0);
    CHECK_EQ(reader.result(), 100);
  }
  // Many who open wait; one that opens the other end lets all of them in.
  std::atomic<int> opened{0};
  pthread_t openers = spawn([&] {
    parallel(5, [&](int) {
      FILE* stream = fopen(path, "r");
      CHECK(stream != nullptr);
      opened++;
      CHECK_EQ(fgetc(stream), EOF);
      CHECK_EQ(fclose(stream), 0);
    });
  });
  CHECK_EQ(opened.load(), 0);
  const int writer = open(path, O_WRONLY);
  CHECK_SYS(writer);
  EVENTUALLY(opened == 5);
  CHECK_SYS(close(writer));
  join(openers);
  // Without waiting.
  CHECK_ERRNO(open(path, O_WRONLY | O_NONBLOCK), ENXIO);
  const int both = open(path, O_RDWR);
  CHECK_SYS(both);
  Call on_itself([both] {
    char bytes[10];
    return read(both, bytes, sizeof bytes);
  });
  on_itself.settle();
  CHECK_EQ(write(both, "me", 2), 2);
  CHECK_EQ(on_itself.result(), 2);
  CHECK_SYS(close(both));
  CHECK_SYS(unlink(path));
  CHECK_SYS(rmdir(folder));
}

void terminals() {
  int master, slave;
  if (openpty(&master, &slave, nullptr, nullptr, nullptr) != 0) {
    printf("no pseudo-terminals here\n");
    return;
  }
  // A line comes when it is ended.
  Call line([slave] {
    char bytes[100];
    const ssize_t n = read(slave, bytes, sizeof bytes);
    CHECK_EQ(memcmp(bytes, "a line\n", 7), 0);
    return n;
  });
  line.settle();
  CHECK_EQ(write(master, "a li", 4), 4);
  line.settle();
  CHECK(!line.done());
  CHECK_EQ(write(master, "ne\nnext\n", 8), 8);
  CHECK_EQ(line.result(), 7);
  // A buffer shorter than the line: the rest is there without anything new.
  Call rest([slave] {
    char bytes[3];
    CHECK_EQ(read(slave, bytes, 3), 3);
    return read(slave, bytes, 3);
  });
  CHECK_EQ(rest.result(), 2);
  // The echo and what the other side writes.
  char bytes[100];
  CHECK_EQ(read_fully(master, bytes, 14), 14);
  CHECK_EQ(memcmp(bytes, "a line\r\nnext\r\n", 14), 0);
  Call other([master] {
    char got[10];
    return read_fully(master, got, 4);
  });
  other.settle();
  CHECK_EQ(write(slave, "out\n", 4), 4);
  CHECK_EQ(other.result(), 4);
  CHECK_EQ(read(master, bytes, 1), 1);
  // An end of file typed, then hang-up.
  Call typed([slave] {
    char got[10];
    return read(slave, got, sizeof got);
  });
  typed.settle();
  CHECK_EQ(write(master, "\x04", 1), 1);
  CHECK_EQ(typed.result(), 0);
  // Raw: VMIN counts.
  termios raw;
  CHECK_SYS(tcgetattr(slave, &raw));
  cfmakeraw(&raw);
  raw.c_cc[VMIN] = 3;
  raw.c_cc[VTIME] = 0;
  CHECK_SYS(tcsetattr(slave, TCSANOW, &raw));
  Call three([slave] {
    char got[10];
    return read(slave, got, sizeof got);
  });
  three.settle();
  CHECK_EQ(write(master, "1", 1), 1);
  three.settle();
  CHECK_EQ(write(master, "23", 2), 2);
  CHECK_EQ(three.result(), 3);
  // VTIME: nothing in a tenth of a second is 0.
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 1;
  CHECK_SYS(tcsetattr(slave, TCSANOW, &raw));
  Call times_out([slave] {
    char got[10];
    return read(slave, got, sizeof got);
  });
  CHECK_EQ(times_out.result(), 0);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  CHECK_SYS(tcsetattr(slave, TCSANOW, &raw));
  Call hangs_up([slave] {
    char got[10];
    return read(slave, got, sizeof got);
  });
  hangs_up.settle();
  CHECK_SYS(close(master));
  const long n = hangs_up.result();
  CHECK(n == 0 || (n == -1 && hangs_up.error() == EIO));
  CHECK_SYS(close(slave));
}

void files() {
  char path[] = "/tmp/io_file_XXXXXX";
  const int fd = mkstemp(path);
  CHECK_SYS(fd);
  static char block[100000];
  put_stamps(block, sizeof block, 0);
  CHECK_EQ(write(fd, block, sizeof block), sizeof block);
  parallel(6, [&](int index) {
    char* bytes = new char[sizeof block];
    for (int i = 0; i < 20; i++) {
      const off_t at = (index * 997 + i * 4001) % 90000;
      const ssize_t n = pread(fd, bytes, 20000, at);
      CHECK_EQ(n, at > 80000 ? 100000 - at : 20000);
      check_stamps(bytes, static_cast<size_t>(n), static_cast<uint64_t>(at));
      iovec pieces[] = {{bytes, 10}, {bytes + 10, 90}};
      CHECK_EQ(preadv(fd, pieces, 2, at), 100);
      check_stamps(bytes, 100, static_cast<uint64_t>(at));
      CHECK_EQ(preadv2(fd, pieces, 2, at, 0), 100);
      const ssize_t now = preadv2(fd, pieces, 2, at, RWF_NOWAIT);
      if (now == -1) CHECK(errno == EAGAIN || errno == EOPNOTSUPP);
      put_stamps(bytes, 100, static_cast<uint64_t>(at));
      CHECK_EQ(pwrite(fd, bytes, 100, at), 100);
      CHECK_EQ(pwritev2(fd, pieces, 2, at, RWF_DSYNC), 100);
    }
    // A description of its own has a position of its own.
    const int own = open(path, O_RDONLY);
    CHECK_SYS(own);
    CHECK_EQ(read_fully(own, bytes, sizeof block), sizeof block);
    check_stamps(bytes, sizeof block, 0);
    CHECK_EQ(read(own, bytes, 1), 0);
    CHECK_EQ(lseek(own, 0, SEEK_CUR), sizeof block);
    CHECK_EQ(pread(own, bytes, 1, 1 << 30), 0);
    CHECK_ERRNO(pread(own, bytes, 1, -1), EINVAL);
    CHECK_ERRNO(write(own, bytes, 1), EBADF);
    CHECK_SYS(close(own));
    CHECK_SYS(fsync(fd));
    CHECK_SYS(fdatasync(fd));
    delete[] bytes;
  });
  // Appended records of many writers are whole; readers of one position share it without overlap.
  CHECK_SYS(ftruncate(fd, 0));
  parallel(4, [&](int index) {
    const int own = open(path, O_WRONLY | O_APPEND);
    CHECK_SYS(own);
    char record[100];
    memset(record, 'a' + index, sizeof record);
    for (int i = 0; i < 100; i++) CHECK_EQ(write(own, record, sizeof record), sizeof record);
    CHECK_SYS(close(own));
  });
  CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
  std::atomic<int> records{0};
  parallel(4, [&](int) {
    char record[100];
    ssize_t n;
    while ((n = read(fd, record, sizeof record)) == sizeof record) {
      for (char c : record) CHECK_EQ(c, record[0]);
      records++;
    }
    CHECK_EQ(n, 0);
  });
  CHECK_EQ(records.load(), 400);
  CHECK_SYS(close(fd));
  CHECK_SYS(unlink(path));
}

void devices() {
  parallel(4, [](int) {
    const int zero = open("/dev/zero", O_RDWR), null = open("/dev/null", O_RDWR), folder = open("/tmp", O_RDONLY);
    CHECK_SYS(zero);
    CHECK_SYS(null);
    CHECK_SYS(folder);
    char bytes[1000];
    memset(bytes, 1, sizeof bytes);
    CHECK_EQ(read(zero, bytes, sizeof bytes), sizeof bytes);
    for (char c : bytes) CHECK_EQ(c, 0);
    CHECK_EQ(write(zero, bytes, sizeof bytes), sizeof bytes);
    CHECK_EQ(write(null, bytes, sizeof bytes), sizeof bytes);
    CHECK_EQ(read(null, bytes, sizeof bytes), 0);
    CHECK_ERRNO(read(folder, bytes, sizeof bytes), EISDIR);
    iovec piece = {bytes, sizeof bytes};
    CHECK_EQ(readv(zero, &piece, 1), sizeof bytes);
    volatile int less_than_none = -1;
    CHECK_ERRNO(readv(zero, &piece, less_than_none), EINVAL);
    CHECK_ERRNO(recv(zero, bytes, 1, 0), ENOTSOCK);
    CHECK_ERRNO(accept(zero, nullptr, nullptr), ENOTSOCK);
    const Channel pipe = pipe_channel();
    CHECK_ERRNO(pread(pipe.in, bytes, 1, 0), ESPIPE);
    CHECK_ERRNO(read(pipe.out, bytes, 1), EBADF);
    CHECK_ERRNO(write(pipe.in, bytes, 1), EBADF);
    CHECK_ERRNO(send(pipe.out, bytes, 1, 0), ENOTSOCK);
    pipe.close_both();
    CHECK_SYS(close(zero));
    CHECK_SYS(close(null));
    CHECK_SYS(close(folder));
    DIR* dir = opendir("/proc/self");
    CHECK(dir != nullptr);
    while (readdir(dir) != nullptr) {
    }
    CHECK_SYS(closedir(dir));
  });
  const Channel channel = pipe_channel();
  CHECK_EQ(write(channel.out, "x", 1), 1);
  // Through a pointer the compiler knows nothing about.
  char* volatile nowhere = nullptr;
  CHECK_ERRNO(read(channel.in, nowhere, 1), EFAULT);
  CHECK_ERRNO(write(channel.out, nowhere, 1), EFAULT);
  channel.close_both();
}

}  // namespace

int main() {
  fifos();
  terminals();
  files();
  devices();
  return 0;
}
