// The functions of the public header, goshim.h.
#define GOSHIM_BUILDING_LIBRARY
#include "interpose/goshim.h"

#include <cstring>

#include "base/options.h"
#include "base/procs.h"
#include "interpose/init.h"
#include "interpose/real.h"
#include "trace/dump.h"
#include "trace/page.h"

using namespace goshim;

static_assert(GOSHIM_MAX_MAXPROCS == kMaxProcs);
static_assert(GOSHIM_LATENCY_BUCKETS == kLatencyBuckets);

int goshim_version() { return GOSHIM_HEADER_VERSION; }

int goshim_state() {
  if (runtime_running()) return GOSHIM_RUNNING;
  return runtime_possible() ? GOSHIM_READY : GOSHIM_NATIVE;
}

int goshim_maxprocs() { return runtime_possible() ? max_procs() : 0; }

int goshim_set_maxprocs(int n) {
  if (n < 1 || n > kMaxProcs) return EINVAL;
  if (!runtime_possible()) return ENOTSUP;
  set_max_procs(n);
  return 0;
}

void goshim_yield() { sched_yield(); }

int goshim_lock_thread() {
  if (!runtime_ensure() || !on_g()) return 0;
  G* g = getg();
  if (g->program_locks == INT32_MAX) return EAGAIN;
  lock_os_thread();
  g->program_locks++;
  return 0;
}

int goshim_unlock_thread() {
  if (!on_g()) return 0;
  G* g = getg();
  if (g->program_locks == 0) return EPERM;
  g->program_locks--;
  unlock_os_thread();
  return 0;
}

uint64_t goshim_thread_id() { return on_g() ? getg()->id : 0; }

int goshim_stats(struct goshim_stats* out, size_t size) {
  if (!out || size == 0) return EINVAL;
  struct goshim_stats told {};
  if (runtime_running()) {
    Stats now{};
    stats(&now);
    auto number = [](long n) { return static_cast<uint64_t>(n > 0 ? n : 0); };
    told.threads_made = number(now.gs_made);
    told.threads_live = number(now.gs_live);
    told.kernel_threads = number(now.ms);
    told.kernel_threads_idle = number(now.idle_ms);
    told.procs = number(now.ps);
    told.procs_idle = number(now.idle_ps);
    told.procs_surplus = number(now.surplus_ps);
    told.queued = number(now.runq);
    Totals t;
    own_totals(&t);
    auto counted = [&t](Counter c) { return t.counts[static_cast<size_t>(c)]; };
    told.running = t.running;
    told.runnable = t.runnable;
    told.in_calls = t.in_calls;
    told.waiting = t.waiting;
    told.switches = t.switches;
    told.steals = counted(Counter::steals);
    told.handoffs = counted(Counter::handoffs);
    told.retakes = counted(Counter::retakes);
    told.preemptions = counted(Counter::preempts_taken);
    told.polls = counted(Counter::polls);
    told.poll_wakeups = counted(Counter::poll_woken);
    told.timers = counted(Counter::timers);
    told.calls = counted(Counter::calls);
    told.kernel_wakeups = counted(Counter::wakes);
    for (uint64_t n : t.latency) told.latency_timed += n;
  }
  size_t known = size < sizeof told ? size : sizeof told;
  std::memcpy(out, &told, known);
  std::memset(reinterpret_cast<char*>(out) + known, 0, size - known);
  return 0;
}

int goshim_latency(uint64_t* out, size_t n) {
  if (!out || n == 0) return EINVAL;
  Totals t{};
  if (runtime_running()) own_totals(&t);
  for (size_t i = 0; i < n; i++) out[i] = i < kLatencyBuckets ? t.latency[i] : 0;
  return 0;
}

uint64_t goshim_latency_from(size_t bucket) { return bucket < kLatencyBuckets ? latency_from(bucket) : UINT64_MAX; }

int goshim_dump(int fd) {
  long flags = sys::call(SYS_fcntl, fd, F_GETFL);
  if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || (flags & O_PATH)) return EBADF;
  if (!runtime_running()) return ENOTSUP;
  dump_to_fd(fd);
  return 0;
}
