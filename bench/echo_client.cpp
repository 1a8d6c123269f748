// Loads an echo server and prints one line of JSON: requests a second, the median and 99th percentile of their times in
// nanoseconds, and the server's CPU time for each. One thread and an epoll; always run natively.
//
//   echo_client PORT SERVER_PID echo CONNECTIONS BUSY SECONDS   BUSY of the connections send 64 bytes, wait, send again
//   echo_client PORT SERVER_PID accept 0 BUSY SECONDS           a request is a connection: connect, one byte, close
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

namespace {

constexpr size_t kMessage = 64;
constexpr int64_t kSecond = 1000000000;

int must(int result, const char* what) {
  if (result >= 0) return result;
  std::perror(what);
  std::exit(1);
}

int64_t now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * kSecond + t.tv_nsec;
}

// The CPU time that a process has used, in nanoseconds.
double cpu_of(const char* pid) {
  char path[64], text[1024] = {};
  std::snprintf(path, sizeof path, "/proc/%s/stat", pid);
  FILE* file = std::fopen(path, "r");
  if (file == nullptr || std::fread(text, 1, sizeof text - 1, file) == 0) must(-1, path);
  std::fclose(file);
  unsigned long user = 0, system = 0;
  if (std::sscanf(std::strrchr(text, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) !=
      2) {
    std::exit(1);
  }
  return static_cast<double>(user + system) * static_cast<double>(kSecond) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

struct Connection {
  int fd = -1;
  size_t got = 0;
  int64_t began = 0;
};

sockaddr_in address;
int set;
std::vector<uint32_t> times;
char message[kMessage];

void open_connection(Connection& c) {
  c.fd = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
  const int on = 1;
  const linger at_once = {1, 0};  // So that no port stays in TIME_WAIT.
  setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  must(connect(c.fd, reinterpret_cast<sockaddr*>(&address), sizeof address), "connect");
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.ptr = &c;
  must(epoll_ctl(set, EPOLL_CTL_ADD, c.fd, &event), "epoll_ctl");
}

void request(Connection& c, size_t size) {
  c.got = 0;
  if (send(c.fd, message, size, 0) != static_cast<ssize_t>(size)) must(-1, "send");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) return 2;
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(argv[1])));
  const char* server = argv[2];
  const bool accepting = std::strcmp(argv[3], "accept") == 0;
  const size_t busy = static_cast<size_t>(std::atol(argv[5]));
  const size_t count = std::max(static_cast<size_t>(std::atol(argv[4])), busy), size = accepting ? 1 : kMessage;
  const int64_t length = static_cast<int64_t>(std::atof(argv[6]) * static_cast<double>(kSecond));
  rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  set = must(epoll_create1(0), "epoll_create1");
  std::vector<Connection> connections(count);
  auto begin = [&](Connection& c) {
    c.began = now();
    if (accepting) open_connection(c);
    request(c, size);
  };
  if (!accepting) {
    // Each has been served once before the clock starts: its thread is there.
    for (Connection& c : connections) {
      open_connection(c);
      request(c, size);
      char bytes[kMessage];
      if (recv(c.fd, bytes, size, MSG_WAITALL) != static_cast<ssize_t>(size)) must(-1, "recv");
    }
  }
  // The busy ones stand far apart among the others.
  for (size_t i = 0; i < busy; i++) begin(connections[i * (count / busy)]);
  int64_t start = now();
  const int64_t warm = start + length / 4, end = start + length / 4 + length;
  double cpu = 0;
  bool measuring = false;
  int64_t time = start;
  while (time < end) {
    epoll_event events[256];
    const int n = must(epoll_wait(set, events, 256, 1000), "epoll_wait");
    for (int i = 0; i < n; i++) {
      Connection& c = *static_cast<Connection*>(events[i].data.ptr);
      char bytes[kMessage];
      const ssize_t r = recv(c.fd, bytes, size - c.got, MSG_DONTWAIT);
      if (r < 0 && errno == EAGAIN) continue;
      if (r <= 0) must(-1, "the server hung up");
      c.got += static_cast<size_t>(r);
      if (c.got < size) continue;
      if (accepting) close(c.fd);
      if (measuring) times.push_back(static_cast<uint32_t>(std::min<int64_t>(now() - c.began, UINT32_MAX)));
      begin(c);
    }
    time = now();
    if (!measuring && time >= warm) {
      measuring = true;
      start = time;
      cpu = cpu_of(server);
    }
  }
  cpu = cpu_of(server) - cpu;
  if (times.empty()) {
    std::fprintf(stderr, "echo_client: no request was answered\n");
    return 1;
  }
  std::sort(times.begin(), times.end());
  std::printf("{\"rate\": %.1f, \"p50\": %u, \"p99\": %u, \"cpu\": %.1f}\n",
              static_cast<double>(times.size()) * static_cast<double>(kSecond) / static_cast<double>(time - start),
              times[times.size() / 2], times[times.size() * 99 / 100], cpu / static_cast<double>(times.size()));
  return 0;
}
