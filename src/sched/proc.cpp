// The scheduler: park, ready, find-runnable, stealing, hand-off, blocking regions, locked Gs, the number of Ps.
//
// An M runs Gs only while it owns a P. A G that parks looks for the next one right on its own stack (quick_next): if
// the P's queue has one, the M switches from G to G, and the g0 is not involved. Everything slower (global queue,
// timers, stealing, sleeping) is done by schedule_loop() on the g0.
//
// The busy hand-over. A G may be readied while it is still on its way out: its waker found it in a wait queue, and its
// M is between park_prepare() and the end of goshim_switch(). No lock is held across the switch for that; instead
// G::busy is 1 until the last register is saved, and whoever resumes a G first waits for 0 (acquire, pairs with the
// release in goshim_switch), on a g0 only: see may_switch_to(). The wait is a few instructions long unless the kernel
// has descheduled that M. Rejected: releasing
// the wait queue's lock after the switch (as Go's gopark unlockf does on g0), which lengthens every critical section
// by a switch and needs the g0 in between.
//
// Invariants of going idle and being woken:
//   S1  n_spinning counts the Ms that are looking for work and have found none. wakep() starts one only if there is
//       none and a P is idle; a spinning M that finds work stops spinning and calls wakep() itself, so wake-ups chain.
//   S2  submit: publish the G in a queue, full barrier, read n_idle_p and n_spinning (ready, g_start). But for what
//       ready() leaves to sysmon: see wake_for_ready().
//   S3  going idle: put the P on the idle list, lower n_spinning, full barrier, look at every queue and timer again.
//       But for runnexts of running Ps that were looked at in vain some times: they are left to sysmon.
//   By S2 and S3 either the submitter sees no spinner (and wakes one), or the idler sees the G.
//       A spinning M that finds work and then sees no idle P in wakep() has lowered n_spinning first: so a submitter
//       that counted on it came before, and an idler that the submitter saw is seen here too. Both accesses are
//       seq_cst.
//   S4  a P on the idle list has an empty queue when it gets there; its timers remain and belong to everybody.
//   S5  the poller: whose P is the last to run blocks in it when he goes idle. While others run, they look into it each
//       time they run out of work, and sysmon does every millisecond if nobody has. An M that goes idle beside them
//       blocks in it too, unless that would wake it for every byte that a running G writes to another: if the last look
//       of a running M is younger than kPollFresh, or the last polls woke no G, it just sleeps. Two Gs that block in
//       the kernel at the same moment may each count on the other's M (sched_alone): then it is sysmon's for a moment.
//   S6  sysmon sleeps for long only when all Ps are idle: it sets sysmon_asleep, then reads n_idle_p (deep_sleep). Who
//       takes a P off the idle list lowers n_idle_p, then reads sysmon_asleep (sysmon_poke). All four are seq_cst.
//
// Invariants of P ownership:
//   P1  a P with status Running belongs to exactly one M, whose m->p it is.
//   P2  a P with status Syscall is linked to the M that entered the region by old_p only; whoever wins the CAS from
//       Syscall owns it: sysmon, who readies a G (wakep), who comes back from the kernel (p_of_blocked). The M may win
//       it back at region exit; that the P was elsewhere meanwhile, or is another M's in a region, does not matter.
//   P3  sysmon takes a P with status Running only from an M asleep in a call that goshim does not know, by the protocol
//       in sysmon.cpp; m_p() is the M's side of it.
//   P4  an M that lost its P runs its G "P-less" until the G meets the scheduler: ready() then uses the global queue,
//       and park, yield and preemption end on the g0, which waits for a P.
//
// Invariants of the number of Ps, which the program may change (set_max_procs):
//   L1  A P is active, and counts against the limit, or it is retired. A retired P is as an idle one, with an empty
//       queue and timers that belong to everybody, but it is not on the idle list: nobody is given it.
//   L2  Under sched.lock, active <= limit or the idle list is empty. Which Ps are retired does not matter: while there
//       is a surplus, whoever passes by with one gives it up (find_runnable, handoffp, pidle_put). A surplus means that
//       two Ps at least are busy, so there is one left for the Gs that a retired one puts on the global queue.
//   L3  Who does not pass by is made to: every 16th switch looks (quick_next), and to sysmon a surplus is like a G that
//       waits: it preempts who has run for a slice, and takes the Ps of who blocks in the kernel.
//   L4  procs only grows, and a P is complete before it is counted. Who scans them twice may meet another one.
//
// Lock order: sched.lock before dead_lock; that and all_lock are leaves. A timer heap's lock is a
// leaf too. Parking-lot buckets come before all of these.
#include "base/options.h"
#include "base/print.h"
#include "base/procs.h"
#include "net/descriptor.h"
#include "net/poller.h"
#include "park/timer.h"
#include "sched/cputime.h"
#include "sched/internal.h"
#include "sched/runq.h"
#include "sched/slice.h"
#include "tcb/tcb.h"
#include "trace/page.h"
#include "trace/timeline.h"

namespace goshim {

__thread Tls goshim_tls __attribute__((tls_model("initial-exec"))) = {};

Sched sched;
std::atomic<bool> runtime_started{false};

namespace {

constexpr uint32_t kGlobalTick = 61;  // every 61st slice starts from the global queue, or two Gs could starve it
constexpr uint32_t kTimerTick = 16;   // quick switches between looks at the clock
constexpr int kStealRounds = 4;
constexpr Nanos kRunnextPause = 3 * kMicrosecond;   // for which a thief leaves a running P's runnext alone
constexpr int kMostRefusals = 4;                    // vain looks at nothing but runnexts
constexpr Nanos kShortCall = 3 * kMicrosecond;      // what is in the kernel for longer has probably gone to sleep there
constexpr Nanos kWorthHandoff = 10 * kMicrosecond;  // a call that takes longer than to wake another M
constexpr Nanos kReturnedWait = 50 * kMicrosecond;  // a G back from the kernel, for a P that others keep
constexpr Nanos kPollFresh = 100 * kMicrosecond;
constexpr uint32_t kFutilePolls = 4;
constexpr Nanos kRecheck = kSecond;   // between looks at what Gs have waited for for long
constexpr uint32_t kFutileWakes = 8;  // wake-ups in vain before ready() becomes thrifty with them
// An M that is out of work again so soon after it was woken could have slept on: the waker's own P would have done that
// in less time than the wake-up took.
constexpr Nanos kWorthOfWake = 20 * kMicrosecond;
// Nor was it worth it where it ran Gs for so short turns only: what they touch has to come over from the other
// processor, which costs more than it gains (a barrier of 64 takes twice as long with two Ps as with one). An M that
// found so much work at one go is believed all the same.
constexpr Nanos kShortTurn = kMicrosecond;
constexpr Nanos kMuchWork = 10 * kMillisecond;
constexpr uint32_t kThriftyEvery = 16384;
constexpr int kFewProcs = 4;  // so many Ps wakep() looks at

uint64_t next_random(P* p) {
  uint64_t x = p->random;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return p->random = x;
}

// -- the page of counters --

// g is about to be readied by who has p, or by one without any.
void note_ready(P* p, G* g) {
  auto reason = static_cast<size_t>(g->wait_reason);
  if (GOSHIM_UNLIKELY(p == nullptr)) {
    counts_outside->readied[reason].fetch_add(1, std::memory_order_relaxed);
    return;
  }
  std::atomic<uint64_t>& readied = p->counts->readied[reason];
  bump(readied);
  if (GOSHIM_UNLIKELY(readied.load(std::memory_order_relaxed) % kLatencySample == 1)) g->ready_at = sys::nanotime();
}

GOSHIM_COLD void note_latency(M* m, G* g) {
  Nanos took = sys::nanotime() - g->ready_at;
  g->ready_at = 0;
  size_t bucket = latency_bucket(took > 0 ? static_cast<uint64_t>(took) : 0);
  if (P* p = m_p(m)) bump(p->counts->latency[bucket]);
  else counts_outside->latency[bucket].fetch_add(1, std::memory_order_relaxed);
}

// One turn of a wait for another kernel thread, which needs a few instructions unless it has lost its core to the
// kernel.
void spin(int* spins) {
  if (++*spins % 256) arch::pause();
  else sys::sched_yield();
}

// -- resuming --

void prepare_resume(M* m, G* g, bool new_slice) {
  if (GOSHIM_UNLIKELY(g->busy.load(std::memory_order_acquire))) wait_busy(g);
  if constexpr (arch::kStaleCode) {
    if (g->m.load(std::memory_order_relaxed) != m) arch::synchronise_code();  // it may have written code over there
  }
  if (GOSHIM_UNLIKELY(g->ready_at != 0)) note_latency(m, g);
  cpu_charge(m);
  g->busy.store(1, std::memory_order_relaxed);
  g->status.store(GStatus::Running, std::memory_order_relaxed);
  g->m.store(m, std::memory_order_relaxed);
  m->curg.store(g, std::memory_order_release);
  if (new_slice) {
    P* p = reinterpret_cast<P*>(m->p.load(std::memory_order_relaxed) & ~kStealing);
    if (p) p->schedtick.store(p->schedtick.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
}

void switch_to_g0(G* g, M* m) {
  cpu_charge(m);
  goshim_switch(&g->ctx, &m->g0->ctx, m->g0->tp, &g->busy, m->tp_cell);
}

// Not from a G to one that is locked to an M, nor to one that is still busy: two Gs that each wait on their way out for
// the other to be off its M would wait for ever (G1 queued on a cond unlocks the mutex that G2 is queued on, G2 has
// just signalled the cond). On a g0 waiting is safe: the G that was left is not busy any more.
bool may_switch_to(const G* next) {
  return next->locked_m == nullptr && next->busy.load(std::memory_order_acquire) == 0;
}

void switch_g_to_g(G* g, M* m, G* next, bool new_slice) {
  prepare_resume(m, next, new_slice);
  goshim_switch(&g->ctx, &next->ctx, next->tp, &g->busy, m->tp_cell);
}

// -- queues --

void put_overflow(P* p, G* g) {
  G* batch[kRunqBatch];
  while (!runq_push(p, g)) {
    uint32_t n = runq_take_half(p, batch);
    if (n == 0) continue;
    LockGuard guard(sched.lock);
    for (uint32_t i = 0; i < n; i++) global_put(batch[i]);
    global_put(g);
    return;
  }
}

void put_tail(P* p, G* g) {
  if (GOSHIM_UNLIKELY(!runq_push(p, g))) put_overflow(p, g);
}

void put_next(P* p, G* g) {
  if (G* displaced = next_put(p, g)) put_tail(p, displaced);
}

// The local queue's next G; *inherit says that it goes on in the current slice.
G* local_get(P* p, bool* inherit) {
  if (G* next = next_take(p)) {
    *inherit = true;
    return next;
  }
  *inherit = false;
  return runq_pop(p);
}

// A batch from the global queue: one to return, the rest to p's ring. sched.lock held.
G* global_get(P* p, uint32_t max) {
  uint32_t n = sched.runq.size / static_cast<uint32_t>(sched.limit.load(std::memory_order_relaxed)) + 1;
  if (n > sched.runq.size) n = sched.runq.size;
  if (max && n > max) n = max;
  if (n > kRunqBatch) n = kRunqBatch;
  if (n == 0) return nullptr;
  G* g = sched.runq.pop();
  uint32_t moved = 1;
  for (G* more; moved < n && (more = sched.runq.head) != nullptr;) {
    G* after = more->schedlink;  // read first: once pushed, a thief may run it
    if (!runq_push(p, more)) break;
    sched.runq.head = after;
    if (!after) sched.runq.tail = nullptr;
    sched.runq.size--;
    moved++;
  }
  sched.runq_size.store(sched.runq.size, std::memory_order_relaxed);
  if (sched.returned_since.load(std::memory_order_relaxed) != 0)
    sched.returned_since.store(sched.runq.size ? sys::nanotime() : 0, std::memory_order_relaxed);
  return g;
}

G* urgent_get() {
  if (sched.urgent_size.load(std::memory_order_relaxed) == 0) return nullptr;
  LockGuard guard(sched.lock);
  G* g = sched.urgent.pop();
  sched.urgent_size.store(sched.urgent.size, std::memory_order_relaxed);
  return g;
}

bool global_turn(const P* p) {
  return static_cast<uint32_t>(p->schedtick.load(std::memory_order_relaxed)) % kGlobalTick == 0;
}

// What the P's own queue offers without leaving the G's stack; null when anything else may have to come first.
G* quick_next(P* p, bool* inherit) {
  if (GOSHIM_UNLIKELY(sched.urgent_size.load(std::memory_order_relaxed) != 0)) return nullptr;
  if (GOSHIM_UNLIKELY(global_turn(p) && sched.runq_size.load(std::memory_order_relaxed) != 0)) {
    return nullptr;
  }
  uint32_t looks = p->looks.load(std::memory_order_relaxed) + 1;
  p->looks.store(looks, std::memory_order_relaxed);
  if (looks % kTimerTick == 0) {
    if (GOSHIM_UNLIKELY(sched.surplus.load(std::memory_order_relaxed))) return nullptr;  // L3
    Nanos first = p->timers.first.load(std::memory_order_relaxed);
    if (first != kForever && first <= sys::nanotime()) return nullptr;
  }
  return local_get(p, inherit);
}

// -- P ownership --

void acquirep(M* m, P* p) {
  p->m.store(m, std::memory_order_relaxed);
  p->status.store(PStatus::Running, std::memory_order_release);
  m->p.store(reinterpret_cast<uintptr_t>(p), std::memory_order_release);
  timeline(Event::ProcStart);
}

P* releasep(M* m) {
  timeline(Event::ProcStop);
  P* p = m_p(m);
  m->p.store(0, std::memory_order_relaxed);
  p->m.store(nullptr, std::memory_order_relaxed);
  p->status.store(PStatus::Idle, std::memory_order_release);
  return p;
}

// -- Ms going to sleep and waking --

void midle_put(M* m) {
  m->sched_link = sched.idle_m;
  sched.idle_m = m;
  sched.n_idle_m.store(sched.n_idle_m.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

M* midle_get() {
  M* m = sched.idle_m;
  if (m) {
    sched.idle_m = m->sched_link;
    sched.n_idle_m.store(sched.n_idle_m.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  }
  return m;
}

// release: next_p and spinning, written before, are seen by m_sleep() (acquire).
void m_wake(M* m) {
  m->park_word.store(0, std::memory_order_release);
  sys::futex_wake(&m->park_word, 1);
}

void note_awake(M* m) {
  m->awake_since = sys::nanotime();
  m->stole_next = false;
  m->awake_p = nullptr;
}

void m_sleep(M* m) {
  while (m->park_word.load(std::memory_order_acquire) != 0) sys::futex_wait(&m->park_word, 1);
  note_awake(m);
  if (m->next_p) {
    P* p = m->next_p;
    m->next_p = nullptr;
    acquirep(m, p);
    m->awake_p = p;
    m->awake_looks = p->looks.load(std::memory_order_relaxed);
  }
}

// Without a P and without work: on the idle list until startm hands over a P.
void stopm(M* m) {
  m->park_word.store(1, std::memory_order_relaxed);
  {
    LockGuard guard(sched.lock);
    midle_put(m);
  }
  m_sleep(m);
}

// -- locked Gs --

// P is the caller's and on no list: to the M that is locked to g, which is runnable and on no queue.
void give_to_locked_m(P* p, G* g) {
  M* owner = g->locked_m;
  owner->next_p = p;
  m_wake(owner);
}

// The M of a locked G waits here, without a P, until somebody who found that G runnable hands his P over.
void stop_locked_m(M* m) {
  // park_word was set before the G could be found (park_switch, yield): nothing is lost in between.
  if (P* p = m_p(m)) {
    bool inherit;
    // If another locked G is next, an M that looked into the queue would only pass the P on. But two of them that work
    // in turns, each time in a slice of its own, must leave the others theirs: the global queue, and the ring.
    bool turn = global_turn(p);
    if (turn) {
      if (G* first = runq_pop(p)) put_next(p, first);
    }
    bool others = sched.urgent_size.load(std::memory_order_relaxed) != 0 ||
                  sched.surplus.load(std::memory_order_relaxed) ||
                  (turn && sched.runq_size.load(std::memory_order_relaxed) != 0);
    G* next = others ? nullptr : local_get(p, &inherit);
    bool locked = next && next->locked_m;
    if (next && !locked) put_next(p, next);
    releasep(m);
    if (locked) give_to_locked_m(p, next);
    else handoffp(p);
  }
  m_sleep(m);
}

// Found a runnable G that is locked to another M: give it our P.
void start_locked_m(M* m, G* g) {
  P* p = releasep(m);
  give_to_locked_m(p, g);
  stopm(m);
}

// -- find-runnable --

Nanos run_timers(P* p) {
  Nanos first = p->timers.first.load(std::memory_order_relaxed);
  if (first == kForever) return kForever;
  Nanos now = sys::nanotime();
  if (first > now) return first;
  return timers_run(&p->timers, now);
}

// Steals for p, the caller's. The last round also takes runnext and runs the victims' timers.
G* steal(M* m, P* p) {
  for (int round = 0; round < kStealRounds; round++) {
    bool last = round == kStealRounds - 1;
    auto procs = static_cast<uint32_t>(sched.procs.load(std::memory_order_acquire));
    uint32_t pos = static_cast<uint32_t>(next_random(p) % procs);
    // Strides coprime to the number of Ps visit each once, in an order that differs from thief to thief.
    uint32_t stride = 1;
    if (procs > 2) {
      stride = static_cast<uint32_t>(next_random(p) % procs) | 1;
      for (;; stride += 2) {
        uint32_t a = stride % procs, b = procs;
        while (a) {
          uint32_t t = b % a;
          b = a;
          a = t;
        }
        if (b == 1) break;
      }
    }
    for (uint32_t i = 0; i < procs; i++, pos = (pos + stride) % procs) {
      P* victim = &sched.ps[pos];
      if (victim == p) continue;
      G* batch[kRunqBatch];
      uint32_t n = runq_grab(victim, batch);
      if (n) {
        timeline_steal(victim, n);
        for (uint32_t k = 0; k + 1 < n; k++) put_tail(p, batch[k]);
        return batch[n - 1];
      }
      if (!last) continue;
      Nanos first = victim->timers.first.load(std::memory_order_relaxed);
      if (first != kForever && first <= sys::nanotime()) {
        timers_run(&victim->timers, sys::nanotime());
        bool inherit;
        if (G* g = local_get(p, &inherit)) return g;
      }
      if (victim->runnext.load(std::memory_order_relaxed) == 0) continue;
      if (victim->status.load(std::memory_order_relaxed) == PStatus::Running) {
        // The victim is likely about to park and run it itself: taking it now would move a pair that works together
        // apart. Only what has waited for the whole pause behind one and the same G is taken.
        uint32_t looks = victim->looks.load(std::memory_order_relaxed);
        for (Nanos end = sys::nanotime() + kRunnextPause; sys::nanotime() < end;) arch::pause();
        if (victim->looks.load(std::memory_order_relaxed) != looks) continue;
      }
      if (G* next = next_steal(victim)) {
        m->stole_next = true;
        timeline_steal(victim, 1);
        return next;
      }
    }
  }
  return nullptr;
}

// Whether all that is queued is runnext of Ps that run Gs.
bool only_runnexts() {
  for (int i = 0; i < sched.procs; i++) {
    const P* p = &sched.ps[i];
    if (runq_empty(p)) continue;
    uint32_t head = p->runq_head.load(std::memory_order_acquire);
    if (head != p->runq_tail.load(std::memory_order_acquire)) return false;
    if (p->status.load(std::memory_order_relaxed) != PStatus::Running) return false;
  }
  return true;
}

Nanos earliest_timer() {
  Nanos first = kForever;
  for (int i = 0; i < sched.procs; i++) {
    Nanos when = sched.ps[i].timers.first.load(std::memory_order_seq_cst);
    if (when < first) first = when;
  }
  return first;
}

// S5
bool any_running() {
  for (int i = 0; i < sched.procs; i++) {
    if (sched.ps[i].status.load(std::memory_order_acquire) == PStatus::Running) return true;
  }
  return false;
}

bool polled_lately(Nanos now) { return now - sched.last_poll.load(std::memory_order_relaxed) < kPollFresh; }

// Takes what has come in, unless an M blocks in the poller for it. How many Gs it woke.
int look_at_poller() {
  if (poller_waiters.load(std::memory_order_relaxed) == 0) return 0;
  Nanos polled = sched.last_poll.load(std::memory_order_seq_cst);
  if (polled == 0) return 0;
  int found = poller_look();
  // Unless one has begun to block meanwhile.
  sched.last_poll.compare_exchange_strong(polled, sys::nanotime(), std::memory_order_seq_cst);
  return found;
}

void start_spinning(M* m) {
  if (!m->spinning) {
    m->spinning = true;
    sched.n_spinning.fetch_add(1, std::memory_order_seq_cst);
  }
}

// One off the idle list, which is the caller's then, or null.
P* take_idle_p() {
  P* p;
  {
    LockGuard guard(sched.lock);
    p = pidle_get();
  }
  if (p) sysmon_poke();  // S6
  return p;
}

P* idle_p_for(M* m) {
  P* p = take_idle_p();
  if (p) acquirep(m, p);
  return p;
}

void recheck() {
  Nanos now = sys::nanotime();
  Nanos next = records_recheck(now);
  sched.recheck_at.store(next == kForever ? now + kRecheck : next, std::memory_order_relaxed);
}

// L2. p is the caller's, and m's if one is given. True if p is retired now.
bool retire(P* p, M* m) {
  {
    LockGuard guard(sched.lock);
    if (!sched.surplus.load(std::memory_order_relaxed)) return false;
    if (m) releasep(m);
    bool inherit;
    while (G* g = local_get(p, &inherit)) global_put(g);
    p->m.store(nullptr, std::memory_order_relaxed);
    p->status.store(PStatus::Idle, std::memory_order_release);
    pidle_put(p);
  }
  if (m && m->spinning) {
    m->spinning = false;
    sched.n_spinning.fetch_sub(1, std::memory_order_seq_cst);
  }
  // For its Gs, and for the case that the limit was raised while wakep() counted on this spinning M.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  wakep();
  return true;
}

// m has found nothing since it ran out of work, with p then. Was it worth the wake-up?
void note_worth_of_wake(const M* m, const P* p, Nanos out_of_work) {
  Nanos worked = out_of_work - m->awake_since;
  uint32_t turns = p == m->awake_p ? p->looks.load(std::memory_order_relaxed) - m->awake_looks : 0;
  if (worked < kWorthOfWake || (worked < kMuchWork && worked < turns * kShortTurn)) {
    sched.n_futile.fetch_add(1, std::memory_order_relaxed);
    tally(nullptr, Counter::futile_wakes);
  } else if (!m->stole_next) {  // one of a pair that works in turns is no sign of work for two
    sched.n_futile.store(0, std::memory_order_relaxed);
  }
}

// Blocks until there is a G to run. Called with a P, returns with a P (perhaps another).
G* find_runnable(M* m) {
  Nanos out_of_work = 0;  // when it began to look at other Ps
  for (int refusals = 0;;) {
    P* p = m_p(m);
    if (GOSHIM_UNLIKELY(sched.surplus.load(std::memory_order_relaxed)) && retire(p, m)) {
      stopm(m);
      continue;
    }
    if (GOSHIM_UNLIKELY(sched.recheck_at.load(std::memory_order_relaxed) == kRecheckNow)) recheck();
    Nanos until = run_timers(p);
    if (G* g = urgent_get()) return g;
    if (global_turn(p) && sched.runq_size.load(std::memory_order_relaxed)) {
      LockGuard guard(sched.lock);
      if (G* g = global_get(p, 1)) return g;
    }
    bool inherit;
    if (G* g = local_get(p, &inherit)) return g;
    if (sched.runq_size.load(std::memory_order_relaxed)) {
      LockGuard guard(sched.lock);
      if (G* g = global_get(p, 0)) return g;
    }
    if (look_at_poller() != 0) {
      if (G* g = local_get(p, &inherit)) return g;
    }
    int idle = sched.n_idle_p.load(std::memory_order_relaxed);
    if (m->spinning ||
        2 * sched.n_spinning.load(std::memory_order_relaxed) < sched.active.load(std::memory_order_relaxed) - idle) {
      start_spinning(m);
      if (out_of_work <= m->awake_since) out_of_work = sys::nanotime();
      tally(p, Counter::steal_tries);
      if (G* g = steal(m, p)) {
        tally(p, Counter::steals);
        return g;
      }
    }
    // Nothing: give the P up.
    {
      LockGuard guard(sched.lock);
      if (sched.runq.size) {
        if (G* g = global_get(p, 0)) return g;
      }
      if (sched.urgent.size) continue;
      releasep(m);
      pidle_put(p);
    }
    // S3: from here on wakers do not count on us, so what came in before is looked for once more.
    bool was_spinning = m->spinning;
    if (was_spinning) {
      m->spinning = false;
      sched.n_spinning.fetch_sub(1, std::memory_order_seq_cst);
      note_worth_of_wake(m, p, out_of_work);
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (any_runq() || queued_globally()) {
      if (!queued_globally() && only_runnexts() && ++refusals >= kMostRefusals) {
        // Gs that work in turns on a P of their own: a G is always ready there, and never for long enough to be taken.
        // As in wake_for_ready(): their P is running.
        sched.wake_owed.store(true, std::memory_order_relaxed);
      } else if (idle_p_for(m)) {
        if (was_spinning) start_spinning(m);
        continue;
      }
    }
    Nanos first = earliest_timer();
    if (first < until) until = first;
    if (until <= sys::nanotime()) {
      if (idle_p_for(m)) continue;
    }
    bool attend = true;
    if (until == kForever && poller_waiters.load(std::memory_order_relaxed) != 0) {
      bool often =
          polled_lately(sys::nanotime()) || sched.n_futile_polls.load(std::memory_order_relaxed) >= kFutilePolls;
      attend = !often || !any_running();
    }
    Nanos polled = attend ? sched.last_poll.exchange(0, std::memory_order_seq_cst) : 0;
    if (polled != 0) {
      // We are the one that sleeps in the poller. poll_until is set before the timers are looked at again, so that
      // who adds an earlier one either is seen here or sees poll_until (wake_poller).
      sched.poll_until.store(until, std::memory_order_seq_cst);
      first = earliest_timer();
      if (first < until) until = first;
      PollerEvents events;
      poller_wait(until, &events);
      note_awake(m);
      sched.poll_until.store(0, std::memory_order_seq_cst);
      sched.last_poll.store(sys::nanotime(), std::memory_order_seq_cst);
      P* got = idle_p_for(m);
      if (poller_dispatch(events) != 0) sched.n_futile_polls.store(0, std::memory_order_relaxed);
      else if (events.count) sched.n_futile_polls.fetch_add(1, std::memory_order_relaxed);
      // It may be another P than the one whose timer is due. Without one, who is woken here gets that of a long call.
      Nanos now = sys::nanotime();
      for (int i = 0; i < sched.procs; i++) {
        TimerHeap* h = &sched.ps[i].timers;
        if (h->first.load(std::memory_order_relaxed) <= now) timers_run(h, now);
      }
      if (got) continue;
    } else if (until != kForever) {
      Nanos theirs = sched.poll_until.load(std::memory_order_seq_cst);
      if (theirs == 0 || theirs > until) poller_break();
    }
    stopm(m);
  }
}

void reset_spinning(M* m) {
  m->spinning = false;
  sched.n_spinning.fetch_sub(1, std::memory_order_seq_cst);
  wakep();  // S1: the chain
}

bool wakes_are_futile() { return sched.n_futile.load(std::memory_order_relaxed) >= kFutileWakes; }

// Whether the caller is an M that looks for work.
bool on_g0() {
  const G* g = getg();
  return g && g == g->m.load(std::memory_order_relaxed)->g0;
}

// The wake-up of ready(). Waking a core costs more than a hundred hand-overs. Where Gs work in turns (a lock, a pair)
// the woken M finds nothing, and where they meet often (a barrier) too little; where other programs use the processors
// (crowd.h) there is none for it, and an M that has just found the Gs itself (in the poller) is going to run them. So
// after some futile wake-ups in a row, and there, hardly any is done: they are left to sysmon, which then looks every
// millisecond, and to who takes his P into a long call. This bends S2 (its barrier would be half of a hand-over's
// cost), and is safe because the caller's P is running: the G will run there at the latest when the slice ends.
void wake_for_ready(P* p) {
  if (sched.limit.load(std::memory_order_relaxed) == 1) return;  // it is ours; who raises the limit wakes
  if ((wakes_are_futile() || (sched.crowded.load(std::memory_order_relaxed) && on_g0())) &&
      sched.n_idle_p.load(std::memory_order_relaxed) != 0 && ++p->wakes_skipped % kThriftyEvery != 0) {
    if (!sched.wake_owed.load(std::memory_order_relaxed)) sched.wake_owed.store(true, std::memory_order_relaxed);
    return;
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);  // S2
  wakep();
}

}  // namespace

// acquire: pairs with the stlr or plain store at the end of goshim_switch(); all that the G had saved and done is seen.
void wait_busy(const G* g) {
  int spins = 0;
  while (g->busy.load(std::memory_order_acquire)) spin(&spins);
}

bool any_runq() {
  for (int i = 0; i < sched.procs; i++) {
    if (!runq_empty(&sched.ps[i])) return true;
  }
  return false;
}

P* m_p_slow(M* m) {
  uintptr_t v;
  int spins = 0;
  while ((v = m->p.load(std::memory_order_acquire)) & kStealing) spin(&spins);
  return reinterpret_cast<P*>(v);
}

// L1. Takes an idle P, which is on no list, out of the count. sched.lock held.
static void p_retire(P* p) {
  p->idle_link = sched.retired;
  sched.retired = p;
  int active = sched.active.load(std::memory_order_relaxed) - 1;
  sched.active.store(active, std::memory_order_relaxed);
  sched.surplus.store(active > sched.limit.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

void global_put(G* g) {
  sched.runq.push(g);
  sched.runq_size.store(sched.runq.size, std::memory_order_relaxed);
}

void pidle_put(P* p) {
  if (GOSHIM_UNLIKELY(sched.surplus.load(std::memory_order_relaxed))) {
    p_retire(p);
    return;
  }
  p->idle_link = sched.idle_p;
  sched.idle_p = p;
  sched.n_idle_p.fetch_add(1, std::memory_order_seq_cst);
}

P* pidle_get() {
  P* p = sched.idle_p;
  if (p) {
    sched.idle_p = p->idle_link;
    sched.n_idle_p.fetch_sub(1, std::memory_order_seq_cst);  // S6
  }
  return p;
}

void startm(P* p, bool spinning) {
  M* m;
  {
    LockGuard guard(sched.lock);
    if (!p) p = pidle_get();
    m = p ? midle_get() : nullptr;
  }
  if (!p) {
    if (!spinning) return;
    sched.n_spinning.fetch_sub(1, std::memory_order_seq_cst);
    // Who submitted meanwhile has counted on a spinning M that there is not; a P may have become idle for him.
    if (sched.n_idle_p.load(std::memory_order_seq_cst) != 0) wakep();
    return;
  }
  sysmon_poke();  // S6
  tally(Counter::wakes);
  if (!m) {
    newm(p, spinning);
    return;
  }
  m->spinning = spinning;
  m->next_p = p;
  m_wake(m);
}

bool retake_known(P* p) {
  PStatus in_region = PStatus::Syscall;
  if (!p->status.compare_exchange_strong(in_region, PStatus::Idle, std::memory_order_acq_rel)) return false;
  tally(Counter::retakes);
  timeline(Event::Retake, static_cast<uint64_t>(p->id));
  return true;
}

// Of the call that p's M is in.
static bool call_lasts(const P* p) {
  return p->region_long.load(std::memory_order_relaxed) || p->region_stale.load(std::memory_order_relaxed);
}

void wakep() {
  // seq_cst, which on many processors is a plain load: who has just lowered n_spinning (S1) must not have read this
  // before. Who comes from a submit has made his fence (S2).
  if (sched.n_idle_p.load(std::memory_order_seq_cst) == 0) {
    // D8: a P whose M has been in a blocking region for long is as good as an idle one. With many Ps a few are looked
    // at, from a random place: the next ready() looks at others, and sysmon at all.
    int procs = sched.procs.load(std::memory_order_acquire);
    bool few = procs <= kFewProcs;
    int looks = few ? procs : kFewProcs;
    auto start = few ? 0 : static_cast<int>(arch::cycles() % static_cast<uint64_t>(procs));
    for (int i = 0; i < looks; i++) {
      P* p = &sched.ps[few ? i : (start + i) % procs];
      if (p->status.load(std::memory_order_relaxed) != PStatus::Syscall) continue;
      if (call_lasts(p) && retake_known(p)) {
        startm(p, false);
        return;
      }
    }
    return;
  }
  int none = 0;
  if (sched.n_spinning.load(std::memory_order_relaxed) != 0 ||
      !sched.n_spinning.compare_exchange_strong(none, 1, std::memory_order_seq_cst)) {
    return;
  }
  startm(nullptr, true);
}

bool wakes_are_thrifty() { return wakes_are_futile() || sched.crowded.load(std::memory_order_relaxed); }

void pay_owed_wake() {
  if (sched.wake_owed.exchange(false, std::memory_order_relaxed) && any_runq()) wakep();
}

// What it has goes to the global queue, and it to the first M that comes back from the kernel.
void p_without_m(P* p, bool spinning) {
  if (spinning) sched.n_spinning.fetch_sub(1, std::memory_order_seq_cst);
  LockGuard guard(sched.lock);
  bool inherit;
  while (G* g = local_get(p, &inherit)) global_put(g);
  p->m.store(nullptr, std::memory_order_relaxed);
  p->status.store(PStatus::Idle, std::memory_order_release);
  pidle_put(p);
}

// Whether p's M would find a G without a look at other Ps.
static bool others_queue(const P* p) { return !runq_empty(p) || queued_globally(); }

void handoffp(P* p) {
  tally(Counter::handoffs);
  if (GOSHIM_UNLIKELY(sched.surplus.load(std::memory_order_relaxed)) && retire(p, nullptr)) return;
  if (others_queue(p)) {
    startm(p, false);
    return;
  }
  int none = 0;
  // Other Ps may have more than they can do; what they get from here on is theirs to see to (S3 below).
  if (sched.n_spinning.load(std::memory_order_relaxed) + sched.n_idle_p.load(std::memory_order_relaxed) == 0 &&
      any_runq() && sched.n_spinning.compare_exchange_strong(none, 1, std::memory_order_seq_cst)) {
    startm(p, true);
    return;
  }
  Nanos when;
  {
    LockGuard guard(sched.lock);
    bool work = sched.runq.size || sched.urgent.size;
    bool last = sched.n_idle_p.load(std::memory_order_relaxed) == sched.active.load(std::memory_order_relaxed) - 1 &&
                sched.last_poll.load(std::memory_order_relaxed) != 0;
    if (!work && !last) {
      p->m.store(nullptr, std::memory_order_relaxed);
      p->status.store(PStatus::Idle, std::memory_order_release);
      pidle_put(p);
      p = nullptr;
    }
    when = earliest_timer();
  }
  if (p) {
    startm(p, false);
    return;
  }
  if (when != kForever) wake_poller(when);
  std::atomic_thread_fence(std::memory_order_seq_cst);  // S3
  if (any_runq() || queued_globally()) wakep();
}

void wake_poller(Nanos when) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (sched.last_poll.load(std::memory_order_seq_cst) == 0) {
    Nanos until = sched.poll_until.load(std::memory_order_seq_cst);
    if (until == 0 || until > when) poller_break();
  } else {
    wakep();
  }
}

void poll_overdue(Nanos now) {
  if (poller_waiters.load(std::memory_order_relaxed) == 0) return;
  Nanos polled = sched.last_poll.load(std::memory_order_relaxed);
  if (polled == 0 || now - polled < kPollFresh) return;
  if (look_at_poller() != 0) sched.n_futile_polls.store(0, std::memory_order_relaxed);
  if (!any_running()) wakep();  // all that ran are in the kernel: somebody is to block in the poller
}

void sched_turn() {
  if (getg()->region_depth != 0) return;
  bool others;
  {
    NoPreempt off;
    P* p = m_p(current_m());
    bool poll =
        poller_waiters.load(std::memory_order_relaxed) != 0 && sched.last_poll.load(std::memory_order_relaxed) != 0;
    Nanos timer = p ? p->timers.first.load(std::memory_order_relaxed) : kForever;
    if (poll || timer != kForever) {
      Nanos now = sys::nanotime();
      if (poll && !polled_lately(now)) look_at_poller();
      if (timer <= now) timers_run(&p->timers, now);
    }
    // A slice that is timed ends by itself; what computes for all of its own would gain by turns that end earlier.
    others = p && !current_m()->slice_timed.load(std::memory_order_relaxed) &&
             (!runq_empty(p) || sched.runq_size.load(std::memory_order_relaxed) != 0);
  }
  if (others) yield();
}

// Whether wakep() is sure to take one: an idle P, or, where it looks at all, one of a long call.
static bool can_wake() {
  if (sched.n_idle_p.load(std::memory_order_relaxed) != 0) return true;
  int procs = sched.procs.load(std::memory_order_acquire);
  for (int i = 0; i < procs && procs <= kFewProcs; i++) {
    const P& p = sched.ps[i];
    if (p.status.load(std::memory_order_relaxed) == PStatus::Syscall && p.region_long.load(std::memory_order_relaxed))
      return true;
  }
  return false;
}

bool sched_alone(bool one_of_few, bool may_wake) {
  NoPreempt off;
  M* m = current_m();
  P* p = m_p(m);
  if (!p || others_queue(p)) return false;
  if (poller_waiters.load(std::memory_order_relaxed) == 0 && earliest_timer() == kForever) return true;
  if (!one_of_few) return false;
  if (sched.last_poll.load(std::memory_order_relaxed) == 0) return true;  // an M does all that
  for (int i = 0; i < sched.procs; i++) {
    if (&sched.ps[i] != p && sched.ps[i].status.load(std::memory_order_acquire) == PStatus::Running) return true;  // S5
  }
  if (!may_wake || !can_wake()) return false;
  wakep();
  return true;
}

bool sched_slept(Nanos since, Nanos within) {
  NoPreempt off;
  Nanos after = current_m()->awake_since - since;
  return after > 0 && after < within;
}

// -- park and ready --

static void region_leave(G* g);

void park_prepare(WaitReason reason) {
  G* g = getg();
  if (GOSHIM_UNLIKELY(g->region_depth != 0)) {  // a callback of a call that was thought to only block
    g->region_depth = 0;
    region_leave(g);
  }
  g->wait_reason = reason;
  g->wait_since = sched.coarse_now.load(std::memory_order_relaxed);
  if (GOSHIM_UNLIKELY(g->locked_m != nullptr)) g->locked_m->park_word.store(1, std::memory_order_relaxed);
  g->status.store(GStatus::Waiting, std::memory_order_release);
}

// The running G leaves its M; its status says for what.
static void leave() {
  G* g = getg();
  M* m = g->m.load(std::memory_order_relaxed);
  P* p = m_p(m);
  if (GOSHIM_LIKELY(p != nullptr && g->locked_m == nullptr)) {
    bool inherit;
    G* next = quick_next(p, &inherit);
    if (next == g) {  // readied already: nothing happened
      timeline(Event::NotBlocked);
      g->status.store(GStatus::Running, std::memory_order_relaxed);
      if (GOSHIM_UNLIKELY(g->ready_at != 0)) note_latency(m, g);
      return;
    }
    if (GOSHIM_LIKELY(next != nullptr && may_switch_to(next))) {
      if (inherit) tally(p, Counter::inherits);
      timeline_block(m, g, next);
      switch_g_to_g(g, m, next, !inherit);
      return;
    }
    m->handed_g = next;
  }
  timeline_block(m, g, nullptr);
  switch_to_g0(g, m);
}

void park_switch() {
  G* g = getg();
  auto reason = static_cast<size_t>(g->wait_reason);
  if (P* p = m_p(g->m.load(std::memory_order_relaxed))) bump(p->counts->parks[reason]);
  else counts_outside->parks[reason].fetch_add(1, std::memory_order_relaxed);
  leave();
}

// Gs that time or I/O made ready while hogs hold every P run before the queues. sched.lock held.
static void urgent_put(G* g) {
  sched.urgent.push(g);
  sched.urgent_size.store(sched.urgent.size, std::memory_order_relaxed);
}

// Such a one that sysmon readies. No lock held.
static void ready_urgent(G* g) {
  {
    LockGuard guard(sched.lock);
    urgent_put(g);
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);  // S2
  wakep();
}

// g is about to be put into a queue by the owner of p (null: by nobody's).
static void make_runnable(P* p, G* g) {
  note_ready(p, g);
  timeline_ready(g);
  g->status.store(GStatus::Runnable, std::memory_order_release);
}

// A G that only one kernel thread may run, which has to be woken in any case, gets an idle P for it. False if there is
// none.
GOSHIM_COLD static bool start_locked(G* g) {
  P* p = take_idle_p();
  if (!p) return false;
  tally(Counter::wakes);
  give_to_locked_m(p, g);
  return true;
}

void ready(G* g) {
  G* self = getg();
  P* p = self ? m_p(self->m.load(std::memory_order_relaxed)) : nullptr;
  make_runnable(p, g);
  if (GOSHIM_UNLIKELY(g->locked_m != nullptr) && sched.n_idle_p.load(std::memory_order_relaxed) != 0 && start_locked(g))
    return;
  if (GOSHIM_LIKELY(p != nullptr)) {
    put_next(p, g);
    wake_for_ready(p);
    return;
  } else if (self && self->m.load(std::memory_order_relaxed)->urgent) {
    ready_urgent(g);
    return;
  } else {
    LockGuard guard(sched.lock);
    global_put(g);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  wakep();
}

void run_before_wait(G* g) {
  NoPreempt guard;
  P* p = m_p(current_m());
  if (!p || !runq_take_last(p, g)) return;
  // What was to be next remains it after g, and the ring's last is again what was made last.
  G* displaced = next_put(p, g);
  if (displaced && !runq_push_front(p, displaced)) put_tail(p, displaced);
}

void ready_many(G** gs, int n) {
  if (n == 0) return;
  P* p = current_p();
  for (int i = 0; i < n; i++) make_runnable(p, gs[i]);
  if (GOSHIM_LIKELY(p != nullptr)) {
    for (int i = 0; i < n; i++) put_tail(p, gs[i]);
    wake_for_ready(p);
    return;
  }
  {
    LockGuard guard(sched.lock);
    for (int i = 0; i < n; i++) global_put(gs[i]);
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);  // S2
  wakep();
}

void yield() {
  NoPreempt guard;
  G* g = getg();
  if (GOSHIM_UNLIKELY(g->region_depth != 0)) return;  // it has no P that others could use
  M* m = g->m.load(std::memory_order_relaxed);
  P* p = m_p(m);
  if (GOSHIM_UNLIKELY(g->locked_m != nullptr) && p && !others_queue(p) && !any_runq()) {
    region_syscall(RegionClass::Short, SYS_sched_yield);
    return;
  }
  if (GOSHIM_UNLIKELY(p == nullptr || g->locked_m != nullptr)) {
    sched_preempted(StopReason::Yield);
    return;
  }
  bool inherit;
  G* next = quick_next(p, &inherit);
  if (!next) {
    // Others' queues: a thread that spins with sched_yield may wait for a G that sits behind a busy one.
    if (queued_globally() || p->timers.first.load(std::memory_order_relaxed) != kForever ||
        sched.surplus.load(std::memory_order_relaxed)) {
      sched_preempted(StopReason::Yield);
      return;
    }
    for (int i = 0; i < sched.procs && !next; i++) {
      P* victim = &sched.ps[i];
      if (victim == p || runq_length(victim) == 0) continue;
      G* batch[kRunqBatch];
      uint32_t n = runq_grab(victim, batch);
      if (n == 0) continue;
      timeline_steal(victim, n);
      next = batch[n - 1];
      for (uint32_t k = 0; k + 1 < n; k++) put_tail(p, batch[k]);
    }
    if (!next) return;
  }
  g->status.store(GStatus::Runnable, std::memory_order_release);
  put_tail(p, g);
  if (GOSHIM_UNLIKELY(!may_switch_to(next))) {
    m->handed_g = next;
    timeline(Event::Stop, StopReason::Yield);
    switch_to_g0(g, m);
    return;
  }
  timeline_yield(m, next);
  switch_g_to_g(g, m, next, true);
}

// A G that is preempted goes on where its data is cached, if it gets its share there too: where nobody waits for
// whichever P comes first, and no other P has fewer to run.
static bool stays_at(const P* p) {
  if (queued_globally() || sched.n_idle_p.load(std::memory_order_relaxed) != 0 ||
      sched.surplus.load(std::memory_order_relaxed)) {
    return false;
  }
  uint32_t length = runq_length(p);
  if (length == 0) return false;
  for (int i = 0; i < sched.procs; i++) {
    const P* other = &sched.ps[i];
    if (other->status.load(std::memory_order_relaxed) == PStatus::Idle) continue;  // retired
    if (runq_length(other) < length) return false;
  }
  return true;
}

void sched_preempted(StopReason why) {
  G* g = getg();
  if (g->region_depth != 0) return;
  M* m = g->m.load(std::memory_order_relaxed);
  timeline(Event::Stop, why);
  if (why == StopReason::Preempted) g->interrupted_at.store(sys::nanotime(), std::memory_order_relaxed);
  if (g->locked_m) g->locked_m->park_word.store(1, std::memory_order_relaxed);
  g->status.store(GStatus::Runnable, std::memory_order_release);
  P* p = m_p(m);
  if (p && m->preempt_force.load(std::memory_order_relaxed)) {
    // Forced in the middle of libc (D5): it may hold malloc's lock, so it must run again soon.
    m->preempt_force.store(false, std::memory_order_relaxed);
    put_tail(p, g);
  } else if (p && why == StopReason::Preempted && stays_at(p)) {
    put_tail(p, g);
  } else {
    LockGuard guard(sched.lock);
    global_put(g);
  }
  if (!p) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    wakep();
  }
  switch_to_g0(g, m);
}

// -- the g0 --

[[noreturn]] void schedule_loop(M* m) {
  for (;;) {
    G* g;
    if (m->ends) m_end(m);
    if (GOSHIM_UNLIKELY(m->locked_g != nullptr)) {
      stop_locked_m(m);
      g = m->locked_g;
    } else {
      if (!m_p(m) && !idle_p_for(m)) stopm(m);
      g = m->handed_g;
      m->handed_g = nullptr;
      if (!g) g = find_runnable(m);
      if (m->spinning) reset_spinning(m);
      if (GOSHIM_UNLIKELY(g->locked_m != nullptr)) {
        start_locked_m(m, g);
        continue;
      }
    }
    prepare_resume(m, g, true);
    timeline(Event::Start, timeline_file::id_of(g->id));
    goshim_switch(&m->g0->ctx, &g->ctx, g->tp, &m->g0_busy, m->tp_cell);
    m->curg.store(m->g0, std::memory_order_relaxed);
  }
}

// -- blocking regions --

// As a G's last call of the kind was, so the next one is expected to be: one that lasts gives up its P at once where
// others wait for one, instead of when sysmon or somebody without a P has seen that it lasts (files that are read from
// a disk: with 8 threads 20 % more). Kinds are what the low bits of the call's number tell apart: reads from writes.
static bool expect_to_last(G* g, long nr) {
  constexpr int kKinds = 8;
  g->region_kind = 1U << (nr & (kKinds - 1));
  bool lasts = (g->region_lasted & g->region_kind) != 0;
  g->region_since = lasts ? sys::nanotime() : 0;
  return lasts;
}

// The call is over. lost: its P was taken meanwhile.
static void note_how_long(G* g, bool lost) {
  if (g->region_since != 0) {
    if (sys::nanotime() - g->region_since < kWorthHandoff) g->region_lasted &= ~g->region_kind;
  } else if (lost) {
    g->region_lasted |= g->region_kind;
  }
}

constexpr long kNoNumber = 7;  // a region of more than one call

static void enter(RegionClass c, long nr) {
  preempt_off();
  G* g = getg();
  if (g->region_depth++ == 0) {
    const bool expected = expect_to_last(g, nr);
    const bool lasts = expected || c == RegionClass::Long;
    M* m = g->m.load(std::memory_order_relaxed);
    P* p = m_p(m);
    timeline(Event::Region, static_cast<uint64_t>(c));
    g->status.store(GStatus::Syscall, std::memory_order_relaxed);
    m->old_p = p;
    tally(p, Counter::calls);
    if (p) {
      m->p.store(0, std::memory_order_relaxed);
      p->syscalltick.store(p->syscalltick.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      p->region_long.store(lasts, std::memory_order_relaxed);
      p->region_stale.store(false, std::memory_order_relaxed);
      bool wait_behind = lasts && !runq_empty(p);
      p->status.store(PStatus::Syscall, std::memory_order_release);  // P2: from here on anybody's
      sysmon_poke();
      if (GOSHIM_UNLIKELY(expected) && others_queue(p)) {
        if (retake_known(p)) handoffp(p);
      } else if (GOSHIM_UNLIKELY(wait_behind)) {
        pay_owed_wake();
      }
    }
  }
  preempt_on();
}

void region_enter(RegionClass c) { enter(c, kNoNumber); }

// For an M that comes back from the kernel and finds every P taken: one whose M is in the kernel for longer than a
// short call takes, or null. Sleeping until a P is handed over would cost more than the pause.
static P* p_of_blocked() {
  constexpr int kMostLooks = 4;
  struct {
    P* p;
    uint32_t tick;
  } seen[kMostLooks];
  int n = 0;
  int procs = sched.procs.load(std::memory_order_acquire);
  auto pos = static_cast<int>(arch::cycles() % static_cast<uint64_t>(procs));
  for (int i = 0; i < procs && n < kMostLooks; i++, pos = pos + 1 == procs ? 0 : pos + 1) {
    P* p = &sched.ps[pos];
    if (p->status.load(std::memory_order_relaxed) != PStatus::Syscall) continue;
    uint32_t tick = p->syscalltick.load(std::memory_order_relaxed);
    if (call_lasts(p)) {
      if (retake_known(p)) return p;
    } else {
      seen[n++] = {p, tick};
    }
  }
  if (n == 0) return nullptr;
  for (Nanos end = sys::nanotime() + kShortCall; sys::nanotime() < end;) arch::pause();
  for (int i = 0; i < n; i++) {
    P* p = seen[i].p;
    if (p->status.load(std::memory_order_relaxed) != PStatus::Syscall) continue;
    if (p->syscalltick.load(std::memory_order_relaxed) == seen[i].tick && retake_known(p)) return p;
  }
  return nullptr;
}

// Where all Gs spend their time in short and long calls, nobody would look at the queue before a slice is over.
static bool returned_wait(const G* g) {
  Nanos since = sched.returned_since.load(std::memory_order_relaxed);
  return GOSHIM_UNLIKELY(since != 0) && !g->locked_m && sys::nanotime() - since > kReturnedWait;
}

// The running G has come to a P for which others wait: it goes behind them. Preemption off.
static void queue_up(G* g, M* m) {
  timeline(Event::Stop, StopReason::Yield);
  g->status.store(GStatus::Runnable, std::memory_order_release);
  {
    LockGuard guard(sched.lock);
    global_put(g);
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);  // S2
  if (sched.n_idle_p.load(std::memory_order_relaxed) != 0) wakep();
  switch_to_g0(g, m);
}

// Whether every P runs a G that computes: one that has used up a slice lately.
static bool all_compute() {
  Nanos now = sys::nanotime();
  int procs = sched.procs.load(std::memory_order_acquire);
  for (int i = 0; i < procs; i++) {
    const P* p = &sched.ps[i];
    if (p->status.load(std::memory_order_relaxed) == PStatus::Running && !computes(p, now)) return false;
  }
  return true;
}

// The outermost region ends: a P, or the queue. Preemption off.
static void region_leave(G* g) {
  M* m = g->m.load(std::memory_order_relaxed);
  P* p = m->old_p;
  m->old_p = nullptr;
  PStatus in_region = PStatus::Syscall;
  if (GOSHIM_LIKELY(p && p->status.compare_exchange_strong(in_region, PStatus::Running, std::memory_order_acq_rel))) {
    p->m.store(m, std::memory_order_relaxed);
    m->p.store(reinterpret_cast<uintptr_t>(p), std::memory_order_release);
    tally(p, Counter::calls_ended);
    g->status.store(GStatus::Running, std::memory_order_relaxed);
    timeline(Event::RegionExit);
    note_how_long(g, false);
    if (GOSHIM_UNLIKELY(returned_wait(g))) queue_up(g, m);
    return;
  }
  note_how_long(g, true);
  tally(nullptr, Counter::calls_ended);
  if (g->locked_m) m->park_word.store(1, std::memory_order_relaxed);
  P* taken = sched.n_idle_p.load(std::memory_order_relaxed) == 0 ? p_of_blocked() : nullptr;
  p = taken;
  if (!p) {
    LockGuard guard(sched.lock);
    p = pidle_get();
    if (!p) {
      g->region_queued++;
      g->status.store(GStatus::Runnable, std::memory_order_release);
      if (!g->locked_m && all_compute()) {
        urgent_put(g);
      } else {
        global_put(g);
        if (sched.returned_since.load(std::memory_order_relaxed) == 0)
          sched.returned_since.store(sys::nanotime(), std::memory_order_relaxed);
      }
    }
  }
  if (p) {
    if (g->locked_m) m->park_word.store(0, std::memory_order_relaxed);
    acquirep(m, p);
    g->status.store(GStatus::Running, std::memory_order_relaxed);
    timeline(Event::RegionExit);
    if (!taken) sysmon_poke();  // S6
    else if (!g->locked_m && others_queue(p)) queue_up(g, m);
    return;
  }
  timeline(Event::RegionExit);
  timeline(Event::Stop, StopReason::NoP);
  // The P that ran out meanwhile may have gone idle just before global_put: S2.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  wakep();
  switch_to_g0(g, m);
}

void region_exit() {
  preempt_off();
  G* g = getg();
  // Neither in the child of a fork that was made inside the region.
  if (g && g->region_depth && --g->region_depth == 0) region_leave(g);
  preempt_on();
}

long region_syscall(RegionClass c, long nr, long a, long b, long c2, long d, long e, long f) {
  enter(c, nr);
  timeline_call(nr);
  void* tp = arch::sleep_begins();
  long r = arch::goshim_syscall_unless(&goshim_tls.interrupt, nr, a, b, c2, d, e, f);
  arch::sleep_ends(tp);
  region_exit();
  return r;
}

long plain_syscall(long nr, long a, long b, long c) {
  preempt_off();  // a request ends the call, or is met behind it: none gets lost in between
  G* g = getg();
  g->plain_call.store(true, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  long r = arch::goshim_syscall_unless(&goshim_tls.interrupt, nr, a, b, c, 0, 0, 0);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  g->plain_call.store(false, std::memory_order_relaxed);
  preempt_on();
  return r;
}

// -- locked Gs --

void lock_os_thread() {
  NoPreempt guard;
  G* g = getg();
  M* m = current_m();
  if (g->lock_count++ == 0) {
    g->locked_m = m;
    m->locked_g = g;
    slice_timer_stop(m);  // L4 in slice.h
  }
}

void unlock_os_thread() {
  NoPreempt guard;
  G* g = getg();
  if (g->lock_count && --g->lock_count == 0) {
    g->locked_m->locked_g = nullptr;
    g->locked_m = nullptr;
  }
}

bool own_files() {
  G* g = getg();
  if (!g) return true;
  Stats now;
  stats(&now);
  if (now.gs_live == 1) return false;
  lock_os_thread();
  g->own_files = true;
  return true;
}

// -- the number of Ps: L1 to L4 --

int max_procs() {
  int wanted = sched.wanted_procs.load(std::memory_order_seq_cst);
  if (wanted) return wanted;
  return options.max_procs ? options.max_procs : default_max_procs();
}

int procs_wanted() {
  int wanted = max_procs();
  if (!sched.procs_set.load(std::memory_order_relaxed)) wanted += sched.more_procs.load(std::memory_order_relaxed);
  return wanted < kMaxProcs ? wanted : kMaxProcs;
}

// The next one that was never made.
static P* p_make() {
  int i = sched.procs.load(std::memory_order_relaxed);
  P* p = new (&sched.ps[i]) P();
  p->id = i;
  p->counts = page_counts(i);
  p->random = (static_cast<uint64_t>(i) + 1) * 0x9e3779b97f4a7c15UL;
  sched.procs.store(i + 1, std::memory_order_release);
  return p;
}

void procs_start() {
  int n = max_procs();
  int nobody = 0;
  sched.wanted_procs.compare_exchange_strong(nobody, n, std::memory_order_seq_cst);
  sched.procs.store(0, std::memory_order_relaxed);
  for (int i = 0; i < n; i++) p_make();
  sched.limit.store(n, std::memory_order_relaxed);
  sched.more_procs.store(0, std::memory_order_relaxed);
  sched.active.store(n, std::memory_order_relaxed);
  sched.surplus.store(false, std::memory_order_relaxed);
  sched.retired = nullptr;
}

void procs_apply() {
  NoPreempt guard;
  {
    LockGuard hold(sched.lock);
    int limit = procs_wanted();
    sched.limit.store(limit, std::memory_order_relaxed);
    while (sched.active.load(std::memory_order_relaxed) > limit && sched.idle_p) p_retire(pidle_get());
    int active = sched.active.load(std::memory_order_relaxed);
    sched.surplus.store(active > limit, std::memory_order_relaxed);
    for (; active < limit; active++) {
      P* p = sched.retired;
      if (p) sched.retired = p->idle_link;
      else p = p_make();
      sched.active.store(active + 1, std::memory_order_relaxed);
      pidle_put(p);
    }
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  sched.n_futile.store(0, std::memory_order_relaxed);
  wakep();
  // It may have taken the idle Ps that were for all that are now: deep_sleep().
  sysmon_poke();
}

void set_max_procs(int n) {
  sched.procs_set.store(true, std::memory_order_relaxed);
  sched.wanted_procs.store(n, std::memory_order_seq_cst);
  if (runtime_started) procs_apply();
}

// -- the first and the last turn of a G --

void g_start(G* g, void* top, void (*entry)(void*), void* arg) {
  NoPreempt guard;
  arch::make_context(&g->ctx, top, entry, arg);
  g->busy.store(0, std::memory_order_relaxed);
  // Go runs the youngest first; threads begin in the order in which they were made.
  P* p = current_p();
  if (!p || p->runnext.load(std::memory_order_relaxed) == 0) {
    ready(g);
    return;
  }
  make_runnable(p, g);
  put_tail(p, g);
  wake_for_ready(p);
}

[[noreturn]] void g_exit(bool recycle) {
  preempt_off();
  G* g = getg();
  M* m = current_m();
  if (GOSHIM_UNLIKELY(g->locked_m != nullptr)) {
    // D13: what the G did to its kernel thread must not meet another G.
    m->locked_g = nullptr;
    g->locked_m = nullptr;
    g->lock_count = 0;
    g->program_locks = 0;
    m->ends = true;
  }
  g->status.store(GStatus::Dead, std::memory_order_release);
  if (recycle) dead_put(g);
  if (m->ends) {
    timeline_block(m, g, nullptr);
    switch_to_g0(g, m);
  }
  leave();
  fatal("g_exit: a dead G was resumed");
}

// -- numbers --

void stats(Stats* out) {
  uint64_t reserved = 0;
  for (int i = 0; i < sched.procs; i++) reserved += sched.ps[i].id_end - sched.ps[i].next_id;
  out->gs_made = static_cast<long>(sched.ids.load() - 1 - reserved);
  out->gs_live = live();
  out->ms = sched.ms.load();
  out->ps = sched.limit.load();
  out->idle_ps = sched.n_idle_p.load();
  out->spinning = sched.n_spinning.load();
  NoPreempt guard;
  LockGuard hold(sched.lock);
  out->idle_ms = sched.n_idle_m.load(std::memory_order_relaxed);
  out->surplus_ps = sched.active.load() - sched.limit.load();
  out->runq = sched.runq.size;
}

}  // namespace goshim
