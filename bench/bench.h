// What the benchmarks of the program `bench` share: short names, threads whose making cannot fail unseen, and a way to
// time all operations that Google Benchmark asks for in one go.
#ifndef BENCH_BENCH_H_
#define BENCH_BENCH_H_

#include <benchmark/benchmark.h>
#include <pthread.h>
#include <semaphore.h>

#include <cstdio>
#include <cstdlib>

namespace bench {

using benchmark::DoNotOptimize;
using benchmark::State;

inline void must(int error, const char* what) {
  if (error == 0) return;
  std::fprintf(stderr, "bench: %s: error %d\n", what, error);
  std::abort();
}

inline pthread_t start(void* (*routine)(void*), void* arg, const pthread_attr_t* attr = nullptr) {
  pthread_t t;
  must(pthread_create(&t, attr, routine, arg), "pthread_create");
  return t;
}

inline void join(pthread_t t) { must(pthread_join(t, nullptr), "pthread_join"); }

inline void wait(sem_t* s) {
  while (sem_wait(s) != 0) {
  }
}

inline void* nothing(void* arg) { return arg; }

// From here on libc knows that the process has had threads: its shortcuts for single-threaded programs are off. And
// goshim runs, which takes some milliseconds to start.
inline void have_threads() { join(start(nothing, nullptr)); }

// Times body(ops) once, ops being what Google Benchmark asks for, rounded up to whole shares.
template <typename Body>
void whole(State& state, long shares, Body body) {
  have_threads();
  long ops = (state.max_iterations + shares - 1) / shares * shares;
  while (state.KeepRunningBatch(ops)) body(ops);
}

}  // namespace bench

#endif  // BENCH_BENCH_H_
