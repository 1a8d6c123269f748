// G, M and P: the three structures of the scheduler and the glossary of its states.
//
//   G  a thread of the program: a stack, a thread control block, a saved context.
//   M  a kernel thread of goshim. Its own stack and thread control block are its g0.
//   P  a processor: the right to run Gs, with a run queue, timers and caches. An M needs a P to run Gs.
//
// Every shared field says who writes it and which order makes that safe. "Owner of a P" is the M whose m->p is that P;
// "owner of a G" is the M that runs it or, while it is parked, whoever took it off its wait queue.
#pragma once

#include <pthread.h>
#include <signal.h>

#include "arch/arch.h"
#include "base/base.h"
#include "base/lock.h"
#include "park/timer.h"
#include "stack/stack.h"
#include "tcb/tcb.h"
#include "trace/timeline_file.h"

namespace goshim {

struct G;
struct M;
struct P;
struct Counts;

// ---- the part of a G that must be found by thread pointer ----

// One in every thread control block of the process, at a constant distance from the thread pointer. All zero in a
// foreign thread (a kernel thread that goshim did not make), and in the main thread before the runtime starts.
struct Tls {
  G* g;  // the G of this TCB; an M's g0 in an M's TCB; null in a foreign thread. Constant while the TCB is in use.
  // "Not now": while above 0, no injection (preemption, signal handler, cancellation) into this G. It is in the G's TCB
  // and not in the M, because a preemption between reading the M and raising the counter would raise another M's.
  int32_t nopreempt;
  // Requests (Pending bits) set by others, read at the last preempt_on(). Any thread sets, the G clears. seq_cst by who
  // sets: what the request is about comes before. The G's own looks are relaxed: a handler (on its kernel thread) or a
  // membarrier, which the setter issues next, comes between his request and a look that missed it. Taken by a seq_cst
  // exchange.
  std::atomic<uint32_t> pending;
  // Non-zero when a wait must end at once with EINTR (Interrupt bits): a signal or a cancellation is waiting. Any
  // thread sets, the G clears. Orders as for pending.
  std::atomic<uint32_t> interrupt;
  // Calls that let others run if asked to (give_way()). The G counts, sysmon reads (relaxed: a number on its own).
  std::atomic<uint32_t> calls;
  int tid;             // virtual thread id of the G (the pid for the main G); 0 in a foreign thread until asked for
  int32_t dispatched;  // 1 + the number of the syscall(2) that the G is making by a function of libc, or 0; its own
  // What others find by this TCB's pthread_t: g, also while g is hidden from a child of vfork, which runs on this TCB.
  G* owner;
};

extern "C" __thread Tls goshim_tls __attribute__((tls_model("initial-exec"), visibility("hidden")));

enum Pending : uint32_t {
  kPendingPreempt = 1,  // the time slice is over
  kPendingSignal = 2,   // a signal handler is to run
  kPendingCancel = 4,   // a cancellation request is to be acted upon
};

enum Interrupt : uint32_t {
  kInterruptSignal = 1,  // until the G looks at its signals
  kInterruptCancel = 2,  // until the G ends or finds that it need not: C2 in thread/cancel.cpp
};

inline G* getg() { return goshim_tls.g; }

// The child of a vfork on its parent's stack: it shares the memory, but descriptors and actions are its own.
inline bool in_vfork_child() { return goshim_tls.owner != nullptr && goshim_tls.g == nullptr; }

// ---- G ----

// What cancellation may not do to a G for now; see thread/cancel.h.
struct CancelLimits {
  uint16_t scopes = 0;     // CancelScopes it is in
  uint16_t no_points = 0;  // NoCancelPoints it is in
};

enum class GStatus : uint32_t {
  Dead,      // in a cache of dead Gs; owned by whoever holds the cache
  Runnable,  // in a run queue, or about to be put in one; owned by the queue
  Running,   // owned by g->m, which has a P (or lost it in the kernel: "P-less")
  Syscall,   // in a blocking region: g->m is in the kernel and its P may be taken
  Waiting,   // parked; owned by the wait queue or timer that will ready it
};

// Why a G waits; shown by the dump.
enum class WaitReason : uint8_t {
  None,
  Mutex,
  Cond,
  RwLock,
  Barrier,
  Semaphore,
  Once,
  Join,
  Futex,
  Sleep,
  Io,
  Signal,
  SpinLock,
  Region,
};

struct alignas(kCacheLine) G {
  // -- context switch; written by the M that runs or has just run this G --
  arch::Context ctx;
  void* tp = nullptr;  // thread pointer; constant once made
  // 1 from the moment an M resumes this G until goshim_switch has saved it. A G may be readied, and be in a queue, with
  // busy still 1: who takes it out waits (see "the busy hand-over" in proc.cpp). Store release, load acquire.
  std::atomic<uint32_t> busy{0};
  // Written by the owner. Release where the G is to be found by others afterwards (what they then read of it was
  // written before), relaxed on the way to and from the kernel: who must not miss a change has issued a membarrier (S2
  // in thread/signal.cpp).
  std::atomic<GStatus> status{GStatus::Dead};
  // The M that runs it; written by that M at the switch (relaxed: others use it for a poke or a guess, and Ms are never
  // unmapped; what they must be sure of has a membarrier or the M's own marks behind it).
  std::atomic<M*> m{nullptr};
  G* schedlink = nullptr;  // next in a run queue or dead list; owned by that list
  // When it was readied, for the few whose way to running is timed; else 0. Written by who readies it, before it can
  // be found; taken by the M that resumes it.
  Nanos ready_at = 0;
  // When it was last interrupted because it computes. Itself; read by others (relaxed: a hint).
  std::atomic<Nanos> interrupted_at{-kSecond};

  // -- parking; written by the G itself before it can be found, then by who wakes it --
  WaitReason wait_reason = WaitReason::None;
  Nanos wait_since = 0;          // when it began to wait by Sched::coarse_now, for the dump
  Nanos seen_asleep = -kSecond;  // when sysmon last found it asleep in a call it does not know; sysmon only
  uint32_t wake_value = 0;       // left by the waker for the woken (a ParkResult)
  Timer timer;                   // its time-out or sleep
  // The key whose queue it is in, and its place there; null when in none. Written under the lock of that key's bucket
  // (release); read without it by unpark_interrupt (acquire), which rechecks under the lock.
  std::atomic<const void*> park_key{nullptr};
  void* park_place = nullptr;

  // -- blocking regions; owned by the G --
  uint32_t region_depth = 0;
  uint32_t region_kind = 0;    // the kind of its call, one bit
  uint32_t region_lasted = 0;  // kinds of which the last one was long
  Nanos region_since = 0;      // when it began, if that one was; else 0
  // In plain_syscall(), with preemption off and nothing done to the P. Relaxed: who cancels and who retakes read it
  // behind a membarrier (S2 in thread/signal.cpp, R3 in sysmon.cpp).
  std::atomic<bool> plain_call{false};
  bool lonely = false;         // it counts as one that blocks in the kernel: LonelyWait in net/io.cpp
  uint32_t region_queued = 0;  // how often it had to queue for a P at a region's end; itself

  // Its kernel thread, which it is locked to, has a table of descriptors of its own (unshare): the poller knows nothing
  // of it. Owned by the G.
  bool own_files = false;

  // Its kernel thread, which it is locked to, has something that the kernel lets new threads inherit: credentials,
  // filters of system calls, namespaces (inherit_kernel_state()). Owned by the G, and before its start by who makes it.
  bool own_state = false;

  // -- locked to an M (LockOSThread); owned by the G --
  M* locked_m = nullptr;
  uint32_t lock_count = 0;
  int32_t program_locks = 0;  // of these, the program's own: goshim_lock_thread()

  // -- thread life; see thread/ --
  stack::Stack stack;  // its slot; holds the TCB at the top, and the stack unless the program supplied one
  int kind = 0;        // which dead list it returns to (proc.cpp), -1 for one that is never reused; constant
  uint64_t id = 0;     // unique for the life of the process; 1 is main
  void* (*start)(void*) = nullptr;
  void* arg = nullptr;
  void* result = nullptr;
  // As joiners see it: bits of thread/life.h. Changed by acq_rel: the result is written before kExited, and of kExited
  // and kJoining the one that comes second sees the other, as they are bits of one word.
  std::atomic<uint32_t> life{0};
  std::atomic<G*> joining{nullptr};  // the G it waits for in join; itself (release, acquire: a check for mistakes)
  int* tid_word = nullptr;           // set_tid_address(2): cleared and woken when it ends; itself
  void* user_stack = nullptr;        // lowest address of a stack the program supplied, else null
  size_t stack_asked = 0;            // bytes of that stack, or of its own, that the program asked for

  // -- signals and cancellation; see thread/signal.h --
  // Blocked signals, bit n-1 for signal n; written by the G itself, seq_cst: it writes, then looks for signals; a
  // sender puts one on a list, then reads the mask (S3 in thread/signal.cpp). Its own reads are relaxed.
  std::atomic<uint64_t> sigmask{0};
  void* signal_state = nullptr;  // owned by thread/signal.cpp
  CancelLimits cancel_limits;    // the G's

  // -- injection; see sched/inject.cpp --
  void* saved = nullptr;  // innermost saved context; owned by the G
  uint32_t requests = 0;  // signals of the runtime's that have found it on its kernel thread; there

  // -- all Gs ever made, for the dump and for fork; set once, under sched.all_lock --
  G* all_link = nullptr;
  G* slab_next = nullptr;
  char name[16] = {};     // written by the creator, later under the lock of thread/ident.cpp
  void* ident = nullptr;  // owned by thread/ident.cpp

  // -- CPU time; see sched/cputime.h --
  std::atomic<Nanos> cpu_time{0};  // C3 there
  std::atomic<Nanos> cpu_told{0};  // C4 there
  Nanos usage_total = 0;           // as told by g_usage() last, and the user's part of it; the G's
  Nanos usage_user = 0;
};

// ---- P ----

enum class PStatus : uint32_t {
  Idle,     // on the idle list (sched.lock); nobody's
  Running,  // owned by p->m
  Syscall,  // its M is in a blocking region; whoever wins the CAS to Idle or Running owns it
};

constexpr uint32_t kRunqSize = 256;
constexpr uintptr_t kWanted = 1;
constexpr int kStackKinds = 8;  // different (stack size, guard size) pairs with dead lists of their own

struct alignas(kCacheLine) P {
  int id = 0;
  // Who gives the P away stores with release, who gets it wins an acq_rel CAS or takes it from a list under a lock: so
  // an owner's plain fields pass on to the next one. Other looks are relaxed or acquire, and guesses.
  std::atomic<PStatus> status{PStatus::Idle};
  // Back link; written by the owner at acquire and release. Relaxed, before status Running where sysmon is to find it;
  // a stale one costs an M a look or a poke in vain, since R1 in sysmon.cpp compares with that M's own word.
  std::atomic<M*> m{nullptr};
  P* idle_link = nullptr;    // sched.lock
  Counts* counts = nullptr;  // its area of the page of counters (trace/page.h); constant after start

  // Ticks: written by the owner, read by sysmon (relaxed: a missed tick costs one round).
  std::atomic<uint64_t> schedtick{0};    // every time a G starts a new slice
  std::atomic<uint32_t> syscalltick{0};  // every blocking region entered
  // Both are hints when to take a P; the CAS of status decides. Written before status Syscall (release).
  std::atomic<bool> region_long{false};   // set at region entry: anyone may take the P at once
  std::atomic<bool> region_stale{false};  // sysmon saw this region twice (>= 20 us): anyone may take the P

  // Local run queue: a ring with one producer (the owner) and many consumers. tail: written by the owner, release.
  // head: CAS by consumers together with tail, acq_rel. Slots are atomics because a consumer may read one that is being
  // overwritten; its CAS on head then fails. Relaxed: published by tail, and the reads come before the CAS's store
  // (R1 to R3 in runq.h).
  alignas(kCacheLine) std::atomic<uint32_t> runq_head{0};
  std::atomic<uint32_t> runq_tail{0};
  // The G readied last by the running one: runs next and inherits its slice. Its address, with kWanted while a thief is
  // deciding. Set by the owner only; anyone may take it (N1 to N4 in runq.h).
  std::atomic<uintptr_t> runnext{0};
  std::atomic<uint32_t> taking{0};      // written by the owner: relaxed up, release down; the thief's membarrier (N3)
  std::atomic<bool> next_thief{false};  // some thief is at runnext; thieves (a lock: acquire, release)
  std::atomic<G*> runq[kRunqSize];

  // Dead Gs by kind of stack, last in first out; owner only.
  G* dead[kStackKinds] = {};
  int ndead[kStackKinds] = {};

  // Ids for new Gs, [next_id, id_end): taken from sched.ids a batch at a time; owner only, read by stats().
  uint64_t next_id = 0;
  uint64_t id_end = 0;

  // Gs made and ended here, see live() in proc.cpp. Written by the owner (release).
  std::atomic<uint64_t> gs_made{0};
  std::atomic<uint64_t> gs_ended{0};

  // Looks into the local queue (about one for each switch). Owner writes; thieves read it to see that the owner still
  // runs the same G (relaxed: a guess).
  std::atomic<uint32_t> looks{0};
  uint32_t wakes_skipped = 0;  // see wake_for_ready() in proc.cpp; owner only

  uint64_t random = 0;  // xorshift state; owner only

  TimerHeap timers;

  // What sysmon saw last; sysmon only.
  uint64_t seen_schedtick = ~uint64_t{0};
  Nanos seen_sched_when = 0;
  uint32_t seen_syscalltick = ~uint32_t{0};
  Nanos seen_syscall_when = 0;
  Nanos seen_cpu = 0;  // of its M, at seen_cpu_when; it had used some at seen_computing
  Nanos seen_cpu_when = 0;
  Nanos seen_computing = 0;
  static constexpr long kNotRead = -2;  // -1: the kernel does not tell
  long seen_switches = kNotRead;
  const G* seen_g = nullptr;
  uint32_t seen_calls = 0;
  Nanos seen_calls_when = 0;
  bool gives_way = false;  // what it runs makes calls all the time: a request is enough
  Nanos seen_switches_when = 0;
};

// ---- M ----

// Where an M notes what it does, while there is a timeline (trace/timeline.cpp); its own.
struct TimelineWriter {
  timeline_file::Record* next = nullptr;  // in its segment, and where that ends
  timeline_file::Record* end = nullptr;
  uint64_t base = 0;  // cycles of the segment, and of the last record
  uint64_t last = 0;
  char* run = nullptr;  // place in a timeline_file::Run, where that ends, and what its ids are relative to
  char* run_end = nullptr;
  uint32_t run_base = 0;
  uint32_t run_reach = 0;
  int run_width = 1;
  int wide_runs = 0;  // so many more, before a narrow one is tried again
  uint32_t id = 0;
  timeline_file::Segment* segment = nullptr;
};

struct alignas(kCacheLine) M {
  G* g0 = nullptr;  // constant
  int id = 0;       // constant
  int tid = 0;      // kernel thread id; constant once running
  // The G it runs; written by itself (release, acquire: sysmon follows it to the G's TCB).
  std::atomic<G*> curg{nullptr};
  // Its P, or null. Written by itself, and by sysmon that takes the P of an M asleep in an unknown call: the lowest bit
  // (kStealing) then says that sysmon is deciding; the M spins until it is gone (m_p()). The M's loads are relaxed:
  // sysmon's membarrier (R2) puts them behind the raised counter. seq_cst and release by sysmon, release where an M
  // gets a P.
  std::atomic<uintptr_t> p{0};
  P* next_p = nullptr;      // P handed to a sleeping or new M; written before park_word is
  P* old_p = nullptr;       // P given up at region entry; itself
  bool spinning = false;    // looking for work without having any; itself, or who wakes it
  bool stole_next = false;  // it has found a runnext since then; itself
  Nanos awake_since = 0;    // when it woke last; itself
  // The P it was woken with and that P's looks at the time; itself.
  const P* awake_p = nullptr;
  uint32_t awake_looks = 0;
  // 0 running or to be woken, 1 asleep. Set to 1 by the M (relaxed) before it is on a list, under whose lock its waker
  // finds it; to 0 with release, read with acquire: next_p and spinning come before.
  std::atomic<uint32_t> park_word{0};
  G* locked_g = nullptr;  // the G locked to this M; itself
  // At most one preemption signal is on its way. The sender sets a request, then exchanges this; the handler clears
  // this, then reads the requests: seq_cst on both sides, or a request without a signal could be missed.
  std::atomic<bool> preempt_sent{false};
  // Injection, see inject.cpp. What sysmon knows of the G it wants off this M; sysmon only, but for force.
  G* preempt_g = nullptr;
  Nanos preempt_since = 0;
  std::atomic<Nanos> preempt_last{0};      // read by the handler, too (relaxed)
  std::atomic<bool> preempt_force{false};  // even out of libc's text; sysmon sets, the handler reads (relaxed)
  // Its slice timer (sched/slice.h): the kernel's number of it, what it saw last. Itself and its handler; sysmon reads
  // whether it runs (relaxed).
  std::atomic<bool> slice_timed{false};
  int slice_timer = -1;
  int slice_spare = 0;
  const P* slice_p = nullptr;
  uint64_t slice_tick = 0;
  Nanos slice_cpu = 0;
  // When its wait in libc's code ends, see sync/shared.h; itself and its handler (relaxed: one kernel thread).
  std::atomic<timespec*> wait_end{nullptr};
  void* spent_area = nullptr;        // saved context that the last restore on this M read; itself
  M* sched_link = nullptr;           // idle list; sched.lock
  M* all_link = nullptr;             // all Ms; set once
  std::atomic<uint32_t> g0_busy{0};  // what a switch away from g0 clears in place of a G::busy; nobody waits for it
  G* handed_g = nullptr;             // the G to run next, left for the g0 by a G that switches to it; itself
  bool urgent = false;               // what it readies goes before the queues (sysmon); itself
  bool ends = false;                 // its locked G has ended: the kernel thread is to end; itself
  // Thread pointer (arch.h). The cell to pass, null if the kernel knows the truth; and the one kept for this M. Itself
  // and its handlers.
  arch::TpCell* tp_cell = nullptr;
  arch::TpCell* tp_kept = nullptr;
  char* stack = nullptr;    // mapping that holds g0's stack, the alternate signal stack and the TCB; null for the first
  void* own_tcb = nullptr;  // the TCB glibc's lists hold for this kernel thread (main's for the first M)
  M* slab_next = nullptr;
  TimelineWriter timeline;

  // CPU time: C3 in sched/cputime.h. The sequence is a seqlock's: odd (relaxed), release fence, the values (relaxed),
  // even (release); a reader loads it (acquire), the values, acquire fence, and it again.
  std::atomic<uint32_t> cpu_sequence{0};
  std::atomic<Nanos> cpu_clock{0};
  Nanos cpu_since = 0;  // when it was last charged; itself
};

constexpr uintptr_t kStealing = 1;

P* m_p_slow(M* m);

// The P of the calling M, null if it has none. Contract: preemption off.
inline P* m_p(M* m) {
  uintptr_t v = m->p.load(std::memory_order_relaxed);
  if (GOSHIM_UNLIKELY(v & kStealing)) return m_p_slow(m);
  return reinterpret_cast<P*>(v);
}

// ---- preemption off and on: "entering the runtime" ----

GOSHIM_COLD void preempt_pending();

// Raises the no-preempt counter. From here to preempt_on() the G stays on its M, and no handler runs on it. Between the
// two: no libc call that locks or allocates, no program code.
inline void preempt_off() {
  volatile int32_t* n = &goshim_tls.nopreempt;
  *n = *n + 1;
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

// Lowers it; at 0 acts upon requests that came in meanwhile. The counter is plain and the fences are the compiler's:
// who looks from the same kernel thread is a handler, and sysmon issues a membarrier before it reads the counter. It
// takes the P then only from an M that it finds asleep in the kernel: the barriers on the way to sleep have made
// visible what the M wrote before it lowered the counter.
inline void preempt_on() {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  volatile int32_t* n = &goshim_tls.nopreempt;
  int32_t left = *n - 1;
  *n = left;
  if (GOSHIM_UNLIKELY(left == 0 && goshim_tls.pending.load(std::memory_order_relaxed) != 0)) preempt_pending();
}

class NoPreempt {
 public:
  NoPreempt() { preempt_off(); }
  ~NoPreempt() { preempt_on(); }
  NoPreempt(const NoPreempt&) = delete;
  NoPreempt& operator=(const NoPreempt&) = delete;
};

// The G of a thread made by goshim, from its pthread_t; null for a foreign thread's, and for 0, which libc knows how to
// refuse.
inline G* g_of(pthread_t t) {
  if (t == 0) return nullptr;
  ptrdiff_t offset = reinterpret_cast<char*>(&goshim_tls) - reinterpret_cast<char*>(arch::thread_pointer());
  return reinterpret_cast<Tls*>(reinterpret_cast<char*>(tcb::tp_of(t)) + offset)->owner;
}
inline Tls* tls_of(G* g) {
  ptrdiff_t offset = reinterpret_cast<char*>(&goshim_tls) - reinterpret_cast<char*>(arch::thread_pointer());
  return reinterpret_cast<Tls*>(reinterpret_cast<char*>(g->tp) + offset);
}

}  // namespace goshim
