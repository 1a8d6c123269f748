// Texts about a process under goshim (see report.h).
#include "launcher/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <algorithm>

namespace launcher {
namespace {

using goshim::Counter;
using goshim::kCounters;
using goshim::kLatencyBuckets;
using goshim::kWaitReasons;
using goshim::PStatus;
using goshim::WaitReason;

goshim::Nanos monotonic() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * goshim::kSecond + t.tv_nsec;
}

const char* const kCounterNames[] = {
#define COUNTER(name, meaning) #name,
    GOSHIM_COUNTERS(COUNTER)
#undef COUNTER
};

const char* reason_name(size_t r) { return goshim::wait_reason_name(static_cast<WaitReason>(r)); }

int in_state(const goshim::Page& page, PStatus status) {
  int n = 0;
  for (int i = 0; i < goshim::page_procs(&page); i++)
    n += page.area(i)->status.load(std::memory_order_relaxed) == status;
  return n;
}

// "cond 1000, io 3", the most frequent first.
std::string reasons(const goshim::Totals& t) {
  std::vector<size_t> order;
  for (size_t r = 0; r < kWaitReasons; r++) {
    if (t.waiting_for[r]) order.push_back(r);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&t](size_t a, size_t b) { return t.waiting_for[a] > t.waiting_for[b]; });
  std::string s;
  for (size_t r : order) s += (s.empty() ? "" : ", ") + text("%s %lu", reason_name(r), t.waiting_for[r]);
  return s;
}

std::string queue_lengths(const goshim::Page& page) {
  constexpr int kMost = 16;
  std::string s;
  for (int i = 0; i < goshim::page_procs(&page) && i < kMost; i++)
    s += text(" %u", page.area(i)->queued.load(std::memory_order_relaxed));
  return s + (goshim::page_procs(&page) > kMost ? " ..." : "");
}

std::string ago(goshim::Nanos n) { return duration(n > 0 ? static_cast<uint64_t>(n) : 0); }

}  // namespace

std::string text(const char* form, ...) {
  va_list args;
  va_start(args, form);
  char* s = nullptr;
  int n = vasprintf(&s, form, args);
  va_end(args);
  if (n < 0) return {};
  std::string result(s, static_cast<size_t>(n));
  free(s);
  return result;
}

Look::Look(const Watched& w)
    : totals(w.totals()),
      at(monotonic()),
      cpu(process_cpu(w.pid())),
      ago(at - w.page().seen_at.load(std::memory_order_relaxed)) {}

Span::Span(const Watched& w, const Look* before, const Look& now) {
  seconds = static_cast<double>(now.at - (before ? before->at : w.page().started_at)) / 1e9;
  for (size_t i = 0; i < kCounters; i++) counts[i] = now.totals.counts[i] - (before ? before->totals.counts[i] : 0);
  for (size_t i = 0; i < kLatencyBuckets; i++)
    latency[i] = now.totals.latency[i] - (before ? before->totals.latency[i] : 0);
  switches = now.totals.switches - (before ? before->totals.switches : 0);
  wakeups = 0;
  for (size_t r = 0; r < kWaitReasons; r++) wakeups += now.totals.readied[r] - (before ? before->totals.readied[r] : 0);
  processors = before && before->cpu >= 0 && now.cpu >= 0
                   ? static_cast<double>(now.cpu - before->cpu) / static_cast<double>(now.at - before->at)
                   : -1;
}

std::string Span::rate(uint64_t n) const {
  // What another thread of the process has counted meanwhile may make a difference negative.
  auto signed_n = static_cast<int64_t>(n);
  return amount(seconds > 0 && signed_n > 0 ? static_cast<double>(signed_n) / seconds : 0);
}

std::vector<std::string> report(const Watched& w, const Look& now, const Span& span) {
  const goshim::Page& page = w.page();
  const goshim::Totals& t = now.totals;
  auto total = [&t](Counter c) { return t.counts[static_cast<size_t>(c)]; };
  std::vector<std::string> lines;
  auto add = [&lines](std::string line) { lines.push_back(std::move(line)); };
  add(text("%d %s: goshim %.16s, runs for %s, last looked at its queues %s ago", w.pid(), process_name(w.pid()).c_str(),
           page.version, ago(now.at - page.started_at).c_str(), ago(now.ago).c_str()));
  add("");
  add(text("threads   %lu: %lu running, %lu runnable, %lu in calls, %lu waiting", t.live, t.running, t.runnable,
           t.in_calls, t.waiting));
  if (t.waiting) add("          waiting for " + reasons(t));
  add(text("Ps        %d: %d running, %d in calls, %d idle", page.limit.load(std::memory_order_relaxed),
           in_state(page, PStatus::Running), in_state(page, PStatus::Syscall),
           page.idle_ps.load(std::memory_order_relaxed)));
  add(text("queues    global %u, by P [%s ]", page.queued.load(std::memory_order_relaxed),
           queue_lengths(page).c_str()));
  add(text("kernel    %d threads to run them: %d idle, %d looking for work", page.ms.load(std::memory_order_relaxed),
           page.idle_ms.load(std::memory_order_relaxed), page.spinning.load(std::memory_order_relaxed)));
  if (span.processors >= 0) add(text("CPU       %.0f %%", span.processors * 100));
  uint64_t samples = latency_samples(span.latency);
  if (samples) {
    add(text("latency   50 %% < %s, 90 %% < %s, 99 %% < %s, 99.9 %% < %s (%lu of %lu wake-ups timed)",
             duration(latency_quantile(span.latency, 0.5)).c_str(),
             duration(latency_quantile(span.latency, 0.9)).c_str(),
             duration(latency_quantile(span.latency, 0.99)).c_str(),
             duration(latency_quantile(span.latency, 0.999)).c_str(), samples, span.wakeups));
  } else {
    add("latency   no wake-up timed");
  }
  add("");
  add(text("%-28s %15s %9s", "", "since start", "a second"));
  auto row = [&](const char* what, uint64_t all, uint64_t in_span) {
    add(text("%-28s %15lu %9s", what, all, span.rate(in_span).c_str()));
  };
  uint64_t wakeups = 0;
  for (uint64_t n : t.readied) wakeups += n;
  row("switches", t.switches, span.switches);
  row("threads made ready", wakeups, span.wakeups);
  row("threads made", total(Counter::gs_made), span.of(Counter::gs_made));
  row("threads ended", total(Counter::gs_ended), span.of(Counter::gs_ended));
  row("calls that may block", total(Counter::calls), span.of(Counter::calls));
  row("timers fired", total(Counter::timers), span.of(Counter::timers));
  row("polls", total(Counter::polls), span.of(Counter::polls));
  row("  events", total(Counter::poll_events), span.of(Counter::poll_events));
  row("  threads they woke", total(Counter::poll_woken), span.of(Counter::poll_woken));
  row("kernel threads woken", total(Counter::wakes), span.of(Counter::wakes));
  row("kernel threads soon idle", total(Counter::futile_wakes), span.of(Counter::futile_wakes));
  row("steals tried", total(Counter::steal_tries), span.of(Counter::steal_tries));
  row("  that found threads", total(Counter::steals), span.of(Counter::steals));
  row("Ps handed over", total(Counter::handoffs), span.of(Counter::handoffs));
  row("Ps retaken", total(Counter::retakes), span.of(Counter::retakes));
  row("preemptions asked for", total(Counter::preempts_asked), span.of(Counter::preempts_asked));
  row("  that took place", total(Counter::preempts_taken), span.of(Counter::preempts_taken));
  return lines;
}

nlohmann::ordered_json report_json(const Watched& w, const Look& now, const Span& span, bool since_start) {
  const goshim::Page& page = w.page();
  const goshim::Totals& t = now.totals;
  nlohmann::ordered_json j;
  j["pid"] = w.pid();
  j["name"] = process_name(w.pid());
  j["version"] = std::string(page.version, strnlen(page.version, sizeof page.version));
  j["runs_seconds"] = static_cast<double>(now.at - page.started_at) / 1e9;
  j["queues_seen_seconds_ago"] = static_cast<double>(now.ago) / 1e9;
  auto& gs = j["threads"];
  gs["live"] = t.live;
  gs["running"] = t.running;
  gs["runnable"] = t.runnable;
  gs["in_calls"] = t.in_calls;
  gs["waiting"] = t.waiting;
  auto& waiting = gs["waiting_for"] = nlohmann::ordered_json::object();
  for (size_t r = 1; r < kWaitReasons; r++) waiting[reason_name(r)] = t.waiting_for[r];
  j["maxprocs"] = page.limit.load(std::memory_order_relaxed);
  auto& ps = j["ps"] = nlohmann::ordered_json::array();
  for (int i = 0; i < goshim::page_procs(&page); i++) {
    PStatus status = page.area(i)->status.load(std::memory_order_relaxed);
    ps.push_back({{"status", status == PStatus::Running   ? "running"
                             : status == PStatus::Syscall ? "in_call"
                                                          : "idle"},
                  {"queued", page.area(i)->queued.load(std::memory_order_relaxed)}});
  }
  j["global_queue"] = page.queued.load(std::memory_order_relaxed);
  j["kernel_threads"] = {{"all", page.ms.load(std::memory_order_relaxed)},
                         {"idle", page.idle_ms.load(std::memory_order_relaxed)},
                         {"looking_for_work", page.spinning.load(std::memory_order_relaxed)}};
  j["counted"] = since_start ? "since start" : "in the interval";
  j["seconds"] = span.seconds;
  if (span.processors >= 0) j["processors"] = span.processors;
  auto& counters = j["counters"];
  counters["switches"] = span.switches;
  counters["readied"] = span.wakeups;
  for (size_t i = 0; i < kCounters; i++) counters[kCounterNames[i]] = span.counts[i];
  auto& latency = j["latency"];
  latency["timed"] = latency_samples(span.latency);
  for (auto [name, share] : {std::pair{"p50_ns", 0.5}, {"p90_ns", 0.9}, {"p99_ns", 0.99}, {"p999_ns", 0.999}})
    latency[name] = latency_quantile(span.latency, share);
  auto& buckets = latency["buckets"] = nlohmann::ordered_json::array();
  for (size_t i = 0; i < kLatencyBuckets; i++) {
    if (span.latency[i]) buckets.push_back({{"from_ns", goshim::latency_from(i)}, {"count", span.latency[i]}});
  }
  return j;
}

}  // namespace launcher
