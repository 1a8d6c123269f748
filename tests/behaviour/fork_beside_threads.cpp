// Shows fork from several threads while others allocate, print, lock and compute: the child has one thread with the
// caller's identity and thread-locals, can allocate, print, and start and join threads of its own.
#include "check.h"

#include <atomic>

namespace {

thread_local int own;

[[noreturn]] void child_main(int index, pthread_t self, FILE* sink) {
  CHECK(pthread_equal(pthread_self(), self));
  CHECK_EQ(own, index);
  CHECK_EQ(gettid(), getpid());
  free(malloc(1000));
  fprintf(sink, "child of %d\n", index);
  static std::atomic<int> sum;
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  for (int round = 0; round < 2; round++) {
    parallel(6, [](int i) {
      own = i;
      for (unsigned step = 0; step < 10; step++) {
        sched_yield();  // Not stir: a thread of the parent may have held its mutex.
        usleep(step);
        compute(10000);
      }
      CHECK_EQ(own, i);
      pthread_mutex_lock(&mutex);
      sum += i;
      pthread_mutex_unlock(&mutex);
      free(malloc(5000));
    });
  }
  CHECK_EQ(sum.load(), 30);
  CHECK_EQ(own, index);
  _exit(40 + index);
}

}  // namespace

int main() {
  static FILE* sink;
  sink = fopen("/dev/null", "w");
  static std::atomic<bool> stop;
  pthread_t others = spawn([] {
    parallel(10, [](int index) {
      for (unsigned step = 0; !stop; step++) {
        if (step % 64 == 0) usleep(500);  // Leaves the children some of the processors.
        switch (index % 4) {
          case 0: free(malloc(step % 5000)); break;
          case 1: fprintf(sink, "line %u\n", step); break;
          case 2: stir(step); break;
          default: compute(1000);
        }
      }
    });
  });
  parallel(4, [](int index) {
    for (int round = 0; round < 3; round++) {
      own = index;
      const pthread_t self = pthread_self();
      const pid_t child = fork();
      CHECK_SYS(child);
      if (child == 0) child_main(index, self, sink);
      CHECK_EQ(wait_status(child), 40 + index);
      CHECK_EQ(own, index);
      CHECK(gettid() != getpid());
    }
  });
  const pid_t child = fork();  // From main.
  CHECK_SYS(child);
  if (child == 0) {
    const pid_t grandchild = fork();
    CHECK_SYS(grandchild);
    if (grandchild == 0) child_main(0, pthread_self(), sink);
    CHECK_EQ(wait_status(grandchild), 40);
    parallel(4, [](int) { sched_yield(); });
    exit(9);
  }
  CHECK_EQ(wait_status(child), 9);
  stop = true;
  join(others);
  return 0;
}
