// What proc.cpp, sysmon.cpp, m.cpp and fork share and nobody else may use: the global scheduler state.
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
  int procs = 0;    // number of Ps; constant after start
  P* ps = nullptr;  // the Ps; constant after start
  Nanos started_at = 0;
  int pid = 0;
  long timer_slack = 0;  // the program's; goshim's own kernel threads have kMTimerSlack

  // Guards the queues and the idle lists. Taken for a few instructions; never while waiting.
  alignas(kCacheLine) Lock lock;
  GQueue runq;          // lock
  GQueue urgent;        // lock: Gs that sysmon made ready; before all others
  M* idle_m = nullptr;  // lock
  P* idle_p = nullptr;  // lock
  int n_idle_m = 0;     // lock

  // Copies for the fast paths, written under lock, read without (relaxed; the idle protocol makes that safe).
  std::atomic<uint32_t> runq_size{0};
  std::atomic<uint32_t> urgent_size{0};
  alignas(kCacheLine) std::atomic<int> n_idle_p{0};
  // Ms that look for work (invariant S1 in proc.cpp). Changed by anyone.
  std::atomic<int> n_spinning{0};
  // Ms woken in a row that found nothing, and whether a wake-up was left to sysmon because of that (wake_for_ready in
  // proc.cpp). Relaxed: hints.
  std::atomic<uint32_t> n_futile{0};
  std::atomic<bool> wake_owed{false};

  // Polling: the time of the last poll, 0 while an M blocks in the poller; and until when that one blocks.
  alignas(kCacheLine) std::atomic<Nanos> last_poll{1};
  std::atomic<Nanos> poll_until{0};

  // sysmon's deep sleep.
  std::atomic<uint32_t> sysmon_asleep{0};
  std::atomic<Nanos> sysmon_woken{0};

  // Dead Gs beyond the Ps' caches, by kind of stack.
  Lock dead_lock;
  G* dead[kStackKinds + 1] = {};  // dead_lock; the last is for sizes without a kind
  int n_dead[kStackKinds + 1] = {};

  // Everything ever made.
  Lock all_lock;
  // Pushed under all_lock, with release: fork's child and for_each_g() walk it as it is.
  std::atomic<G*> all_gs{nullptr};
  std::atomic<M*> all_ms{nullptr};  // pushed by CAS
  std::atomic<uint64_t> ids{1};     // the next id that no P has reserved
  std::atomic<int> gs_live{0};      // Gs that have not ended, main included
  std::atomic<int> ms{0};

  // In the child of a fork (thread/fork.cpp).
  G* survivor = nullptr;  // the G that forked, null for a foreign thread, until the runtime starts again: then G 1
  uint64_t first_id = 0;  // other Gs with a lower id were left behind; constant
  G* orphans = nullptr;   // all_lock: those of them whose stacks may be used again, linked by all_link
};

extern Sched sched;

constexpr long kMTimerSlack = 1;  // nanoseconds: thieves sleep for microseconds, and timers are to be exact

// ---- proc.cpp ----
// Puts the running G on the global tail and switches; for preemption. Preemption off.
void sched_preempted();
void wakep();
void pay_owed_wake();  // sysmon: what wake_for_ready() left to it
bool wakes_are_thrifty();
void startm(P* p, bool spinning);
void handoffp(P* p);
void pidle_put(P* p);   // sched.lock held
P* pidle_get();         // sched.lock held
void global_put(G* g);  // sched.lock held
[[noreturn]] void schedule_loop(M* m);
void wake_poller(Nanos when);
// Gs that some M found ready, linked by schedlink: queues them all and wakes enough Ms. Preemption off, no P needed.
void inject_list(GQueue* list);

uint64_t fresh_id();  // preemption off
int virtual_tid(uint64_t id);
G* g_make();        // a G structure without stack and TCB, on the list of all; null when memory is exhausted
void g_list(G* g);  // puts it on that list
void proc_after_fork_child();

// ---- m.cpp ----
// Starts the thread that clones Ms.
void template_thread_start();
// Makes an M for p. Never fails for the caller: what the kernel refuses is tried again later.
void newm(P* p, bool spinning);
// The structures of an M around the calling kernel thread, for the start of the runtime and the child of a fork.
M* m_adopt_current();
// Any other kernel thread of goshim (sysmon, the signal receiver): own stack and TCB; false if the kernel refuses.
bool helper_thread_start(void (*fn)(void*), void* arg, int* tid);
[[noreturn]] void m_end(M* m);
void m_after_fork_child();

// ---- sysmon.cpp ----
void sysmon_start();
void sysmon_wake();
void sysmon_after_fork_child();
inline void sysmon_poke() {
  if (GOSHIM_UNLIKELY(sched.sysmon_asleep.load(std::memory_order_relaxed) != 0)) sysmon_wake();
}

}  // namespace goshim
