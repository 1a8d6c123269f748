// CPU time of Gs, for the clocks of threads and RUSAGE_THREAD.
//
// The kernel counts by M, and reading its clock takes longer than a switch. So nothing is counted until somebody asks
// for the first time; from then on each switch charges the G that leaves an M for its stay there:
//
//   C1  A stay of less than kShort is taken for CPU time as a whole; for a longer one the M's clock is read.
//       M::cpu_clock is what that clock should show at the last switch: where a short stay was charged too much,
//       because the M did not have its core all the time, the next long one is charged less. So clocks never run
//       backwards and the sum of all is right.
//   C2  What ran before the first question is known from sysmon's rounds only: it charges long stays.
//   C3  The M writes, anybody reads: M::cpu_sequence is odd in between.
//   C4  The kernel's clocks of CPU time and of time do not run at the same pace from one moment to the next, least so
//       in a virtual machine: a short stay may be charged less than a reader saw of it meanwhile. So no answer is less
//       than the last one (G::cpu_told).
#pragma once

#include <sys/resource.h>

#include "sched/runtime.h"

namespace goshim {

// The kernel's clock of the CPU time of one of its threads, as libc too encodes it: the id, whether a clock id is one,
// and of which thread.
constexpr clockid_t cpu_clock(int tid) { return static_cast<clockid_t>(~static_cast<unsigned>(tid) << 3 | 6); }
constexpr bool is_cpu_clock(clockid_t clock) { return clock < 0 && (clock & 7) == 6; }
constexpr int cpu_clock_tid(clockid_t clock) {
  return static_cast<int>(~(static_cast<unsigned>(clock) >> 3) & 0x1fffffff);
}

// CPU time of a kernel thread (0: the caller's); -1 if there is none.
Nanos kernel_cpu_time(int tid);

// CPU time of a G, which must not end meanwhile; on any thread.
Nanos g_cpu_time(G* g);
// What getrusage(RUSAGE_THREAD) says of the calling G.
void g_usage(rusage* usage);
// Somebody is going to ask.
void cpu_accounts_open();

// ---- for the scheduler; preemption off ----

extern std::atomic<bool> cpu_accounts;
GOSHIM_COLD void cpu_charge_slow(M* m);
// m is about to run something else.
inline void cpu_charge(M* m) {
  if (GOSHIM_UNLIKELY(cpu_accounts.load(std::memory_order_relaxed))) cpu_charge_slow(m);
}
// C2: sysmon saw that what m runs has used so much.
void cpu_sampled(M* m, Nanos used);
// The runtime starts: g has been the calling kernel thread until now.
void cpu_adopt(G* g);
void cpu_after_fork_child();

}  // namespace goshim
