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
//   A G in plain_syscall() has its counter raised and counts as if not: it does nothing with the P, and its mark falls
//   before its next entry.
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/membarrier.h>
#include <sys/mman.h>

#include <cstring>

#include "base/file.h"
#include "base/options.h"
#include "base/own_fd.h"
#include "base/print.h"
#include "net/poller.h"
#include "sched/cputime.h"
#include "sched/crowd.h"
#include "sched/inject.h"
#include "sched/internal.h"
#include "sched/runq.h"
#include "sched/slice.h"
#include "trace/dump.h"
#include "trace/page.h"
#include "trace/timeline.h"

namespace goshim {
namespace {

constexpr Nanos kMinSleep = 20 * kMicrosecond;
constexpr Nanos kMaxSleep = 10 * kMillisecond;
constexpr Nanos kThriftySleep = kMillisecond;  // while ready() leaves wake-ups to sysmon
constexpr Nanos kBriskSleep = 200 * kMicrosecond;
constexpr int kEagerRounds = 50;                     // idle rounds before the sleep doubles
constexpr Nanos kLeftAlone = 10 * kMillisecond;      // a call for which nobody waits
constexpr Nanos kStepped = 100 * kMillisecond;       // after a stop by a debugger nothing is preempted for so long
constexpr Nanos kHogSlice = kMillisecond;            // what a G may use up when a timer or I/O made another one ready
constexpr Nanos kHogLeast = 50 * kMicrosecond;       // and the least it is left
constexpr Nanos kLate = 200 * kMicrosecond;          // a timer that an idle P's M should have run by now
constexpr Nanos kTimersAround = 100 * kMillisecond;  // since one was seen: more may come
constexpr Nanos kSleeper = 100 * kMillisecond;  // for so long a G once found asleep in an unknown call is not preempted
constexpr Nanos kAwakeAfterWake = 10 * kMillisecond;

// sysmon opens files all the time, and a number that it has for a moment is one that the program does not get, though
// it may count on it (the lowest one free). So it has a table of descriptors of its own, as far as the kernel lets it:
// then this is the process, through which it gets at the poller's descriptors, -1 as long as the kernel denies it.
bool own_table = false;
int pidfd = -1;
// /proc/self/task, opened at the first thread, before a later chroot can hide it; in sysmon's table. -1 without it.
int task_dir = -1;
OwnFd& shared_task_dir() { return own_fd_of(OwnFdName::Tasks); }

// On the thread that starts the runtime: can sysmon have a table of its own? Where the program has used up its numbers
// that is not known, and sysmon, which would get none either, needs its own the more.
bool may_have_own_table() {
  long process = sys::call(SYS_pidfd_open, sched.pid, 0);
  if (process == -EMFILE) return true;
  if (process < 0) return false;
  long copy = sys::call(SYS_pidfd_getfd, process, process, 0);
  if (copy >= 0) sys::close(static_cast<int>(copy));
  sys::close(static_cast<int>(process));
  return copy >= 0 || copy == -EMFILE;
}

// Once it has a table of its own.
void fetch() {
  if (pidfd < 0) pidfd = static_cast<int>(sys::call(SYS_pidfd_open, sched.pid, 0));
  poller_fetch(pidfd);
}

// On sysmon, if so.
void take_own_table() {
  if (sys::call(SYS_close_range, 0, ~0U, CLOSE_RANGE_UNSHARE) != 0) return;
  own_table = true;
  // Nothing of ours lies where messages are written to. A copy of the program's stderr would keep that open for ever.
  for (int standard = 0; standard <= 2; standard++) sys::call(SYS_epoll_create1, EPOLL_CLOEXEC);
  fetch();
}

int own_tasks() { return own_table ? task_dir : shared_task_dir().get(); }

// tasks is /proc/self/task. Reads <tid>/<name> there, terminated; the length, at most size - 1, or not above 0.
long read_task_file(int tasks, int tid, const char* name, char* text, size_t size) {
  char path[32];
  format(path, sizeof path, "%d/%s", tid, name);
  long fd = sys::call(SYS_openat, tasks, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fd;
  long n = sys::read(static_cast<int>(fd), text, size - 1);
  sys::close(static_cast<int>(fd));
  text[n > 0 ? n : 0] = 0;
  return n;
}

// What the kernel thread's status says in its line "name:"; the line's last number, -1 if there is none.
long number_in_status(int tasks, int tid, const char* name) {
  char text[4096];
  long n = read_task_file(tasks, tid, "status", text, sizeof text);
  long length = static_cast<long>(std::strlen(name));
  for (long i = 0; i + length + 2 < n; i++) {
    if (text[i] != '\n' || std::memcmp(text + i + 1, name, static_cast<size_t>(length)) != 0) continue;
    const char* at = text + i + 1 + length;
    if (*at++ != ':') continue;
    long last = -1;
    for (long number; *at == '\t' || *at == ' ';) {
      if (!parse_number(at + 1, &number, &at)) return -1;
      last = number;
    }
    return last;
  }
  return -1;
}

// The names in it are those of the PID namespace that /proc was mounted for. If that is not ours it is of no use: an
// entry that bears the name of one of our kernel threads may be another one's.
bool names_our_threads(int tasks) {
  int tid = sys::gettid();
  return number_in_status(tasks, tid, "NSpid") == tid;
}

void open_task_dir() {
  long fd = sys::call(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0 && !names_our_threads(static_cast<int>(fd))) {
    sys::close(static_cast<int>(fd));
    fd = -1;
  }
  task_dir = own_table ? static_cast<int>(fd) : shared_task_dir().keep(static_cast<int>(fd));
}

// How often the kernel thread has gone to sleep of its own accord, ever; -1 if that cannot be read.
long voluntary_switches(int tid) { return number_in_status(own_tasks(), tid, "voluntary_ctxt_switches"); }

// The kernel's letter for what the kernel thread does; 0 if that cannot be read.
char task_state(int tasks, int tid) {
  char text[256] = {};
  long n = read_task_file(tasks, tid, "stat", text, sizeof text);
  // "tid (comm) S ...": comm may hold anything, so the last ')' counts.
  for (long i = n - 1; i >= 0; i--) {
    if (text[i] == ')') return i + 2 < n ? text[i + 2] : '\0';
  }
  return 0;
}

// In the kernel, as far as one can see.
bool asleep(char state) { return state == 'S' || state == 'D'; }

// ---- where those files cannot be read ----
//
// A program may have changed its root to a folder without /proc, or run in another PID namespace than /proc. There a
// kernel thread's CPU time has to do, which the kernel always tells. What has had a core nearly all the time since the
// last look has not slept; what has had none for long is taken for asleep, though it may only wait for a core: its M
// then goes on without a P, as after a call that ends at that moment.

constexpr Nanos kAsleepIfIdleFor = 5 * kMillisecond;
// On a loaded machine nothing has a core nearly all the time. After so many slices it is interrupted all the same.
constexpr int kSlicesOfDoubt = 10;

// Since the last look at p, whose M has used up `cpu` by now.
bool had_a_core(const P* p, Nanos cpu, Nanos now) {
  Nanos looked = now - p->seen_cpu_when;
  return p->seen_cpu >= 0 && cpu - p->seen_cpu >= looked - looked / 8;
}

bool sleeps(const P* p, const M* m, Nanos now) {
  char state = task_state(own_tasks(), m->tid);
  if (state == 0) return now - p->seen_computing >= kAsleepIfIdleFor && kernel_cpu_time(m->tid) == p->seen_cpu;
  return asleep(state);
}

Nanos looked_at;  // when sysmon has last looked at the clock, or meant to; its own
// When it found that a debugger had stopped it; its own, read by the Ms (relaxed).
std::atomic<Nanos> stopped_at{-kStepped};

// What a debugger steps through is not preempted for kStepped after each stop, or the step would go on in another
// kernel thread and never end. sysmon was stopped too.
void watch_for_debugger(Nanos now) {
  if (stopped_since(looked_at, now)) {
    stopped_at.store(now, std::memory_order_relaxed);
    arch::stop_traps();  // it would show each of their faults
  }
  looked_at = now;
}

bool stepped() {
  watch_for_debugger(sys::nanotime());
  return stepped_lately(looked_at);
}

void ask_to_give_way(const M* m) {
  G* g = m->curg.load(std::memory_order_acquire);
  if (g == m->g0 || stepped()) return;
  tls_of(g)->pending.fetch_or(kPendingPreempt, std::memory_order_seq_cst);
  tally(Counter::preempts_asked);
}

void interrupt(M* m) {
  if (!options.preempt) ask_to_give_way(m);
  else if (!stepped()) inject_preempt(m);
}

// Notes whether the G on m makes calls: such a one need not be interrupted. It is believed for a slice, since its
// kernel thread may be waiting for a core.
void look_at_calls(P* p, const M* m, Nanos now) {
  const G* g = m->curg.load(std::memory_order_acquire);
  uint32_t calls = tls_of(const_cast<G*>(g))->calls.load(std::memory_order_relaxed);
  if (g == p->seen_g && calls != p->seen_calls) p->seen_calls_when = now;
  p->gives_way = g == p->seen_g && now - p->seen_calls_when < kSlice;
  if (g != p->seen_g) p->seen_calls_when = -kSecond;
  p->seen_g = g;
  p->seen_calls = calls;
}

// Whether the G on m sleeps now and then in calls that goshim does not know.
bool is_sleeper(const M* m, Nanos now) { return now - m->curg.load(std::memory_order_acquire)->seen_asleep < kSleeper; }

// True if the G on m has computed since it was last asked about and others wait: its slice is over. A thread that
// sleeps in calls unknown to goshim is not preempted, since the signal might cut such a call short with an EINTR that
// the program does not expect; its P is retaken as it sleeps.
// To have had a core nearly all the time since the last look is enough, and known without reading a file of the kernel.
// What can be had of it without a signal is asked for: that it yields when it next enters the runtime.
bool slice_is_over(P* p, const M* m, Nanos now, bool had_core) {
  Nanos ran = now - p->seen_sched_when;
  if (ran < kSlice / 2) return false;
  if (had_core && !is_sleeper(m, now)) {
    p->seen_switches = P::kNotRead;
    return ran >= kSlice;
  }
  if (p->seen_switches == P::kNotRead) {
    p->seen_switches = voluntary_switches(m->tid);
    p->seen_switches_when = now;
  }
  if (ran < kSlice || now - p->seen_switches_when < kSlice / 4) return false;
  long switches = voluntary_switches(m->tid);
  bool slept = switches != p->seen_switches || is_sleeper(m, now);
  if (switches < 0) slept = !had_core && ran < kSlicesOfDoubt * kSlice;
  p->seen_switches = switches;
  p->seen_switches_when = now;
  if (!slept) return true;
  if (switches >= 0) p->seen_sched_when = now - kSlice / 2;
  ask_to_give_way(m);
  return false;
}

// R1 to R4. True if the P was taken; it is Idle-owned by sysmon then.
bool retake_unknown(P* p, M* m, Nanos now) {
  uintptr_t owned = reinterpret_cast<uintptr_t>(p);
  if (!m->p.compare_exchange_strong(owned, owned | kStealing, std::memory_order_seq_cst)) return false;
  bool sure = sys::call(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
  G* g = m->curg.load(std::memory_order_acquire);
  // In plain_syscall() the counter is not 0, and the P is not touched before the next time that it is raised.
  bool inside = g == m->g0 || (*const_cast<volatile int32_t*>(&tls_of(g)->nopreempt) != 0 &&
                               !g->plain_call.load(std::memory_order_relaxed));
  if (!sure || inside || !sleeps(p, m, now)) {
    m->p.store(reinterpret_cast<uintptr_t>(p), std::memory_order_release);
    return false;
  }
  p->m.store(nullptr, std::memory_order_relaxed);
  p->status.store(PStatus::Idle, std::memory_order_release);
  m->p.store(0, std::memory_order_release);
  timeline(Event::Retake, static_cast<uint64_t>(p->id) | timeline_file::kRetakeUnknown);
  return true;
}

// Whether an M looks for work, or would be woken for it.
bool others_look() {
  return sched.n_idle_p.load(std::memory_order_relaxed) + sched.n_spinning.load(std::memory_order_relaxed) != 0;
}

// Gs wait for events, and no M blocks in the poller: it is for sysmon to see that somebody looks (S5 in proc.cpp).
bool poller_is_ours() {
  return poller_waiters.load(std::memory_order_relaxed) != 0 && sched.last_poll.load(std::memory_order_relaxed) != 0;
}

// How soon to look again: when there is need, whether a slice that ends by itself has, for a slice to end, for a short
// call to become a long one, once more at once, at once for some time.
enum class Pace { Idle, Timed, Watch, Brisk, Urgent, Eager };

// One round over all Ps; how soon to look again.
Pace retake(Nanos now) {
  int acted = 0;
  bool waits = false;   // a G waits for a slice to end
  bool timed = false;   // the same, and sysmon need not see to it
  bool behind = false;  // a G waits behind short calls
  bool hogs = false;    // it may have to be interrupted for that
  for (int i = 0; i < sched.procs; i++) {
    P* p = &sched.ps[i];
    PStatus status = p->status.load(std::memory_order_acquire);
    if (status == PStatus::Running) {
      uint64_t tick = p->schedtick.load(std::memory_order_relaxed);
      M* m = p->m.load(std::memory_order_acquire);
      if (!m) continue;
      if (p->seen_schedtick != tick) {
        p->seen_schedtick = tick;
        p->seen_sched_when = now;
        p->seen_cpu = -1;
        p->seen_switches = P::kNotRead;
        look_at_calls(p, m, now);
        hogs = true;  // perhaps
        continue;
      }
      if (m->curg.load(std::memory_order_relaxed) == m->g0) continue;
      if (!others_wait(p)) {  // it may sleep, if it does: nobody wants its P
        p->seen_cpu = -1;
        continue;
      }
      look_at_calls(p, m, now);
      bool by_itself = slice_timed(m, now - p->seen_sched_when);
      if (p->gives_way && !by_itself) {
        if (now - p->seen_sched_when >= kSlice) ask_to_give_way(m);
        waits = true;
        continue;
      }
      Nanos cpu = kernel_cpu_time(m->tid);
      if (p->seen_cpu >= 0 && !by_itself) cpu_sampled(m, cpu - p->seen_cpu);
      bool computing = p->seen_cpu >= 0 && cpu != p->seen_cpu;
      bool had_core = had_a_core(p, cpu, now);
      if (computing || p->seen_cpu < 0) p->seen_computing = now;
      p->seen_cpu = cpu;
      p->seen_cpu_when = now;
      if (!computing && sleeps(p, m, now)) {
        m->curg.load(std::memory_order_acquire)->seen_asleep = now;
        if (retake_unknown(p, m, now)) {
          acted++;
          tally(Counter::retakes);
          handoffp(p);
        }
        continue;
      }
      if (!options.preempt) {
        if (now - p->seen_sched_when >= kSlice) ask_to_give_way(m);
        timed = true;
        continue;
      }
      hogs = true;
      if (by_itself) {
        timed = true;
        continue;
      }
      if (slice_is_over(p, m, now, had_core)) interrupt(m);
      waits = true;
    } else if (status == PStatus::Syscall) {
      uint32_t tick = p->syscalltick.load(std::memory_order_relaxed);
      if (p->seen_syscalltick != tick) {
        p->seen_syscalltick = tick;
        p->seen_syscall_when = now;
        // Short calls in a row would escape for ever from a sysmon that looks every 10 ms, and Gs wait behind them.
        if (!runq_empty(p) || queued_globally()) behind = true;
        continue;
      }
      p->region_stale.store(true, std::memory_order_relaxed);
      // Where nothing waits it is left there: who needs a P takes one whose call is known to be long (wakep,
      // region_leave). But somebody has to block in the poller.
      bool waits_for_it = !runq_empty(p) || (!others_look() && (queued_globally() || poller_is_ours() || any_runq() ||
                                                                sched.surplus.load(std::memory_order_relaxed)));
      if (!waits_for_it && p->seen_syscall_when + kLeftAlone > now) continue;
      if (retake_known(p)) {
        acted++;
        handoffp(p);
      }
    }
  }
  if (sched.urgent_size.load(std::memory_order_relaxed)) return hogs ? Pace::Urgent : Pace::Brisk;
  return acted ? Pace::Eager : behind ? Pace::Brisk : waits ? Pace::Watch : timed ? Pace::Timed : Pace::Idle;
}

// Whether every running P is held by a G that computes: then what comes in must not wait for its turn.
bool all_hogged(Nanos now) {
  for (int i = 0; i < sched.procs; i++) {
    const P* p = &sched.ps[i];
    if (p->status.load(std::memory_order_relaxed) != PStatus::Running) continue;
    bool for_long =
        p->schedtick.load(std::memory_order_relaxed) == p->seen_schedtick && now - p->seen_sched_when >= kHogSlice;
    if (!for_long && !computes(p, now)) return false;
  }
  return true;
}

Nanos longest_sleep(Pace pace, bool timers) {
  Nanos longest = kMaxSleep;
  if (pace == Pace::Timed) longest = timers ? kSlice / 3 : kSlice;
  if (pace == Pace::Watch) longest = kSlice / 3;
  if (pace == Pace::Brisk) longest = kBriskSleep;
  bool thrifty = wakes_are_thrifty() || poller_is_ours();
  return thrifty && longest > kThriftySleep ? kThriftySleep : longest;
}

Nanos next_timer() {
  Nanos next = kForever;
  for (int i = 0; i < sched.procs; i++) {
    P* p = &sched.ps[i];
    Nanos first = p->timers.first.load(std::memory_order_relaxed);
    if (first != kForever && p->gives_way) first += kLate;  // it looks itself: sched_turn()
    if (first < next) next = first;
  }
  return next;
}

// Timers that are due while nobody looks: every P runs something, or the M that woke for them found other work first.
// Their Gs go first (M::urgent).
void run_late_timers(Nanos now, bool due_now) {
  for (int i = 0; i < sched.procs; i++) {
    P* p = &sched.ps[i];
    Nanos due = p->gives_way && due_now ? now - kLate : now;
    if (p->timers.first.load(std::memory_order_relaxed) <= due) timers_run(&p->timers, due);
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
    if (!m || is_sleeper(m, now)) continue;
    if (!longest || p->seen_sched_when < longest->seen_sched_when) longest = p;
  }
  if (!longest || now - longest->seen_sched_when < kHogLeast) return;
  M* m = longest->m.load(std::memory_order_acquire);
  if (!m) return;
  look_at_calls(longest, m, now);
  if (longest->gives_way) {
    ask_to_give_way(m);
    return;
  }
  // As in slice_is_over(): only what has not slept since the last look, which may have been 20 us ago. What has had a
  // core nearly all that time has not, and that can be told at once; to read a file of the kernel takes as long as the
  // rest of the wake-up.
  if (had_a_core(longest, kernel_cpu_time(m->tid), sys::nanotime())) {
    interrupt(m);
    return;
  }
  long switches = voluntary_switches(m->tid);
  bool computes = switches >= 0 && longest->seen_switches == switches;
  longest->seen_switches = switches;
  longest->seen_switches_when = now;
  if (computes && !sleeps(longest, m, now)) interrupt(m);
}

// How late the kernel wakes sysmon, at the least: it follows what is less at once, and what is more slowly. While
// every P is busy a timer waits for that wake-up, and for a signal that interrupts a G after it: so sysmon wakes
// earlier by so much, and looks at the clock for what is left.
class WakeLatency {
 public:
  Nanos early() const { return least_; }
  void note(Nanos late) {
    if (late < 0) return;
    least_ = late < least_ ? late : least_ + (late - least_) / 16;
    if (least_ > kMost) least_ = kMost;
  }

 private:
  static constexpr Nanos kMost = 60 * kMicrosecond;
  Nanos least_ = 0;
};

// Sleeps until then, or until a timer that is due at that time can be run without delay. Returns the time.
Nanos sleep_until(Nanos until, Nanos timer) {
  static WakeLatency latency;
  bool busy = sched.n_idle_p.load(std::memory_order_relaxed) == 0;
  Nanos early = busy && until == timer ? latency.early() : 0;
  Nanos wanted = until - early;
  timespec ts{wanted / kSecond, wanted % kSecond};
  sys::call(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, nullptr);
  Nanos now = sys::nanotime();
  latency.note(now - wanted);
  while (early != 0 && now < until) {
    arch::pause();
    now = sys::nanotime();
  }
  return now;
}

void deep_sleep(Nanos timer) {
  Nanos now = sys::nanotime();
  sched.sysmon_asleep.store(1, std::memory_order_seq_cst);
  // Everything idle, still? S6 in proc.cpp.
  if (sched.n_idle_p.load(std::memory_order_seq_cst) == sched.active.load(std::memory_order_seq_cst)) {
    page_look(now);
    Nanos until = timer;
    // seq_cst, with sysmon_wake(): its mark of the time is seen here, or its 0 comes after our 1.
    Nanos awake = sched.sysmon_woken.load(std::memory_order_seq_cst) + kAwakeAfterWake;
    if (awake > now && awake < until) until = awake;  // a wake that sysmon_wake() held back is made good here
    sys::futex_wait(&sched.sysmon_asleep, 1, until);
  }
  sched.sysmon_asleep.store(0, std::memory_order_relaxed);
}

void sysmon_main(void* may_have) {
  getg()->m.load(std::memory_order_relaxed)->urgent = true;
  if (may_have) take_own_table();
  open_task_dir();
  int idle = 0;
  Pace pace = Pace::Idle;
  Nanos delay = kMinSleep;
  Nanos timer_seen = -kTimersAround;
  Crowd crowd;
  for (;;) {
    if (idle == 0) delay = kMinSleep;
    else if (idle > kEagerRounds && pace != Pace::Urgent) delay *= 2;
    Nanos now = sys::nanotime();
    Nanos timer = next_timer();
    if (timer != kForever) timer_seen = now;
    if (Nanos longest = longest_sleep(pace, now - timer_seen < kTimersAround); delay > longest) delay = longest;
    if (own_table) fetch();
    Nanos recheck = sched.recheck_at.load(std::memory_order_relaxed);
    if (recheck != kRecheckNow && now >= recheck && poller_waiters.load(std::memory_order_relaxed) != 0) {
      sched.recheck_at.store(kRecheckNow, std::memory_order_relaxed);
      if (sched.last_poll.load(std::memory_order_relaxed) == 0) poller_break();
    }
    bool all_idle = sched.n_idle_p.load(std::memory_order_relaxed) == sched.active.load(std::memory_order_relaxed);
    if (all_idle && !poller_is_ours()) {
      Nanos latest = timer == kForever ? kForever : timer + kMillisecond;
      if (poller_waiters.load(std::memory_order_relaxed) != 0 && recheck != kRecheckNow && recheck < latest)
        latest = recheck;
      if (GOSHIM_UNLIKELY(options.deadlock) && latest == kForever) latest = dump_if_asleep(now);
      deep_sleep(latest);
      looked_at = sys::nanotime();
      idle = 0;
      continue;
    }
    Nanos until = now + (pace == Pace::Urgent ? kMinSleep : delay);
    if (timer < until) until = timer > now + kMinSleep ? timer : now + kMinSleep;
    now = sleep_until(until, timer);
    sched.coarse_now.store(now, std::memory_order_relaxed);
    looked_at = until;
    watch_for_debugger(now);
    bool idle_p = sched.n_idle_p.load(std::memory_order_relaxed) != 0;
    run_late_timers(idle_p ? now - kLate : now, !idle_p);
    if (!idle_p) {
      if (sched.urgent_size.load(std::memory_order_relaxed)) preempt_longest(now);
    }
    crowd.look(now);
    pay_owed_wake();
    M* self = getg()->m.load(std::memory_order_relaxed);
    self->urgent = !idle_p && all_hogged(now);
    poll_overdue(now);
    self->urgent = true;
    pace = retake(now);
    if (pace == Pace::Eager) idle = 0;
    else if (pace != Pace::Urgent) idle++;
    page_look(now);
  }
}

}  // namespace

bool stopped_since(Nanos when, Nanos now) {
  constexpr Nanos kStopped = 2 * kMillisecond;
  return now - when > kStopped && traced_by_debugger();
}

bool others_wait(const P* p) {
  return !runq_empty(p) || queued_globally() || sched.surplus.load(std::memory_order_relaxed) ||
         p->timers.first.load(std::memory_order_relaxed) <= sys::nanotime();
}

bool stepped_lately(Nanos now) { return now - stopped_at.load(std::memory_order_relaxed) < kStepped; }

bool kernel_thread_sleeps(int tasks, int tid) { return asleep(task_state(tasks, tid)); }

void sysmon_wake() {
  Nanos now = sys::nanotime();
  sched.coarse_now.store(now, std::memory_order_relaxed);
  Nanos last = sched.sysmon_woken.load(std::memory_order_relaxed);
  if (now - last < kAwakeAfterWake) return;
  if (!sched.sysmon_woken.compare_exchange_strong(last, now, std::memory_order_seq_cst)) return;
  sched.sysmon_asleep.store(0, std::memory_order_seq_cst);
  sys::futex_wake(&sched.sysmon_asleep, 1);
}

void sysmon_after_fork_child() {
  shared_task_dir().drop();  // the parent's
  own_table = false;
  pidfd = -1;
}

void sysmon_start() {
  void* may_have = may_have_own_table() ? &pidfd : nullptr;
  if (!helper_thread_start(sysmon_main, may_have, nullptr)) fatal("cannot start a kernel thread");
}

}  // namespace goshim
