// What proc.cpp, g.cpp, sysmon.cpp, m.cpp and fork share and nobody else may use: the global scheduler state.
#pragma once

#include "sched/sched.h"

namespace goshim {

// A FIFO of Gs linked by schedlink.
struct GQueue {
  G* head = nullptr;
  G* tail = nullptr;
  uint32_t size = 0;
  void push(G* g) {
    g->schedlink = nullptr;
    if (tail) tail->schedlink = g;
    else head = g;
    tail = g;
    size++;
  }
  void push_front(G* g) {
    g->schedlink = head;
    head = g;
    if (!tail) tail = g;
    size++;
  }
  G* pop() {
    G* g = head;
    if (g) {
      head = g->schedlink;
      if (!head) tail = nullptr;
      size--;
    }
    return g;
  }
};

struct Sched {
  // Ps ever made (L4 in proc.cpp): who scans all Ps scans these. Grows under lock (release).
  std::atomic<int> procs{0};
  P* ps = nullptr;  // room for kMaxProcs of them; constant after start
  // How many Ps there are to be, 0 until the program says so or the runtime starts; limit follows (seq_cst:
  // runtime_start()).
  std::atomic<int> wanted_procs{0};
  std::atomic<bool> procs_set{false};  // the program has said so (relaxed)
  std::atomic<int> more_procs{0};      // beyond these, for the time being (crowd.h); sysmon (relaxed)
  // L1, L2 in proc.cpp. Written under lock, read without: relaxed where the reader looks again, or may be late.
  std::atomic<int> limit{0};         // Ps that may be active; who raises it wakes
  std::atomic<int> active{0};        // Ps that are not retired
  std::atomic<bool> surplus{false};  // active > limit
  Nanos started_at = 0;
  int pid = 0;
  long timer_slack = 0;  // the program's; goshim's own kernel threads have kMTimerSlack

  // Guards the queues and the idle lists. Taken for a few instructions; never while waiting.
  alignas(kCacheLine) Lock lock;
  GQueue runq;                   // lock
  GQueue urgent;                 // lock: Gs that sysmon made ready; before all others
  M* idle_m = nullptr;           // lock
  P* idle_p = nullptr;           // lock
  std::atomic<int> n_idle_m{0};  // written under lock, read by anyone (relaxed)
  P* retired = nullptr;          // lock; linked by idle_link (L1 in proc.cpp)

  // Copies for the fast paths, written under lock, read without (relaxed; the idle protocol makes that safe: S2 and S3
  // have fences, or the lock is taken and the true number read).
  std::atomic<uint32_t> runq_size{0};
  // Since when a G that came back from the kernel without a P has waited in runq while nobody took from there; 0: none
  // does. Written under the lock (relaxed), and a hint to who keeps its P at the end of a region.
  std::atomic<Nanos> returned_since{0};
  std::atomic<uint32_t> urgent_size{0};
  // Written under lock, seq_cst: S1 and S6 in proc.cpp. Read relaxed behind a fence, or as a hint.
  alignas(kCacheLine) std::atomic<int> n_idle_p{0};
  // Ms that look for work (invariant S1 in proc.cpp). Changed by anyone, seq_cst. That alone orders no relaxed load
  // behind it on every processor: S3 has a fence next, wakep() reads n_idle_p with seq_cst.
  std::atomic<int> n_spinning{0};
  // Ms woken in a row that found nothing, and whether a wake-up was left to sysmon because of that (wake_for_ready in
  // proc.cpp). Relaxed: hints.
  std::atomic<uint32_t> n_futile{0};
  std::atomic<bool> wake_owed{false};
  // Other programs use the processors (crowd.h). sysmon writes; relaxed: a hint.
  std::atomic<bool> crowded{false};

  // Polling: when an M last took events (not above 0: not yet), 0 while one blocks in the poller; and until when that
  // one blocks. seq_cst: the sleeper writes these and then reads the timers, who adds a timer writes that first and
  // then reads these (wake_poller). Relaxed where it is a hint.
  alignas(kCacheLine) std::atomic<Nanos> last_poll{1};
  std::atomic<Nanos> poll_until{0};
  // When records_recheck() is to be called next, by an M: sysmon, which has other descriptors, sees to it. Relaxed.
  std::atomic<Nanos> recheck_at{0};

  // Polls in a row for which an M was woken, and that woke no G (S5 in proc.cpp). Relaxed: a hint.
  std::atomic<uint32_t> n_futile_polls{0};

  // sysmon's deep sleep: S6 in proc.cpp, seq_cst.
  std::atomic<uint32_t> sysmon_asleep{0};
  std::atomic<Nanos> sysmon_woken{0};

  // The time, some milliseconds old at most while anything runs: by sysmon at each round, and by who wakes it. Relaxed.
  alignas(kCacheLine) std::atomic<Nanos> coarse_now{0};

  // Dead Gs beyond the Ps' caches, by kind of stack.
  alignas(kCacheLine) Lock dead_lock;
  G* dead[kStackKinds + 1] = {};  // dead_lock; the last is for sizes without a kind

  // Everything ever made.
  Lock all_lock;
  // Pushed under all_lock, with release: fork's child and for_each_g() walk it as it is.
  std::atomic<G*> all_gs{nullptr};
  std::atomic<M*> all_ms{nullptr};  // pushed by CAS (release), walked by acquire
  std::atomic<uint64_t> ids{1};     // the next id that no P has reserved; relaxed: each number is given out once
  // Gs made and ended where no P could count them, and the one that the runtime started with; see live() in g.cpp.
  // first_ended is read relaxed: its writer issues a membarrier (g_ends()).
  std::atomic<uint64_t> gs_made{0};
  std::atomic<uint64_t> gs_ended{0};
  std::atomic<bool> first_ended{false};  // the one that the runtime started with has ended
  std::atomic<bool> last_ended{false};   // somebody has been told to be the last
  std::atomic<int> ms{0};                // relaxed, as the next: shown only
  std::atomic<int> helpers{0};           // kernel threads of goshim that are no Ms

  // In the child of a fork (thread/fork.cpp).
  G* survivor = nullptr;  // the G that forked, null for a foreign thread, until the runtime starts again: then G 1
  uint64_t first_id = 0;  // other Gs with a lower id were left behind; constant
  G* orphans = nullptr;   // all_lock: those of them whose stacks may be used again, linked by all_link
};

extern Sched sched;

constexpr Nanos kRecheckNow = -1;  // recheck_at: an M is to do it

constexpr long kMTimerSlack = 1;  // nanoseconds: thieves sleep for microseconds, and timers are to be exact

// ---- proc.cpp ----
void procs_start();  // makes the Ps, none of them owned or idle
void procs_apply();  // makes limit what is wanted. Preemption on or off
int procs_wanted();  // what limit is to be now
// Whether p, which is running, runs a G that computes: it was interrupted for that not long ago. A hint.
inline bool computes(const P* p, Nanos now) {
  constexpr Nanos kMemory = 50 * kMillisecond;
  const M* m = p->m.load(std::memory_order_acquire);
  return m && now - m->curg.load(std::memory_order_acquire)->interrupted_at.load(std::memory_order_relaxed) < kMemory;
}
// Puts the running G on the global tail and switches; for preemption. Preemption off.
void sched_preempted(timeline_file::StopReason why = timeline_file::StopReason::Preempted);
void wakep();
void pay_owed_wake();  // sysmon: what wake_for_ready() left to it
bool wakes_are_thrifty();
void startm(P* p, bool spinning);
void handoffp(P* p);
void pidle_put(P* p);   // sched.lock held; retires it if there is a surplus
P* pidle_get();         // sched.lock held
void global_put(G* g);  // sched.lock held
bool any_runq();        // whether a P has something in its queue
// As the copies of the sizes say.
inline bool queued_globally() {
  return sched.runq_size.load(std::memory_order_relaxed) != 0 || sched.urgent_size.load(std::memory_order_relaxed) != 0;
}
// Takes p from an M that is in a blocking region (P2 in proc.cpp): it is the caller's and on no list. False if it has
// left the region, or another was faster.
bool retake_known(P* p);
[[noreturn]] void schedule_loop(M* m);
// No M can be had for p, which the caller owns.
void p_without_m(P* p, bool spinning);
void wake_poller(Nanos when);
// By sysmon: takes what events there are, if nobody else has for long (S5).
void poll_overdue(Nanos now);
// Returns when g's last M is off its stack. A few instructions, unless the kernel has put that M aside.
void wait_busy(const G* g);

// The caller's M; the P it has, null for a foreign thread too. Preemption off.
inline M* current_m() { return getg()->m.load(std::memory_order_relaxed); }
inline P* current_p() {
  G* g = getg();
  return g ? m_p(g->m.load(std::memory_order_relaxed)) : nullptr;
}

// ---- g.cpp ----
uint64_t fresh_id();  // preemption off
int virtual_tid(uint64_t id);
long live();          // Gs that have not ended, at least as many as there are
void g_counts();      // a G that has been taken will run. Preemption off
bool g_ends();        // the calling G has run its destructors: true for the last of the process
void live_reset();    // there is one, the caller
G* g_make();          // a G structure without stack and TCB, on the list of all; null when memory is exhausted
void g_list(G* g);    // puts it on that list
void dead_put(G* g);  // for the next g_take(), whose caller waits until g is off its stack. Preemption off
void g_after_fork_child();

// ---- m.cpp ----
// Starts the thread that clones Ms.
void template_thread_start();
// Makes an M for p. Never fails for the caller: what the kernel refuses is tried again later.
void newm(P* p, bool spinning);
// The calling M sets its thread pointer itself from here on, where the port can (arch.h: T1 to T4); or the kernel knows
// it, as code needs that blocks all signals or forks. Preemption off, or the G locked to its M.
void m_take_thread_pointer(M* m);
void m_leave_thread_pointer(M* m);
// The structures of an M around the calling kernel thread, for the start of the runtime and the child of a fork.
M* m_adopt_current();
// Any other kernel thread of goshim (sysmon, the signal receiver): own stack and TCB; false if the kernel refuses.
bool helper_thread_start(void (*fn)(void*), void* arg, int* tid);
[[noreturn]] void m_end(M* m);
void m_after_fork_child();

// ---- chaos.cpp ----
void chaos_start();

// ---- sysmon.cpp ----
void sysmon_start();
// Whether so much time has passed that a debugger, of which there is one, may have stopped the process meanwhile.
bool stopped_since(Nanos when, Nanos now);
// Whether it has, as far as sysmon knows, lately: what is stepped through is not preempted.
bool stepped_lately(Nanos now);
// Whether Gs wait for p to be free, or its timers.
bool others_wait(const P* p);
bool kernel_thread_sleeps(int tasks, int tid);  // in the kernel, as far as one can see; tasks: /proc/self/task, open
void sysmon_wake();
void sysmon_after_fork_child();
inline void sysmon_poke() {
  if (GOSHIM_UNLIKELY(sched.sysmon_asleep.load(std::memory_order_seq_cst) != 0)) sysmon_wake();  // S6 in proc.cpp
}

}  // namespace goshim
