// schedtrace and the closing statistics line (see schedtrace.h).
#include "trace/schedtrace.h"

#include "base/print.h"
#include "base/sys.h"
#include "sched/internal.h"
#include "sched/runq.h"

namespace goshim {

void schedtrace_line(Nanos now) {
  Stats s;
  stats(&s);
  char line[1024];
  size_t n = format(
      line, sizeof line,
      "SCHED %ldms: gomaxprocs=%ld idleprocs=%ld threads=%ld spinningthreads=%ld idlethreads=%ld runqueue=%ld [",
      static_cast<long>((now - sched.started_at) / kMillisecond), s.ps, s.idle_ps, s.ms, s.spinning, s.idle_ms, s.runq);
  for (int i = 0; i < sched.procs && n + 16 < sizeof line; i++)
    n += format(line + n, sizeof line - n, " %u", runq_length(&sched.ps[i]));
  n += format(line + n, sizeof line - n, " ]\n");
  sys::write(2, line, n);
}

void stats_line() {
  Stats s{};
  if (runtime_started) stats(&s);
  message("stats: gs=%ld ms=%ld ps=%ld", s.gs_made, s.ms, s.ps);
}

}  // namespace goshim
