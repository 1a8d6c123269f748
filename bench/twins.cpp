// Pthread twins of Go's own scheduler benchmarks (packages runtime, sync, net and time), linked into the program of
// bench.cpp. bench/go/ has the same in Go, with the same counts, sizes and numbers of threads; each twin is named there
// and here by Go's name in small letters. A figure is what Go's benchmark calls an operation. Results are checked when
// the clock has stopped.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/aio_abi.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "bench.h"

namespace {

using namespace bench;

constexpr long kMicrosecond = 1000;
constexpr long kMillisecond = 1000 * kMicrosecond;

// As many as goshim has Ps, also natively: GOMAXPROCS of Go's benchmarks.
int processors() {
  if (const char* asked = std::getenv("GOSHIM_MAXPROCS")) return std::max(1, std::atoi(asked));
  cpu_set_t set;
  must(sched_getaffinity(0, sizeof set, &set), "sched_getaffinity");
  return CPU_COUNT(&set);
}

void check(State& state, bool right, const char* wrong) {
  if (!right) state.SkipWithError(wrong);
}

// Runs body(index) in so many threads at once.
template <typename Body>
void in_threads(int threads, Body body) {
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

void start_detached(void* (*routine)(void*), void* arg) {
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

long now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 * kMillisecond + t.tv_nsec;
}

timespec timespec_of(long ns) { return {ns / (1000 * kMillisecond), ns % (1000 * kMillisecond)}; }

void spin(long ns) {
  for (long end = now() + ns; now() < end;) {
  }
}

void sleep_until(long when) {
  timespec t = timespec_of(when);
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr) == EINTR) {
  }
}

// Sleeps in the kernel: waits for an event of asynchronous I/O that never comes. (goshim makes a timer of nanosleep.)
void kernel_sleep(long ns) {
  static const aio_context_t context = [] {
    aio_context_t c = 0;
    must(static_cast<int>(syscall(SYS_io_setup, 1, &c)), "io_setup");
    return c;
  }();
  timespec t = timespec_of(ns);
  io_event event;
  syscall(SYS_io_getevents, context, 1, 1, &event, &t);
}

// ---- making threads ----

// Each thread makes the next one and ends.
struct Chain {
  long left, made = 0;
  sem_t ended;
  explicit Chain(long length) : left(length) { sem_init(&ended, 0, 0); }
};

void* chain_link(void* p) {
  auto* chain = static_cast<Chain*>(p);
  chain->made++;
  if (chain->left-- == 0) sem_post(&chain->ended);
  else start_detached(chain_link, chain);
  return nullptr;
}

void create_chains(State& state, int count) {
  bool right = true;
  whole(state, count, [&](long ops) {
    std::deque<Chain> chains;
    for (int i = 0; i < count; i++) chains.emplace_back(ops / count);
    for (auto& chain : chains) start_detached(chain_link, &chain);
    for (auto& chain : chains) wait(&chain.ended);
    for (auto& chain : chains) right &= chain.made == ops / count + 1;
  });
  check(state, right, "threads are missing");
}

// CreateGoroutines
void go_create(State& state) { create_chains(state, 1); }
BENCHMARK(go_create)->UseRealTime();

// CreateGoroutinesParallel
void go_create_parallel(State& state) { create_chains(state, processors()); }
BENCHMARK(go_create_parallel)->UseRealTime();

// CreateGoroutinesSingle: one thread makes all. In waves, because natively there is a limit to threads.
void go_create_single(State& state) {
  constexpr long kWave = 1000;
  struct Wave {
    std::atomic<long> left{0}, ran{0};
    sem_t ended;
  } wave;
  sem_init(&wave.ended, 0, 0);
  auto routine = [](void* p) -> void* {
    auto* w = static_cast<Wave*>(p);
    w->ran++;
    if (--w->left == 0) sem_post(&w->ended);
    return nullptr;
  };
  in_threads(processors(), [](int) { spin(kMillisecond); });  // the kernel threads are there
  long expected = 0;
  whole(state, 1, [&](long ops) {
    for (long done = 0; done < ops; done += kWave) {
      long size = std::min(kWave, ops - done);
      wave.left = size;
      for (long i = 0; i < size; i++) start_detached(routine, &wave);
      wait(&wave.ended);
    }
    expected = ops;
  });
  check(state, wave.ran == expected, "threads are missing");
}
BENCHMARK(go_create_single)->UseRealTime();

// StackGrowthDeep, each time in a new thread: 1 MB of stack that it has not touched before.
constexpr int kDeep = 1024;

__attribute__((noinline)) long recurse(int deeper) {
  long frame[128] = {};
  DoNotOptimize(frame);
  if (std::any_of(std::begin(frame), std::end(frame), [](long word) { return word != 0; })) return 0;
  long frames = deeper == 0 ? 1 : recurse(deeper - 1) + 1;
  DoNotOptimize(frame);
  return frames;
}

void go_stack_growth_deep(State& state) {
  long frames = 0;
  for (auto _ : state)
    join(start([](void* p) -> void* { return *static_cast<long*>(p) += recurse(kDeep), p; }, &frames));
  check(state, frames == static_cast<long>(state.iterations()) * (kDeep + 1), "frames are missing");
}
BENCHMARK(go_stack_growth_deep)->UseRealTime();

// Matmult: fork and join, at 64 rows and columns; the figure is one multiplication of two numbers.
constexpr int kSize = 64;
constexpr int kDivisible = 8;  // what is shorter is not divided again
using Matrix = std::vector<std::array<double, kSize>>;

struct Product {
  const Matrix* a;
  const Matrix* b;
  Matrix* c;
  int i0, i1, j0, j1, k0, k1;
};

void multiply(Product p);

void multiply_beside(Product half, Product rest) {
  pthread_t other = start([](void* x) -> void* { return multiply(*static_cast<Product*>(x)), nullptr; }, &half);
  multiply(rest);
  join(other);
}

void multiply(Product p) {
  int di = p.i1 - p.i0, dj = p.j1 - p.j0, dk = p.k1 - p.k0;
  Product low = p, high = p;
  if (di >= dj && di >= dk && di >= kDivisible) {
    low.i1 = high.i0 = p.i0 + di / 2;
    multiply_beside(low, high);
  } else if (dj >= dk && dj >= kDivisible) {
    low.j1 = high.j0 = p.j0 + dj / 2;
    multiply_beside(low, high);
  } else if (dk >= kDivisible) {  // one after the other: both halves add to the same numbers
    low.k1 = high.k0 = p.k0 + dk / 2;
    multiply(low);
    multiply(high);
  } else {
    for (int i = p.i0; i < p.i1; i++) {
      for (int j = p.j0; j < p.j1; j++) {
        for (int k = p.k0; k < p.k1; k++) (*p.c)[i][j] += (*p.a)[i][k] * (*p.b)[k][j];
      }
    }
  }
}

void go_matmult(State& state) {
  Matrix a(kSize), c(kSize);
  for (int i = 0; i < kSize; i++) {
    for (int j = 0; j < kSize; j++) a[i][j] = i * kSize + j;
    c[i].fill(0);
  }
  long products = 0;
  while (state.KeepRunningBatch(kSize * kSize * kSize)) {
    multiply({&a, &a, &c, 0, kSize, 0, kSize, 0, kSize});
    products++;
  }
  bool right = true;
  for (int i = 0; i < kSize; i++) {
    for (int j = 0; j < kSize; j++) {
      double sum = 0;
      for (int k = 0; k < kSize; k++) sum += a[i][k] * a[k][j];
      right &= c[i][j] == sum * static_cast<double>(products);  // whole numbers: no rounding
    }
  }
  check(state, right, "wrong product");
}
BENCHMARK(go_matmult)->UseRealTime();

// ---- channels ----

// PingPongHog: a round of two threads beside one that computes. bench/run gives it one processor, on all sides.
void go_pingpong_hog(State& state) {
  long last = 0, expected = 0;
  whole(state, 1, [&](long ops) {
    struct Players {
      Channel ping{0}, pong{0};
      long rounds;
      std::atomic<bool> stop{false};
      sem_t ended;
    } players;
    players.rounds = ops;
    sem_init(&players.ended, 0, 0);
    state.PauseTiming();
    pthread_t threads[] = {
        start(
            [](void* p) -> void* {
              while (!static_cast<Players*>(p)->stop.load(std::memory_order_relaxed)) {
              }
              return nullptr;
            },
            &players),
        start(
            [](void* p) -> void* {
              auto* s = static_cast<Players*>(p);
              for (long i = 0; i < s->rounds; i++) s->pong.send(s->ping.receive() + 1);
              sem_post(&s->ended);
              return nullptr;
            },
            &players),
        start(
            [](void* p) -> void* {
              auto* s = static_cast<Players*>(p);
              for (long i = 0; i < s->rounds; i++) s->ping.send(s->pong.receive());
              return nullptr;
            },
            &players),
    };
    state.ResumeTiming();
    players.ping.send(0);
    wait(&players.ended);
    state.PauseTiming();
    players.stop = true;
    last = players.ping.receive();
    for (auto& t : threads) join(t);
    expected = ops;
    state.ResumeTiming();
  });
  check(state, last == expected, "rounds are missing");
}
BENCHMARK(go_pingpong_hog)->UseRealTime();

// ChanSync: two threads that send to and receive from each other over one channel; the figure is a value passed on.
void go_chan_sync(State& state) {
  long sums[2] = {0, 0}, expected = 0;
  whole(state, 2, [&](long ops) {
    Channel channel(0);
    in_threads(2, [&](int me) {
      for (long i = 0; i < ops / 2; i++) {
        if (me == 0) channel.send(1);
        sums[me] += channel.receive();
        if (me == 1) channel.send(1);
      }
    });
    expected = ops;
  });
  check(state, sums[0] + sums[1] == expected, "values are missing");
}
BENCHMARK(go_chan_sync)->UseRealTime();

// ChanProdCons0, 10, 100: a producer and a consumer for each processor on one channel of that capacity.
void go_chan_prodcons(State& state) {
  const int producers = processors();
  std::atomic<long> sum{0};
  long expected = 0;
  whole(state, producers, [&](long ops) {
    Channel channel(static_cast<size_t>(state.range(0)));
    in_threads(2 * producers, [&](int me) {
      if (me % 2 == 0) {
        for (long i = 0; i < ops / producers; i++) channel.send(1);
        channel.send(0);  // the end, for one consumer
      } else {
        long mine = 0;
        while (channel.receive() != 0) mine++;
        sum += mine;
      }
    });
    expected = ops;
  });
  check(state, sum == expected, "values are missing");
}
BENCHMARK(go_chan_prodcons)->Arg(0)->Arg(10)->Arg(100)->UseRealTime();

// ChanContended: a thread for each processor sends 100 values, then receives 100; the figure is both.
void go_chan_contended(State& state) {
  constexpr long kValues = 100;
  const int threads = processors();
  std::atomic<long> sum{0};
  long expected = 0;
  whole(state, threads, [&](long ops) {
    Channel channel(static_cast<size_t>(kValues * threads));
    in_threads(threads, [&](int) {
      long mine = 0;
      for (long i = 0; i < ops / threads; i++) {
        for (long j = 0; j < kValues; j++) channel.send(1);
        for (long j = 0; j < kValues; j++) mine += channel.receive();
      }
      sum += mine;
    });
    expected = ops * kValues;
  });
  check(state, sum == expected, "values are missing");
}
BENCHMARK(go_chan_contended)->UseRealTime();

// Two threads that work for a while, then one sends and the other receives, in turn. How much longer a round gets with
// the delay tells whether they run in parallel: twice as much if they do, four times if not.
template <typename Work>
void wakeup(State& state, Work work) {
  const long delay = state.range(0) * kMicrosecond;
  const long longer = delay + 5 * kMicrosecond;  // so that the receiver waits by then
  long sums[2] = {0, 0}, expected = 0;
  whole(state, 1, [&](long ops) {
    Channel ping(0), pong(0);
    in_threads(2, [&](int me) {
      for (long i = 0; i < ops; i++) {
        if (me == 0) {
          work(longer);
          ping.send(1);
          work(delay);
          sums[me] += pong.receive();
        } else {
          work(delay);
          sums[me] += ping.receive();
          work(longer);
          pong.send(1);
        }
      }
    });
    expected = ops;
  });
  check(state, sums[0] == expected && sums[1] == expected, "values are missing");
}

// WakeupParallelSpinning
void go_wakeup_spinning(State& state) { wakeup(state, spin); }
BENCHMARK(go_wakeup_spinning)->Arg(0)->Arg(1)->Arg(5)->Arg(20)->Arg(100)->UseRealTime();

// WakeupParallelSyscall
void go_wakeup_syscall(State& state) { wakeup(state, kernel_sleep); }
BENCHMARK(go_wakeup_syscall)->Arg(0)->Arg(1)->Arg(5)->Arg(20)->Arg(100)->UseRealTime();

// ---- system calls: a thread for each processor, or four ----

void syscalls(State& state, int threads) {
  const pid_t parent = getppid();
  std::atomic<long> right{0};
  long expected = 0;
  whole(state, threads, [&](long ops) {
    in_threads(threads, [&](int) {
      long mine = 0;
      for (long i = 0; i < ops / threads; i++) mine += getppid() == parent;
      right += mine;
    });
    expected = ops;
  });
  check(state, right == expected, "wrong parent");
}

void syscalls_asleep(State& state, int threads) {
  std::atomic<long> calls{0};
  long expected = 0;
  whole(state, threads, [&](long ops) {
    in_threads(threads, [&](int) {
      for (long i = 0; i < ops / threads; i++) {
        kernel_sleep(kMicrosecond);
        calls++;
      }
    });
    expected = ops;
  });
  check(state, calls == expected, "calls are missing");
}

// Syscall
void go_syscall(State& state) { syscalls(state, processors()); }
BENCHMARK(go_syscall)->UseRealTime();

// SyscallExcess
void go_syscall_excess(State& state) { syscalls(state, 4 * processors()); }
BENCHMARK(go_syscall_excess)->UseRealTime();

// Syscall and SyscallExcess with a call that sleeps for a microsecond
void go_syscall_sleep(State& state) { syscalls_asleep(state, processors()); }
BENCHMARK(go_syscall_sleep)->UseRealTime();

void go_syscall_sleep_excess(State& state) { syscalls_asleep(state, 4 * processors()); }
BENCHMARK(go_syscall_sleep_excess)->UseRealTime();

// ---- locks: a thread for each processor ----

// MutexUncontended: a mutex each.
void go_mutex_uncontended(State& state) {
  struct alignas(128) Padded {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    long count = 0;
  };
  const int threads = processors();
  std::vector<Padded> all(static_cast<size_t>(threads));
  long expected = 0;
  whole(state, threads, [&](long ops) {
    in_threads(threads, [&](int me) {
      Padded& mine = all[static_cast<size_t>(me)];
      for (long i = 0; i < ops / threads; i++) {
        pthread_mutex_lock(&mine.mutex);
        mine.count++;
        pthread_mutex_unlock(&mine.mutex);
      }
    });
    expected = ops / threads;
  });
  check(state, std::all_of(all.begin(), all.end(), [&](const Padded& p) { return p.count == expected; }),
        "wrong count");
}
BENCHMARK(go_mutex_uncontended)->UseRealTime();

// One mutex for all; after each operation a thread touches so many words of its own.
template <long kWords>
void mutex_shared(State& state) {
  const int threads = processors();
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  long count = 0, expected = 0;
  whole(state, threads, [&](long ops) {
    in_threads(threads, [&](int) {
      std::array<long, kWords> own{};
      for (long i = 0; i < ops / threads; i++) {
        pthread_mutex_lock(&mutex);
        count++;
        pthread_mutex_unlock(&mutex);
        for (size_t j = 0; j < kWords; j += 4) own[j]++;
        DoNotOptimize(own);
      }
    });
    expected = ops;
  });
  check(state, count == expected, "wrong count");
}

// Mutex
void go_mutex(State& state) { mutex_shared<0>(state); }
BENCHMARK(go_mutex)->UseRealTime();

// MutexSpin
void go_mutex_spin(State& state) { mutex_shared<16384>(state); }
BENCHMARK(go_mutex_spin)->UseRealTime();

// RWMutexWrite10, RWMutexWrite100: one operation in so many writes.
void go_rwmutex(State& state) {
  const int threads = processors();
  const long share = state.range(0);
  pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
  long value = 0, expected = 0;
  whole(state, threads * share, [&](long ops) {
    in_threads(threads, [&](int) {
      for (long i = 1; i <= ops / threads; i++) {
        if (i % share == 0) {
          pthread_rwlock_wrlock(&lock);
          value++;
        } else {
          pthread_rwlock_rdlock(&lock);
          DoNotOptimize(value);
        }
        pthread_rwlock_unlock(&lock);
      }
    });
    expected = ops / share;
  });
  check(state, value == expected, "wrong count");
}
BENCHMARK(go_rwmutex)->Arg(10)->Arg(100)->UseRealTime();

// Cond1 to Cond32: so many threads wait for one more, who wakes them all; the figure is such a round.
void go_cond(State& state) {
  const int threads = static_cast<int>(state.range(0)) + 1;
  long rounds = 0, expected = 0;
  whole(state, 1, [&](long ops) {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t all_there = PTHREAD_COND_INITIALIZER;
    int there = 0;
    in_threads(threads, [&](int) {
      for (long i = 0; i < ops; i++) {
        pthread_mutex_lock(&mutex);
        if (++there == threads) {
          there = 0;
          rounds++;
          pthread_cond_broadcast(&all_there);
        } else {
          for (long round = rounds; round == rounds;) pthread_cond_wait(&all_there, &mutex);
        }
        pthread_mutex_unlock(&mutex);
      }
    });
    expected = ops;
  });
  check(state, rounds == expected, "wrong number of rounds");
}
BENCHMARK(go_cond)->Arg(1)->Arg(2)->Arg(4)->Arg(8)->Arg(16)->Arg(32)->UseRealTime();

// SemTable, with threads in the table: so many wait at semaphores, all are woken, and all wait again. The figure is one of
// them. At two semaphores, half of them each (OneAddrCollision), or at one each (ManyAddrCollision).
void sem_table(State& state, size_t semaphores) {
  struct Table {
    std::vector<sem_t> all;
    std::atomic<long> left{0}, woken{0};
    std::atomic<bool> stop{false};
    sem_t round;
  } table;
  const auto threads = static_cast<size_t>(state.range(0));
  table.all.resize(semaphores);
  for (auto& s : table.all) sem_init(&s, 0, 0);
  sem_init(&table.round, 0, 0);
  auto post_all = [&] {
    for (size_t i = 0; i < threads; i++) sem_post(&table.all[i * semaphores / threads]);
  };
  struct Arg {
    Table* table;
    sem_t* mine;
  };
  std::vector<Arg> args;
  for (size_t i = 0; i < threads; i++) args.push_back({&table, &table.all[i * semaphores / threads]});
  std::vector<pthread_t> waiting;
  for (auto& arg : args) {
    auto routine = [](void* p) -> void* {
      auto* a = static_cast<Arg*>(p);
      for (;;) {
        wait(a->mine);
        if (a->table->stop) return nullptr;
        a->table->woken++;
        if (--a->table->left == 0) sem_post(&a->table->round);
      }
    };
    waiting.push_back(start(routine, &arg));
  }
  long expected = 0;
  while (state.KeepRunningBatch(static_cast<long>(threads))) {
    table.left = static_cast<long>(threads);
    post_all();
    wait(&table.round);
    expected += static_cast<long>(threads);
  }
  table.stop = true;
  post_all();
  for (auto& t : waiting) join(t);
  check(state, table.woken == expected, "wake-ups are missing");
}

void go_sem_table_one(State& state) { sem_table(state, 2); }
BENCHMARK(go_sem_table_one)->Arg(1000)->UseRealTime();

void go_sem_table_many(State& state) { sem_table(state, static_cast<size_t>(state.range(0))); }
BENCHMARK(go_sem_table_many)->Arg(1000)->UseRealTime();

// ---- the network ----

// A listener at a port of its own on the loopback.
class Listener {
 public:
  Listener() : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address_;
    auto* address = reinterpret_cast<sockaddr*>(&address_);
    must(bind(fd_, address, size), "bind");
    must(listen(fd_, SOMAXCONN), "listen");
    must(getsockname(fd_, address, &size), "getsockname");
  }
  ~Listener() { close(fd_); }

  // -1 after stop().
  int next() {
    int fd = accept(fd_, nullptr, nullptr);
    if (fd >= 0) send_at_once(fd);
    return fd;
  }

  void stop() { shutdown(fd_, SHUT_RDWR); }

  int dial() const {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must(fd < 0 ? errno : 0, "socket");
    must(connect(fd, reinterpret_cast<const sockaddr*>(&address_), sizeof address_) ? errno : 0, "connect");
    send_at_once(fd);
    return fd;
  }

 private:
  // As Go does by itself.
  static void send_at_once(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }

  int fd_;
  sockaddr_in address_{};
};

bool receive_all(int fd, char* bytes, size_t size) {
  while (size > 0) {
    ssize_t n = read(fd, bytes, size);
    if (n <= 0) return false;
    bytes += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

constexpr size_t kMessage = 512;

struct Traffic {
  Listener listener;
  long messages = 0;  // on each connection
  sem_t clients, servers;
  std::atomic<long> echoed{0};

  explicit Traffic(int connections) {
    sem_init(&clients, 0, static_cast<unsigned>(connections));
    sem_init(&servers, 0, static_cast<unsigned>(connections));
  }

  void client() {
    int fd = listener.dial();
    char sent[kMessage], got[kMessage];
    std::memset(sent, 'x', sizeof sent);
    for (long i = 0; i < messages; i++) {
      if (write(fd, sent, sizeof sent) != sizeof sent || !receive_all(fd, got, sizeof got)) break;
      if (std::memcmp(sent, got, sizeof got) == 0) echoed++;
    }
    close(fd);
    sem_post(&clients);
  }

  void server(int fd) {
    char bytes[kMessage];
    for (long i = 0; i < messages; i++) {
      if (!receive_all(fd, bytes, sizeof bytes) || write(fd, bytes, sizeof bytes) != sizeof bytes) break;
    }
    close(fd);
    sem_post(&servers);
  }

  void accept_all() {
    struct Arg {
      Traffic* traffic;
      int fd;
    };
    for (int fd; (fd = listener.next()) >= 0;) {
      wait(&servers);
      auto routine = [](void* p) -> void* {
        std::unique_ptr<Arg> arg(static_cast<Arg*>(p));
        return arg->traffic->server(arg->fd), nullptr;
      };
      start_detached(routine, new Arg{this, fd});
    }
  }
};

// An echo client and an echo server, a thread for each connection on both sides; two connections at a time for each
// processor. Each connection sends one message, or there are only so many connections.
void tcp_echo(State& state, bool persistent) {
  const int at_once = 2 * processors();
  long echoed = 0, expected = 0;
  whole(state, persistent ? at_once : 1, [&](long ops) {
    Traffic traffic(at_once);
    traffic.messages = persistent ? ops / at_once : 1;
    pthread_t acceptor =
        start([](void* p) -> void* { return static_cast<Traffic*>(p)->accept_all(), nullptr; }, &traffic);
    for (long i = 0; i < ops / traffic.messages; i++) {
      wait(&traffic.clients);
      start_detached([](void* p) -> void* { return static_cast<Traffic*>(p)->client(), nullptr; }, &traffic);
    }
    for (int i = 0; i < at_once; i++) {
      wait(&traffic.clients);
      wait(&traffic.servers);
    }
    traffic.listener.stop();
    join(acceptor);
    echoed = traffic.echoed;
    expected = ops;
  });
  check(state, echoed == expected, "messages are missing");
}

// TCP4OneShot
void go_tcp_oneshot(State& state) { tcp_echo(state, false); }
BENCHMARK(go_tcp_oneshot)->UseRealTime();

// TCP4Persistent
void go_tcp_persistent(State& state) { tcp_echo(state, true); }
BENCHMARK(go_tcp_persistent)->UseRealTime();

// TCP4ConcurrentReadWrite: a connection for each processor with a thread that writes and one that reads at both ends. The
// figure is a byte there and back, with some computing at both ends.
uint8_t computed(uint8_t value) {
  for (int i = 0; i < 1000; i++) {
    value = static_cast<uint8_t>(value * value);
    DoNotOptimize(value);
  }
  return value;
}

void go_tcp_readwrite(State& state) {
  struct Pair {
    int client, server;
    Channel passed{128};
  };
  const int pairs = processors();
  std::atomic<long> right{0};
  long expected = 0;
  whole(state, pairs, [&](long ops) {
    state.PauseTiming();
    Listener listener;
    std::deque<Pair> all(static_cast<size_t>(pairs));
    for (auto& pair : all) {
      pair.client = listener.dial();
      pair.server = listener.next();
    }
    state.ResumeTiming();
    in_threads(4 * pairs, [&](int me) {
      Pair& pair = all[static_cast<size_t>(me / 4)];
      long mine = 0;
      for (long i = 0; i < ops / pairs; i++) {
        uint8_t byte = 0;
        switch (me % 4) {
          case 0:
            byte = computed(static_cast<uint8_t>(i));
            mine += write(pair.client, &byte, 1);
            break;
          case 1:
            mine += read(pair.server, &byte, 1);
            pair.passed.send(byte);
            break;
          case 2:
            byte = computed(static_cast<uint8_t>(pair.passed.receive()));
            mine += write(pair.server, &byte, 1);
            break;
          default: mine += read(pair.client, &byte, 1) == 1 && byte == i % 2;  // a square: 0 or 1 after so many
        }
      }
      right += mine;
    });
    state.PauseTiming();
    for (auto& pair : all) {
      close(pair.client);
      close(pair.server);
    }
    expected = 4 * ops;
    state.ResumeTiming();
  });
  check(state, right == expected, "bytes are missing");
}
BENCHMARK(go_tcp_readwrite)->UseRealTime();

// ---- timers: the figures are how late they are, on the average and the 99th percentile (bench/run) ----

constexpr const char *kLate = "late", *kLate99 = "late p99";

class Lateness {
 public:
  Lateness(int threads, long each) : samples_(static_cast<size_t>(threads)) {
    for (auto& s : samples_) s.reserve(static_cast<size_t>(each));
  }

  void add(int thread, long planned) {
    samples_[static_cast<size_t>(thread)].push_back(static_cast<double>(std::max(0L, now() - planned)));
  }

  void report(State& state, size_t expected) {
    std::vector<double> all;
    for (auto& s : samples_) all.insert(all.end(), s.begin(), s.end());
    check(state, all.size() == expected, "timers are missing");
    std::sort(all.begin(), all.end());
    state.counters[kLate] = std::accumulate(all.begin(), all.end(), 0.0) / static_cast<double>(all.size());
    state.counters[kLate99] = all[(all.size() * 99 + 99) / 100 - 1];
  }

 private:
  std::vector<std::vector<double>> samples_;
};

// ParallelTimerLatency: one processor computes, the others each have a timer that ends in a millisecond.
void go_timer_latency(State& state) {
  struct Round {
    Lateness late;
    int timers;
    std::atomic<int> ended{0};
    void wait_for_all() const {
      while (ended < timers) {
      }
    }
  } round{{std::max(1, processors() - 1), state.max_iterations}, std::max(1, processors() - 1)};
  struct Timer {
    Round* round;
    int index;
    long planned = 0;
  };
  std::vector<Timer> timers;
  for (int i = 0; i < round.timers; i++) timers.push_back({&round, i});
  std::vector<pthread_t> threads(timers.size());
  for (auto _ : state) {
    round.ended = 0;
    for (size_t i = 0; i < timers.size(); i++) {
      timers[i].planned = now() + kMillisecond;
      threads[i] = start(
          [](void* p) -> void* {
            auto* t = static_cast<Timer*>(p);
            sleep_until(t->planned);
            t->round->late.add(t->index, t->planned);
            t->round->ended++;
            t->round->wait_for_all();
            return nullptr;
          },
          &timers[i]);
    }
    round.wait_for_all();
    for (auto& t : threads) join(t);
    spin(kMillisecond);  // the others go idle
  }
  round.late.report(state, timers.size() * state.iterations());
}
BENCHMARK(go_timer_latency)->UseRealTime();

// StaggeredTickerLatency: for each processor so many threads that work for so many microseconds every 3 ms, and whose
// turns are spread over that time.
void go_ticker_latency(State& state) {
  static constexpr long kEvery = 3 * kMillisecond;
  const long work = state.range(0) * kMicrosecond;
  const int tickers = processors() * static_cast<int>(state.range(1));
  Lateness late(tickers, state.max_iterations);
  whole(state, 1, [&](long ops) {
    struct Ticker {
      Lateness* late;
      int index;
      long ticks, work, planned;
    };
    std::vector<Ticker> all;
    for (int i = 0; i < tickers; i++) all.push_back({&late, i, ops, work, 0});
    std::vector<pthread_t> threads;
    for (auto& ticker : all) {
      spin(kEvery / processors());
      ticker.planned = now() + kEvery;
      auto routine = [](void* p) -> void* {
        auto* t = static_cast<Ticker*>(p);
        for (; t->ticks > 0; t->ticks--, t->planned += kEvery) {
          sleep_until(t->planned);
          t->late->add(t->index, t->planned);
          spin(t->work);
        }
        return nullptr;
      };
      threads.push_back(start(routine, &ticker));
    }
    for (auto& t : threads) join(t);
  });
  late.report(state, static_cast<size_t>(tickers) * state.iterations());
}
BENCHMARK(go_ticker_latency)->Args({300, 1})->Args({300, 5})->Args({2000, 1})->UseRealTime();

}  // namespace
