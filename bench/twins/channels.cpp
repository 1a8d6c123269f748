// Twins of Go's benchmarks: channels, and waking by them.
#include <pthread.h>
#include <semaphore.h>

#include <atomic>

#include "twins.h"

namespace {

using namespace bench;

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
        for (long value; (value = channel.receive()) != 0;) mine += value;
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

}  // namespace
