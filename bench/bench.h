// What the benchmarks of the program `bench` share: short names, and a way to time all operations that Google Benchmark
// asks for in one go.
#ifndef BENCH_BENCH_H_
#define BENCH_BENCH_H_

#include <benchmark/benchmark.h>

#include "threads.h"

namespace bench {

using benchmark::DoNotOptimize;
using benchmark::State;

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
