// A server with a thread for each connection, which sends back what it reads: the plain pthread program that bench/run
// measures natively and under goshim. It prints its port and ends when its stdin does.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

int must(int result, const char* what) {
  if (result >= 0) return result;
  std::perror(what);
  std::exit(1);
}

void* serve(void* arg) {
  const int fd = static_cast<int>(reinterpret_cast<intptr_t>(arg));
  char bytes[4096];
  ssize_t n;
  while ((n = read(fd, bytes, sizeof bytes)) > 0) {
    if (write(fd, bytes, static_cast<size_t>(n)) != n) break;
  }
  close(fd);
  return nullptr;
}

void* accept_all(void* arg) {
  const int listener = static_cast<int>(reinterpret_cast<intptr_t>(arg)), on = 1;
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  for (;;) {
    const int fd = accept(listener, nullptr, nullptr);
    if (fd < 0 && (errno == ECONNABORTED || errno == EINTR)) continue;
    must(fd, "accept");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    pthread_t thread;
    if (pthread_create(&thread, &attr, serve, reinterpret_cast<void*>(static_cast<intptr_t>(fd))) != 0) {
      std::fprintf(stderr, "echo_server: no more threads\n");
      std::exit(1);
    }
  }
}

}  // namespace

int main() {
  rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  signal(SIGPIPE, SIG_IGN);
  const int listener = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
  sockaddr_in address = {};
  socklen_t length = sizeof address;
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  must(bind(listener, reinterpret_cast<sockaddr*>(&address), length), "bind");
  must(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length), "getsockname");
  must(listen(listener, 4096), "listen");
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  pthread_t thread;
  if (pthread_create(&thread, nullptr, accept_all, reinterpret_cast<void*>(static_cast<intptr_t>(listener))) != 0)
    return 1;
  char byte;
  while (read(0, &byte, 1) > 0) {
  }
  _exit(0);
}
