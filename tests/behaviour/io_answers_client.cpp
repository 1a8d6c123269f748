// Shows threads that each answer a client in another process, which answers at once, so that they wait often and
// briefly. When the client then falls silent, the next wait ends as any other: by a signal, a time-out, bytes that come
// late, the end of the stream, shutdown or close by another thread, cancellation. Threads that compute beside them do
// not stop them, and do not starve.
#include "io.h"

namespace {

constexpr int kRounds = 400;
enum class Way { Recv, Read, RecvMessage, PollThenRecv };
constexpr Way kWays[] = {Way::Recv, Way::Read, Way::RecvMessage, Way::PollThenRecv};

// One byte. With poll: waits there first, for `ms`, and 0 is its time-out.
ssize_t receive(Way way, int fd, char* byte, int ms = -1) {
  iovec piece = {byte, 1};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  switch (way) {
    case Way::Recv: return recv(fd, byte, 1, 0);
    case Way::Read: return read(fd, byte, 1);
    case Way::RecvMessage: return recvmsg(fd, &message, 0);
    case Way::PollThenRecv: break;
  }
  const ssize_t now = recv(fd, byte, 1, MSG_DONTWAIT);
  if (now != -1 || errno != EAGAIN) return now;
  pollfd in = {fd, POLLIN, 0};
  const int ready = poll(&in, 1, ms);
  return ready == 1 ? recv(fd, byte, 1, 0) : ready;
}

// A client: what it is sent comes back, but for 's'; 'l' comes back after 20 ms, and after 'q' it closes.
pid_t start_client(int fd) {
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child != 0) return child;
  for (char byte; read(fd, &byte, 1) == 1 && byte != 'q';) {
    if (byte == 'l') usleep(20000);
    if (byte != 's' && write(fd, &byte, 1) != 1) _exit(1);
  }
  _exit(0);
}

// Made by two calls: of a socketpair goshim knows that this process made both ends.
Channel named_unix_channel() {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK_SYS(listener);
  CHECK_SYS(bind(listener, plain(&address), sizeof address.sun_family));  // the kernel chooses a name
  socklen_t length = sizeof address;
  CHECK_SYS(getsockname(listener, plain(&address), &length));
  CHECK_SYS(listen(listener, 1));
  const int out = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK_SYS(connect(out, plain(&address), length));
  const int in = accept(listener, nullptr, nullptr);
  CHECK_SYS(in);
  CHECK_SYS(close(listener));
  return {in, out};
}

struct Client {
  explicit Client(bool tcp) {
    const Channel channel = tcp ? tcp_channel() : named_unix_channel();
    near = channel.out;
    process = start_client(channel.in);
    CHECK_SYS(close(channel.in));
  }
  void say(char byte) const { CHECK_EQ(send(near, &byte, 1, 0), 1); }
  void play(Way way, int rounds = kRounds) const {
    for (int i = 0; i < rounds; i++) {
      char byte = 0;
      const char sent = static_cast<char>('A' + i % 26);
      say(sent);
      CHECK_EQ(receive(way, near, &byte), 1);
      CHECK_EQ(byte, sent);
    }
  }
  void end() const {
    say('q');
    CHECK_EQ(wait_status(process), 0);
    CHECK_SYS(close(near));
  }

  int near;
  pid_t process;
};

std::atomic<int> handled{0};

void ends_of_a_wait(Way way, bool tcp) {
  const Client client(tcp);
  const int fd = client.near;
  // Restarts, but for poll, which never does.
  on_signal(
      SIGUSR1, [](int) { handled++; }, SA_RESTART);
  std::atomic<bool> silent{false};
  Call interrupted([&] {
    client.play(way);
    client.say('s');
    silent = true;
    char byte;
    return receive(way, fd, &byte);
  });
  EVENTUALLY(silent);
  interrupted.settle();
  for (int i = 0; i < 20; i++) {
    const int before = handled;
    interrupted.signal(SIGUSR1);
    EVENTUALLY(handled != before);
  }
  if (way != Way::PollThenRecv) {
    client.say('x');
    CHECK_EQ(interrupted.result(), 1);
  } else {
    client.say('x');
    CHECK(interrupted.result() == 1 || interrupted.error() == EINTR);
    if (interrupted.result() != 1) {
      char byte;
      CHECK_EQ(read(fd, &byte, 1), 1);
    }
  }
  client.end();

  // Late.
  const Client late(tcp);
  late.play(way);
  late.say('l');
  char byte = 0;
  CHECK_EQ(receive(way, late.near, &byte), 1);
  CHECK_EQ(byte, 'l');
  late.play(way);

  // Time-outs.
  const int64_t began = now_ns(CLOCK_MONOTONIC);
  if (way == Way::PollThenRecv) {
    CHECK_EQ(receive(way, late.near, &byte, 5), 0);
  } else {
    const timeval limit = {0, 5000};
    CHECK_SYS(setsockopt(late.near, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    CHECK_ERRNO(receive(way, late.near, &byte), EAGAIN);
    const timeval none = {0, 0};
    CHECK_SYS(setsockopt(late.near, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none));
  }
  CHECK(now_ns(CLOCK_MONOTONIC) - began >= 4 * NS_PER_MS);

  // What the program has made non-blocking does not wait.
  late.play(way);
  set_nonblocking(late.near, true);
  CHECK_ERRNO(recv(late.near, &byte, 1, 0), EAGAIN);
  set_nonblocking(late.near, false);

  // Shut down by another thread.
  silent = false;
  Call shut_down([&] {
    late.play(way);
    late.say('s');
    silent = true;
    char last;
    return receive(way, late.near, &last);
  });
  EVENTUALLY(silent);
  shut_down.settle();
  CHECK_SYS(shutdown(late.near, SHUT_RD));
  CHECK_EQ(shut_down.result(), 0);
  late.end();

  // The client ends.
  const Client leaving(tcp);
  leaving.play(way);
  leaving.say('q');
  CHECK_EQ(receive(way, leaving.near, &byte), 0);
  CHECK_EQ(wait_status(leaving.process), 0);
  CHECK_SYS(close(leaving.near));
}

void cancelled(Way way, bool tcp) {
  const Client client(tcp);
  std::atomic<pid_t> waits{0};
  pthread_t thread = spawn([&] {
    client.play(way);
    waits = gettid();
    char byte;
    receive(way, client.near, &byte);
    check_fail(__FILE__, __LINE__, "a cancelled wait has returned");
  });
  EVENTUALLY(waits != 0);
  let_block(waits);
  CHECK_OK(pthread_cancel(thread));
  void* result;
  CHECK_OK(pthread_join(thread, &result));
  CHECK_EQ(result, PTHREAD_CANCELED);
  client.end();
}

// Two that answer, and one that computes on each processor and counts its rounds.
void beside_hogs() {
  std::atomic<bool> stop{false};
  std::atomic<long> rounds[2] = {};
  pthread_t hogs[2];
  for (int i = 0; i < 2; i++) {
    hogs[i] = spawn([&, i] {
      while (!stop) {
        compute(10000);
        rounds[i]++;
      }
    });
  }
  parallel(3, [](int i) {
    const Client client(i % 2 == 0);
    client.play(kWays[i], 100);
    client.end();
  });
  for (int i = 0; i < 2; i++) EVENTUALLY(rounds[i] > 10);
  stop = true;
  for (pthread_t hog : hogs) join(hog);
}

}  // namespace

int main() {
  join(spawn([] {}));  // the clients are made by a process with threads
  for (const bool tcp : {false, true}) {
    parallel(2, [=](int i) {
      for (const Way way : kWays) {
        if (i == 0) ends_of_a_wait(way, tcp);
        else cancelled(way, tcp);
      }
    });
  }
  beside_hogs();
  return 0;
}
