// Shows that a child program that runs without the library, started by fork and exec, vfork and exec or posix_spawn,
// from main or another thread, is as native as can be: the mask of the thread that made it, ignored signals ignored and
// others with their default action, what was pending for a thread that execs still pending, no descriptor that the
// parent has not opened, one kernel thread for each of its threads.
// run: limit=60
#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>

#include <atomic>
#include <string>
#include <vector>

namespace {

constexpr int kHighest = 4096;
bool open_at_start[kHighest];
std::atomic<int> handled{0};
void on_signal(int) { handled++; }

// What /proc/self/fd names, without the descriptor that reads it.
std::vector<int> descriptors() {
  std::vector<int> found;
  DIR* list = opendir("/proc/self/fd");
  CHECK(list != nullptr);
  for (dirent* entry; (entry = readdir(list)) != nullptr;) {
    const int fd = atoi(entry->d_name);
    if (entry->d_name[0] != '.' && fd != dirfd(list)) found.push_back(fd);
  }
  closedir(list);
  return found;
}

int kernel_threads() {
  int n = 0;
  DIR* list = opendir("/proc/self/task");
  CHECK(list != nullptr);
  for (dirent* entry; (entry = readdir(list)) != nullptr;) n += entry->d_name[0] != '.';
  closedir(list);
  return n;
}

// The child program. Its arguments: whether something is pending, and the descriptors that it may find open.
int child_program(int argc, char** argv) {
  const bool pending = strcmp(argv[1], "pending") == 0;
  for (int fd : descriptors()) {
    bool known = false;
    for (int i = 2; i < argc; i++) known = known || atoi(argv[i]) == fd;
    if (!known) check_fail(__FILE__, __LINE__, "descriptor %d is open", fd);
  }
  sigset_t mask;
  CHECK_SYS(sigprocmask(SIG_BLOCK, nullptr, &mask));
  for (int signal = 1; signal <= SIGRTMAX; signal++) {
    if (signal == 32 || signal == 33) continue;
    CHECK_EQ(sigismember(&mask, signal), signal == SIGUSR2 || signal == SIGRTMIN + 1);
    struct sigaction action;
    CHECK_SYS(sigaction(signal, nullptr, &action));
    CHECK(action.sa_handler == (signal == SIGHUP ? SIG_IGN : SIG_DFL));
  }
  sigset_t waiting;
  CHECK_SYS(sigpending(&waiting));
  CHECK_EQ(sigismember(&waiting, SIGUSR2), pending);
  CHECK_EQ(sigismember(&waiting, SIGRTMIN + 1), pending);
  stack_t stack;
  CHECK_SYS(sigaltstack(nullptr, &stack));
  CHECK_EQ(stack.ss_flags, SS_DISABLE);
  CHECK_EQ(kernel_threads(), 1);
  std::atomic<bool> stop{false};
  std::atomic<int> begun{0};
  const pthread_t threads = spawn([&] {
    parallel(3, [&](int) {
      begun++;
      while (!stop) usleep(500);
    });
  });
  EVENTUALLY(begun == 3);
  CHECK_EQ(kernel_threads(), 1 + 1 + 3);
  stop = true;
  join(threads);
  return 23;
}

struct Command {
  std::vector<std::string> words;
  std::vector<char*> argv, envp;
  explicit Command(bool pending) {
    words = {"child", pending ? "pending" : "none"};
    for (int fd = 0; fd < kHighest; fd++) {
      if (open_at_start[fd]) words.push_back(std::to_string(fd));
    }
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    for (char** e = environ; *e; e++) {
      if (strncmp(*e, "LD_PRELOAD=", 11) != 0) envp.push_back(*e);
    }
    envp.push_back(nullptr);
  }
};

enum How { kFork, kVfork, kSpawn, kSpawnWithMask, kWays };

void send_to_self() {
  pthread_kill(pthread_self(), SIGUSR2);
  pthread_kill(pthread_self(), SIGRTMIN + 1);
}

pid_t start(How how) {
  const Command command(how == kFork);
  pid_t child = -1;
  switch (how) {
    case kFork:
      child = fork();
      if (child == 0) {
        send_to_self();
        execve("/proc/self/exe", command.argv.data(), command.envp.data());
        _exit(99);
      }
      break;
    case kVfork:
      child = vfork();
      if (child == 0) {
        execve("/proc/self/exe", command.argv.data(), command.envp.data());
        _exit(99);
      }
      break;
    default: {
      posix_spawnattr_t attr;
      CHECK_OK(posix_spawnattr_init(&attr));
      sigset_t mask, all;
      CHECK_OK(pthread_sigmask(SIG_BLOCK, nullptr, &mask));
      if (how == kSpawnWithMask) {
        CHECK_OK(posix_spawnattr_setsigmask(&attr, &mask));
        CHECK_OK(posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK));
        sigfillset(&all);
        CHECK_OK(pthread_sigmask(SIG_SETMASK, &all, nullptr));
      }
      CHECK_OK(posix_spawn(&child, "/proc/self/exe", nullptr, &attr, command.argv.data(), command.envp.data()));
      CHECK_OK(pthread_sigmask(SIG_SETMASK, &mask, nullptr));
      CHECK_OK(posix_spawnattr_destroy(&attr));
    }
  }
  CHECK_SYS(child);
  return child;
}

void start_all() {
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR2);
  sigaddset(&mask, SIGRTMIN + 1);
  CHECK_OK(pthread_sigmask(SIG_SETMASK, &mask, nullptr));
  send_to_self();  // not for the children
  for (int how = 0; how < kWays; how++) CHECK_EQ(wait_status(start(static_cast<How>(how))), 23);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) return child_program(argc, argv);
  for (int fd : descriptors()) {
    CHECK(fd < kHighest);
    open_at_start[fd] = (fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0;
  }
  for (int signal = 1; signal <= SIGRTMAX; signal++) {
    if (signal == 32 || signal == 33 || signal == SIGKILL || signal == SIGSTOP) continue;
    struct sigaction action = {};
    if (signal == SIGHUP) action.sa_handler = SIG_IGN;
    if (signal == SIGUSR1 || signal == SIGUSR2 || signal == SIGSEGV || signal == SIGPIPE) action.sa_handler = on_signal;
    CHECK_SYS(sigaction(signal, &action, nullptr));
  }
  sigset_t all;
  sigfillset(&all);
  CHECK_OK(pthread_sigmask(SIG_SETMASK, &all, nullptr));
  static std::atomic<bool> stop{false};
  const pthread_t others = spawn([] {
    parallel(4, [](int index) {
      int ends[2];
      CHECK_SYS(pipe2(ends, O_CLOEXEC));
      char c = 'x';
      for (unsigned step = static_cast<unsigned>(index); !stop; step++) {
        stir(step);
        CHECK_EQ(write(ends[1], &c, 1), 1);
        CHECK_EQ(read(ends[0], &c, 1), 1);
      }
      close(ends[0]);
      close(ends[1]);
    });
  });
  join(spawn(start_all));
  start_all();
  parallel(3, [](int) { start_all(); });
  stop = true;
  join(others);
  CHECK_EQ(handled, 0);
  return 0;
}
