// schedtrace and the closing statistics line (see schedtrace.h), and what the page of counters shows of the scheduler.
//
// The lines are written by a kernel thread of their own: a full pipe behind stderr holds up that thread and nobody
// else. It reads what the others write without a lock, so a line may tell of two moments.
#include "trace/schedtrace.h"

#include <fcntl.h>

#include "base/options.h"
#include "base/print.h"
#include "base/sys.h"
#include "net/poller.h"
#include "sched/internal.h"
#include "sched/runq.h"
#include "trace/page.h"

namespace goshim {

namespace {

// Text on its way to stderr. Of the tracing thread.
class Lines {
 public:
  ~Lines() { flush(); }
  template <typename... Args>
  void add(const char* text, Args... args) {
    if (sizeof buf_ - n_ < kLongest) flush();
    n_ += format(buf_ + n_, sizeof buf_ - n_, text, args...);
  }
  void flush() {
    for (size_t done = 0; done < n_;) {
      long r = sys::write(2, buf_ + done, n_ - done);
      if (r <= 0) break;
      done += static_cast<size_t>(r);
    }
    n_ = 0;
  }

 private:
  static constexpr size_t kLongest = 256;  // of one add()
  char buf_[16 * 1024];
  size_t n_ = 0;
};

const char* name_of(GStatus s) {
  switch (s) {
    case GStatus::Dead: return "dead";
    case GStatus::Runnable: return "runnable";
    case GStatus::Running: return "running";
    case GStatus::Syscall: return "syscall";
    case GStatus::Waiting: return "waiting";
  }
  return "?";
}

const char* name_of(PStatus s) {
  switch (s) {
    case PStatus::Idle: return "idle";
    case PStatus::Running: return "running";
    case PStatus::Syscall: return "syscall";
  }
  return "?";
}

// A number, or nil.
struct Id {
  explicit Id(bool there, uint64_t id) { format(text, sizeof text, there ? "%lu" : "nil", id); }
  char text[24];
};
Id id_of(const M* m) { return Id(m != nullptr, m ? static_cast<uint64_t>(m->id) : 0); }
Id id_of(const P* p) { return Id(p != nullptr, p ? static_cast<uint64_t>(p->id) : 0); }
Id id_of(const G* g) { return Id(g != nullptr, g ? g->id : 0); }

P* p_of(const M* m) { return reinterpret_cast<P*>(m->p.load(std::memory_order_relaxed) & ~kStealing); }

void summary(Lines* lines, Nanos now) {
  Stats s;
  stats(&s);
  lines->add("SCHED %ldms: gomaxprocs=%ld idleprocs=%ld threads=%ld spinningthreads=%ld idlethreads=%ld runqueue=%ld",
             static_cast<long>((now - sched.started_at) / kMillisecond), s.ps, s.idle_ps, s.ms, s.spinning, s.idle_ms,
             s.runq);
  if (options.scheddetail) {
    lines->add(" sysmonwait=%s\n", sched.sysmon_asleep.load(std::memory_order_relaxed) ? "true" : "false");
    return;
  }
  for (int i = 0; i < sched.procs; i++) lines->add(i == 0 ? " [%u" : " %u", runq_length(&sched.ps[i]));
  lines->add("%s", "]\n");
}

void detail(Lines* lines) {
  for (int i = 0; i < sched.procs; i++) {
    const P* p = &sched.ps[i];
    lines->add("  P%d: status=%s schedtick=%lu syscalltick=%u m=%s runqsize=%u runnext=%u timerslen=%u\n", p->id,
               name_of(p->status.load(std::memory_order_relaxed)), p->schedtick.load(std::memory_order_relaxed),
               p->syscalltick.load(std::memory_order_relaxed), id_of(p->m.load(std::memory_order_acquire)).text,
               runq_length(p), p->runnext.load(std::memory_order_relaxed) != 0 ? 1U : 0U,
               __atomic_load_n(&p->timers.size, __ATOMIC_RELAXED));
  }
  for (const M* m = sched.all_ms.load(std::memory_order_acquire); m; m = m->all_link) {
    const G* g = m->curg.load(std::memory_order_acquire);
    lines->add("  M%d: tid=%d p=%s curg=%s spinning=%s blocked=%s lockedg=%s\n", m->id,
               __atomic_load_n(&m->tid, __ATOMIC_RELAXED), id_of(p_of(m)).text, id_of(g == m->g0 ? nullptr : g).text,
               __atomic_load_n(&m->spinning, __ATOMIC_RELAXED) ? "true" : "false",
               m->park_word.load(std::memory_order_relaxed) ? "true" : "false",
               id_of(__atomic_load_n(&m->locked_g, __ATOMIC_RELAXED)).text);
  }
  for_each_g(
      [](G* g, void* arg) {
        GStatus status = g->status.load(std::memory_order_acquire);
        if (status == GStatus::Dead) return;
        bool on_m = status == GStatus::Running || status == GStatus::Syscall;
        WaitReason reason = WaitReason::None;
        if (status == GStatus::Waiting) __atomic_load(&g->wait_reason, &reason, __ATOMIC_RELAXED);
        static_cast<Lines*>(arg)->add("  G%lu: status=%s(%s) m=%s lockedm=%s\n",
                                      __atomic_load_n(&g->id, __ATOMIC_RELAXED), name_of(status),
                                      reason == WaitReason::None ? "" : wait_reason_name(reason),
                                      id_of(on_m ? g->m.load(std::memory_order_acquire) : nullptr).text,
                                      id_of(__atomic_load_n(&g->locked_m, __ATOMIC_RELAXED)).text);
      },
      lines);
}

void trace_main(void*) {
  Nanos next = sys::nanotime();
  for (;;) {
    Nanos now = sys::nanotime();
    {
      Lines lines;
      summary(&lines, now);
      if (options.scheddetail) detail(&lines);
    }
    next += options.schedtrace * kMillisecond;
    if (next < now) next = now;
    timespec ts{next / kSecond, next % kSecond};
    sys::call(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, nullptr);
  }
}

int stats_fd = 2;  // written by stats_open(), before other threads exist

uint32_t queued_at(const P* p) { return runq_length(p) + (p->runnext.load(std::memory_order_relaxed) != 0 ? 1U : 0U); }

}  // namespace

void schedtrace_start() {
  if (options.schedtrace && !helper_thread_start(trace_main, nullptr, nullptr))
    message("the kernel refuses a thread for GOSHIM_SCHEDTRACE; going on without");
}

void stats_open() {
  constexpr int kOutOfTheWay = 100;
  long fd = sys::call(SYS_fcntl, 2, F_DUPFD_CLOEXEC, kOutOfTheWay);
  if (fd >= 0) stats_fd = static_cast<int>(fd);
}

void stats_line() {
  Stats s{};
  if (runtime_started) stats(&s);
  char line[128];
  size_t n = format(line, sizeof line, "goshim: stats: gs=%ld ms=%ld ps=%ld\n", s.gs_made, s.ms, s.ps);
  sys::write(stats_fd, line, n);
}

// ---- the page of counters ----

void page_look(Nanos now) {
  Page* to = page();
  for (int i = 0; i < sched.procs; i++) {
    const P* p = &sched.ps[i];
    p->counts->schedticks.store(p->schedtick.load(std::memory_order_relaxed), std::memory_order_relaxed);
    p->counts->queued.store(queued_at(p), std::memory_order_relaxed);
    p->counts->status.store(p->status.load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
  to->limit.store(sched.limit.load(std::memory_order_relaxed), std::memory_order_relaxed);
  to->ms.store(sched.ms.load(std::memory_order_relaxed), std::memory_order_relaxed);
  to->idle_ms.store(sched.n_idle_m.load(std::memory_order_relaxed), std::memory_order_relaxed);
  to->idle_ps.store(sched.n_idle_p.load(std::memory_order_relaxed), std::memory_order_relaxed);
  to->spinning.store(sched.n_spinning.load(std::memory_order_relaxed), std::memory_order_relaxed);
  to->queued.store(sched.runq_size.load(std::memory_order_relaxed) + sched.urgent_size.load(std::memory_order_relaxed),
                   std::memory_order_relaxed);
  to->polled.store(poller_waiters.load(std::memory_order_relaxed), std::memory_order_relaxed);
  to->seen_at.store(now, std::memory_order_release);
}

bool own_totals(Totals* out) {
  if (!runtime_started) return false;
  uint64_t ticks = 0;
  uint64_t queued = sched.runq_size.load(std::memory_order_relaxed) + sched.urgent_size.load(std::memory_order_relaxed);
  for (int i = 0; i < sched.procs; i++) {
    ticks += sched.ps[i].schedtick.load(std::memory_order_relaxed);
    queued += queued_at(&sched.ps[i]);
  }
  page_totals(page(), ticks, queued, out);
  return true;
}

}  // namespace goshim
