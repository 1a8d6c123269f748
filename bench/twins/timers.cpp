// Twins of Go's benchmarks: how late timers are, on the average and the 99th percentile; bench/run knows these figures
// by the names of their counters.
#include <errno.h>
#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <vector>

#include "twins.h"

namespace {

using namespace bench;

void sleep_until(long when) {
  timespec t = timespec_of(when);
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr) == EINTR) {
  }
}

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
    if (all.size() != expected) return state.SkipWithError("timers are missing");
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
  have_threads();
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
