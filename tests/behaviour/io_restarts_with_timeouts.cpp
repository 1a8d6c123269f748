// Shows signal(7) for sockets with a time-out: a call that it concerns fails with EINTR although the handler was
// installed with SA_RESTART, in every form of the call; one that only the other direction's time-out concerns goes on.
#include "io.h"

#include <sys/sendfile.h>

namespace {

std::atomic<int> handled;

void count(int) { handled++; }

void limit(int fd, int option) {
  const timeval minute = {60, 0};
  CHECK_SYS(setsockopt(fd, SOL_SOCKET, option, &minute, sizeof minute));
}

constexpr int kReads = 9;

long receive(int way, int fd) {
  static thread_local char bytes[16];
  Form form(bytes, 1);
  auto& [piece, message, batch] = form;
  int ends[2];
  switch (way) {
    case 0: return read(fd, bytes, 1);
    case 1: return readv(fd, &piece, 1);
    case 2: return recv(fd, bytes, 1, 0);
    case 3: return recvmsg(fd, &message, 0);
    case 4: return recvmmsg(fd, &batch, 1, 0, nullptr);
    case 5: return preadv2(fd, &piece, 1, -1, 0);
    case 6: return recv(fd, bytes, 1, MSG_WAITALL | MSG_PEEK) == 1 ? read(fd, bytes, 1) : -1;
    case 7: {
      CHECK_SYS(pipe(ends));
      const ssize_t n = splice(fd, nullptr, ends[1], nullptr, 1, 0);
      const int error = errno;
      CHECK_SYS(close(ends[0]));
      CHECK_SYS(close(ends[1]));
      errno = error;
      return n;
    }
    default: return recvfrom(fd, bytes, 1, MSG_WAITALL, nullptr, nullptr);
  }
}

constexpr int kWrites = 7;

long transmit(int way, int fd) {
  static char bytes[16];
  Form form(bytes, 1);
  auto& [piece, message, batch] = form;
  switch (way) {
    case 0: return write(fd, bytes, 1);
    case 1: return writev(fd, &piece, 1);
    case 2: return send(fd, bytes, 1, 0);
    case 3: return sendmsg(fd, &message, 0);
    case 4: return sendmmsg(fd, &batch, 1, 0);
    case 5: return pwritev2(fd, &piece, 1, -1, 0);
    default: {
      FILE* file = tmpfile();
      CHECK(file != nullptr);
      CHECK_EQ(write(fileno(file), bytes, 1), 1);
      off_t at = 0;
      const ssize_t n = sendfile(fd, fileno(file), &at, 1);
      const int error = errno;
      CHECK_EQ(fclose(file), 0);
      errno = error;
      return n;
    }
  }
}

void receives(Channel (*make)(), int way) {
  const Channel channel = make();
  limit(channel.in, SO_RCVTIMEO);
  Call interrupted([=] { return receive(way, channel.in); });
  interrupted.settle();
  interrupted.interrupt(SIGUSR1);
  CHECK_FAILED(interrupted, EINTR);
  channel.close_both();
  const Channel other = make();
  limit(other.in, SO_SNDTIMEO);
  Call goes_on([=] { return receive(way, other.in); });
  goes_on.settle();
  const int before = handled;
  goes_on.signal(SIGUSR1);
  EVENTUALLY(handled != before);
  CHECK_EQ(send(other.out, "x", 1, 0), 1);
  CHECK_EQ(goes_on.result(), 1);
  other.close_both();
}

void sends(Channel (*make)(), int way) {
  const Channel channel = make();
  limit(channel.out, SO_SNDTIMEO);
  fill_up(channel.out);
  while (send(channel.out, "x", 1, MSG_DONTWAIT) == 1) {
  }
  Call interrupted([=] { return transmit(way, channel.out); });
  interrupted.settle();
  interrupted.interrupt(SIGUSR1);
  CHECK_FAILED(interrupted, EINTR);
  channel.close_both();
}

}  // namespace

int main() {
  on_signal(SIGUSR1, count, SA_RESTART);
  for (auto make : kStreamSockets) {
    for (int way = 0; way < kReads; way++) {
      // Peeking for all ends natively with what there is on a UNIX socket.
      if (way == 6 && make == kStreamSockets[0]) continue;
      receives(make, way);
    }
  }
  for (int way = 0; way < kWrites; way++) sends(kStreamSockets[0], way);
  // accept.
  sockaddr_in address;
  const int listener = listening_socket(&address);
  limit(listener, SO_RCVTIMEO);
  Call accepts([listener] { return accept(listener, nullptr, nullptr); });
  accepts.settle();
  accepts.interrupt(SIGUSR1);
  CHECK_FAILED(accepts, EINTR);
  CHECK_SYS(close(listener));
  return 0;
}
