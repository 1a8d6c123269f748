// Looks for the work of other programs (see crowd.h).
#include "sched/crowd.h"

#include <time.h>

#include "base/file.h"
#include "base/options.h"
#include "base/procs.h"
#include "sched/internal.h"
#include "trace/page.h"

namespace goshim {
namespace {

constexpr Nanos kLookEvery = 100 * kMillisecond;  // the kernel tells hundredths of a second
constexpr Nanos kTooLong = kSecond;               // sysmon has slept meanwhile: of that nothing follows for now
constexpr uint64_t kFewWakes = 10;                // of Ms, from look to look: they do no harm

// Of all processors together since the machine started; -1 if the kernel does not tell (some emulations say 0).
Nanos idle_time() {
  char text[64];
  if (read_file("/proc/uptime", text, sizeof text) <= 0) return -1;
  const char* at = text;
  while (*at && *at != ' ') at++;
  long seconds;
  long hundredths;
  const char* point;
  const char* end;
  if (*at != ' ' || !parse_number(at + 1, &seconds, &point) || *point != '.') return -1;
  if (!parse_number(point + 1, &hundredths, &end) || end != point + 3) return -1;
  Nanos idle = seconds * kSecond + hundredths * (kSecond / 100);
  return idle > 0 ? idle : -1;
}

Nanos own_time() {
  timespec t{};
  return sys::call(SYS_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, &t) == 0 ? t.tv_sec * kSecond + t.tv_nsec : 0;
}

// Whether the number of Ps is the default, and is not cut to a quota, which more of them would only use up sooner.
bool may_be_more() {
  return options.max_procs == 0 && !sched.procs_set.load(std::memory_order_relaxed) &&
         cgroup_max_procs("/proc/self/cgroup", "/sys/fs/cgroup") == 0;
}

}  // namespace

void Crowd::look(Nanos now) {
  Nanos span = now - looked_at_;
  if (span < kLookEvery) return;
  Totals totals;
  if (!own_totals(&totals)) return;  // not started yet
  uint64_t woken = totals.counts[static_cast<size_t>(Counter::wakes)];
  uint64_t preempted = totals.counts[static_cast<size_t>(Counter::preempts_taken)];
  int more = sched.more_procs.load(std::memory_order_relaxed);
  MorePs::Ran ran{span, static_cast<long>(totals.switches - turns_), static_cast<long>(preempted - preempted_)};
  bool matters = woken - woken_ >= kFewWakes || ran.used_up != 0 || more != 0;
  Nanos idle = matters ? idle_time() : -1;
  Nanos own = matters ? own_time() : 0;
  bool known = idle >= 0 && idle_ >= 0 && looked_at_ != 0 && span < kTooLong;
  bool crowded = known && is_crowded(span, idle - idle_, own - own_, max_procs());
  sched.crowded.store(crowded, std::memory_order_relaxed);
  int wanted = more_.decide(ran, crowded, sched.n_idle_p.load(std::memory_order_relaxed), max_procs());
  if (wanted > more && !may_be_more()) wanted = more;
  if (wanted != more) {
    sched.more_procs.store(wanted, std::memory_order_relaxed);
    procs_apply();
  }
  looked_at_ = now;
  idle_ = idle;
  own_ = own;
  woken_ = woken;
  turns_ = totals.switches;
  preempted_ = preempted;
}

}  // namespace goshim
