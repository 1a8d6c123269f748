// The scheduler as the rest of the runtime sees it: start, park and ready, yield, blocking regions, locked Gs.
// How it works inside is told at the head of proc.cpp.
#pragma once

#include "sched/runtime.h"

namespace goshim {

// True once the runtime has started; false again in the child of a fork. Before that there are no Gs, only foreign
// threads: for those the store is a release and every look an acquire at least, so that they find what the start made.
extern std::atomic<bool> runtime_started;

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
// The caller is about to wait for the end of g: if g came last into the local queue it becomes runnext. So threads that
// are made and joined as calls nest are run in depth, and few are alive at once. Preemption on or off.
void run_before_wait(G* g);

// sched_yield(2): lets other runnable Gs of this P, or any queue, run first. Preemption may be on.
void yield();

// At the entry of calls that may block: a request to let others run is met here, before sysmon has to interrupt the G.
// On a G with preemption on.
inline void give_way() {
  goshim_tls.calls.store(goshim_tls.calls.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  if (GOSHIM_UNLIKELY(goshim_tls.pending.load(std::memory_order_relaxed) & kPendingPreempt)) NoPreempt now;
}

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

// By a G that is about to ask for events, again and again, without ever parking as long as there are some: others that
// wait for this P, or for events, have their turn. On a G with preemption on.
void sched_turn();

// True if the caller's P has nothing else to run, and nobody counts on its M to look after timers or the poller: then a
// wait may as well block in the kernel (in a long region). one_of_few: of such callers there are few, as event loops;
// an M is woken to look after the rest, if need be and if it may be. On a G.
bool sched_alone(bool one_of_few, bool may_wake);

// Whether the caller's M has slept since a time, and woke not later than `within` after it. On a G.
bool sched_slept(Nanos since, Nanos within);

// Signal-aware system call in a region: -EINTR without a call when a signal or cancellation already waits for the G.
long region_syscall(RegionClass c, long nr, long a = 0, long b = 0, long c2 = 0, long d = 0, long e = 0, long f = 0);

// The same of a call that is not expected to block, in no region: it costs nothing more than the call. Should it block
// after all, sysmon finds it as any call that goshim does not know, and takes the P. On a G, preemption on.
long plain_syscall(long nr, long a, long b, long c);

// ---- locked Gs (D13) ----
void lock_os_thread();
void unlock_os_thread();
// For a thread that the calling G makes, where it has given its kernel thread something that threads inherit from their
// makers (G::own_state): a kernel thread for g, cloned from this one. g is to be made runnable next. False: the kernel
// refuses. On a G, preemption on.
bool inherit_kernel_state(G* g);
// For who is about to give the calling thread a table of descriptors of its own. False if it is the only thread, which
// has that already. On a G; else true.
bool own_files();

// ---- thread life, for thread/ ----

// A dead G with stack and TCB ready for reset, or a fresh one; null when memory or address space is exhausted.
// On a program's G with preemption on.
// Its goshim_tls says: preemption off once, no request; status Dead; context unset. It counts as living from
// signal_g_create() on.
G* g_take(size_t stack_size, size_t guard_size);
// Publishes a new G that will run entry(arg) on the stack that ends at top: runnext if that is free, else the tail of
// the local queue; wake-up.
void g_start(G* g, void* top, void (*entry)(void*), void* arg);
// The end of the running G: never returns. The G goes to the dead list if nobody will join it.
[[noreturn]] void g_exit(bool recycle);
// A joined G goes to the dead list once it has left its stack. Preemption on or off.
void g_release(G* g);

// ---- numbers ----
// The number of Ps: what the program asked for last, the option, or the default. Without those that are more for the
// time being (crowd.h).
int max_procs();
// Changes it, to 1 to kMaxProcs: more Ps are there at once, fewer within a slice or two (L1 to L4 in proc.cpp). Any
// thread, preemption on or off; not in a signal handler of a foreign thread.
void set_max_procs(int n);
struct Stats {
  long gs_made, gs_live, ms, idle_ms, ps, idle_ps, surplus_ps, spinning, runq;
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
