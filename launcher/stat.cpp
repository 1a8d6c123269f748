// goshim stat: the counters of a process under goshim, once or again and again.
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "launcher/launcher.h"
#include "launcher/report.h"

namespace launcher {
namespace {

constexpr char kHelp[] =
    "  -i, --interval=SECONDS   goes on until the process ends: a line each time, of what was counted since the last\n"
    "  -n, --count=N            with -i: so many lines\n"
    "      --json               one object; with -i, one a line\n"
    "\n"
    "Threads that run, wait and so on are those of now; a line counts by the second:\n"
    "  switch    threads that a kernel thread went over to\n"
    "  ready     threads made ready to run\n"
    "  call      calls begun that may block in the kernel\n"
    "  event     events that the poller had\n"
    "  timer     timers fired\n"
    "  wake      kernel threads woken\n"
    "  steal     looks into other queues that found threads\n"
    "  preempt   threads that made room on request\n"
    "  50%, 99%  that share of the wake-ups timed took less, from ready to running\n";

constexpr int kHeaderEvery = 20;

std::string header() {
  return text("%7s %5s %5s %5s %7s %7s %7s %7s %6s %6s %6s %6s %7s %6s %6s", "threads", "run", "queue", "call", "wait",
              "switch", "ready", "call", "event", "timer", "wake", "steal", "preempt", "50%", "99%");
}

std::string line(const Look& now, const Span& span) {
  using goshim::Counter;
  const goshim::Totals& t = now.totals;
  auto rate = [&span](Counter c) { return span.rate(span.of(c)); };
  bool timed = latency_samples(span.latency) != 0;
  auto latency = [&](double share) { return timed ? duration(latency_quantile(span.latency, share)) : "-"; };
  auto n = [](uint64_t count) { return amount(static_cast<double>(count)); };
  return text("%7s %5s %5s %5s %7s %7s %7s %7s %6s %6s %6s %6s %7s %6s %6s", n(t.live).c_str(), n(t.running).c_str(),
              n(t.runnable).c_str(), n(t.in_calls).c_str(), n(t.waiting).c_str(), span.rate(span.switches).c_str(),
              span.rate(span.wakeups).c_str(), rate(Counter::calls).c_str(), rate(Counter::poll_events).c_str(),
              rate(Counter::timers).c_str(), rate(Counter::wakes).c_str(), rate(Counter::steals).c_str(),
              rate(Counter::preempts_taken).c_str(), latency(0.5).c_str(), latency(0.99).c_str());
}

void print(const nlohmann::ordered_json& j, int indent) {
  puts(j.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
}

int repeat(const Watched& w, double interval, long count, bool json) {
  timespec pause;
  pause.tv_sec = static_cast<time_t>(interval);
  pause.tv_nsec = static_cast<long>((interval - floor(interval)) * 1e9);
  Look before(w);
  for (long i = 0; count == 0 || i < count; i++) {
    nanosleep(&pause, nullptr);
    if (!w.alive()) break;
    Look now(w);
    Span span(w, &before, now);
    if (json) {
      print(report_json(w, now, span, false), -1);
    } else {
      if (i % kHeaderEvery == 0) puts(header().c_str());
      puts(line(now, span).c_str());
    }
    if (fflush(stdout) != 0) return kFailed;
    before = now;
  }
  return 0;
}

int run(int argc, char** argv) {
  constexpr option kLong[] = {{"interval", required_argument, nullptr, 'i'},
                              {"count", required_argument, nullptr, 'n'},
                              {"json", no_argument, nullptr, 'j'},
                              {"help", no_argument, nullptr, 'h'},
                              {}};
  double interval = 0;
  long count = 0;
  bool json = false;
  for (int c; (c = getopt_long(argc, argv, "i:n:h", kLong, nullptr)) != -1;) {
    char* end = nullptr;
    switch (c) {
      case 'i':
        interval = strtod(optarg, &end);
        if (end == optarg || *end || !(interval >= 0.01 && interval <= 86400))
          return usage_error(kStat, "stat: an interval is of 0.01 to 86400 seconds, not \"%s\"", optarg);
        break;
      case 'n':
        count = strtol(optarg, &end, 10);
        if (end == optarg || *end || count <= 0)
          return usage_error(kStat, "stat: -n \"%s\": above 0 is needed", optarg);
        break;
      case 'j': json = true; break;
      case 'h': return print_help(kStat, kHelp);
      default: return kUsage;
    }
  }
  if (optind + 1 != argc) return usage_error(kStat, "stat: one process, by its number");
  pid_t pid = parse_pid(argv[optind]);
  if (pid < 0) return usage_error(kStat, "stat: %s: no number of a process", argv[optind]);
  std::string why;
  auto w = Watched::open(pid, &why);
  if (!w) {
    complain("stat: %d: %s", pid, why.empty() ? kNoPage : why.c_str());
    return kFailed;
  }
  if (interval > 0) return repeat(*w, interval, count, json);
  Look now(*w);
  Span span(*w, nullptr, now);
  if (json) {
    print(report_json(*w, now, span, true), 2);
  } else {
    for (const std::string& l : report(*w, now, span)) puts(l.c_str());
  }
  return 0;
}

}  // namespace

const Command kStat = {"stat", "[-i SECONDS [-n N]] [--json] PID", "Shows the counters of a process under goshim", run};

}  // namespace launcher
