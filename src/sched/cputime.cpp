// CPU time of Gs (see cputime.h).
#include "sched/cputime.h"

#include "sched/internal.h"

namespace goshim {

std::atomic<bool> cpu_accounts{false};

namespace {

constexpr Nanos kShort = 20 * kMicrosecond;

Lock open_lock;

void add(std::atomic<Nanos>* time, Nanos more) {
  time->store(time->load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

// The calling M charges what it runs.
void charge(M* m, bool exactly) {
  // C3: odd before the clocks are read, by a full fence (as a seqlock's release fence it stands too). What runs on
  // until the charge is made must not be seen by a reader, who would see less of it the next time.
  uint32_t sequence = m->cpu_sequence.load(std::memory_order_relaxed);
  m->cpu_sequence.store(sequence + 1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  Nanos now = sys::nanotime();
  Nanos used = now - m->cpu_since;
  Nanos before = m->cpu_clock.load(std::memory_order_relaxed);
  Nanos clock = before + used;
  if (exactly || used >= kShort) {
    clock = kernel_cpu_time(0);
    used = clock > before ? clock - before : 0;  // C1
  }
  add(&m->curg.load(std::memory_order_relaxed)->cpu_time, used);
  m->cpu_clock.store(clock, std::memory_order_relaxed);
  m->cpu_since = now;
  m->cpu_sequence.store(sequence + 2, std::memory_order_release);
}

// C4. Relaxed: a reader that knows of another one's answer knows of the word, too.
Nanos tell(G* g, Nanos time) {
  Nanos told = g->cpu_told.load(std::memory_order_relaxed);
  while (told < time && !g->cpu_told.compare_exchange_weak(told, time, std::memory_order_relaxed)) {
  }
  return told < time ? time : told;
}

}  // namespace

Nanos kernel_cpu_time(int tid) {
  timespec ts{};
  if (sys::call(SYS_clock_gettime, tid ? cpu_clock(tid) : CLOCK_THREAD_CPUTIME_ID, &ts) != 0) return -1;
  return ts.tv_sec * kSecond + ts.tv_nsec;
}

void cpu_charge_slow(M* m) {
  std::atomic_thread_fence(std::memory_order_acquire);  // what cpu_accounts_open() wrote
  charge(m, false);
}

void cpu_sampled(M* m, Nanos used) {
  if (cpu_accounts.load(std::memory_order_relaxed)) return;
  m->curg.load(std::memory_order_acquire)->cpu_time.fetch_add(used, std::memory_order_relaxed);
}

void cpu_accounts_open() {
  if (GOSHIM_LIKELY(cpu_accounts.load(std::memory_order_acquire))) return;
  NoPreempt off;
  LockGuard guard(open_lock);
  if (cpu_accounts.load(std::memory_order_relaxed)) return;
  for (M* m = sched.all_ms.load(std::memory_order_acquire); m; m = m->all_link) {
    Nanos clock = kernel_cpu_time(m->tid);
    m->cpu_clock.store(clock > 0 ? clock : 0, std::memory_order_relaxed);
    m->cpu_since = sys::nanotime();
  }
  cpu_accounts.store(true, std::memory_order_release);
}

Nanos g_cpu_time(G* g) {
  cpu_accounts_open();
  NoPreempt off;
  if (g == getg()) {
    charge(g->m.load(std::memory_order_relaxed), true);
    return tell(g, g->cpu_time.load(std::memory_order_relaxed));
  }
  for (;;) {  // C3
    M* m = g->m.load(std::memory_order_acquire);
    uint32_t sequence = m ? m->cpu_sequence.load(std::memory_order_acquire) : 0;
    Nanos time = g->cpu_time.load(std::memory_order_relaxed);
    if (!m) return tell(g, time);
    bool runs = m->curg.load(std::memory_order_relaxed) == g;
    if (runs) {
      Nanos used = kernel_cpu_time(m->tid) - m->cpu_clock.load(std::memory_order_relaxed);
      if (used > 0) time += used;
    }
    std::atomic_thread_fence(std::memory_order_acquire);
    // curg again: between the charge and the change of curg the M's clock was still g's, and is no more.
    if (!(sequence & 1) && m->cpu_sequence.load(std::memory_order_relaxed) == sequence &&
        (m->curg.load(std::memory_order_relaxed) == g) == runs) {
      return tell(g, time);
    }
    arch::pause();
  }
}

void g_usage(rusage* usage) {
  sys::call(SYS_getrusage, RUSAGE_THREAD, usage);
  auto nanos = [](const timeval& t) { return t.tv_sec * kSecond + t.tv_usec * kMicrosecond; };
  Nanos user = nanos(usage->ru_utime);
  Nanos both = user + nanos(usage->ru_stime);
  G* g = getg();
  Nanos total = g_cpu_time(g);
  // The kernel counts the two parts by M only: what is new since the last question is split as the M's own time. So
  // neither runs backwards.
  Nanos fresh = total - g->usage_total;
  double share = both > 0 ? static_cast<double>(user) / static_cast<double>(both) : 1;
  g->usage_total = total;
  g->usage_user += static_cast<Nanos>(static_cast<double>(fresh) * share);
  auto timeval_of = [](Nanos t) { return timeval{t / kSecond, t % kSecond / kMicrosecond}; };
  usage->ru_utime = timeval_of(g->usage_user);
  usage->ru_stime = timeval_of(total - g->usage_user);
}

void cpu_adopt(G* g) {
  g->cpu_time.store(kernel_cpu_time(0), std::memory_order_relaxed);
  g->usage_total = g->usage_user = 0;
}

void cpu_after_fork_child() {
  open_lock.reset();
  cpu_accounts.store(false, std::memory_order_relaxed);
}

}  // namespace goshim
