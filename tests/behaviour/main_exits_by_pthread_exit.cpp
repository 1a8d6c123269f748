// Shows that a main that calls pthread_exit leaves the other threads running; that its C++ destructors, cleanup
// handlers and key destructors run; and that the last thread's end runs atexit handlers and ends the process with
// status 0.
#include "check.h"

#include <sys/mman.h>

#include <atomic>

namespace {

struct Marks {
  std::atomic<int> raii, cleanup, key, threads, at_exit, joined_main;
};
Marks* marks;

struct Mark {
  explicit Mark(std::atomic<int>* mark) : mark(mark) {}
  ~Mark() { mark->fetch_add(1); }
  std::atomic<int>* mark;
};

[[noreturn]] void child_main() {
  const pthread_t self = pthread_self();
  atexit([] {
    if (marks->threads == 20) marks->at_exit++;
  });
  pthread_key_t key;
  CHECK_OK(pthread_key_create(&key, [](void*) { marks->key++; }));
  CHECK_OK(pthread_setspecific(key, marks));
  Mark raii(&marks->raii);
  for (int i = 0; i < 20; i++) {
    pthread_t thread = spawn([i, self] {
      for (unsigned step = 0; step < 50; step++) stir(step + static_cast<unsigned>(i));
      if (i == 0) {
        void* result = nullptr;
        CHECK_OK(pthread_join(self, &result));
        CHECK_EQ(result, 55);
        marks->joined_main++;
      }
      marks->threads++;
      if (i % 2 == 0) pthread_exit(nullptr);
    });
    CHECK_OK(pthread_detach(thread));
  }
  pthread_cleanup_push([](void*) { marks->cleanup++; }, nullptr);
  pthread_exit(reinterpret_cast<void*>(55));
  pthread_cleanup_pop(0);
}

}  // namespace

int main() {
  marks = static_cast<Marks*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  for (int round = 1; round <= 5; round++) {
    marks->threads = 0;
    const pid_t child = fork();
    CHECK_SYS(child);
    if (child == 0) child_main();
    CHECK_EQ(wait_status(child), 0);
    CHECK_EQ(marks->raii.load(), round);
    CHECK_EQ(marks->cleanup.load(), round);
    CHECK_EQ(marks->key.load(), round);
    CHECK_EQ(marks->joined_main.load(), round);
    CHECK_EQ(marks->threads.load(), 20);
    CHECK_EQ(marks->at_exit.load(), round);
  }
  const pid_t alone = fork();
  CHECK_SYS(alone);
  if (alone == 0) pthread_exit(nullptr);  // The only thread there is.
  CHECK_EQ(wait_status(alone), 0);
  return 0;
}
