// Shows the child of a fork in a process whose threads still wait on files that it has closed: the child has the
// descriptors that the program has left open, and no others, so ends of pipes and sockets come to their readers there.
#include "io.h"

#include <dirent.h>

#include <string>
#include <vector>

namespace {

// What the program's descriptors name, without what a library has there that makes threads.
std::vector<std::string> files() {
  std::vector<std::string> found;
  DIR* dir = opendir("/proc/self/fd");
  CHECK(dir != nullptr);
  while (const dirent* entry = readdir(dir)) {
    char name[300], target[200] = {};
    snprintf(name, sizeof name, "/proc/self/fd/%s", entry->d_name);
    if (atoi(entry->d_name) == dirfd(dir) || readlink(name, target, sizeof target - 1) < 0) continue;
    found.push_back(std::string(entry->d_name) + " " + target);
  }
  CHECK_SYS(closedir(dir));
  return found;
}

// A program started in the child sees it as the child does.
void look(const std::vector<Channel>& channels, const std::vector<std::string>& before) {
  for (const std::string& now : files()) {
    bool known = false;
    for (const std::string& then : before) known = known || then == now;
    if (!known) check_fail(__FILE__, __LINE__, "the child has %s", now.c_str());
  }
  // The writers' numbers are closed in the parent and here: once the parent's writers are gone, this is the end.
  for (const Channel& c : channels) {
    static char bytes[65536];
    ssize_t n;
    while ((n = read(c.in, bytes, sizeof bytes)) > 0) {
    }
    CHECK_EQ(n, 0);
  }
}

void fork_beside(Channel (*make)()) {
  const std::vector<std::string> before = files();
  constexpr int kWriters = 4;
  static char big[1 << 20];
  std::vector<Channel> channels;
  std::vector<std::string> left = before;
  for (int i = 0; i < kWriters; i++) channels.push_back(make());
  std::vector<pthread_t> threads;
  std::atomic<int> writing{0};
  for (const Channel& c : channels) {
    threads.push_back(spawn([c, &writing] {
      writing++;
      const ssize_t n = write(c.out, big, sizeof big);
      CHECK(n > 0 || (n == -1 && (errno == EBADF || errno == EPIPE)));
    }));
  }
  EVENTUALLY(writing == kWriters);
  usleep(2000);
  // They wait for room, and lose their numbers.
  for (const Channel& c : channels) CHECK_SYS(close(c.out));
  int ends[2];
  CHECK_SYS(pipe(ends));
  left = files();
  std::vector<std::string> own;
  for (const std::string& name : left) {
    if (atoi(name.c_str()) < 500) own.push_back(name);
  }
  const pid_t pid = fork();
  CHECK_SYS(pid);
  if (pid == 0) {
    CHECK_SYS(close(ends[1]));
    char byte;
    CHECK_EQ(read(ends[0], &byte, 1), 0);  // The parent's writers are gone.
    look(channels, own);
    _exit(0);
  }
  for (const Channel& c : channels) CHECK_SYS(close(c.in));
  CHECK_SYS(close(ends[0]));
  // The child reads what is left, so that the writers end.
  CHECK_SYS(close(ends[1]));
  CHECK_EQ(wait_status(pid), 0);
  for (pthread_t t : threads) join(t);
}

}  // namespace

int main() {
  signal(SIGPIPE, SIG_IGN);
  for (int i = 0; i < 3; i++) {
    for (auto make : kStreams) fork_beside(make);
  }
  return 0;
}
