// Shows which blocked calls a signal sent to their thread ends with EINTR and which go on: read, readv, recv, recvmsg,
// accept, connect and the rest follow SA_RESTART; poll, select, epoll_wait and those with a time-out of the socket
// never restart. A handler runs in the thread it was sent to, while that is blocked.
#include "io.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>

namespace {

std::atomic<int> handled;
std::atomic<bool> elsewhere;
thread_local bool target;

void count(int) {
  if (!target) elsewhere = true;
  handled++;
}

struct Setting {
  Channel pipe = pipe_channel(), sockets = unix_channel(), tcp = tcp_channel(), udp = udp_channel();
  sockaddr_in address;
  int listener = listening_socket(&address);
  int event = eventfd(0, 0);
  int set = epoll_create1(0);
  Setting() {
    CHECK_SYS(event);
    epoll_event interest = {};
    interest.events = EPOLLIN;
    CHECK_SYS(epoll_ctl(set, EPOLL_CTL_ADD, pipe.in, &interest));
    const timeval minute = {60, 0};
    CHECK_SYS(setsockopt(udp.in, SOL_SOCKET, SO_RCVTIMEO, &minute, sizeof minute));
  }
  ~Setting() {
    for (Channel* c : {&pipe, &sockets, &tcp, &udp}) c->close_both();
    for (int fd : {listener, event, set}) CHECK_SYS(close(fd));
  }
};

constexpr int kRestarting = 10, kWays = 20;

long block(int way, Setting& s) {
  char bytes[10];
  Form form(bytes, 1);
  auto& [piece, message, batch] = form;
  uint64_t n;
  pollfd wanted = {s.pipe.in, POLLIN, 0};
  const timespec minute = {60, 0};
  timeval minute_too = {60, 0};
  epoll_event event;
  fd_set reads;
  FD_ZERO(&reads);
  FD_SET(s.pipe.in, &reads);
  switch (way) {
    case 0: return read(s.pipe.in, bytes, 1);
    case 1: return readv(s.pipe.in, &piece, 1);
    case 2: return read(s.sockets.in, bytes, 1);
    case 3: return recv(s.tcp.in, bytes, 1, 0);
    case 4: return recvfrom(s.sockets.in, bytes, 1, 0, nullptr, nullptr);
    case 5: return recvmsg(s.tcp.in, &message, 0);
    case 6: return accept(s.listener, nullptr, nullptr) > 0 ? 1 : -1;
    case 7: return accept4(s.listener, nullptr, nullptr, SOCK_CLOEXEC) > 0 ? 1 : -1;
    case 8: return read(s.event, &n, sizeof n) == 8 ? 1 : -1;
    case 9: return recvmmsg(s.sockets.in, &batch, 1, 0, nullptr);
    // From here on they end with EINTR whatever the flags.
    case 10: return poll(&wanted, 1, -1);
    case 11: return poll(&wanted, 1, 60000);
    case 12: return ppoll(&wanted, 1, &minute, nullptr);
    case 13: return select(s.pipe.in + 1, &reads, nullptr, nullptr, nullptr);
    case 14: return select(s.pipe.in + 1, &reads, nullptr, nullptr, &minute_too);
    case 15: return pselect(s.pipe.in + 1, &reads, nullptr, nullptr, &minute, nullptr);
    case 16: return epoll_wait(s.set, &event, 1, -1);
    case 17: return epoll_wait(s.set, &event, 1, 60000);
    case 18: return epoll_pwait(s.set, &event, 1, -1, nullptr);
    default: return recv(s.udp.in, bytes, 1, 0);  // It has a time-out.
  }
}

void release(Setting& s) {
  const uint64_t one = 1;
  CHECK_EQ(write(s.pipe.out, "x", 1), 1);
  CHECK_EQ(write(s.sockets.out, "x", 1), 1);
  CHECK_EQ(write(s.tcp.out, "x", 1), 1);
  CHECK_EQ(write(s.udp.out, "x", 1), 1);
  CHECK_EQ(write(s.event, &one, sizeof one), 8);
  CHECK_SYS(close(connected_socket(s.address)));
}

}  // namespace

int main() {
  for (int flags : {0, SA_RESTART}) {
    on_signal(SIGUSR1, count, flags);
    for (int way = 0; way < kWays; way++) {
      Setting setting;
      handled = 0;
      Call call([way, &setting] {
        target = true;
        return block(way, setting);
      });
      call.settle();
      if (flags == 0 || way >= kRestarting) {
        call.interrupt(SIGUSR1);
        CHECK_FAILED(call, EINTR);
        CHECK(handled > 0);
      } else {
        for (int i = 1; i <= 5; i++) {
          call.signal(SIGUSR1);
          EVENTUALLY(handled == i);
          if (i % 2 == 1) call.settle();
        }
        CHECK(!call.done());
        release(setting);
        CHECK_EQ(call.result(), 1);
      }
      CHECK(!elsewhere);
    }
  }
  // Ignored signals and those whose default is to be ignored do not end anything.
  on_signal(SIGUSR1, SIG_IGN);
  for (int way = 0; way < kWays; way++) {
    Setting setting;
    Call call([way, &setting] { return block(way, setting); });
    call.settle();
    call.signal(SIGUSR1);
    call.signal(SIGCHLD);
    call.signal(SIGWINCH);
    call.settle();
    CHECK(!call.done());
    release(setting);
    CHECK_EQ(call.result(), 1);
  }
  // Blocked signals neither: they wait for the mask.
  on_signal(SIGUSR1, count);
  handled = 0;
  for (int way = 0; way < kWays; way++) {
    Setting setting;
    std::atomic<bool> masked{false};
    Call call([way, &setting, &masked] {
      target = true;
      sigset_t set;
      sigemptyset(&set);
      sigaddset(&set, SIGUSR1);
      CHECK_OK(pthread_sigmask(SIG_BLOCK, &set, nullptr));
      masked = true;
      const long n = block(way, setting);
      CHECK_EQ(handled.load(), way);
      CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &set, nullptr));
      CHECK_EQ(handled.load(), way + 1);
      return n;
    });
    EVENTUALLY(masked);
    call.settle();
    call.signal(SIGUSR1);
    call.settle();
    CHECK(!call.done());
    release(setting);
    CHECK_EQ(call.result(), 1);
  }
  CHECK(!elsewhere);
  return 0;
}
