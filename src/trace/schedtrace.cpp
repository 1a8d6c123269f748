// schedtrace and the closing statistics line (see schedtrace.h).
#include "trace/schedtrace.h"

#include <fcntl.h>

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

namespace {
int stats_fd = 2;  // written by stats_open(), before other threads exist
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

}  // namespace goshim
