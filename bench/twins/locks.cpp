// Twins of Go's benchmarks: locks, conditions and semaphores. Unless it says otherwise, a thread for each processor.
#include <pthread.h>
#include <semaphore.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <vector>

#include "twins.h"

namespace {

using namespace bench;

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

// SemTable, with threads in the table: so many wait at semaphores, all are woken, and all wait again. The figure is one
// of them. At two semaphores, half of them each (OneAddrCollision), or at one each (ManyAddrCollision). There are as
// many semaphores again for every other round, so that nobody is woken twice in one.
void sem_table(State& state, size_t semaphores) {
  struct Table {
    std::vector<sem_t> rounds[2];
    std::atomic<long> left{0}, woken{0};
    std::atomic<bool> stop{false};
    sem_t ended;
  } table;
  const auto threads = static_cast<size_t>(state.range(0));
  for (auto& all : table.rounds) {
    all.resize(semaphores);
    for (auto& s : all) sem_init(&s, 0, 0);
  }
  sem_init(&table.ended, 0, 0);
  size_t round = 0;
  auto post_all = [&] {
    auto& all = table.rounds[round++ % 2];
    for (size_t i = 0; i < threads; i++) sem_post(&all[i * semaphores / threads]);
  };
  struct Arg {
    Table* table;
    size_t mine;
  };
  std::vector<Arg> args;
  for (size_t i = 0; i < threads; i++) args.push_back({&table, i * semaphores / threads});
  std::vector<pthread_t> waiting;
  for (auto& arg : args) {
    auto routine = [](void* p) -> void* {
      auto [table, mine] = *static_cast<Arg*>(p);
      for (size_t round = 0;; round++) {
        wait(&table->rounds[round % 2][mine]);
        if (table->stop) return nullptr;
        table->woken++;
        if (--table->left == 0) sem_post(&table->ended);
      }
    };
    waiting.push_back(start(routine, &arg));
  }
  long expected = 0;
  while (state.KeepRunningBatch(static_cast<long>(threads))) {
    table.left = static_cast<long>(threads);
    post_all();
    wait(&table.ended);
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

}  // namespace
