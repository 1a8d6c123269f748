// The scheduler as the rest of the runtime sees it: start, park and ready, yield, blocking regions, locked Gs.
// How it works inside is told at the head of proc.cpp.
#pragma once

#include "sched/runtime.h"

namespace goshim {

// True once the runtime has started; never goes back. Before that there are no Gs, only foreign threads.
extern bool runtime_started;

// Starts the runtime on the calling thread, which becomes the main G (or, if it is not the process's first thread,
// an ordinary one). Null on success, else the reason: the program then goes on natively. The caller makes sure that it
// runs once (interpose: under the start lock).
const char* runtime_start();

// ---- park and ready ----
//
// A G parks in three steps, all with preemption off:
//   1. park_prepare(reason): the G is Waiting from here on, and may be readied at any moment.
//   2. it makes itself findable (wait queue, timer); whoever takes it out of there calls ready(g), once.
//   3. park_switch(): gives the M to another G; returns after ready().
// ready() may come before step 3: the G is then found in a run queue with busy = 1.
void park_prepare(WaitReason reason);
void park_switch();

// Makes a parked G runnable: it becomes runnext of the caller's P, and an idle P is woken if there is one. Any thread,
// any state (foreign threads, P-less Ms and signal handlers put it on the global queue). Preemption off.
void ready(G* g);
// The same for a batch: to the tail of the local queue, in order, with one wake-up.
void ready_many(G** gs, int n);
// The same from sysmon: Gs that time or I/O made ready while hogs hold every P; they run before the queues.
void ready_urgent(G* g);

// sched_yield(2): lets other runnable Gs of this P, or any queue, run first. Preemption may be on.
void yield();

// ---- blocking regions (D8) ----
//
// Around a call that may block in the kernel: the P is marked and others may take it; region_exit() gets a P back or
// queues the G until it has one. Regions nest; a G that parks inside one leaves it first.
enum class RegionClass : uint8_t { Short, Long };
void region_enter(RegionClass c);
void region_exit();

class Region {
 public:
  explicit Region(RegionClass c = RegionClass::Short) : in_(goshim_tls.g != nullptr) {
    if (in_) region_enter(c);
  }
  ~Region() {
    if (in_) region_exit();
  }
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

 private:
  bool in_;
};

// Signal-aware system call in a region: -EINTR without a call when a signal or cancellation already waits for the G.
long region_syscall(RegionClass c, long nr, long a = 0, long b = 0, long c2 = 0, long d = 0, long e = 0, long f = 0);

// ---- locked Gs (D13) ----
void lock_os_thread();
void unlock_os_thread();

// ---- thread life, for thread/ ----

// A dead G with stack and TCB ready for reset, or a fresh one; null when memory or address space is exhausted.
// On a program's G with preemption on.
// Its goshim_tls says: preemption off once, no request; status Dead; context unset.
G* g_take(size_t stack_size, size_t guard_size);
// Publishes a new G that will run entry(arg) on the stack that ends at top: runnext, wake-up.
void g_start(G* g, void* top, void (*entry)(void*), void* arg);
// The end of the running G: never returns. The G goes to the dead list if nobody will join it.
[[noreturn]] void g_exit(bool recycle);
// A joined G goes to the dead list once it has left its stack. Preemption on or off.
void g_release(G* g);
// Waits until a G that has ended, or has parked, is off its stack.
void g_wait_off_stack(G* g);

// ---- numbers ----
int max_procs();
struct Stats {
  long gs_made, gs_live, ms, idle_ms, ps, idle_ps, spinning, runq;
};
void stats(Stats* out);

// Calls fn for every G ever made (dead ones too). Preemption off.
void for_each_g(void (*fn)(G*, void*), void* arg);

// A random scheduling event, for tests (option `chaos`): yields now and then. Cheap when off.
extern bool chaos_on;
GOSHIM_COLD void chaos_slow();
inline void chaos() {
  if (GOSHIM_UNLIKELY(chaos_on)) chaos_slow();
}

}  // namespace goshim
