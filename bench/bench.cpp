// Google Benchmark twins of the operations goshim is about. One program, with the twins of Go's benchmarks (twins/),
// which bench/run runs natively and under goshim in turn. Every time is wall-clock time: threads share it.
#include "bench.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <vector>

namespace {

using namespace bench;

// Times body(ops) in `threads` threads at once, each doing ops operations of the measured kind. The threads meet before
// the clock starts; the figure is wall-clock time by operation, of all threads together.
template <typename Body>
void together(State& state, int threads, long ops, Body body) {
  struct Shared {
    Body& body;
    long ops;
    pthread_barrier_t gate;
  } shared{body, ops, {}};
  must(pthread_barrier_init(&shared.gate, nullptr, static_cast<unsigned>(threads) + 1), "pthread_barrier_init");
  auto routine = [](void* p) -> void* {
    auto* s = static_cast<Shared*>(p);
    pthread_barrier_wait(&s->gate);
    s->body(s->ops);
    return nullptr;
  };
  std::vector<pthread_t> all(static_cast<size_t>(threads));
  while (state.KeepRunningBatch(threads * ops)) {
    state.PauseTiming();
    for (auto& t : all) t = start(routine, &shared);
    state.ResumeTiming();
    pthread_barrier_wait(&shared.gate);
    for (auto& t : all) join(t);
  }
  pthread_barrier_destroy(&shared.gate);
}

// ---- without threads: what a program that makes none pays. These run first. ----

pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void lock_unlock(State& state) {
  for (auto _ : state) {
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
  }
}

void single_mutex(State& state) { lock_unlock(state); }
BENCHMARK(single_mutex);

void single_getppid(State& state) {
  for (auto _ : state) DoNotOptimize(getppid());
}
BENCHMARK(single_getppid);

void single_write_null(State& state) {
  FILE* null = std::fopen("/dev/null", "w");
  int fd = fileno(null);
  for (auto _ : state) DoNotOptimize(write(fd, "", 1));
  std::fclose(null);
}
BENCHMARK(single_write_null);

// ---- life of a thread ----

void create_join(State& state) {
  for (auto _ : state) join(start(nothing, nullptr));
}
BENCHMARK(create_join)->UseRealTime();

// A batch that lives at once: created, then joined.
void create_join_batch(State& state) {
  std::vector<pthread_t> all(static_cast<size_t>(state.range(0)));
  while (state.KeepRunningBatch(state.range(0))) {
    for (auto& t : all) t = start(nothing, nullptr);
    for (auto& t : all) join(t);
  }
}
BENCHMARK(create_join_batch)->Arg(100)->Arg(1000)->UseRealTime();

// At most 64 on their way, so that native threads do not pile up to the limit.
void create_detached(State& state) {
  sem_t room;
  sem_init(&room, 0, 64);
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  for (auto _ : state) {
    wait(&room);
    start([](void* p) -> void* { return sem_post(static_cast<sem_t*>(p)), nullptr; }, &room, &attr);
  }
  for (int i = 0; i < 64; i++) wait(&room);
  pthread_attr_destroy(&attr);
}
BENCHMARK(create_detached)->UseRealTime();

// Threads that stay: each is made, parks, and is woken and joined with the clock stopped.
void create_parked(State& state) {
  struct Gate {
    sem_t open, done;
  } gate;
  sem_init(&gate.open, 0, 0);
  sem_init(&gate.done, 0, 0);
  std::vector<pthread_t> all(static_cast<size_t>(state.range(0)));
  while (state.KeepRunningBatch(state.range(0))) {
    for (auto& t : all) {
      t = start(
          [](void* p) -> void* {
            return sem_post(&static_cast<Gate*>(p)->done), wait(&static_cast<Gate*>(p)->open), p;
          },
          &gate);
    }
    for (size_t i = 0; i < all.size(); i++) wait(&gate.done);
    state.PauseTiming();
    for (size_t i = 0; i < all.size(); i++) sem_post(&gate.open);
    for (auto& t : all) join(t);
    state.ResumeTiming();
  }
}
BENCHMARK(create_parked)->Arg(10000)->UseRealTime();

// ---- hand-overs: the figure is one, there and back are two ----

void yield(State& state) {
  std::atomic<bool> stop{false};
  pthread_t other = start(
      [](void* p) -> void* {
        while (!static_cast<std::atomic<bool>*>(p)->load(std::memory_order_relaxed)) sched_yield();
        return nullptr;
      },
      &stop);
  while (state.KeepRunningBatch(2)) sched_yield();
  stop = true;
  join(other);
}
BENCHMARK(yield)->UseRealTime();

void cond_pingpong(State& state) {
  struct Turns {
    pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t c = PTHREAD_COND_INITIALIZER;
    int turn = 0;
    long rounds;
    void take_all(int me) {
      for (long i = 0; i < rounds; i++) {
        pthread_mutex_lock(&m);
        while (turn != me) pthread_cond_wait(&c, &m);
        turn = 1 - me;
        pthread_cond_signal(&c);
        pthread_mutex_unlock(&m);
      }
    }
  };
  whole(state, 2, [](long ops) {
    Turns turns;
    turns.rounds = ops / 2;
    pthread_t other = start([](void* p) -> void* { return static_cast<Turns*>(p)->take_all(1), nullptr; }, &turns);
    turns.take_all(0);
    join(other);
  });
}
BENCHMARK(cond_pingpong)->UseRealTime();

void sem_pingpong(State& state) {
  struct Pair {
    sem_t ping, pong;
    std::atomic<bool> stop{false};
  } pair;
  sem_init(&pair.ping, 0, 0);
  sem_init(&pair.pong, 0, 0);
  pthread_t other = start(
      [](void* p) -> void* {
        auto* s = static_cast<Pair*>(p);
        for (;;) {
          wait(&s->ping);
          if (s->stop) return nullptr;
          sem_post(&s->pong);
        }
      },
      &pair);
  while (state.KeepRunningBatch(2)) {
    sem_post(&pair.ping);
    wait(&pair.pong);
  }
  pair.stop = true;
  sem_post(&pair.ping);
  join(other);
}
BENCHMARK(sem_pingpong)->UseRealTime();

// The other end sends back what it reads, until the end of file.
void* echo(void* p) {
  const int* fds = static_cast<int*>(p);
  char byte;
  while (read(fds[0], &byte, 1) == 1) {
    if (write(fds[1], &byte, 1) != 1) break;
  }
  return nullptr;
}

void pingpong_on(State& state, int near_in, int near_out, int* far) {
  pthread_t other = start(echo, far);
  char byte = 1;
  while (state.KeepRunningBatch(2)) {
    if (write(near_out, &byte, 1) != 1 || read(near_in, &byte, 1) != 1) state.SkipWithError("the other end is gone");
  }
  close(near_out);
  join(other);
  close(far[0]);
  close(far[1]);
  close(near_in);
}

void pipe_pingpong(State& state) {
  int there[2], back[2];
  must(pipe(there), "pipe");
  must(pipe(back), "pipe");
  int far[2] = {there[0], back[1]};
  pingpong_on(state, back[0], there[1], far);
}
BENCHMARK(pipe_pingpong)->UseRealTime();

void socket_pingpong(State& state) {
  int there[2], back[2];
  must(socketpair(AF_UNIX, SOCK_STREAM, 0, there), "socketpair");
  must(socketpair(AF_UNIX, SOCK_STREAM, 0, back), "socketpair");
  int far[2] = {there[0], back[1]};
  pingpong_on(state, back[0], there[1], far);
}
BENCHMARK(socket_pingpong)->UseRealTime();

// ---- locks and other objects, free and contended ----

void mutex_free(State& state) {
  have_threads();
  lock_unlock(state);
}
BENCHMARK(mutex_free);

void mutex_recursive_free(State& state) {
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutex_t m;
  pthread_mutex_init(&m, &attr);
  for (auto _ : state) {
    pthread_mutex_lock(&m);
    pthread_mutex_unlock(&m);
  }
  pthread_mutex_destroy(&m);
}
BENCHMARK(mutex_recursive_free);

void mutex_contended(State& state) {
  long count = 0;
  together(state, static_cast<int>(state.range(0)), 20000, [&count](long ops) {
    for (long i = 0; i < ops; i++) {
      pthread_mutex_lock(&mutex);
      count++;
      pthread_mutex_unlock(&mutex);
    }
  });
  DoNotOptimize(count);
}
BENCHMARK(mutex_contended)->Arg(2)->Arg(64)->UseRealTime();

void spin_free(State& state) {
  pthread_spinlock_t s;
  pthread_spin_init(&s, PTHREAD_PROCESS_PRIVATE);
  for (auto _ : state) {
    pthread_spin_lock(&s);
    pthread_spin_unlock(&s);
  }
}
BENCHMARK(spin_free);

void sem_free(State& state) {
  sem_t s;
  sem_init(&s, 0, 0);
  for (auto _ : state) {
    sem_post(&s);
    wait(&s);
  }
}
BENCHMARK(sem_free);

void cond_signal_nobody(State& state) {
  pthread_cond_t c = PTHREAD_COND_INITIALIZER;
  for (auto _ : state) pthread_cond_signal(&c);
}
BENCHMARK(cond_signal_nobody);

pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;

void rwlock_read_free(State& state) {
  for (auto _ : state) {
    pthread_rwlock_rdlock(&rwlock);
    pthread_rwlock_unlock(&rwlock);
  }
}
BENCHMARK(rwlock_read_free);

void rwlock_write_free(State& state) {
  for (auto _ : state) {
    pthread_rwlock_wrlock(&rwlock);
    pthread_rwlock_unlock(&rwlock);
  }
}
BENCHMARK(rwlock_write_free);

// One operation in 16 writes.
void rwlock_contended(State& state) {
  long value = 0;
  together(state, static_cast<int>(state.range(0)), 10000, [&value](long ops) {
    for (long i = 0; i < ops; i++) {
      if (i % 16 == 0) {
        pthread_rwlock_wrlock(&rwlock);
        value++;
      } else {
        pthread_rwlock_rdlock(&rwlock);
        DoNotOptimize(value);
      }
      pthread_rwlock_unlock(&rwlock);
    }
  });
}
BENCHMARK(rwlock_contended)->Arg(16)->UseRealTime();

// The figure is a round of all threads.
void barrier(State& state) {
  struct Rounds {
    pthread_barrier_t barrier;
    benchmark::IterationCount count;
  } rounds{{}, state.max_iterations};
  auto threads = static_cast<unsigned>(state.range(0));
  must(pthread_barrier_init(&rounds.barrier, nullptr, threads), "pthread_barrier_init");
  std::vector<pthread_t> others(threads - 1);
  for (auto& t : others) {
    t = start(
        [](void* p) -> void* {
          auto* r = static_cast<Rounds*>(p);
          for (benchmark::IterationCount i = 0; i < r->count; i++) pthread_barrier_wait(&r->barrier);
          return nullptr;
        },
        &rounds);
  }
  for (auto _ : state) pthread_barrier_wait(&rounds.barrier);
  for (auto& t : others) join(t);
  pthread_barrier_destroy(&rounds.barrier);
}
BENCHMARK(barrier)->Arg(2)->Arg(64)->UseRealTime();

void nothing_once() {}

void once_done(State& state) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  for (auto _ : state) pthread_once(&once, nothing_once);
}
BENCHMARK(once_done);

void once_first(State& state) {
  pthread_once_t once;
  for (auto _ : state) {
    once = PTHREAD_ONCE_INIT;
    pthread_once(&once, nothing_once);
  }
}
BENCHMARK(once_first);

// ---- what belongs to a thread ----

__thread long tls_word;

void tls_variable(State& state) {
  for (auto _ : state) {
    tls_word++;
    DoNotOptimize(tls_word);
  }
}
BENCHMARK(tls_variable);

void tls_specific(State& state) {
  pthread_key_t key;
  must(pthread_key_create(&key, nullptr), "pthread_key_create");
  for (auto _ : state) {
    pthread_setspecific(key, &key);
    DoNotOptimize(pthread_getspecific(key));
  }
  pthread_key_delete(key);
}
BENCHMARK(tls_specific);

void tls_errno(State& state) {
  for (auto _ : state) {
    errno = 0;
    DoNotOptimize(errno);
  }
}
BENCHMARK(tls_errno);

void self(State& state) {
  for (auto _ : state) DoNotOptimize(pthread_self());
}
BENCHMARK(self);

// ---- system calls of a program with threads ----

void write_null(State& state) {
  have_threads();
  single_write_null(state);
}
BENCHMARK(write_null);

void sleep_1us(State& state) {
  timespec t{0, 1000};
  for (auto _ : state) nanosleep(&t, nullptr);
}
BENCHMARK(sleep_1us)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
