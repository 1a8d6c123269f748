// Shows vfork with exec, posix_spawn with actions and attributes, system and popen, from many threads at once beside
// others that run: each gets its own child's output and status.
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>

#include <atomic>
#include <string>

namespace {

std::string read_all(int fd) {
  std::string text;
  char block[256];
  ssize_t got;
  while ((got = read(fd, block, sizeof block)) > 0) text.append(block, static_cast<size_t>(got));
  CHECK_EQ(got, 0);
  return text;
}

void by_vfork(const char* word) {
  int volatile shared = 1;
  const pid_t child = vfork();
  if (child == 0) {
    shared = 2;  // The child runs in this very memory until it execs.
    execl("/bin/sh", "sh", "-c", "exit 17", nullptr);
    _exit(127);
  }
  CHECK_EQ(shared, 2);
  CHECK_EQ(wait_status(child), 17);
  const pid_t missing = vfork();
  if (missing == 0) {
    execl("/no/such/file", word, nullptr);
    _exit(errno);
  }
  CHECK_EQ(wait_status(missing), ENOENT);
}

void by_spawn(const char* word) {
  int ends[2];
  CHECK_SYS(pipe2(ends, O_CLOEXEC));
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attr;
  CHECK_OK(posix_spawn_file_actions_init(&actions));
  CHECK_OK(posix_spawn_file_actions_adddup2(&actions, ends[1], 1));
  CHECK_OK(posix_spawnattr_init(&attr));
  sigset_t none;
  sigemptyset(&none);
  CHECK_OK(posix_spawnattr_setsigmask(&attr, &none));
  CHECK_OK(posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK));
  char* const command[] = {const_cast<char*>("echo"), const_cast<char*>(word), nullptr};
  pid_t child = -1;
  CHECK_OK(posix_spawnp(&child, "echo", &actions, &attr, command, environ));
  close(ends[1]);
  CHECK_STR(read_all(ends[0]).c_str(), (std::string(word) + "\n").c_str());
  close(ends[0]);
  CHECK_EQ(wait_status(child), 0);
  CHECK_EQ(posix_spawn(&child, "/no/such/file", nullptr, nullptr, command, environ), ENOENT);
  CHECK_OK(posix_spawn_file_actions_destroy(&actions));
  CHECK_OK(posix_spawnattr_destroy(&attr));
}

void by_system() {
  const int status = system("exit 23");
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 23);
  CHECK(system(nullptr) != 0);
}

void by_popen(const char* word) {
  FILE* out = popen((std::string("echo ") + word + "; exit 3").c_str(), "r");
  CHECK(out != nullptr);
  char line[64];
  CHECK(fgets(line, sizeof line, out) != nullptr);
  CHECK_STR(line, (std::string(word) + "\n").c_str());
  CHECK_EQ(WEXITSTATUS(pclose(out)), 3);
}

}  // namespace

int main() {
  static std::atomic<bool> stop;
  pthread_t others = spawn([] {
    parallel(6, [](int index) {
      for (unsigned step = 0; !stop; step++) stir(step + static_cast<unsigned>(index));
    });
  });
  parallel(8, [](int index) {
    const std::string word = "word" + std::to_string(index);
    for (int round = 0; round < 2; round++) {
      switch ((index + round) % 4) {
        case 0: by_vfork(word.c_str()); break;
        case 1: by_spawn(word.c_str()); break;
        case 2: by_system(); break;
        default: by_popen(word.c_str());
      }
    }
  });
  stop = true;
  join(others);
  by_vfork("main");
  by_system();
  return 0;
}
