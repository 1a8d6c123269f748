// Shows that connections by the thousand, made, used, reset, half-closed and timed out at random, on descriptors that
// are used again at once, lose no byte and leak nothing: a thread per connection on either side, every byte stamped
// with its place. Arguments: connections in all (400), at once (40), seconds at least (0). `make soak-io` runs it long.
#include "io.h"

#include <dirent.h>
#include <sys/resource.h>

#include <vector>

namespace {

enum Behaviour { kEcho, kHalfClose, kClientResets, kServerResets, kTimesOut, kBothWays, kPolls, kIdles, kBehaviours };

// What a client says first.
struct Request {
  uint32_t behaviour, size;
  uint64_t seed;
};

// A generator of its own for each connection.
struct Random {
  uint64_t state;
  uint32_t below(uint32_t limit) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state >> 33) % limit;
  }
};

std::atomic<int> serving{0}, counts[kBehaviours];
std::atomic<int> unanswered{0};
std::atomic<uint64_t> moved{0};  // stamped bytes received
constexpr size_t kBuffer = 8192;

void reset(int fd) {
  const linger at_once = {1, 0};
  CHECK_SYS(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
  CHECK_SYS(close(fd));
}

// Both ends of a connection that may be reset: then there is nothing more to check.
bool gone(ssize_t n) { return n == -1 && (errno == ECONNRESET || errno == EPIPE); }

bool send_stamps(int fd, uint64_t seed, size_t size, Random& random) {
  char bytes[kBuffer];
  for (size_t sent = 0; sent < size;) {
    size_t part = 1 + random.below(kBuffer);
    if (part > size - sent) part = size - sent;
    put_stamps(bytes, part, seed + sent);
    const ssize_t n = send(fd, bytes, part, MSG_NOSIGNAL);
    if (gone(n)) return false;
    CHECK_EQ(n, part);
    sent += part;
  }
  return true;
}

bool receive_stamps(int fd, uint64_t seed, size_t size, Random& random) {
  char bytes[kBuffer];
  for (size_t got = 0; got < size;) {
    size_t part = 1 + random.below(kBuffer);
    if (part > size - got) part = size - got;
    const ssize_t n = recv(fd, bytes, part, random.below(8) == 0 ? MSG_WAITALL : 0);
    if (n == 0 || gone(n)) return false;
    CHECK_SYS(n);
    check_stamps(bytes, static_cast<size_t>(n), seed + got);
    got += static_cast<size_t>(n);
    moved += static_cast<uint64_t>(n);
  }
  return true;
}

void check_end(int fd) {
  char byte;
  const ssize_t n = read(fd, &byte, 1);
  if (!gone(n)) CHECK_EQ(n, 0);
}

void serve(int fd) {
  Request request;
  const ssize_t n = recv(fd, &request, sizeof request, MSG_WAITALL);
  if (n != sizeof request) {
    CHECK(gone(n) || n < static_cast<ssize_t>(sizeof request));
    CHECK_SYS(close(fd));
    return;
  }
  CHECK(request.behaviour < kBehaviours);
  Random random = {request.seed ^ 0x5555};
  char bytes[kBuffer];
  ssize_t got;
  switch (request.behaviour) {
    case kServerResets:
      receive_stamps(fd, request.seed, request.size / 2, random);
      reset(fd);
      return;
    case kTimesOut:
      // Silent until the client is gone.
      check_end(fd);
      break;
    case kBothWays: {
      Call sender([&] {
        Random own = {request.seed ^ 0x7777};
        return send_stamps(fd, request.seed + 1, request.size, own);
      });
      CHECK(receive_stamps(fd, request.seed, request.size, random));
      CHECK_EQ(sender.result(), 1);
      check_end(fd);
      break;
    }
    default:
      // Echo, to the end.
      while ((got = read(fd, bytes, 1 + random.below(kBuffer))) > 0) {
        const ssize_t sent = send(fd, bytes, static_cast<size_t>(got), MSG_NOSIGNAL);
        if (gone(sent)) break;
        CHECK_EQ(sent, got);
      }
      if (got == -1) CHECK(gone(got));
  }
  CHECK_SYS(close(fd));
}

void accept_all(int listener) {
  for (;;) {
    const int fd = accept(listener, nullptr, nullptr);
    if (fd == -1 && errno == EINVAL) return;  // Shut down: the end.
    if (fd == -1 && errno == ECONNABORTED) continue;
    CHECK_SYS(fd);
    serving++;
    pthread_t thread = spawn([fd] {
      serve(fd);
      serving--;
    });
    CHECK_OK(pthread_detach(thread));
  }
}

struct Server {
  int tcp, local;
  sockaddr_in address;
  sockaddr_un name;
  socklen_t name_length;
};

constexpr int kServers = 4;

Server listening_server() {
  Server server = {};
  server.tcp = socket(AF_INET, SOCK_STREAM, 0);
  server.local = socket(AF_UNIX, SOCK_STREAM, 0);
  server.address.sin_family = AF_INET;
  socklen_t length = sizeof server.address;
  CHECK_SYS(bind(server.tcp, plain(&server.address), length));
  CHECK_SYS(getsockname(server.tcp, plain(&server.address), &length));
  server.name.sun_family = AF_UNIX;
  CHECK_SYS(bind(server.local, plain(&server.name), sizeof(sa_family_t)));
  server.name_length = sizeof server.name;
  CHECK_SYS(getsockname(server.local, plain(&server.name), &server.name_length));
  for (int fd : {server.tcp, server.local}) CHECK_SYS(listen(fd, 4096));
  return server;
}

int connect_to(const Server& server, uint32_t number) {
  if (number % 3 == 0) {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_SYS(fd);
    sockaddr_un name = server.name;
    CHECK_SYS(connect(fd, plain(&name), server.name_length));
    return fd;
  }
  // Many addresses of this machine, so that ports in TIME_WAIT do not run out.
  sockaddr_in address = server.address;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + number % 250);
  for (;;) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_SYS(fd);
    if (connect(fd, plain(&address), sizeof address) == 0) return fd;
    // A machine that is busy beyond measure: the queue of the listening socket was full for minutes.
    if (errno != ETIMEDOUT) CHECK_SYS(-1);
    unanswered++;
    CHECK_SYS(close(fd));
  }
}

void use(const Server& server, uint32_t number) {
  Random random = {number * 0x9e3779b97f4a7c15u + 1};
  random.below(1);
  const int fd = connect_to(server, number);
  const Request request = {random.below(kBehaviours), 1 + random.below(random.below(10) == 0 ? 300000 : 5000),
                           random.state};
  counts[request.behaviour]++;
  CHECK_EQ(send(fd, &request, sizeof request, MSG_NOSIGNAL), sizeof request);
  char byte;
  switch (request.behaviour) {
    case kPolls:
    case kEcho:
      for (uint32_t i = 0; i < 5; i++) {
        const uint32_t size = 1 + request.size % 1000;
        CHECK(send_stamps(fd, request.seed + i, size, random));
        pollfd wanted = {fd, POLLIN, 0};
        if (request.behaviour == kPolls) CHECK_EQ(poll(&wanted, 1, -1), 1);
        CHECK(receive_stamps(fd, request.seed + i, size, random));
      }
      break;
    case kHalfClose: {
      Call sender([&] {
        Random own = {request.seed};
        const bool all = send_stamps(fd, request.seed, request.size, own);
        CHECK_SYS(shutdown(fd, SHUT_WR));
        return all;
      });
      CHECK(receive_stamps(fd, request.seed, request.size, random));
      CHECK_EQ(sender.result(), 1);
      CHECK_EQ(read(fd, &byte, 1), 0);
      break;
    }
    case kClientResets:
      send_stamps(fd, request.seed, 1 + request.size % 3000, random);
      reset(fd);
      return;
    case kServerResets:
      if (send_stamps(fd, request.seed, request.size / 2, random)) check_end(fd);
      break;
    case kTimesOut: {
      const timeval soon = {0, 1000 + random.below(5000)};
      CHECK_SYS(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon));
      CHECK_ERRNO(recv(fd, &byte, 1, 0), EAGAIN);
      pollfd wanted = {fd, POLLIN, 0};
      CHECK_EQ(poll(&wanted, 1, 1), 0);
      break;
    }
    case kBothWays: {
      Call sender([&] {
        Random own = {request.seed};
        return send_stamps(fd, request.seed, request.size, own);
      });
      CHECK(receive_stamps(fd, request.seed + 1, request.size, random));
      CHECK_EQ(sender.result(), 1);
      break;
    }
    default: {
      // Idle, then one exchange.
      pollfd wanted = {fd, POLLIN, 0};
      CHECK_EQ(poll(&wanted, 1, static_cast<int>(random.below(20))), 0);
      CHECK(send_stamps(fd, request.seed, 10, random));
      CHECK(receive_stamps(fd, request.seed, 10, random));
    }
  }
  CHECK_SYS(close(fd));
}

int open_descriptors() {
  DIR* dir = opendir("/proc/self/fd");
  CHECK(dir != nullptr);
  int n = -1;  // Its own.
  while (const dirent* entry = readdir(dir)) n += entry->d_name[0] != '.';
  CHECK_SYS(closedir(dir));
  return n;
}

long resident_kb() {
  long pages = 0;
  FILE* file = fopen("/proc/self/statm", "r");
  CHECK(file != nullptr);
  CHECK_EQ(fscanf(file, "%*d %ld", &pages), 1);
  CHECK_EQ(fclose(file), 0);
  return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

}  // namespace

int main(int argc, char** argv) {
  const uint32_t total = argc > 1 ? static_cast<uint32_t>(atol(argv[1])) : 400;
  const int at_once = argc > 2 ? atoi(argv[2]) : 40;
  const int64_t end = now_ns(CLOCK_MONOTONIC) + (argc > 3 ? atol(argv[3]) : 0) * NS_PER_S;
  rlimit limit;
  CHECK_SYS(getrlimit(RLIMIT_NOFILE, &limit));
  limit.rlim_cur = limit.rlim_max;
  CHECK_SYS(setrlimit(RLIMIT_NOFILE, &limit));

  // Several, so that as many connections as may be made at once find room in their queues.
  Server servers[kServers];
  std::vector<pthread_t> acceptors;
  for (Server& server : servers) {
    server = listening_server();
    for (int listener : {server.tcp, server.local}) acceptors.push_back(spawn([listener] { accept_all(listener); }));
  }

  const int descriptors = open_descriptors();
  // Runs until so many have been used, and not before the time.
  std::atomic<uint32_t> next{0};
  auto use_until = [&](uint32_t count, int64_t time) {
    parallel(at_once, [&](int) {
      for (;;) {
        const uint32_t number = next++;
        if (number >= count && now_ns(CLOCK_MONOTONIC) >= time) return;
        use(servers[number / 3 % kServers], number);
      }
    });
    // A connection that was reset may still be on its way to the server.
    EVENTUALLY(serving == 0 && open_descriptors() == descriptors);
  };
  // A third of it first: from there on nothing may grow.
  const int64_t now = now_ns(CLOCK_MONOTONIC);
  use_until(total / 3, now + (end - now) / 3);
  const long memory = resident_kb();
  use_until(total, end);
  const long memory_after = resident_kb();
  printf(
      "%u connections (%d unanswered), %llu bytes checked; descriptors %d at both ends; memory %ld KB, then %ld KB\n",
      next.load(), unanswered.load(), static_cast<unsigned long long>(moved.load()), descriptors, memory, memory_after);
  CHECK_EQ(fflush(stdout), 0);
  CHECK(memory_after - memory < memory / 2 + 16 * 1024);
  if (total >= 400) {
    for (auto& n : counts) CHECK(n > 0);
  }
  for (const Server& server : servers) {
    for (int fd : {server.tcp, server.local}) CHECK_SYS(shutdown(fd, SHUT_RD));
  }
  for (pthread_t t : acceptors) join(t);
  return 0;
}
