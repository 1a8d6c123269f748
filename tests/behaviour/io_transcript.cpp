// Prints what many ordinary and odd calls on descriptors give: values, errno, bytes, flags. The lines must be the same
// natively and under goshim, whatever a kernel's own answers are. Nothing in them hangs on the order of threads: calls
// that wait are made by a second thread, which has its say before the next line is printed.
// run: same-output=yes
#include "io.h"

#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

namespace {

int pipe_signals;

// One line: what was tried, what it gave.
void say(const char* what, long result) {
  const int error = errno;
  if (result == -1) printf("%-60s -1 %s\n", what, strerrorname_np(error));
  else printf("%-60s %ld\n", what, result);
  errno = 0;
}

void say_bytes(const char* what, long result, const char* bytes) {
  say(what, result);
  if (result <= 0) return;
  printf("    ");
  for (long i = 0; i < result; i++) {
    if (bytes[i] >= ' ' && bytes[i] < 127) putchar(bytes[i]);
    else printf("\\%02x", bytes[i] & 0xff);
  }
  putchar('\n');
}

#define SAY(call) say(#call, static_cast<long>(call))

// The call is made by another thread while `meanwhile` happens.
#define SAY_WAITING(call, meanwhile)                        \
  do {                                                      \
    Call waiting_([&] { return static_cast<long>(call); }); \
    waiting_.settle();                                      \
    meanwhile;                                              \
    const long result_ = waiting_.result();                 \
    errno = waiting_.error();                               \
    say("waiting: " #call, result_);                        \
  } while (0)

char bytes[70000];
// Pointers and lengths that the compiler does not see through.
char* volatile nowhere = nullptr;
volatile size_t too_long = SIZE_MAX / 2;
volatile nfds_t too_many = 1 << 30;
volatile int minus = -1;
char* const kernel = reinterpret_cast<char*>(-4096L);

void head(const char* text) {
  printf("== %s\n", text);
  errno = 0;
}

void say_poll(const char* what, int fd, short events) {
  pollfd wanted = {fd, events, 0};
  const int n = poll(&wanted, 1, 0);
  say(what, n);
  printf("    revents %x\n", static_cast<unsigned>(wanted.revents));
}

// Prints all that is there.
void drain(int fd) {
  iovec piece = {bytes, 100};
  ssize_t n;
  while ((n = preadv2(fd, &piece, 1, -1, RWF_NOWAIT)) > 0) say_bytes("left", n, bytes);
  say("no more", n);
}

void on_nothing() {
  head("descriptors that are not there");
  iovec piece = {bytes, 4};
  msghdr message = {};
  mmsghdr batch = {};
  sockaddr_in address = loopback(1);
  socklen_t length = sizeof address;
  epoll_event event = {};
  for (int fd : {-1, 900, 1 << 20, INT32_MAX, AT_FDCWD}) {
    printf("fd %d\n", fd);
    SAY(read(fd, bytes, 1));
    SAY(read(fd, bytes, 0));
    SAY(write(fd, bytes, 1));
    SAY(write(fd, bytes, 0));
    SAY(readv(fd, &piece, 1));
    SAY(writev(fd, &piece, 0));
    SAY(pread(fd, bytes, 1, 0));
    SAY(pwrite(fd, bytes, 1, 0));
    SAY(preadv2(fd, &piece, 1, -1, 0));
    SAY(pwritev2(fd, &piece, 1, -1, RWF_NOWAIT));
    SAY(recv(fd, bytes, 1, 0));
    SAY(recvfrom(fd, bytes, 1, MSG_DONTWAIT, nullptr, nullptr));
    SAY(recvmsg(fd, &message, 0));
    SAY(recvmmsg(fd, &batch, 1, 0, nullptr));
    SAY(send(fd, bytes, 1, 0));
    SAY(sendto(fd, bytes, 1, 0, plain(&address), length));
    SAY(sendmsg(fd, &message, 0));
    SAY(sendmmsg(fd, &batch, 1, 0));
    SAY(accept(fd, nullptr, nullptr));
    SAY(accept4(fd, nullptr, nullptr, SOCK_CLOEXEC));
    SAY(connect(fd, plain(&address), length));
    SAY(epoll_wait(fd, &event, 1, 0));
    SAY(close(fd));
    SAY(dup(fd));
    SAY(dup2(fd, 5));
    SAY(dup2(0, fd == 900 ? -1 : fd));
    SAY(dup3(0, 0, 0));
    SAY(fcntl(fd, F_GETFL));
    SAY(fcntl(fd, F_SETFL, O_NONBLOCK));
    SAY(ioctl(fd, FIONBIO, &length));
    SAY(fsync(fd));
    SAY(sendfile(fd, fd, nullptr, 1));
    SAY(splice(fd, nullptr, fd, nullptr, 1, 0));
    SAY(shutdown(fd, SHUT_WR));
    SAY(getsockname(fd, plain(&address), &length));
    say_poll("poll", fd, POLLIN);
  }
}

void bad_arguments(Channel channel, const char* kind) {
  head(kind);
  const int in = channel.in, out = channel.out;
  iovec piece = {bytes, 4};
  iovec faulty[] = {{bytes, 2}, {kernel, 2}, {bytes, 2}};
  iovec huge[] = {{bytes, too_long}, {bytes, too_long}, {bytes, too_long}};
  static iovec many[2000];
  for (auto& p : many) p = {bytes, 1};
  msghdr message = {};
  mmsghdr batch = {};
  int value = 0;
  timespec no_time = {}, wrong_time = {0, 2000000000};
  SAY(read(out, bytes, 0));
  SAY(write(in, bytes, 0));
  SAY(readv(in, &piece, minus));
  SAY(readv(in, &piece, 0));
  SAY(readv(in, many, 1025));
  SAY(readv(in, huge, 3));
  SAY(writev(out, huge, 3));
  SAY(writev(out, &piece, minus));
  SAY(writev(out, many, 1025));
  SAY(writev(out, many, 1024));
  SAY(ioctl(in, FIONREAD, &value));
  say("readable", value);
  SAY(readv(in, many, 1024));
  SAY(pread(in, bytes, 1, 0));
  SAY(pwrite(out, bytes, 1, 0));
  SAY(preadv(in, &piece, 1, 0));
  SAY(preadv2(in, &piece, 1, -1, RWF_NOWAIT));
  SAY(preadv2(in, &piece, 1, -1, 1 << 30));
  SAY(preadv2(in, &piece, 1, 5, 0));
  SAY(pwritev2(out, &piece, 1, -1, 0));
  SAY(preadv2(in, &piece, 1, -1, 0));
  SAY(pwritev2(out, &piece, 1, -1, RWF_NOWAIT));
  SAY(preadv2(in, &piece, 1, -1, RWF_NOWAIT));
  SAY(lseek(in, 0, SEEK_CUR));
  SAY(write(out, kernel, 1));
  SAY(write(out, "abcdef", 6));
  SAY(read(in, kernel, 1));
  SAY(read(in, nowhere, 1));
  SAY(recv(in, bytes, 2, MSG_PEEK | MSG_DONTWAIT));
  SAY(recv(in, bytes, 2, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT));
  SAY(recv(in, bytes, 1, MSG_OOB | MSG_DONTWAIT));
  SAY(recv(in, bytes, 1, MSG_ERRQUEUE | MSG_DONTWAIT));
  SAY(recv(in, bytes, 1, MSG_DONTWAIT | MSG_WAITALL));
  SAY(recvmsg(in, &message, MSG_DONTWAIT));
  message.msg_iov = &piece;
  message.msg_iovlen = 2000;
  SAY(recvmsg(in, &message, MSG_DONTWAIT));
  SAY(sendmsg(out, &message, 0));
  message.msg_iovlen = 1;
  SAY(recvmsg(in, &message, MSG_PEEK | MSG_DONTWAIT));
  printf("    flags %x\n", static_cast<unsigned>(message.msg_flags));
  SAY(recvmmsg(in, &batch, 0, MSG_DONTWAIT, nullptr));
  SAY(recvmmsg(in, &batch, 1, MSG_DONTWAIT, &wrong_time));
  SAY(sendmmsg(out, &batch, 0, 0));
  SAY(send(out, bytes, 0, MSG_DONTWAIT));
  SAY(send(out, kernel, 1, MSG_DONTWAIT));
  SAY(send(out, "!", 1, MSG_OOB));
  SAY(accept(in, nullptr, nullptr));
  SAY(listen(in, 1));
  SAY(ioctl(in, FIONREAD, kernel));
  SAY(ioctl(in, 0x12345678, 0));
  SAY(fcntl(in, F_SETFL, 0));
  SAY(fcntl(in, 12345, 0));
  SAY(fsync(in));
  SAY(ftruncate(out, 0));
  pollfd wanted = {in, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0};
  SAY(ppoll(&wanted, 1, &no_time, nullptr));
  printf("    revents %x\n", static_cast<unsigned>(wanted.revents));
  SAY(ppoll(&wanted, 1, &wrong_time, nullptr));
  SAY(poll(reinterpret_cast<pollfd*>(nowhere), 1, 0));
  SAY(poll(&wanted, too_many, 0));
  wanted.fd = out;
  SAY(poll(&wanted, 1, 0));
  printf("    revents %x\n", static_cast<unsigned>(wanted.revents));
  // What is left.
  drain(in);
  SAY_WAITING(read(in, bytes, 10), CHECK_EQ(write(out, "waited", 6), 6));
  SAY_WAITING(readv(in, faulty, 3), CHECK_EQ(write(out, "abcdef", 6), 6));
  drain(in);
  SAY(writev(out, faulty, 3));
  drain(in);
  SAY_WAITING(preadv2(in, &piece, 1, -1, 0), CHECK_EQ(write(out, "four", 4), 4));
  SAY_WAITING(recv(in, bytes, 10, MSG_PEEK), CHECK_EQ(write(out, "peeked", 6), 6));
  SAY_WAITING(recv(in, bytes, 0, 0), (void)0);
  say_poll("poll in", in, POLLIN | POLLHUP | POLLRDHUP);
  SAY(close(out));
  say_poll("poll in, other end closed", in, POLLIN | POLLRDHUP | POLLPRI);
  for (int i = 0; i < 3; i++) {
    errno = 0;
    const ssize_t n = read(in, bytes, 100);
    say_bytes("read, other end closed", n, bytes);
    if (n == -1) break;
  }
  SAY(recv(in, bytes, 1, MSG_WAITALL));
  SAY(write(in, "x", 1));
  SAY(write(in, "x", 1));
  SAY(send(in, "x", 1, MSG_NOSIGNAL));
  SAY(write(in, "", 0));
  SAY(read(in, bytes, 1));
  printf("    SIGPIPE %d times\n", pipe_signals);
  SAY(close(in));
  SAY(close(in));
}

void connections() {
  head("connections");
  sockaddr_in address;
  socklen_t length = sizeof address;
  const int listener = listening_socket(&address), client = socket(AF_INET, SOCK_STREAM, 0);
  SAY(read(listener, bytes, 1));
  SAY(write(listener, bytes, 1));
  SAY(recv(listener, bytes, 1, MSG_DONTWAIT));
  SAY(connect(listener, plain(&address), length));
  say_poll("poll listener", listener, POLLIN | POLLOUT);
  SAY(read(client, bytes, 1));
  SAY(write(client, bytes, 1));
  SAY(accept(client, nullptr, nullptr));
  say_poll("poll unconnected", client, POLLIN | POLLOUT);
  SAY(shutdown(client, SHUT_RD));
  SAY(connect(client, plain(&address), 3));
  SAY(connect(client, reinterpret_cast<sockaddr*>(nowhere), length));
  SAY(accept4(listener, nullptr, nullptr, 0x40000000));
  set_nonblocking(listener, true);
  SAY(accept(listener, nullptr, nullptr));
  set_nonblocking(listener, false);
  int served = -1;
  SAY_WAITING((served = accept(listener, nullptr, nullptr)) >= 0,
              CHECK_SYS(connect(client, plain(&address), sizeof address)));
  SAY(connect(client, plain(&address), sizeof address));
  say("flags of accepted", flags_of(served));
  say("flags of connected", flags_of(client));
  // Reset.
  linger at_once = {1, 0};
  SAY(setsockopt(client, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
  SAY(send(served, "unread", 6, 0));
  SAY_WAITING(read(served, bytes, 1), CHECK_SYS(close(client)));
  say_poll("poll reset", served, POLLIN | POLLOUT | POLLRDHUP);
  SAY(read(served, bytes, 1));
  SAY(write(served, "x", 1));
  SAY(write(served, "x", 1));
  SAY(recv(served, bytes, 1, 0));
  SAY(close(served));
  // Refused.
  const int refused = socket(AF_INET, SOCK_STREAM, 0), unused = bound_socket(SOCK_STREAM, &address);
  SAY_WAITING(connect(refused, plain(&address), sizeof address), (void)0);
  SAY(connect(refused, plain(&address), sizeof address));
  say_poll("poll refused", refused, POLLIN | POLLOUT);
  SAY(read(refused, bytes, 1));
  SAY(close(refused));
  SAY(close(unused));
  // In progress.
  const int eager = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  length = sizeof address;
  SAY(getsockname(listener, plain(&address), &length));
  const int n = connect(eager, plain(&address), sizeof address);
  say("eager connect is in progress or done", n == 0 || errno == EINPROGRESS);
  pollfd wanted = {eager, POLLOUT, 0};
  SAY(poll(&wanted, 1, -1));
  int error = -1;
  length = sizeof error;
  SAY(getsockopt(eager, SOL_SOCKET, SO_ERROR, &error, &length));
  say("SO_ERROR", error);
  SAY(read(eager, bytes, 1));
  served = accept(listener, nullptr, nullptr);
  CHECK_SYS(served);
  SAY(send(served, "abc", 3, MSG_MORE));
  SAY(send(served, "def", 3, 0));
  set_nonblocking(eager, false);
  SAY_WAITING(recv(eager, bytes, 6, MSG_WAITALL), (void)0);
  SAY(shutdown(served, SHUT_RDWR));
  SAY(shutdown(served, 7));
  SAY(read(served, bytes, 1));
  SAY(write(served, "x", 1));
  SAY_WAITING(read(eager, bytes, 1), (void)0);
  say_poll("poll after both shut", served, POLLIN | POLLOUT | POLLRDHUP);
  for (int fd : {served, eager, listener}) SAY(close(fd));
  // By name, in the file system.
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  strcpy(name.sun_path, "/tmp/io_transcript_no_such_socket");
  const int local = socket(AF_UNIX, SOCK_STREAM, 0);
  SAY(connect(local, plain(&name), sizeof name));
  SAY(bind(local, plain(&name), 1));
  SAY(accept(local, nullptr, nullptr));
  SAY(read(local, bytes, 1));
  SAY(write(local, bytes, 1));
  SAY(close(local));
}

void datagrams(Channel channel, const char* kind) {
  head(kind);
  const int in = channel.in, out = channel.out;
  const timeval soon = {0, 2000};
  iovec piece = {bytes, 3};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  SAY(send(out, "", 0, 0));
  say_poll("poll with an empty one", in, POLLIN);
  SAY(read(in, bytes, 0));
  SAY(read(in, bytes, 1));
  say_poll("poll after", in, POLLIN);
  SAY(send(out, "truncated", 9, 0));
  SAY(recvmsg(in, &message, 0));
  printf("    flags %x\n", static_cast<unsigned>(message.msg_flags));
  SAY(write(out, "abc", 3));
  SAY(recv(in, bytes, 1, MSG_TRUNC));
  SAY(write(out, "abc", 3));
  SAY(recv(in, nowhere, 0, MSG_PEEK | MSG_TRUNC));
  SAY(recv(in, kernel, 5, 0));
  SAY(recv(in, bytes, 5, MSG_DONTWAIT));
  SAY(send(out, "oob", 3, MSG_OOB));
  SAY(send(out, "eor", 3, MSG_EOR));
  SAY(recvmsg(in, &message, MSG_DONTWAIT));
  printf("    flags %x\n", static_cast<unsigned>(message.msg_flags));
  SAY(recvmsg(in, &message, MSG_DONTWAIT));
  SAY(recv(in, bytes, 5, MSG_DONTWAIT | MSG_WAITALL));
  SAY(accept(in, nullptr, nullptr));
  SAY(listen(in, 1));
  SAY(setsockopt(in, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon));
  SAY_WAITING(recv(in, bytes, 5, 0), (void)0);
  SAY_WAITING(read(in, bytes, 5), (void)0);
  SAY_WAITING(recvmsg(in, &message, 0), (void)0);
  SAY(shutdown(in, SHUT_RD));
  SAY(recv(in, bytes, 1, 0));
  SAY(shutdown(in, SHUT_WR));
  SAY(send(in, "x", 1, 0));
  SAY(close(out));
  SAY(recv(in, bytes, 1, MSG_DONTWAIT));
  SAY(send(in, "x", 1, MSG_NOSIGNAL));
  SAY(close(in));
  printf("    SIGPIPE %d times\n", pipe_signals);
}

void events() {
  head("event descriptors");
  uint64_t value = 5, zero = 0, most = UINT64_MAX - 1, all = UINT64_MAX;
  const int event = eventfd(3, 0), sem = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
  const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), watch = inotify_init1(IN_NONBLOCK);
  const int set = epoll_create1(0);
  SAY(read(event, bytes, 7));
  SAY(read(event, &value, 8));
  say("value", static_cast<long>(value));
  SAY(write(event, &zero, 8));
  SAY(write(event, &all, 8));
  SAY(write(event, &most, 8));
  say_poll("poll full", event, POLLIN | POLLOUT);
  SAY(read(event, bytes, 100));
  SAY(pread(event, &value, 8, 0));
  SAY(lseek(event, 0, SEEK_SET));
  SAY_WAITING(read(event, &value, 8), CHECK_EQ(write(event, (value = 7, &value), 8), 8));
  SAY(recv(event, bytes, 8, 0));
  for (int i = 0; i < 3; i++) SAY(read(sem, &value, 8));
  SAY(read(timer, &value, 8));
  SAY(read(timer, &value, 4));
  SAY(write(timer, &value, 8));
  SAY(read(watch, bytes, 100));
  SAY(read(watch, bytes, 3));
  SAY(write(watch, bytes, 3));
  SAY(read(set, bytes, 3));
  SAY(write(set, bytes, 3));
  epoll_event interest = {};
  interest.events = EPOLLIN;
  SAY(epoll_ctl(set, EPOLL_CTL_ADD, set, &interest));
  SAY(epoll_ctl(set, EPOLL_CTL_ADD, event, &interest));
  SAY(epoll_ctl(set, EPOLL_CTL_ADD, event, &interest));
  SAY(epoll_ctl(set, EPOLL_CTL_MOD, sem, &interest));
  SAY(epoll_ctl(set, EPOLL_CTL_DEL, sem, nullptr));
  SAY(epoll_ctl(set, 99, event, &interest));
  SAY(epoll_wait(set, &interest, 0, 0));
  SAY(epoll_wait(set, &interest, 1, 0));
  SAY(epoll_wait(set, &interest, 1, 1));
  SAY(epoll_wait(set, reinterpret_cast<epoll_event*>(kernel), 1, 0));
  timespec wrong = {0, -1}, none = {};
  SAY(epoll_pwait2(set, &interest, 1, &wrong, nullptr));
  SAY(epoll_pwait2(set, &interest, 1, &none, nullptr));
  SAY_WAITING(epoll_wait(set, &interest, 1, -1), CHECK_EQ(write(event, &value, 8), 8));
  SAY(epoll_wait(set, &interest, 1, -2));
  FILE* file = tmpfile();
  SAY(epoll_ctl(set, EPOLL_CTL_ADD, fileno(file), &interest));
  say_poll("poll a file", fileno(file), POLLIN | POLLOUT | POLLPRI);
  say_poll("poll an epoll", set, POLLIN | POLLOUT);
  fclose(file);
  for (int fd : {event, sem, timer, watch, set}) SAY(close(fd));
}

void selects() {
  head("select");
  const Channel channel = unix_channel(), gone = pipe_channel();
  gone.close_both();
  fd_set in, out, other;
  auto fill = [&] {
    for (fd_set* s : {&in, &out, &other}) {
      FD_ZERO(s);
      FD_SET(channel.in, s);
    }
  };
  auto show = [&] {
    printf("    %d %d %d\n", FD_ISSET(channel.in, &in) != 0, FD_ISSET(channel.in, &out) != 0,
           FD_ISSET(channel.in, &other) != 0);
  };
  timeval none = {}, wrong = {0, -1}, much = {0, 1999999}, little = {0, 1500};
  const int end = channel.out + 1;
  fill();
  SAY(select(end, &in, &out, &other, &none));
  show();
  fill();
  SAY(select(channel.in, &in, &out, &other, &none));
  show();
  fill();
  SAY(select(end, &in, nullptr, &other, &little));
  show();
  printf("    %ld %ld\n", static_cast<long>(little.tv_sec), static_cast<long>(little.tv_usec));
  fill();
  SAY(select(end, &in, nullptr, nullptr, &wrong));
  show();
  fill();
  SAY(select(minus, &in, nullptr, nullptr, &none));
  FD_SET(gone.out, &in);
  SAY(select(gone.out + 1, &in, nullptr, nullptr, &none));
  show();
  fill();
  SAY_WAITING(select(end, &in, nullptr, nullptr, nullptr), CHECK_EQ(write(channel.out, "x", 1), 1));
  show();
  fill();
  SAY(select(end, &in, &out, &other, &much));
  show();
  CHECK_SYS(close(channel.out));
  fill();
  SAY(select(end, &in, &out, &other, nullptr));
  show();
  CHECK_SYS(close(channel.in));
}

void moves() {
  head("sendfile, splice, tee");
  const Channel a = pipe_channel(), b = pipe_channel(), s = unix_channel();
  FILE* file = tmpfile();
  const int fd = fileno(file);
  CHECK_EQ(write(fd, "0123456789", 10), 10);
  off_t at = 2;
  loff_t place = 1;
  SAY(sendfile(s.out, fd, &at, 5));
  say("offset", at);
  SAY(sendfile(s.out, fd, nullptr, 5));
  SAY(sendfile(a.out, fd, &(at = 8), 50));
  SAY(sendfile(s.out, a.in, nullptr, 5));
  SAY(sendfile(fd, s.in, nullptr, 5));
  SAY(splice(a.in, nullptr, b.out, nullptr, 100, 0));
  SAY(splice(a.in, nullptr, b.out, nullptr, 100, SPLICE_F_NONBLOCK));
  SAY(splice(s.in, nullptr, a.out, nullptr, 3, 0));
  SAY(tee(a.in, b.out, 100, 0));
  SAY(tee(s.in, b.out, 100, 0));
  SAY(tee(a.in, a.out, 100, 0));
  SAY(splice(fd, &place, a.out, nullptr, 4, 0));
  SAY(splice(fd, nullptr, s.out, nullptr, 4, 0));
  SAY(splice(a.in, &place, b.out, nullptr, 4, 0));
  SAY(copy_file_range(fd, &place, a.out, nullptr, 4, 0));
  say_bytes("read b", read(b.in, bytes, 100), bytes);
  say_bytes("read a", read(a.in, bytes, 100), bytes);
  say_bytes("read s", read(s.in, bytes, 100), bytes);
  SAY_WAITING(splice(a.in, nullptr, b.out, nullptr, 100, 0), CHECK_EQ(write(a.out, "later", 5), 5));
  SAY_WAITING(splice(s.in, nullptr, b.out, nullptr, 100, 0), CHECK_EQ(write(s.out, "later", 5), 5));
  SAY_WAITING(tee(b.in, a.out, 100, 0), (void)0);
  iovec piece = {const_cast<char*>("spliced"), 7};
  SAY(vmsplice(a.out, &piece, 1, 0));
  say_bytes("read a", read(a.in, bytes, 100), bytes);
  fclose(file);
  for (Channel c : {a, b, s}) c.close_both();
}

void files() {
  head("files");
  char path[] = "/tmp/io_transcript_XXXXXX";
  const int fd = mkstemp(path), only = open(path, O_RDONLY), append = open(path, O_WRONLY | O_APPEND);
  iovec pieces[] = {{bytes, 3}, {bytes + 3, 3}};
  SAY(write(fd, "abcdefgh", 8));
  SAY(write(append, "ij", 2));
  SAY(pwrite(append, "kl", 2, 0));
  SAY(read(fd, bytes, 100));
  SAY(write(only, "x", 1));
  SAY(write(only, "", 0));
  SAY(read(append, bytes, 1));
  SAY(pread(only, bytes, 5, 9));
  SAY(pread(only, bytes, 5, 900));
  SAY(pread(only, bytes, 5, minus));
  SAY(preadv(only, pieces, 2, 5));
  say_bytes("preadv", preadv2(only, pieces, 2, 1, 0), bytes);
  SAY(preadv2(only, pieces, 2, -1, 0));
  SAY(lseek(only, 0, SEEK_CUR));
  SAY(pwritev2(fd, pieces, 2, -1, RWF_APPEND));
  SAY(lseek(fd, 0, SEEK_END));
  SAY(read(only, kernel, 3));
  SAY(read(fd, bytes, too_long));
  SAY(recv(fd, bytes, 1, 0));
  SAY(send(fd, bytes, 1, 0));
  set_nonblocking(only, true);
  SAY(read(only, bytes, 3));
  SAY(flock(fd, 77));
  SAY(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
  SAY(fcntl(append, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
  rlimit limit;
  CHECK_SYS(getrlimit(RLIMIT_FSIZE, &limit));
  const rlimit before = limit;
  limit.rlim_cur = 20;
  CHECK_SYS(setrlimit(RLIMIT_FSIZE, &limit));
  on_signal(SIGXFSZ, SIG_IGN);
  SAY(pwrite(fd, bytes, 100, 10));
  SAY(pwrite(fd, bytes, 100, 20));
  CHECK_SYS(setrlimit(RLIMIT_FSIZE, &before));
  for (int f : {fd, only, append}) SAY(close(f));
  SAY(unlink(path));
  const int full = open("/dev/full", O_RDWR), null = open("/dev/null", O_RDWR), folder = open("/", O_RDONLY);
  SAY(write(full, "x", 1));
  SAY(read(full, bytes, 4));
  SAY(write(null, kernel, 4));
  SAY(read(null, kernel, 4));
  SAY(read(folder, bytes, 4));
  SAY(write(folder, bytes, 4));
  SAY(open("/dev/null/x", O_RDONLY));
  SAY(open("/no/such/thing", O_RDONLY));
  say_poll("poll /dev/null", null, POLLIN | POLLOUT);
  say_poll("poll a folder", folder, POLLIN | POLLOUT);
  for (int f : {full, null, folder}) SAY(close(f));
}

// What a signal does to calls that have moved something already, and to those that have not.
void signals() {
  head("signals");
  on_signal(SIGUSR1, [](int) {});
  for (auto make : kStreamSockets) {
    const Channel channel = make();
    char buffer[10];
    Call all([&] { return recv(channel.in, buffer, 10, MSG_WAITALL); });
    CHECK_EQ(send(channel.out, "abc", 3, 0), 3);
    int left = 1;
    while (left > 0) CHECK_SYS(ioctl(channel.in, SIOCINQ, &left));
    all.settle().interrupt(SIGUSR1);
    errno = all.error();
    say_bytes("MSG_WAITALL interrupted", all.result(), buffer);
    Call none([&] { return recv(channel.in, buffer, 10, MSG_WAITALL); });
    none.settle().interrupt(SIGUSR1);
    const long n = none.result();
    errno = none.error();
    say("MSG_WAITALL interrupted without anything", n);
    channel.close_both();
  }
}

}  // namespace

int main() {
  on_signal(SIGPIPE, [](int) { pipe_signals++; });
  setvbuf(stdout, nullptr, _IOFBF, 1 << 20);
  join(spawn([] {}));
  on_nothing();
  bad_arguments(pipe_channel(), "a pipe");
  bad_arguments(unix_channel(), "a UNIX stream");
  bad_arguments(tcp_channel(), "a TCP connection");
  bad_arguments(unix_channel(SOCK_SEQPACKET), "a SEQPACKET pair");
  connections();
  datagrams(unix_channel(SOCK_DGRAM), "UNIX datagrams");
  datagrams(udp_channel(), "UDP");
  datagrams(unix_channel(SOCK_SEQPACKET), "records");
  events();
  selects();
  moves();
  files();
  signals();
  return 0;
}
