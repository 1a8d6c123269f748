// Shows descriptors and credentials passed over UNIX sockets: reads that stop short behind the descriptors, with more
// there for the next read; passed descriptors that work and carry no flag they had not; MSG_CMSG_CLOEXEC, MSG_CTRUNC.
#include "io.h"

namespace {

union Control {
  char bytes[CMSG_SPACE(4 * sizeof(int)) + CMSG_SPACE(sizeof(ucred))];
  cmsghdr align;
};

void send_with(int fd, const char* text, const int* passed, size_t count, bool credentials) {
  Control control = {};
  iovec piece = {const_cast<char*>(text), strlen(text)};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen =
      (count > 0 ? CMSG_SPACE(count * sizeof(int)) : 0) + (credentials ? CMSG_SPACE(sizeof(ucred)) : 0);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (count > 0) {
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), passed, count * sizeof(int));
    header = CMSG_NXTHDR(&message, header);
  }
  if (credentials) {
    const ucred own = {getpid(), getuid(), getgid()};
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_CREDENTIALS;
    header->cmsg_len = CMSG_LEN(sizeof own);
    memcpy(CMSG_DATA(header), &own, sizeof own);
  }
  CHECK_EQ(sendmsg(fd, &message, 0), strlen(text));
}

struct Received {
  ssize_t bytes;
  int flags, count, fds[4];
  pid_t pid;
};

Received receive(int fd, char* bytes, size_t size, int flags = 0, size_t control_size = sizeof(Control)) {
  Control control = {};
  iovec piece = {bytes, size};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = control_size;
  Received got = {};
  got.bytes = recvmsg(fd, &message, flags);
  CHECK_SYS(got.bytes);
  got.flags = message.msg_flags;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_type == SCM_RIGHTS) {
      got.count = static_cast<int>((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
      memcpy(got.fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
    } else if (c->cmsg_type == SCM_CREDENTIALS) {
      ucred other;
      memcpy(&other, CMSG_DATA(c), sizeof other);
      got.pid = other.pid;
    }
  }
  return got;
}

void stops_at_the_boundary(int type) {
  const Channel channel = unix_channel(type), passed = pipe_channel();
  Call reader([channel] {
    char bytes[100];
    stir(1);
    // A stream may glue "plain" to what follows, but stops behind the message with the descriptors.
    Received got = {};
    size_t size = 0;
    while (got.count == 0) {
      got = receive(channel.in, bytes + size, sizeof bytes - size);
      size += static_cast<size_t>(got.bytes);
    }
    CHECK_EQ(got.count, 2);
    CHECK_EQ(size, 9);
    CHECK_EQ(memcmp(bytes, "plainwith", 9), 0);
    // Behind the boundary, without a further arrival.
    CHECK_EQ(read(channel.in, bytes, sizeof bytes), 6);
    CHECK_EQ(memcmp(bytes, "behind", 6), 0);
    // A pipe through the passed ends.
    CHECK_EQ(flags_of(got.fds[0]) & O_NONBLOCK, 0);
    CHECK_EQ(write(got.fds[1], "through", 7), 7);
    CHECK_EQ(read(got.fds[0], bytes, sizeof bytes), 7);
    close(got.fds[0]);
    close(got.fds[1]);
    return 0;
  });
  const int ends[] = {passed.in, passed.out};
  CHECK_EQ(send(channel.out, "plain", 5, 0), 5);
  send_with(channel.out, "with", ends, 2, false);
  CHECK_EQ(send(channel.out, "behind", 6, 0), 6);
  CHECK_EQ(reader.result(), 0);
  channel.close_both();
  passed.close_both();
}

// A read of a stream drops the descriptors but stops behind them all the same.
void plain_reads() {
  const Channel channel = unix_channel(), passed = pipe_channel();
  send_with(channel.out, "a", &passed.in, 1, false);
  send_with(channel.out, "b", &passed.in, 1, false);
  CHECK_EQ(send(channel.out, "c", 1, 0), 1);
  Call reader([channel] {
    char bytes[10];
    CHECK_EQ(read_fully(channel.in, bytes, 3), 3);
    CHECK_EQ(memcmp(bytes, "abc", 3), 0);
    return 0;
  });
  CHECK_EQ(reader.result(), 0);
  channel.close_both();
  passed.close_both();
}

void credentials(int type) {
  const Channel channel = unix_channel(type);
  const int on = 1;
  CHECK_SYS(setsockopt(channel.in, SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
  Call reader([channel] {
    char bytes[100];
    Received got = receive(channel.in, bytes, sizeof bytes);
    CHECK_EQ(got.pid, getpid());
    CHECK_EQ(got.bytes, 3);
    got = receive(channel.in, bytes, sizeof bytes);
    CHECK_EQ(got.bytes, 5);
    return got.pid;
  });
  reader.settle();
  send_with(channel.out, "own", nullptr, 0, true);
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    send_with(channel.out, "child", nullptr, 0, true);
    _exit(0);
  }
  CHECK_EQ(reader.result(), child);
  CHECK_EQ(wait_status(child), 0);
  channel.close_both();
}

// A thread that waits in the description which another process has too, and gets a descriptor from there.
void from_a_process() {
  const Channel channel = unix_channel();
  Call reader([channel] {
    char bytes[100];
    const Received got = receive(channel.in, bytes, sizeof bytes, MSG_CMSG_CLOEXEC);
    CHECK_EQ(got.count, 1);
    CHECK_EQ(fcntl(got.fds[0], F_GETFD), FD_CLOEXEC);
    CHECK_EQ(read(got.fds[0], bytes, sizeof bytes), 4);
    CHECK_EQ(read(got.fds[0], bytes, sizeof bytes), 0);
    close(got.fds[0]);
    return 0;
  });
  reader.settle();
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    const Channel passed = pipe_channel();
    send_with(channel.out, "x", &passed.in, 1, false);
    CHECK_EQ(write(passed.out, "data", 4), 4);
    _exit(0);
  }
  CHECK_EQ(reader.result(), 0);
  CHECK_EQ(wait_status(child), 0);
  // No room for the control data.
  send_with(channel.out, "y", &channel.in, 1, false);
  char byte;
  const Received cut = receive(channel.in, &byte, 1, 0, 0);
  CHECK_EQ(cut.bytes, 1);
  CHECK_EQ(cut.flags & MSG_CTRUNC, MSG_CTRUNC);
  channel.close_both();
}

}  // namespace

int main() {
  for (int round = 0; round < 10; round++) {
    for (int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}) {
      stops_at_the_boundary(type);
      credentials(type);
    }
    plain_reads();
    from_a_process();
  }
  parallel(8, [](int) { plain_reads(); });
  return 0;
}
