// sysmon: a kernel thread without a P that watches the others. It retakes Ps from Ms in the kernel, preempts Gs whose
// slice is over, and runs timers that no P gets round to.
//
// Retaking the P of an M that sleeps in a call goshim does not know (D8):
//   R1  sysmon: m->p from P to P|kStealing by CAS. R2 membarrier. R3 if the no-preempt counter of m's current G is
//       raised, or m is not asleep any more: m->p back to P. R4 else m->p to null, and the P is handed off.
//   The M, entering the runtime: raise the counter, compiler barrier, read m->p; while kStealing is set it waits (m_p).
//   The membarrier stands for the M's missing fence: if sysmon reads the counter as 0 in R3, then the M's next entry
//   reads m->p after R1 and waits for R3 or R4. So either the M has its P for the whole stay, or it knows that it has
//   none. m->curg cannot change in between: only the runtime changes it, with some counter raised.
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <sys/mman.h>

#include <cstring>

#include "base/file.h"
#include "base/options.h"
#include "base/print.h"
#include "sched/inject.h"
#include "sched/internal.h"
#include "sched/runq.h"
#include "trace/schedtrace.h"

namespace goshim {
namespace {

constexpr Nanos kMinSleep = 20 * kMicrosecond;
constexpr Nanos kMaxSleep = 10 * kMillisecond;
constexpr Nanos kThriftySleep = kMillisecond;  // while ready() leaves wake-ups to sysmon
constexpr int kEagerRounds = 50;               // idle rounds before the sleep doubles
constexpr Nanos kSlice = 10 * kMillisecond;
constexpr Nanos kHogSlice = kMillisecond;       // what a G may use up when a timer or I/O made another one ready
constexpr Nanos kHogLeast = 50 * kMicrosecond;  // and the least it is left
constexpr Nanos kLate = 200 * kMicrosecond;     // a timer that an idle P's M should have run by now
constexpr Nanos kSleeper = 100 * kMillisecond;  // for so long a G once found asleep in an unknown call is not preempted
constexpr Nanos kAwakeAfterWake = 10 * kMillisecond;

int task_dir = -1;  // /proc/self/task, opened before a chroot can hide it

Nanos cpu_time(int tid) {
  // The kernel's encoding of a thread's CPU clock: ~tid << 3 | CPUCLOCK_PERTHREAD_MASK (4) | CPUCLOCK_SCHED (2).
  timespec ts;
  if (sys::call(SYS_clock_gettime, static_cast<clockid_t>(~static_cast<unsigned>(tid) << 3 | 6), &ts) != 0) return -1;
  return ts.tv_sec * kSecond + ts.tv_nsec;
}

// Reads /proc/self/task/<tid>/<name>, terminated; the length, at most size - 1, or not above 0.
long read_task_file(int tid, const char* name, char* text, size_t size) {
  char path[32];
  format(path, sizeof path, "%d/%s", tid, name);
  long fd = sys::call(SYS_openat, task_dir, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fd;
  long n = sys::read(static_cast<int>(fd), text, size - 1);
  sys::close(static_cast<int>(fd));
  text[n > 0 ? n : 0] = 0;
  return n;
}

// True if the kernel thread sleeps in the kernel.
bool asleep(int tid) {
  char text[256];
  long n = read_task_file(tid, "stat", text, sizeof text);
  // "tid (comm) S ...": comm may hold anything, so the last ')' counts.
  for (long i = n - 1; i >= 0; i--) {
    if (text[i] == ')') return i + 2 < n && (text[i + 2] == 'S' || text[i + 2] == 'D');
  }
  return false;
}

// How often the kernel thread has gone to sleep of its own accord, ever; -1 if that cannot be read.
long voluntary_switches(int tid) {
  char text[4096];
  long n = read_task_file(tid, "status", text, sizeof text);
  constexpr char kName[] = "\nvoluntary_ctxt_switches:\t";
  constexpr long kLength = sizeof kName - 1;
  for (long i = 0; i + kLength < n; i++) {
    if (std::memcmp(text + i, kName, kLength) != 0) continue;
    long count;
    const char* end;
    return parse_number(text + i + kLength, &count, &end) ? count : -1;
  }
  return -1;
}

// True if the G on m has computed since it was last asked about and others wait: its slice is over. A thread that
// sleeps in calls unknown to goshim is not preempted, since the signal might cut such a call short with an EINTR that the
// program does not expect; its P is retaken as it sleeps.
// What can be had of it without a signal is asked for: that it yields when it next enters the runtime.
bool slice_is_over(P* p, const M* m, Nanos slice, Nanos now) {
  Nanos ran = now - p->seen_sched_when;
  if (ran < slice / 2) return false;
  if (p->seen_switches < 0) {
    p->seen_switches = voluntary_switches(m->tid);
    p->seen_switches_when = now;
  }
  if (ran < slice || now - p->seen_switches_when < slice / 4) return false;
  long switches = voluntary_switches(m->tid);
  bool slept = switches != p->seen_switches || now - m->seen_asleep < kSleeper;
  p->seen_switches = switches;
  p->seen_switches_when = now;
  if (!slept) return true;
  p->seen_sched_when = now - slice / 2;
  G* g = m->curg.load(std::memory_order_acquire);
  if (g != m->g0) tls_of(g)->pending.fetch_or(kPendingPreempt, std::memory_order_seq_cst);
  return false;
}

// R1 to R4. True if the P was taken; it is Idle-owned by sysmon then.
bool retake_unknown(P* p, M* m) {
  uintptr_t owned = reinterpret_cast<uintptr_t>(p);
  if (!m->p.compare_exchange_strong(owned, owned | kStealing, std::memory_order_seq_cst)) return false;
  sys::call(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
  G* g = m->curg.load(std::memory_order_acquire);
  bool inside = g == m->g0 || *const_cast<volatile int32_t*>(&tls_of(g)->nopreempt) != 0;
  if (inside || !asleep(m->tid)) {
    m->p.store(reinterpret_cast<uintptr_t>(p), std::memory_order_release);
    return false;
  }
  p->m.store(nullptr, std::memory_order_relaxed);
  p->status.store(PStatus::Idle, std::memory_order_release);
  m->p.store(0, std::memory_order_release);
  return true;
}

bool others_wait(P* p) {
  return !runq_empty(p) || sched.runq_size.load(std::memory_order_relaxed) ||
         sched.urgent_size.load(std::memory_order_relaxed) ||
         p->timers.first.load(std::memory_order_relaxed) <= sys::nanotime();
}

enum class Pace { Idle, Watch, Eager };

// One round over all Ps; how soon to look again.
Pace retake(Nanos now) {
  int acted = 0;
  bool waits = false;  // a G waits for a slice to end
  for (int i = 0; i < sched.procs; i++) {
    P* p = &sched.ps[i];
    PStatus status = p->status.load(std::memory_order_acquire);
    if (status == PStatus::Running) {
      uint32_t tick = p->schedtick.load(std::memory_order_relaxed);
      M* m = p->m.load(std::memory_order_acquire);
      if (!m || now - m->seen_asleep < kSleeper) continue;
      if (p->seen_schedtick != tick) {
        p->seen_schedtick = tick;
        p->seen_sched_when = now;
        p->seen_cpu = -1;
        p->seen_switches = -1;
        continue;
      }
      if (m->curg.load(std::memory_order_relaxed) == m->g0) continue;
      Nanos cpu = cpu_time(m->tid);
      bool computing = p->seen_cpu >= 0 && cpu != p->seen_cpu;
      p->seen_cpu = cpu;
      if (!computing && asleep(m->tid)) {
        m->seen_asleep = now;
        if (retake_unknown(p, m)) {
          acted++;
          handoffp(p);
        }
        continue;
      }
      bool urgent = sched.urgent_size.load(std::memory_order_relaxed) != 0;
      if (others_wait(p)) {
        if (slice_is_over(p, m, urgent ? kHogSlice : kSlice, now)) inject_preempt(m);
        waits = true;
      }
    } else if (status == PStatus::Syscall) {
      uint32_t tick = p->syscalltick.load(std::memory_order_relaxed);
      if (p->seen_syscalltick != tick) {
        p->seen_syscalltick = tick;
        p->seen_syscall_when = now;
        // Short calls in a row would escape for ever from a sysmon that looks every 10 ms, and Gs wait behind them.
        if (!runq_empty(p)) acted++;
        continue;
      }
      p->region_stale.store(true, std::memory_order_relaxed);
      int others = sched.n_idle_p.load(std::memory_order_relaxed) + sched.n_spinning.load(std::memory_order_relaxed);
      if (runq_empty(p) && others > 0 && p->seen_syscall_when + kSlice > now) continue;
      if (p->status.compare_exchange_strong(status, PStatus::Idle, std::memory_order_acq_rel)) {
        acted++;
        handoffp(p);
      }
    }
  }
  if (sched.urgent_size.load(std::memory_order_relaxed)) return Pace::Eager;
  return acted ? Pace::Eager : waits ? Pace::Watch : Pace::Idle;
}

Nanos next_timer() {
  Nanos next = kForever;
  for (int i = 0; i < sched.procs; i++) {
    Nanos first = sched.ps[i].timers.first.load(std::memory_order_relaxed);
    if (first < next) next = first;
  }
  return next;
}

// Timers that are due while nobody looks: every P runs something, or the M that woke for them found other work first.
// Their Gs go first (M::urgent).
void run_late_timers(Nanos now) {
  for (int i = 0; i < sched.procs; i++) {
    P* p = &sched.ps[i];
    if (p->timers.first.load(std::memory_order_relaxed) <= now) timers_run(&p->timers, now);
  }
}

// Makes room for them: the G that has run longest.
void preempt_longest(Nanos now) {
  P* longest = nullptr;
  for (int i = 0; i < sched.procs; i++) {
    P* p = &sched.ps[i];
    if (p->status.load(std::memory_order_relaxed) != PStatus::Running) continue;
    if (p->schedtick.load(std::memory_order_relaxed) != p->seen_schedtick) continue;
    M* m = p->m.load(std::memory_order_acquire);
    if (!m || now - m->seen_asleep < kSleeper) continue;
    if (!longest || p->seen_sched_when < longest->seen_sched_when) longest = p;
  }
  if (!longest || now - longest->seen_sched_when < kHogLeast) return;
  M* m = longest->m.load(std::memory_order_acquire);
  if (!m) return;
  // As in slice_is_over(): only what has not slept since the last look, which may have been 20 us ago.
  long switches = voluntary_switches(m->tid);
  bool computes = longest->seen_switches == switches;
  longest->seen_switches = switches;
  longest->seen_switches_when = now;
  if (computes && !asleep(m->tid)) inject_preempt(m);
}

void deep_sleep(Nanos timer) {
  Nanos now = sys::nanotime();
  sched.sysmon_asleep.store(1, std::memory_order_seq_cst);
  // Everything idle, still? (The other side: acquire a P, then read sysmon_asleep.)
  if (sched.n_idle_p.load(std::memory_order_seq_cst) == sched.procs) {
    Nanos until = timer;
    Nanos awake = sched.sysmon_woken.load(std::memory_order_relaxed) + kAwakeAfterWake;
    if (awake > now && awake < until) until = awake;  // a wake that sysmon_wake() held back is made good here
    sys::futex_wait(&sched.sysmon_asleep, 1, until);
  }
  sched.sysmon_asleep.store(0, std::memory_order_relaxed);
}

void sysmon_main(void*) {
  getg()->m.load(std::memory_order_relaxed)->urgent = true;
  int idle = 0;
  Pace pace = Pace::Idle;
  Nanos delay = kMinSleep;
  Nanos trace_next = options.schedtrace ? sys::nanotime() : kForever;
  for (;;) {
    if (idle == 0) delay = kMinSleep;
    else if (idle > kEagerRounds) delay *= 2;
    Nanos longest = wakes_are_thrifty() ? kThriftySleep : pace == Pace::Watch ? kSlice / 4 : kMaxSleep;
    if (delay > longest) delay = longest;
    Nanos now = sys::nanotime();
    Nanos timer = next_timer();
    bool all_idle = sched.n_idle_p.load(std::memory_order_relaxed) == sched.procs;
    if (all_idle && trace_next == kForever) {
      deep_sleep(timer == kForever ? kForever : timer + kMillisecond);
      idle = 0;
      continue;
    }
    Nanos until = now + delay;
    if (timer < until) until = timer > now + kMinSleep ? timer : now + kMinSleep;
    timespec ts{until / kSecond, until % kSecond};
    sys::call(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, nullptr);
    now = sys::nanotime();
    bool idle_p = sched.n_idle_p.load(std::memory_order_relaxed) != 0;
    run_late_timers(idle_p ? now - kLate : now);
    if (!idle_p) {
      if (sched.urgent_size.load(std::memory_order_relaxed)) preempt_longest(now);
    }
    pay_owed_wake();
    pace = retake(now);
    if (pace == Pace::Eager) idle = 0;
    else idle++;
    if (now >= trace_next) {
      schedtrace_line(now);
      trace_next = now + options.schedtrace * kMillisecond;
    }
  }
}

}  // namespace

void sysmon_wake() {
  Nanos now = sys::nanotime();
  Nanos last = sched.sysmon_woken.load(std::memory_order_relaxed);
  if (now - last < kAwakeAfterWake) return;
  if (!sched.sysmon_woken.compare_exchange_strong(last, now, std::memory_order_relaxed)) return;
  sched.sysmon_asleep.store(0, std::memory_order_relaxed);
  sys::futex_wake(&sched.sysmon_asleep, 1);
}

void sysmon_after_fork_child() {
  if (task_dir >= 0) sys::close(task_dir);  // the parent's
  task_dir = -1;
}

void sysmon_start() {
  task_dir = static_cast<int>(sys::call(SYS_open, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  sys::call(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
  if (!helper_thread_start(sysmon_main, nullptr, nullptr)) fatal("cannot start a kernel thread");
}

}  // namespace goshim
