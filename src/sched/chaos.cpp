// Disorder for tests: random yields at calls (option chaos), random preemption between them (option chaos_preempt).
#include <fcntl.h>
#include <linux/close_range.h>

#include "base/options.h"
#include "base/print.h"
#include "sched/inject.h"
#include "sched/internal.h"

namespace goshim {
namespace {

// Not a P's generator: this must not change what the scheduler does.
uint32_t random_below(uint32_t n) { return static_cast<uint32_t>(arch::cycles() * 0x9e3779b97f4a7c15UL >> 32) % n; }

constexpr uint32_t kForcedOf = 4;  // one of so many is preempted in the middle of libc too, where it may hold a lock

// Interrupts what the Ps run, every so often, as sysmon does with a G that has used up its slice. An M that sleeps is
// in a call unknown to goshim, which the signal might cut short.
void preempter_main(void*) {
  // A table of descriptors of its own: it opens files so often that the program would notice.
  if (sys::call(SYS_close_range, 0, ~0U, CLOSE_RANGE_UNSHARE) != 0) fatal("GOSHIM_CHAOS_PREEMPT needs Linux 5.9");
  auto tasks = static_cast<int>(sys::call(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY));
  auto mean = static_cast<uint32_t>(options.chaos_preempt * kMicrosecond);
  for (;;) {
    timespec ts{0, static_cast<long>(mean / 2 + random_below(mean))};
    sys::call(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &ts, nullptr);
    for (int i = 0; i < sched.procs; i++) {
      P* p = &sched.ps[i];
      if (p->status.load(std::memory_order_acquire) != PStatus::Running) continue;
      M* m = p->m.load(std::memory_order_acquire);
      G* g = m ? m->curg.load(std::memory_order_acquire) : nullptr;
      if (!g || g == m->g0 || kernel_thread_sleeps(tasks, m->tid)) continue;
      m->preempt_force.store(random_below(kForcedOf) == 0, std::memory_order_relaxed);
      tls_of(g)->pending.fetch_or(kPendingPreempt, std::memory_order_seq_cst);
      inject_poke(m);
    }
  }
}

}  // namespace

bool chaos_on;

void chaos_start() {
  chaos_on = options.chaos != 0;
  if (options.chaos_preempt != 0) helper_thread_start(preempter_main, nullptr, nullptr);
}

void chaos_slow() {
  if (!getg() || goshim_tls.nopreempt != 0 || getg()->region_depth != 0) return;
  if (random_below(1000) < static_cast<uint32_t>(options.chaos)) {
    NoPreempt guard;
    sched_preempted();
  }
}

}  // namespace goshim
