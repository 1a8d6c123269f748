// The timers of Ms (see slice.h).
#include "sched/slice.h"

#include <signal.h>
#include <time.h>

#include "base/options.h"
#include "sched/cputime.h"
#include "sched/internal.h"
#include "trace/page.h"
#include "trace/timeline.h"

namespace goshim {
namespace {

constexpr int kNoTimer = -1;
constexpr int kRefused = -2;  // by the kernel: not asked again
constexpr int kSpare = 2;     // so many for nothing, and it stops

bool create(M* m) {
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = options.preempt_signal;
  event._sigev_un._tid = m->tid;
  int made = kRefused;
  if (sys::call(SYS_timer_create, CLOCK_THREAD_CPUTIME_ID, &event, &made) != 0) made = kRefused;
  m->slice_timer = made;
  return made != kRefused;
}

// 0 stops it.
bool set(const M* m, Nanos period) {
  itimerspec spec{};
  spec.it_value.tv_nsec = spec.it_interval.tv_nsec = period;
  return sys::call(SYS_timer_settime, m->slice_timer, 0, &spec, nullptr) == 0;
}

// The turn that begins with the next switch, or goes on now, is measured from here.
void begin_turn(M* m, const P* p, uint64_t tick) {
  m->slice_p = p;
  m->slice_tick = tick;
}

}  // namespace

void slice_timer_start(M* m) {
  P* p = m_p(m);
  if (!p || m->locked_g || m->slice_timer == kRefused) return;  // L4
  begin_turn(m, p, p->schedtick.load(std::memory_order_relaxed) + 1);
  if (m->slice_timed.load(std::memory_order_relaxed)) return;
  if (m->slice_timer == kNoTimer && !create(m)) return;
  m->slice_spare = 0;
  m->slice_cpu = kernel_cpu_time(0);
  m->slice_timed.store(true, std::memory_order_relaxed);
  if (!set(m, kSlice)) m->slice_timed.store(false, std::memory_order_relaxed);
}

void slice_timer_stop(M* m) {
  if (!m->slice_timed.load(std::memory_order_relaxed)) return;
  m->slice_timed.store(false, std::memory_order_relaxed);  // first: a signal that comes now is not looked at
  set(m, 0);
}

void slice_timer_end(M* m) {
  if (m->slice_timer >= 0) sys::call(SYS_timer_delete, m->slice_timer);
  m->slice_timer = kNoTimer;
  m->slice_timed.store(false, std::memory_order_relaxed);
}

bool slice_timer_fired(M* m) {
  if (!m->slice_timed.load(std::memory_order_relaxed)) return false;  // stopped since
  const G* g = m->curg.load(std::memory_order_relaxed);
  auto* p = reinterpret_cast<P*>(m->p.load(std::memory_order_relaxed) & ~kStealing);
  uint64_t tick = p ? p->schedtick.load(std::memory_order_relaxed) : 0;
  bool whole = p && g != m->g0 && m->slice_p == p && m->slice_tick == tick;
  begin_turn(m, p, tick);

  Nanos cpu = kernel_cpu_time(0);
  Nanos computed = cpu - m->slice_cpu;
  m->slice_cpu = cpu;
  if (whole) cpu_sampled(m, computed);
  Nanos now = sys::nanotime();
  if (!whole || !others_wait(p) || stepped_lately(now)) {  // L5
    if (++m->slice_spare == kSpare) slice_timer_stop(m);
    return false;
  }
  m->slice_spare = 0;
  goshim_tls.pending.fetch_or(kPendingPreempt, std::memory_order_seq_cst);
  if (goshim_tls.nopreempt != 0) return false;  // it is in the runtime: at its preempt_on()
  m->preempt_last.store(now, std::memory_order_relaxed);
  timeline(Event::Preempt, timeline_file::id_of(g->id));
  tally(p, Counter::preempts_asked);
  return true;
}

}  // namespace goshim
