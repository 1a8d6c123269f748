// Shows what a parent learns of a child whose thread ends it by a signal that dumps core: the same signal, and the same
// word on the core, as of a child without threads; with cores forbidden, and with one written to a directory of the
// test's own.
// run: limit=60
#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include <string>

namespace {

void fault() {
  volatile int* nowhere = nullptr;
  *nowhere = 1;
}
void die_by_abort() { abort(); }
void die_by_raise() { raise(SIGABRT); }
void quit() { kill(getpid(), SIGQUIT); }
void trap() { raise(SIGTRAP); }
void illegal() { __builtin_trap(); }
void abort_handled() {
  signal(SIGABRT, [](int) {});
  abort();
}
void abort_ignored() {
  signal(SIGABRT, SIG_IGN);
  abort();
}
void abort_blocked() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  abort();
}
void fault_blocked() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  fault();
}
void fault_ignored() {
  signal(SIGSEGV, SIG_IGN);
  fault();
}

enum Who { kAlone, kMain, kThread };

int status_of(void (*die)(), Who who, rlim_t core, const char* directory) {
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    const rlimit limit = {core, core};
    CHECK_SYS(setrlimit(RLIMIT_CORE, &limit));
    CHECK_SYS(chdir(directory));
    close(2);  // what libc may say
    for (int signal : {SIGABRT, SIGSEGV, SIGQUIT, SIGTRAP, SIGILL}) {
      struct sigaction action = {};
      CHECK_SYS(sigaction(signal, &action, nullptr));
    }
    if (who != kAlone) {
      for (int i = 0; i < 4; i++) {
        spawn([i] {
          for (unsigned step = static_cast<unsigned>(i);; step++) stir(step);
        });
      }
      usleep(2000);
    }
    if (who == kThread) join(spawn(die));
    else die();
    for (;;) pause();
  }
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  return status;
}

bool kernel_writes_to_directory() {
  char pattern[256] = {};
  const int fd = open("/proc/sys/kernel/core_pattern", O_RDONLY);
  if (fd < 0) return false;
  const ssize_t n = read(fd, pattern, sizeof pattern - 1);
  close(fd);
  return n > 0 && pattern[0] != '/' && pattern[0] != '|';
}

int remove_all(const char* directory) {
  DIR* list = opendir(directory);
  CHECK(list != nullptr);
  int files = 0;
  for (dirent* entry; (entry = readdir(list)) != nullptr;) {
    if (entry->d_name[0] == '.') continue;
    CHECK_SYS(unlinkat(dirfd(list), entry->d_name, 0));
    files++;
  }
  closedir(list);
  return files;
}

}  // namespace

int main() {
  char directory[] = "/tmp/core_dump_XXXXXX";
  CHECK(mkdtemp(directory) != nullptr);
  const bool writes = kernel_writes_to_directory();
  constexpr rlim_t kSmall = 1 << 20;
  static constexpr struct {
    void (*die)();
    int signal;
  } kWays[] = {{fault, SIGSEGV},         {die_by_abort, SIGABRT},  {die_by_raise, SIGABRT},  {quit, SIGQUIT},
               {trap, SIGTRAP},          {illegal, SIGILL},        {abort_handled, SIGABRT}, {abort_ignored, SIGABRT},
               {abort_blocked, SIGABRT}, {fault_blocked, SIGSEGV}, {fault_ignored, SIGSEGV}};
  for (const auto& way : kWays) {
    for (rlim_t core : {rlim_t{0}, kSmall}) {
      if (core && !writes) continue;
      const int wanted = status_of(way.die, kAlone, core, directory);
      CHECK(WIFSIGNALED(wanted));
      CHECK_EQ(WTERMSIG(wanted), way.signal);
      const int files = remove_all(directory);
      CHECK_EQ(files, WCOREDUMP(wanted) ? 1 : 0);
      for (Who who : {kMain, kThread}) {
        CHECK_EQ(status_of(way.die, who, core, directory), wanted);
        CHECK_EQ(remove_all(directory), files);
      }
    }
  }
  CHECK_SYS(rmdir(directory));
  return 0;
}
