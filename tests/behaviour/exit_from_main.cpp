// Shows what pthread_exit does in the main thread: destructors of its keys run, those of its thread_local objects only
// when it is the last thread; and that a signal which nobody can block does nothing to a thread that has ended.
#include "check.h"

#include <signal.h>
#include <sys/mman.h>

#include <cstring>

namespace {

char* order;  // in memory that outlives the process

struct Local {
  ~Local() { std::strcat(order, "local "); }
};
thread_local Local local;

void* last(void*) {
  usleep(20'000);
  return nullptr;
}
void* ends(void*) { return nullptr; }

void child(int kind) {
  pthread_key_t key;
  CHECK_OK(pthread_key_create(&key, [](void*) { std::strcat(order, "key "); }));
  CHECK_OK(pthread_setspecific(key, order));
  static_cast<void>(&local);
  pthread_t thread;
  if (kind >= 1) {
    CHECK_OK(pthread_create(&thread, nullptr, ends, nullptr));
    if (kind == 2) usleep(20'000);
    if (kind == 2) CHECK_OK(pthread_kill(thread, SIGKILL));
    CHECK_OK(pthread_join(thread, nullptr));
  }
  if (kind == 3) CHECK_OK(pthread_create(&thread, nullptr, last, nullptr));
  pthread_exit(nullptr);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) {
    order = static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0));
    child(argv[1][0] - '0');
  }
  const char* wanted[] = {"key local ", "key local ", "key local ", "key "};
  for (int kind = 0; kind < 4; kind++) {
    int fd = memfd_create("order", 0);
    CHECK_SYS(fd);
    CHECK_SYS(ftruncate(fd, 4096));
    auto* told = static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    CHECK(told != MAP_FAILED);
    pid_t pid = fork();
    if (pid == 0) {
      dup2(fd, 3);
      char text[2] = {static_cast<char>('0' + kind), 0};
      execl("/proc/self/exe", argv[0], text, nullptr);
      _exit(9);
    }
    CHECK_EQ(wait_status(pid), 0);
    if (std::strcmp(told, wanted[kind]) != 0) {
      fprintf(stderr, "kind %d: \"%s\", wanted \"%s\"\n", kind, told, wanted[kind]);
      return 1;
    }
    close(fd);
  }
  return 0;
}
