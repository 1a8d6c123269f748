// What is told of a process under goshim, for goshim stat and goshim top.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "launcher/watch.h"

namespace launcher {

// One look at a process. Two of them make rates.
struct Look {
  explicit Look(const Watched& w);
  goshim::Totals totals;
  goshim::Nanos at;   // when, on CLOCK_MONOTONIC
  int64_t cpu;        // CPU time used so far; -1 if the process has ended
  goshim::Nanos ago;  // how long before that the process last wrote of its queues and kernel threads
};

// What was counted between two looks, and in how many seconds. Without a first one: since the start of the runtime.
struct Span {
  Span(const Watched& w, const Look* before, const Look& now);
  double seconds;
  uint64_t counts[goshim::kCounters];
  uint64_t latency[goshim::kLatencyBuckets];
  uint64_t switches;
  uint64_t wakeups;   // Gs readied
  double processors;  // used, of CPU time; below 0 if not known
  uint64_t of(goshim::Counter c) const { return counts[static_cast<size_t>(c)]; }
  std::string rate(uint64_t n) const;  // by the second
};

// Everything, for a person: lines.
std::vector<std::string> report(const Watched& w, const Look& now, const Span& span);
// Everything, for a program. The counters are those since the start, or of the span.
nlohmann::ordered_json report_json(const Watched& w, const Look& now, const Span& span, bool since_start);

// As printf, into a string.
std::string text(const char* form, ...) __attribute__((format(printf, 1, 2)));

}  // namespace launcher
