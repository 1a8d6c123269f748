// What the twins of Go's own scheduler benchmarks (packages runtime, sync, net and time) share. They are linked into
// the program of bench.cpp. bench/go/ has the same in Go, with the same counts, sizes and numbers of threads. A comment
// at each twin tells which benchmark it is the twin of; a figure is what that one calls an operation. Results are
// checked when the clock has stopped.
#ifndef BENCH_TWINS_TWINS_H_
#define BENCH_TWINS_TWINS_H_

#include <linux/aio_abi.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <utility>
#include <vector>

#include "../bench.h"

namespace bench {

constexpr long kMicrosecond = 1000;
constexpr long kMillisecond = 1000 * kMicrosecond;

// As many as goshim has Ps, also natively: GOMAXPROCS of Go's benchmarks.
inline int processors() {
  if (const char* asked = std::getenv("GOSHIM_MAXPROCS")) return std::max(1, std::atoi(asked));
  cpu_set_t set;
  must(sched_getaffinity(0, sizeof set, &set), "sched_getaffinity");
  return CPU_COUNT(&set);
}

inline void check(State& state, bool right, const char* wrong) {
  if (!right) state.SkipWithError(wrong);
}

// Runs body(index) in so many threads at once.
template <typename Body>
inline void in_threads(int threads, Body body) {
  struct Part {
    Body* body;
    int index;
  };
  std::vector<Part> parts;
  for (int i = 0; i < threads; i++) parts.push_back({&body, i});
  std::vector<pthread_t> all;
  for (auto& part : parts) {
    auto routine = [](void* p) -> void* {
      auto* mine = static_cast<Part*>(p);
      return (*mine->body)(mine->index), nullptr;
    };
    all.push_back(start(routine, &part));
  }
  for (auto& t : all) join(t);
}

inline void start_detached(void* (*routine)(void*), void* arg) {
  static const pthread_attr_t detached = [] {
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    return attr;
  }();
  start(routine, arg, &detached);
}

// A Go channel: a bounded queue. Who waits is served in turn, and at once, so that nobody receives what he has sent.
class Channel {
 public:
  explicit Channel(size_t capacity) : capacity_(capacity) {}

  void send(long value) {
    pthread_mutex_lock(&mutex_);
    if (!receivers_.empty()) {
      serve(receivers_, value);
    } else if (values_.size() < capacity_) {
      values_.push_back(value);
    } else {
      wait_among(senders_, value);
    }
    pthread_mutex_unlock(&mutex_);
  }

  long receive() {
    pthread_mutex_lock(&mutex_);
    long value;
    if (!values_.empty()) {
      value = values_.front();
      values_.pop_front();
      if (!senders_.empty()) values_.push_back(serve(senders_, 0));
    } else if (!senders_.empty()) {
      value = serve(senders_, 0);
    } else {
      value = wait_among(receivers_, 0);
    }
    pthread_mutex_unlock(&mutex_);
    return value;
  }

 private:
  struct Waiter {
    long value;  // of a sender; a receiver's when it has been served
    bool served = false;
    pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
  };
  using Waiters = std::deque<Waiter*>;

  long wait_among(Waiters& waiters, long value) {
    Waiter me{value};
    waiters.push_back(&me);
    while (!me.served) pthread_cond_wait(&me.changed, &mutex_);
    return me.value;
  }

  static long serve(Waiters& waiters, long value) {
    Waiter* first = waiters.front();
    waiters.pop_front();
    std::swap(first->value, value);
    first->served = true;
    pthread_cond_signal(&first->changed);
    return value;
  }

  const size_t capacity_;
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  std::deque<long> values_;
  Waiters senders_, receivers_;
};

inline long now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 * kMillisecond + t.tv_nsec;
}

inline timespec timespec_of(long ns) { return {ns / (1000 * kMillisecond), ns % (1000 * kMillisecond)}; }

inline void spin(long ns) {
  for (long end = now() + ns; now() < end;) {
  }
}

// Sleeps in the kernel: waits for an event of asynchronous I/O that never comes. (goshim makes a timer of nanosleep.)
inline void kernel_sleep(long ns) {
  static const aio_context_t context = [] {
    aio_context_t c = 0;
    must(static_cast<int>(syscall(SYS_io_setup, 1, &c)), "io_setup");
    return c;
  }();
  timespec t = timespec_of(ns);
  io_event event;
  syscall(SYS_io_getevents, context, 1, 1, &event, &t);
}

}  // namespace bench

#endif  // BENCH_TWINS_TWINS_H_
