// Shows that no thread starves another: twins of Go's PingPongHog, TimerFairness, GoroutineParallelism, YieldProgress,
// PreemptionAfterSyscall and LockOSThreadExit. What must come comes, be it late; no clock is looked at.
// run: limit=120
#include "check.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include <atomic>

namespace {

// A pair hands a ball back and forth; a hog computes beside it. The pair inherits its slice, and yet cannot starve the
// hog, nor the hog the pair.
class Ball {
 public:
  void pass() {
    pthread_mutex_lock(&mutex_);
    full_ = true;
    pthread_cond_signal(&cond_);
    pthread_mutex_unlock(&mutex_);
  }
  void take() {
    pthread_mutex_lock(&mutex_);
    while (!full_) pthread_cond_wait(&cond_, &mutex_);
    full_ = false;
    pthread_mutex_unlock(&mutex_);
  }

 private:
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t cond_ = PTHREAD_COND_INITIALIZER;
  bool full_ = false;
};

void ping_pong_hog() {
  std::atomic<bool> stop{false};
  std::atomic<long> hogged{0}, passed{0};
  Ball there, back;
  pthread_t hog = spawn([&] {
    while (!stop) {
      compute(1000);
      hogged++;
    }
  });
  pthread_t ping = spawn([&] {
    while (!stop) {
      there.pass();
      back.take();
      passed++;
    }
    there.pass();
  });
  pthread_t pong = spawn([&] {
    while (!stop) {
      there.take();
      back.pass();
    }
    back.pass();
  });
  for (int i = 0; i < 5; i++) {
    long h = hogged, p = passed;
    EVENTUALLY(hogged > h + 100 && passed > p + 100);
  }
  stop = true;
  for (pthread_t t : {hog, ping, pong}) join(t);
}

// Timers fire though other threads never sleep, and those run though timers never stop firing.
void timer_fairness() {
  std::atomic<bool> stop{false};
  std::atomic<long> woken{0}, worked{0};
  pthread_t threads[8];
  for (int i = 0; i < 4; i++) {
    threads[i] = spawn([&] {
      while (!stop) {
        worked++;
        sched_yield();
      }
    });
    threads[4 + i] = spawn([&] {
      while (!stop) {
        usleep(1);
        woken++;
      }
    });
  }
  for (int i = 0; i < 5; i++) {
    long w = woken, r = worked;
    EVENTUALLY(woken > w + 50 && worked > r + 50);
  }
  stop = true;
  for (pthread_t t : threads) join(t);
}

// Threads that wait for each other by looking, without a call: all get their turns.
void parallelism() {
  constexpr int kThreads = 4;
  std::atomic<unsigned> turn{0};
  parallel(kThreads, [&](int index) {
    for (unsigned i = 0; i < 5; i++) {
      while (turn % kThreads != static_cast<unsigned>(index)) compute(10);
      turn++;
    }
  });
  CHECK_EQ(turn, kThreads * 5);
}

// Yields let the others on, also from a thread bound to its kernel thread (CPU affinity is a property of that).
void yield_progress(bool bound) {
  std::atomic<int> progress{0};
  std::atomic<bool> stop{false};
  pthread_t other = spawn([&] {
    while (!stop) {
      progress++;
      sched_yield();
    }
  });
  pthread_t yielder = spawn([&] {
    if (bound) {
      cpu_set_t set;
      CHECK_SYS(sched_getaffinity(0, sizeof set, &set));
      int first = 0;
      while (!CPU_ISSET(first, &set)) first++;
      CPU_ZERO(&set);
      CPU_SET(first, &set);
      CHECK_SYS(sched_setaffinity(0, sizeof set, &set));
    }
    while (progress < 100) sched_yield();
  });
  join(yielder);
  stop = true;
  join(other);
}

// A thread that goes on computing after a system call that blocked is preempted as any other.
void preemption_after_syscall() {
  for (int us : {10, 100, 1000, 10000}) {
    std::atomic<int> running{0};
    std::atomic<bool> stop{false};
    constexpr int kThreads = 6;
    pthread_t threads[kThreads];
    for (pthread_t& t : threads) {
      t = spawn([&, us] {
        timespec nap{0, us * 1000};
        syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &nap, nullptr);
        int null = open("/dev/null", O_RDONLY);
        char c;
        CHECK_EQ(read(null, &c, 1), 0);
        close(null);
        running++;
        while (!stop) compute(100);
      });
    }
    EVENTUALLY(running == kThreads);
    stop = true;
    for (pthread_t t : threads) join(t);
  }
}

// Threads that tie themselves to a kernel thread end, and what comes after them does not find their traces.
void bound_threads_end() {
  cpu_set_t before;
  CHECK_SYS(sched_getaffinity(0, sizeof before, &before));
  for (int i = 0; i < 20; i++) {
    join(spawn([&] {
      cpu_set_t one;
      int first = 0;
      while (!CPU_ISSET(first, &before)) first++;
      CPU_ZERO(&one);
      CPU_SET(first, &one);
      CHECK_SYS(sched_setaffinity(0, sizeof one, &one));
      CHECK_SYS(unshare(CLONE_FS));
      sched_yield();
    }));
    join(spawn([&] {
      cpu_set_t now;
      CHECK_SYS(sched_getaffinity(0, sizeof now, &now));
      CHECK(CPU_EQUAL(&now, &before));
    }));
  }
}

}  // namespace

int main() {
  ping_pong_hog();
  timer_fairness();
  parallelism();
  yield_progress(false);
  yield_progress(true);
  preemption_after_syscall();
  bound_threads_end();
  return 0;
}
