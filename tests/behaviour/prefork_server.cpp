// Shows a prefork server: the parent, which has threads, listens and forks workers that each serve with threads of
// their own; SIGCHLD tells it of a worker that has ended, by itself or by a signal, and it starts another; SIGTERM ends
// them all. No request and no child is lost.
// run: limit=60
#include "check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <atomic>

namespace {

constexpr int kWorkers = 3;
constexpr int kThreads = 4;
constexpr int kClients = 6;
constexpr int kRequests = 30;
constexpr int kDeaths = 4;

enum Request : int { kWork = 1, kEnd, kCrash };

struct Shared {
  std::atomic<int> served, begun, told_to_end;
};
Shared* shared;
int listener;
sockaddr_in here;

sem_t child_ended;
void on_child(int) { sem_post(&child_ended); }

void serve() {
  for (;;) {
    const int fd = accept(listener, nullptr, nullptr);
    CHECK_SYS(fd);
    int request;
    while (read(fd, &request, sizeof request) == sizeof request) {
      if (request == kEnd) _exit(9);
      if (request == kCrash) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
      }
      shared->served++;
      const int answer = getpid();
      CHECK_EQ(write(fd, &answer, sizeof answer), sizeof answer);
    }
    close(fd);
  }
}

[[noreturn]] void work() {
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &term, nullptr));
  shared->begun++;
  for (int i = 0; i < kThreads; i++) spawn(serve);
  int signal = 0;
  CHECK_OK(sigwait(&term, &signal));
  CHECK_EQ(signal, SIGTERM);
  shared->told_to_end++;
  _exit(0);
}

int dial() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  CHECK_SYS(fd);
  CHECK_SYS(connect(fd, reinterpret_cast<sockaddr*>(&here), sizeof here));
  return fd;
}

void ask_all() {
  parallel(kClients, [](int) {
    for (int i = 0; i < kRequests; i++) {
      const int fd = dial();
      for (int k = 0; k < 2; k++) {
        const int request = kWork;
        int answer = 0;
        CHECK_EQ(write(fd, &request, sizeof request), sizeof request);
        CHECK_EQ(read(fd, &answer, sizeof answer), sizeof answer);
        CHECK(answer > 0 && answer != getpid());
      }
      close(fd);
    }
  });
}

pid_t workers[kWorkers];

void fork_worker(int slot) {
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) work();
  workers[slot] = child;
}

// Waits for SIGCHLD, and for the children that have ended. Their number and the sum of their statuses.
int reap(int* statuses, bool again) {
  int ended = 0;
  while (sem_wait(&child_ended) != 0) CHECK_EQ(errno, EINTR);
  int status = 0;
  for (pid_t child; (child = waitpid(-1, &status, WNOHANG)) > 0; ended++) {
    *statuses += WIFEXITED(status) ? WEXITSTATUS(status) : 1000 * WTERMSIG(status);
    int slot = 0;
    while (slot < kWorkers && workers[slot] != child) slot++;
    CHECK(slot < kWorkers);
    if (again) fork_worker(slot);
  }
  return ended;
}

void server() {
  shared->served = shared->begun = shared->told_to_end = 0;
  for (int slot = 0; slot < kWorkers; slot++) fork_worker(slot);
  ask_all();
  int ended = 0;
  int statuses = 0;
  for (int i = 0; i < kDeaths; i++) {
    const int fd = dial();
    const int request = i % 2 ? kCrash : kEnd;
    CHECK_EQ(write(fd, &request, sizeof request), sizeof request);
    char c;
    const ssize_t n = read(fd, &c, 1);
    CHECK(n == 0 || (n == -1 && errno == ECONNRESET));
    close(fd);
    while (ended == i) ended += reap(&statuses, true);
  }
  CHECK_EQ(ended, kDeaths);
  CHECK_EQ(statuses, kDeaths / 2 * (9 + 1000 * SIGKILL));
  ask_all();
  EVENTUALLY(shared->begun == kWorkers + kDeaths);
  for (pid_t worker : workers) CHECK_SYS(kill(worker, SIGTERM));
  while (ended < kDeaths + kWorkers) ended += reap(&statuses, false);
  CHECK_EQ(statuses, kDeaths / 2 * (9 + 1000 * SIGKILL));
  CHECK_EQ(shared->told_to_end, kWorkers);
  CHECK_EQ(shared->served, 2 * kClients * kRequests * 2);
  CHECK_ERRNO(waitpid(-1, nullptr, WNOHANG), ECHILD);
}

}  // namespace

int main() {
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  shared = new (memory) Shared();
  CHECK_SYS(sem_init(&child_ended, 0, 0));
  struct sigaction action = {};
  action.sa_handler = on_child;
  action.sa_flags = SA_RESTART | SA_NOCLDSTOP;
  CHECK_SYS(sigaction(SIGCHLD, &action, nullptr));
  listener = socket(AF_INET, SOCK_STREAM, 0);
  CHECK_SYS(listener);
  here.sin_family = AF_INET;
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK_SYS(bind(listener, reinterpret_cast<sockaddr*>(&here), sizeof here));
  CHECK_SYS(listen(listener, 64));
  socklen_t size = sizeof here;
  CHECK_SYS(getsockname(listener, reinterpret_cast<sockaddr*>(&here), &size));
  static std::atomic<bool> stop{false};
  const pthread_t others = spawn([] {
    parallel(4, [](int index) {
      for (unsigned step = static_cast<unsigned>(index); !stop; step++) stir(step);
    });
  });
  server();
  join(spawn(server));
  stop = true;
  join(others);
  return 0;
}
