// Shows exec from main and from another thread while threads run and block: the new program has one thread, the same
// process id, an open signal mask, no foreign descriptors, and starts threads of its own.
#include "check.h"

#include <dirent.h>
#include <signal.h>

#include <string>

namespace {

int descriptors() {
  int count = 0;
  DIR* directory = opendir("/proc/self/fd");
  CHECK(directory != nullptr);
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(directory)) count++;
  }
  closedir(directory);
  return count;
}

void become(const char* self, const std::string& pid, int count) {
  execl("/proc/self/exe", self, pid.c_str(), std::to_string(count).c_str(), nullptr);
  check_fail(__FILE__, __LINE__, "execl: errno %d", errno);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3) {
    CHECK_EQ(getpid(), atoi(argv[1]));
    CHECK_EQ(descriptors(), atoi(argv[2]));
    CHECK_EQ(gettid(), getpid());
    sigset_t mask;
    CHECK_SYS(sigprocmask(SIG_BLOCK, nullptr, &mask));
    for (int signal = 1; signal < 32; signal++) CHECK_EQ(sigismember(&mask, signal), signal == SIGUSR2);
    parallel(10, [](int index) {
      for (unsigned step = 0; step < 10; step++) stir(step + static_cast<unsigned>(index));
    });
    return 21;
  }
  for (int way = 0; way < 6; way++) {
    const int before = descriptors();
    const pid_t child = fork();
    CHECK_SYS(child);
    if (child == 0) {
      sigset_t mask;
      sigemptyset(&mask);
      sigaddset(&mask, SIGUSR2);
      CHECK_OK(pthread_sigmask(SIG_SETMASK, &mask, nullptr));
      for (int i = 0; i < 8; i++) {
        spawn([i] {
          for (unsigned step = 0;; step++) {
            if (i == 0) compute(1000);
            if (i == 1) pause();
            stir(step);
          }
        });
      }
      usleep(1000);
      const std::string pid = std::to_string(getpid());
      if (way % 2 == 0) become(argv[0], pid, before);
      spawn([&] {
        if (way > 2) sched_yield();
        become(argv[0], pid, before);
      });
      for (;;) pause();
    }
    CHECK_EQ(wait_status(child), 21);
  }
  return 0;
}
