// Twins of Go's benchmarks: TCP on the loopback.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>

#include "twins.h"

namespace {

using namespace bench;

// A listener at a port of its own on the loopback.
class Listener {
 public:
  Listener() : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address_;
    auto* address = reinterpret_cast<sockaddr*>(&address_);
    must(bind(fd_, address, size), "bind");
    must(listen(fd_, SOMAXCONN), "listen");
    must(getsockname(fd_, address, &size), "getsockname");
  }
  ~Listener() { close(fd_); }

  // -1 after stop().
  int next() {
    int fd = accept(fd_, nullptr, nullptr);
    if (fd >= 0) send_at_once(fd);
    return fd;
  }

  void stop() { shutdown(fd_, SHUT_RDWR); }

  int dial() const {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must(fd < 0 ? errno : 0, "socket");
    must(connect(fd, reinterpret_cast<const sockaddr*>(&address_), sizeof address_) ? errno : 0, "connect");
    send_at_once(fd);
    return fd;
  }

 private:
  // As Go does by itself.
  static void send_at_once(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }

  int fd_;
  sockaddr_in address_{};
};

bool receive_all(int fd, char* bytes, size_t size) {
  while (size > 0) {
    ssize_t n = read(fd, bytes, size);
    if (n <= 0) return false;
    bytes += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

constexpr size_t kMessage = 512;

struct Traffic {
  Listener listener;
  long messages = 0;  // on each connection
  sem_t clients, servers;
  std::atomic<long> echoed{0};

  explicit Traffic(int connections) {
    sem_init(&clients, 0, static_cast<unsigned>(connections));
    sem_init(&servers, 0, static_cast<unsigned>(connections));
  }

  void client() {
    int fd = listener.dial();
    char sent[kMessage], got[kMessage];
    std::memset(sent, 'x', sizeof sent);
    for (long i = 0; i < messages; i++) {
      if (write(fd, sent, sizeof sent) != sizeof sent || !receive_all(fd, got, sizeof got)) break;
      if (std::memcmp(sent, got, sizeof got) == 0) echoed++;
    }
    close(fd);
    sem_post(&clients);
  }

  void server(int fd) {
    char bytes[kMessage];
    for (long i = 0; i < messages; i++) {
      if (!receive_all(fd, bytes, sizeof bytes) || write(fd, bytes, sizeof bytes) != sizeof bytes) break;
    }
    close(fd);
    sem_post(&servers);
  }

  void accept_all() {
    struct Arg {
      Traffic* traffic;
      int fd;
    };
    for (int fd; (fd = listener.next()) >= 0;) {
      wait(&servers);
      auto routine = [](void* p) -> void* {
        std::unique_ptr<Arg> arg(static_cast<Arg*>(p));
        return arg->traffic->server(arg->fd), nullptr;
      };
      start_detached(routine, new Arg{this, fd});
    }
  }
};

// An echo client and an echo server, a thread for each connection on both sides; two connections at a time for each
// processor. Each connection sends one message, or there are only so many connections.
void tcp_echo(State& state, bool persistent) {
  const int at_once = 2 * processors();
  long echoed = 0, expected = 0;
  whole(state, persistent ? at_once : 1, [&](long ops) {
    Traffic traffic(at_once);
    traffic.messages = persistent ? ops / at_once : 1;
    pthread_t acceptor =
        start([](void* p) -> void* { return static_cast<Traffic*>(p)->accept_all(), nullptr; }, &traffic);
    for (long i = 0; i < ops / traffic.messages; i++) {
      wait(&traffic.clients);
      start_detached([](void* p) -> void* { return static_cast<Traffic*>(p)->client(), nullptr; }, &traffic);
    }
    for (int i = 0; i < at_once; i++) {
      wait(&traffic.clients);
      wait(&traffic.servers);
    }
    traffic.listener.stop();
    join(acceptor);
    echoed = traffic.echoed;
    expected = ops;
  });
  check(state, echoed == expected, "messages are missing");
}

// TCP4OneShot
void go_tcp_oneshot(State& state) { tcp_echo(state, false); }
BENCHMARK(go_tcp_oneshot)->UseRealTime();

// TCP4Persistent
void go_tcp_persistent(State& state) { tcp_echo(state, true); }
BENCHMARK(go_tcp_persistent)->UseRealTime();

// Some microseconds of work that ends at 0 or 1: whether the value was odd.
uint8_t computed(uint8_t value) {
  for (int i = 0; i < 1000; i++) {
    value = static_cast<uint8_t>(value * value);
    DoNotOptimize(value);
  }
  return value;
}

// TCP4ConcurrentReadWrite: a connection for each processor with a thread that writes and one that reads at both ends.
// The figure is a byte there and back, with some work at both ends.
void go_tcp_readwrite(State& state) {
  struct Pair {
    int client, server;
    Channel passed{128};
  };
  const int pairs = processors();
  std::atomic<long> right{0};
  long expected = 0;
  whole(state, pairs, [&](long ops) {
    state.PauseTiming();
    Listener listener;
    std::deque<Pair> all(static_cast<size_t>(pairs));
    for (auto& pair : all) {
      pair.client = listener.dial();
      pair.server = listener.next();
    }
    state.ResumeTiming();
    in_threads(4 * pairs, [&](int me) {
      Pair& pair = all[static_cast<size_t>(me / 4)];
      long mine = 0;
      for (long i = 0; i < ops / pairs; i++) {
        uint8_t byte = 0;
        switch (me % 4) {
          case 0:
            byte = computed(static_cast<uint8_t>(i));
            mine += write(pair.client, &byte, 1);
            break;
          case 1:
            mine += read(pair.server, &byte, 1);
            pair.passed.send(byte);
            break;
          case 2:
            byte = computed(static_cast<uint8_t>(pair.passed.receive()));
            mine += write(pair.server, &byte, 1);
            break;
          default: mine += read(pair.client, &byte, 1) == 1 && byte == i % 2;
        }
      }
      right += mine;
    });
    state.PauseTiming();
    for (auto& pair : all) {
      close(pair.client);
      close(pair.server);
    }
    expected = 4 * ops;
    state.ResumeTiming();
  });
  check(state, right == expected, "bytes are missing");
}
BENCHMARK(go_tcp_readwrite)->UseRealTime();

}  // namespace
