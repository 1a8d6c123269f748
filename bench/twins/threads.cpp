// Twins of Go's benchmarks: making threads, what they compute, and their system calls.
#include <pthread.h>
#include <semaphore.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <iterator>
#include <vector>

#include "twins.h"

namespace {

using namespace bench;

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
  have_threads();
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
  have_threads();
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

}  // namespace
