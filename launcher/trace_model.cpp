// What the events of a timeline mean: the states of Gs, the slices of Ps, who woke whom (see trace.h).
//
// Events of different Ms are in order of a clock that may differ between cores by some nanoseconds, may begin in the
// middle (older ones were overwritten) and may have gaps. So what an event says counts more than what was expected, and
// at every moment a P runs one G: who comes ends the slice of who was there.
#include <sys/syscall.h>

#include <algorithm>

#include "launcher/text.h"
#include "launcher/trace.h"
#include "trace/page.h"

namespace launcher::trace {

namespace {

constexpr int kLongest = 12;  // threads that the summary lists

using goshim::WaitReason;

const char* stop_name(uint64_t reason) {
  switch (static_cast<file::StopReason>(reason)) {
    case file::StopReason::Preempted: return "preempted";
    case file::StopReason::Yield: return "yields";
    case file::StopReason::NoP: return "back from the kernel, no P is free";
  }
  return "stops";
}

}  // namespace

const char* reason_name(int reason) {
  bool known = reason > 0 && static_cast<size_t>(reason) < goshim::kWaitReasons;
  return known ? goshim::wait_reason_name(static_cast<WaitReason>(reason)) : "unknown";
}

bool reason_has_object(int reason) {
  switch (static_cast<WaitReason>(reason)) {
    case WaitReason::Mutex:
    case WaitReason::Cond:
    case WaitReason::RwLock:
    case WaitReason::Barrier:
    case WaitReason::Semaphore:
    case WaitReason::Once:
    case WaitReason::Futex: return true;
    default: return false;
  }
}

// Those that block in the kernel for long, mostly.
const char* call_name(long nr) {
  static const struct {
    long nr;
    const char* name;
  } kNames[] = {
      {SYS_read, "read"},
      {SYS_write, "write"},
      {SYS_pread64, "pread"},
      {SYS_pwrite64, "pwrite"},
      {SYS_readv, "readv"},
      {SYS_writev, "writev"},
      {SYS_preadv, "preadv"},
      {SYS_pwritev, "pwritev"},
      {SYS_preadv2, "preadv2"},
      {SYS_pwritev2, "pwritev2"},
      {SYS_openat, "openat"},
      {SYS_close, "close"},
      {SYS_fsync, "fsync"},
      {SYS_fdatasync, "fdatasync"},
      {SYS_flock, "flock"},
      {SYS_fcntl, "fcntl"},
      {SYS_ioctl, "ioctl"},
      {SYS_accept, "accept"},
      {SYS_accept4, "accept4"},
      {SYS_connect, "connect"},
      {SYS_sendto, "sendto"},
      {SYS_recvfrom, "recvfrom"},
      {SYS_sendmsg, "sendmsg"},
      {SYS_recvmsg, "recvmsg"},
      {SYS_sendmmsg, "sendmmsg"},
      {SYS_recvmmsg, "recvmmsg"},
      {SYS_sendfile, "sendfile"},
      {SYS_splice, "splice"},
      {SYS_ppoll, "ppoll"},
      {SYS_pselect6, "pselect"},
      {SYS_epoll_pwait, "epoll_pwait"},
      {SYS_wait4, "wait4"},
      {SYS_waitid, "waitid"},
      {SYS_futex, "futex"},
      {SYS_msgsnd, "msgsnd"},
      {SYS_msgrcv, "msgrcv"},
      {SYS_semtimedop, "semtimedop"},
      {SYS_mq_timedsend, "mq_send"},
      {SYS_mq_timedreceive, "mq_receive"},
      {SYS_clock_nanosleep, "clock_nanosleep"},
#ifdef SYS_open
      {SYS_open, "open"},
      {SYS_poll, "poll"},
      {SYS_select, "select"},
      {SYS_epoll_wait, "epoll_wait"},
      {SYS_semop, "semop"},
#endif
  };
  for (const auto& n : kNames) {
    if (n.nr == nr) return n.name;
  }
  return "";
}

std::string duration(Time t) {
  char text[40];
  auto v = static_cast<double>(t);
  if (t >= 1000000000) snprintf(text, sizeof text, "%.3f s", v / 1e9);
  else if (t >= 1000000) snprintf(text, sizeof text, "%.3f ms", v / 1e6);
  else snprintf(text, sizeof text, "%.1f us", v / 1e3);
  return text;
}

Model::Model(const Recording& recording, std::vector<Sink*> sinks)
    : recording_(recording), sinks_(std::move(sinks)), on_p_(static_cast<size_t>(recording.procs())) {}

std::string Model::label(Gid g) const {
  std::string name = recording_.name_of(g);
  std::string id = "G " + std::to_string(g);
  if (name.empty()) return g == 1 ? "main (G 1)" : id;
  return name + " (" + id + ")";
}

// ---- states and their times ----

void Model::account(Thread& t, Time at) {
  Time from = std::max(t.since, recording_.begin());
  t.since = at;
  if (at <= from) return;
  Time spent = at - from;
  switch (t.state) {
    case State::Running: t.times.running += spent; break;
    case State::Runnable: t.times.runnable += spent; break;
    case State::Kernel: t.times.kernel += spent; break;
    case State::Blocked:
      t.times.blocked += spent;
      reasons_[t.reason].time += spent;
      break;
    default: break;
  }
}

void Model::enter(Thread& t, State s, Time at) {
  account(t, at);
  bool was = t.state == State::Runnable;
  bool is = s == State::Runnable;
  t.state = s;
  if (was == is) return;
  n_runnable_ += is ? 1 : -1;
  for (Sink* sink : sinks_) sink->runnable(at, n_runnable_);
}

// ---- slices ----

void Model::open_slice(Gid g, Thread& t, int p, Time at) {
  if (p >= 0) {
    Gid there = on_p_[static_cast<size_t>(p)];
    if (there && there != g) close_slice(there, thread(there), at, "another takes the P");
    on_p_[static_cast<size_t>(p)] = g;
  }
  t.open = true;
  t.p = p;
  t.slice_from = at;
}

void Model::close_slice(Gid g, Thread& t, Time at, const char* why, int reason, uint64_t object) {
  if (!t.open) return;
  t.open = false;
  Slice s{{t.p, t.writer}, g,          std::max(t.slice_from, recording_.begin()), at, why, reason, object,
          t.waited,        t.estimated};
  if (t.p >= 0) on_p_[static_cast<size_t>(t.p)] = 0;
  t.p = -1;
  t.waited = -1;
  t.estimated = false;
  if (at < recording_.begin()) return;
  for (Sink* sink : sinks_) sink->slice(s);
}

// The M runs g from here on.
void Model::starts(Gid g, const Happening& h) {
  Machine& m = machines_[h.writer];
  Thread& t = thread(g);
  if (m.g == g && t.open && t.p == h.p) return;
  if (m.g && m.g != g) stops(h, State::Runnable, "stops");
  if (t.open) close_slice(g, t, h.time, "stops");
  t.unreadied = t.state == State::Blocked;
  Time readied = t.state == State::Runnable ? std::max(t.since, recording_.begin()) : -1;
  t.waited = readied >= 0 ? h.time - readied : -1;
  m.g = g;
  t.writer = h.writer;
  t.in_region = false;
  t.readied = false;
  enter(t, State::Running, h.time);
  t.estimated = h.estimated;
  open_slice(g, t, h.p, h.time);
  t.slices++;
  if (t.by_p >= 0 && h.p >= 0 && t.by_at >= recording_.begin()) {
    Flow flow{t.created, t.by_p, h.p, t.by_at, h.time};
    for (Sink* sink : sinks_) sink->flow(flow);
  }
  t.by_p = -1;
}

// What the M runs leaves it.
void Model::stops(const Happening& h, State s, const char* why, int reason, uint64_t object) {
  Machine& m = machines_[h.writer];
  Gid g = m.g;
  m.g = 0;
  if (!g) return;
  Thread& t = thread(g);
  leave_region(g, t, h.time);
  t.estimated |= h.estimated;
  close_slice(g, t, h.time, why, reason, object);
  t.reason = reason;
  t.unreadied = false;
  if (s == State::Blocked) {
    reasons_[reason].waits += h.time >= recording_.begin();
    if (t.readied) s = State::Runnable;
  }
  t.readied = false;
  enter(t, s, h.time);
}

// ---- the kernel ----

void Model::leave_region(Gid g, Thread& t, Time at) {
  if (!t.in_region) return;
  t.in_region = false;
  if (at < recording_.begin()) return;
  RegionSpan r{g, std::max(t.region_from, recording_.begin()), at, call_name(t.call), t.call, t.region_taken};
  for (Sink* sink : sinks_) sink->region(r);
}

void Model::retaken(int p, Time at, bool unknown) {
  Gid g = p >= 0 && p < recording_.procs() ? on_p_[static_cast<size_t>(p)] : 0;
  if (!g) return;
  Thread& t = thread(g);
  if (!unknown && !t.in_region) return;  // it is back already
  retakes_++;
  t.region_taken = true;
  uint32_t writer = t.writer;
  close_slice(g, t, at, "in the kernel, its P is taken");
  if (!unknown) return;
  enter(t, State::Kernel, at);
  t.writer = writer;
  open_slice(g, t, -1, at);
}

// ---- events ----

void Model::readied(Gid g, const Happening& h, bool fresh) {
  Thread& t = thread(g);
  if (t.unreadied) {
    t.unreadied = false;
    return;
  }
  t.created = fresh;
  Gid by = machines_[h.writer].g;
  t.by_p = by ? h.p : -1;
  t.by_at = h.time;
  if (t.by_p >= 0 && on_p_[static_cast<size_t>(t.by_p)] != by) t.by_p = -1;
  if (t.state == State::Running || t.state == State::Kernel) {
    t.readied = true;
    return;
  }
  if (fresh) t.times = {};
  enter(t, State::Runnable, h.time);
}

void Model::instant(const Happening& h, const char* name, const char* key, int64_t number) {
  if (h.time < recording_.begin()) return;
  Instant i{{h.p, h.writer}, h.time, name, key, number};
  for (Sink* sink : sinks_) sink->instant(i);
}

void Model::apply(const Happening& h) {
  Machine& m = machines_[h.writer];
  auto g = static_cast<Gid>(h.argument);
  events_ += h.event != Event::None;
  switch (h.event) {
    case Event::None:
      if (g && m.g != g) starts(g, h);
      break;
    case Event::Start: starts(g, h); break;
    case Event::Block: {
      int reason = static_cast<int>(h.argument >> file::kReasonShift);
      if (reason >= kReasons) reason = 0;
      uint64_t object = h.argument & ((uint64_t{1} << file::kReasonShift) - 1);
      stops(h, State::Blocked, reason_name(reason), reason, object);
      break;
    }
    case Event::NotBlocked:
      if (m.g) thread(m.g).readied = false;
      break;
    case Event::Yield:
    case Event::YieldRun:
      yields_++;
      stops(h, State::Runnable, stop_name(static_cast<uint64_t>(file::StopReason::Yield)));
      starts(g, h);
      break;
    case Event::Stop:
      if (h.argument == static_cast<uint64_t>(file::StopReason::Preempted)) {
        preempted_++;
        instant(h, "preempted", "g", m.g);
      }
      stops(h, State::Runnable, stop_name(h.argument));
      break;
    case Event::End: stops(h, State::Ended, "ends"); break;
    case Event::Create: readied(g, h, true); break;
    case Event::Unblock: readied(g, h, false); break;
    case Event::Region:
      if (m.g) {
        Thread& t = thread(m.g);
        t.in_region = true;
        t.region_taken = false;
        t.region_from = h.time;
        t.call = -1;
        enter(t, State::Kernel, h.time);
      }
      break;
    case Event::Call:
      if (m.g && thread(m.g).in_region) thread(m.g).call = static_cast<long>(h.argument);
      break;
    case Event::RegionExit:
      if (m.g) {
        Thread& t = thread(m.g);
        leave_region(m.g, t, h.time);
        if (t.open && t.p != h.p) close_slice(m.g, t, h.time, "in the kernel, its P is taken");
        if (!t.open && h.p >= 0) open_slice(m.g, t, h.p, h.time);
        enter(t, State::Running, h.time);
      }
      break;
    case Event::Retake: retaken(static_cast<int>(g), h.time, (h.argument & file::kRetakeUnknown) != 0); break;
    case Event::ProcStart:
    case Event::ProcStop: break;
    case Event::Steal:
      steals_++;
      instant(h, "steal", "from P", static_cast<int64_t>(h.argument >> 32));
      break;
    case Event::Preempt: {
      auto t = threads_.find(g);
      if (t == threads_.end() || !t->second.open || h.time < recording_.begin()) break;
      Instant i{{t->second.p, t->second.writer}, h.time, "asked to stop", "g", g};
      for (Sink* sink : sinks_) sink->instant(i);
      break;
    }
    case Event::Timer: instant(h, "timer", nullptr, 0); break;
    case Event::Poll: instant(h, "poll", "events", static_cast<int64_t>(h.argument)); break;
  }
}

void Model::run() {
  recording_.each([this](const Happening& h) { apply(h); });
  Time end = recording_.end();
  for (auto& [g, t] : threads_) {
    account(t, end);
    if (t.in_region) leave_region(g, t, end);
    close_slice(g, t, end, "the trace ends");
  }
}

// ---- the summary ----

void Model::summary(FILE* to) const {
  Times all;
  std::vector<std::pair<Gid, const Thread*>> threads;
  for (const auto& [g, t] : threads_) {
    all.running += t.times.running;
    all.runnable += t.times.runnable;
    all.kernel += t.times.kernel;
    all.blocked += t.times.blocked;
    threads.emplace_back(g, &t);
  }
  std::sort(threads.begin(), threads.end(), [](const auto& a, const auto& b) {
    Time x = a.second->times.running, y = b.second->times.running;
    return x != y ? x > y : a.first < b.first;
  });
  Time span = recording_.end() - recording_.begin();
  auto capacity = static_cast<double>(span) * recording_.procs();
  fprintf(to, "%s (process %d): %s on %d Ps, %zu threads, %llu events\n", printable(recording_.program()).c_str(),
          recording_.pid(), duration(span).c_str(), recording_.procs(), threads.size(),
          static_cast<unsigned long long>(events_));
  fprintf(
      to,
      "Ps ran threads %.1f %% of the time; %llu yields, %llu preemptions, %llu steals, %llu Ps taken from the kernel\n",
      capacity > 0 ? 100.0 * static_cast<double>(all.running) / capacity : 0.0,
      static_cast<unsigned long long>(yields_), static_cast<unsigned long long>(preempted_),
      static_cast<unsigned long long>(steals_), static_cast<unsigned long long>(retakes_));
  auto row = [&](const char* name, const Times& t, uint64_t slices) {
    fprintf(to, "  %-28.28s %12s %12s %12s %12s %9llu\n", name, duration(t.running).c_str(),
            duration(t.runnable).c_str(), duration(t.kernel).c_str(), duration(t.blocked).c_str(),
            static_cast<unsigned long long>(slices));
  };
  fprintf(to, "\n  %-28s %12s %12s %12s %12s %9s\n", "thread", "running", "runnable", "in kernel", "blocked", "slices");
  uint64_t slices = 0;
  for (const auto& [g, t] : threads) slices += t->slices;
  row("all", all, slices);
  for (size_t i = 0; i < threads.size() && i < kLongest; i++)
    row(printable(label(threads[i].first)).c_str(), threads[i].second->times, threads[i].second->slices);
  if (threads.size() > kLongest) fprintf(to, "  and %zu more\n", threads.size() - kLongest);
  fprintf(to, "\n  %-28s %12s %12s\n", "blocked on", "time", "waits");
  std::vector<int> order;
  for (int i = 0; i < kReasons; i++) {
    if (reasons_[i].waits || reasons_[i].time) order.push_back(i);
  }
  std::sort(order.begin(), order.end(), [&](int a, int b) { return reasons_[a].time > reasons_[b].time; });
  for (int i : order)
    fprintf(to, "  %-28s %12s %12llu\n", reason_name(i), duration(reasons_[i].time).c_str(),
            static_cast<unsigned long long>(reasons_[i].waits));
  if (order.empty()) fprintf(to, "  nothing\n");
  if (recording_.overwritten())
    fprintf(
        to,
        "\nThe file was full: %llu older records were overwritten, and the trace begins %s after the start (--size).\n",
        static_cast<unsigned long long>(recording_.overwritten()), duration(recording_.begin()).c_str());
  if (recording_.dropped())
    fprintf(to, "\n%llu records were lost: more kernel threads than the file has segments (--size).\n",
            static_cast<unsigned long long>(recording_.dropped()));
  if (recording_.stopped()) fprintf(to, "\nThe disk was full: the trace ends before the program.\n");
}

}  // namespace launcher::trace
