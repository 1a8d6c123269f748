// What the io_ tests share: channels of each kind, bytes stamped with their place in the stream, and calls made by a
// thread of their own, which can be interrupted and whose result and errno are kept.
#ifndef TESTS_BEHAVIOUR_IO_H_
#define TESTS_BEHAVIOUR_IO_H_

#include "check.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <atomic>
#include <initializer_list>

// ---- buffers ----

// One buffer as every form of read and write takes it: `auto& [piece, message, batch] = form;`
struct Form {
  Form(void* bytes, size_t size) : piece{bytes, size} {
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    batch.msg_hdr = message;
  }
  Form(const Form&) = delete;
  Form& operator=(const Form&) = delete;

  iovec piece;
  msghdr message = {};
  mmsghdr batch = {};
};

// ---- channels ----

// What is written to `out` is read from `in`; on sockets the other direction works too.
struct Channel {
  int in, out;
  void close_both() const {
    CHECK_SYS(close(in));
    CHECK_SYS(close(out));
  }
};

inline Channel pipe_channel() {
  int ends[2];
  CHECK_SYS(pipe(ends));
  return {ends[0], ends[1]};
}

inline Channel unix_channel(int type = SOCK_STREAM) {
  int ends[2];
  CHECK_SYS(socketpair(AF_UNIX, type, 0, ends));
  return {ends[0], ends[1]};
}

inline sockaddr_in loopback(int port = 0) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

inline sockaddr* plain(sockaddr_in* address) { return reinterpret_cast<sockaddr*>(address); }
inline sockaddr* plain(sockaddr_un* address) { return reinterpret_cast<sockaddr*>(address); }

// A socket bound to a free port of the loopback device; the address is filled in.
inline int bound_socket(int type, sockaddr_in* address) {
  const int fd = socket(AF_INET, type, 0);
  CHECK_SYS(fd);
  *address = loopback();
  socklen_t length = sizeof *address;
  CHECK_SYS(bind(fd, plain(address), sizeof *address));
  CHECK_SYS(getsockname(fd, plain(address), &length));
  return fd;
}

inline int listening_socket(sockaddr_in* address, int backlog = 64) {
  const int fd = bound_socket(SOCK_STREAM, address);
  CHECK_SYS(listen(fd, backlog));
  return fd;
}

inline int connected_socket(sockaddr_in address) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  CHECK_SYS(fd);
  CHECK_SYS(connect(fd, plain(&address), sizeof address));
  return fd;
}

inline Channel tcp_channel() {
  sockaddr_in address;
  const int listener = listening_socket(&address);
  const int out = connected_socket(address);
  const int in = accept(listener, nullptr, nullptr);
  CHECK_SYS(in);
  CHECK_SYS(close(listener));
  const int on = 1;
  for (int fd : {in, out}) CHECK_SYS(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
  return {in, out};
}

// Two UDP sockets connected to each other.
inline Channel udp_channel() {
  sockaddr_in a, b;
  const Channel channel = {bound_socket(SOCK_DGRAM, &a), bound_socket(SOCK_DGRAM, &b)};
  CHECK_SYS(connect(channel.in, plain(&b), sizeof b));
  CHECK_SYS(connect(channel.out, plain(&a), sizeof a));
  return channel;
}

inline constexpr Channel (*kStreams[])() = {pipe_channel, [] { return unix_channel(); }, tcp_channel};
inline constexpr Channel (*kStreamSockets[])() = {[] { return unix_channel(); }, tcp_channel};

// ---- bytes that know their place ----

inline char stamp(uint64_t offset) { return static_cast<char>((offset * 0x9e3779b97f4a7c15u) >> 56); }

inline void put_stamps(char* bytes, size_t size, uint64_t offset) {
  for (size_t i = 0; i < size; i++) bytes[i] = stamp(offset + i);
}

inline void check_stamps(const char* bytes, size_t size, uint64_t offset) {
  for (size_t i = 0; i < size; i++) {
    if (bytes[i] != stamp(offset + i)) {
      check_fail(__FILE__, __LINE__, "byte %llu of a stream is 0x%02x, wanted 0x%02x",
                 static_cast<unsigned long long>(offset + i), bytes[i] & 0xff, stamp(offset + i) & 0xff);
    }
  }
}

// Reads until `size` bytes have come or the stream ends; returns how many came.
inline size_t read_fully(int fd, char* bytes, size_t size) {
  size_t got = 0;
  while (got < size) {
    const ssize_t n = read(fd, bytes + got, size - got);
    if (n == -1 && errno == EINTR) continue;
    CHECK_SYS(n);
    if (n == 0) break;
    got += static_cast<size_t>(n);
  }
  return got;
}

// Writes what there is room for and no more, without a flag on the descriptor that others would see: fills a pipe or a
// stream socket. Returns the bytes written, stamped from `offset` on.
inline size_t fill_up(int fd, uint64_t offset = 0) {
  static thread_local char block[4096];
  size_t total = 0;
  for (;;) {
    pollfd room = {fd, POLLOUT, 0};
    if (poll(&room, 1, 0) == 0) return total;
    // A pipe that poll calls writable takes a page; a socket may take less than it is given.
    put_stamps(block, sizeof block, offset + total);
    ssize_t n = send(fd, block, sizeof block, MSG_DONTWAIT);
    if (n == -1 && errno == ENOTSOCK) n = write(fd, block, sizeof block);
    if (n == -1 && errno == EAGAIN) return total;
    CHECK_SYS(n);
    total += static_cast<size_t>(n);
  }
}

// ---- calls in threads of their own ----

// Gives the thread `tid` time to block, if it is to be seen that it does: no test may depend on it.
inline void let_block(pid_t tid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", static_cast<int>(tid));
  for (int i = 0; i < 20; i++) {
    char text[256] = {};
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
      const ssize_t n = read(fd, text, sizeof text - 1);
      close(fd);
      const char* state = n > 0 ? strrchr(text, ')') : nullptr;
      if (state != nullptr && state[2] == 'S') return;
    }
    usleep(200);
  }
}

// body() in a thread of its own; its result is a number, and errno is kept.
class Call {
 public:
  template <class Body>
  explicit Call(Body body) {
    CHECK_SYS(sem_init(&leave_, 0, 0));
    thread_ = spawn([this, body] {
      tid_ = gettid();
      errno = 0;
      result_ = static_cast<long>(body());
      error_ = errno;
      done_ = true;
      // Stays, so that it can be sent signals until it is joined.
      while (sem_wait(&leave_) != 0) {
      }
    });
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  ~Call() { end(); }

  // After this the call is probably blocked, but not surely.
  Call& settle() {
    EVENTUALLY(tid_ != 0);
    let_block(tid_);
    return *this;
  }
  bool done() const { return done_; }
  pthread_t thread() const { return thread_; }
  void signal(int number) const { CHECK_OK(pthread_kill(thread_, number)); }
  // Signals until the call has returned: the first may come before it blocks.
  void interrupt(int number) {
    for (int i = 0; !done_; i++) {
      signal(number);
      usleep(i < 50 ? 200 : 5000);
      if (i == 6000) check_fail(__FILE__, __LINE__, "not interrupted by signal %d", number);
    }
  }
  // Waits for the call to return.
  long result() {
    end();
    return result_;
  }
  int error() {
    end();
    return error_;
  }

 private:
  void end() {
    if (joined_) return;
    CHECK_SYS(sem_post(&leave_));
    join(thread_);
    joined_ = true;
  }

  std::atomic<pid_t> tid_{0};
  std::atomic<bool> done_{false};
  long result_ = 0;
  int error_ = 0;
  bool joined_ = false;
  sem_t leave_;
  pthread_t thread_;
};

// The call returned -1 with this errno.
#define CHECK_FAILED(call, wanted)    \
  do {                                \
    CHECK_EQ((call).result(), -1);    \
    CHECK_EQ((call).error(), wanted); \
  } while (0)

inline void on_signal(int number, void (*handler)(int), int flags = 0) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  CHECK_SYS(sigaction(number, &action, nullptr));
}

inline long elapsed_ms(int64_t since_ns) { return static_cast<long>((now_ns(CLOCK_MONOTONIC) - since_ns) / NS_PER_MS); }

inline int flags_of(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  CHECK_SYS(flags);
  return flags;
}

inline void set_nonblocking(int fd, bool on) {
  const int flags = flags_of(fd);
  CHECK_SYS(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

#endif  // TESTS_BEHAVIOUR_IO_H_
