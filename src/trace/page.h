// The page of counters: what a process under goshim shows to those who look at it from outside (goshim stat, goshim
// top). Always on: it costs a few plain stores for each switch.
//
// It lies in a memfd called kPageName, at one of the runtime's own descriptors and readable by the process's user only.
// Who looks finds the name among /proc/PID/fd/*, maps the file for reading, and needs nothing of the process: it may be
// stopped or hang. Where the memfd cannot be had the page is private memory, and only the process itself can read it.
//
//   C1  Each P has an area of its own, which only the M that owns the P writes: relaxed loads and stores (P's owners
//       follow each other by release and acquire), no locked instruction. One more area, the first, is for those who
//       have no P: they add atomically. There is room for as many Ps as there can be; memory is taken for those that
//       there are.
//   C2  A reader sees every counter whole, but not all of one moment. What is computed from several may be off by what
//       happened while they were read.
//   C3  What the Ps do not count (the state of queues and kernel threads) sysmon writes there each time it looks:
//       every 10 ms at the latest while anything runs, and once before it sleeps.
//   C4  The child of a fork has no page until its runtime starts, and then one of its own.
//   C5  The memfd is there before the runtime makes its first kernel thread, and is valid when the runtime has started.
//       So a process that has several and no memfd made them without goshim.
#pragma once

#include "sched/runtime.h"

namespace goshim {

inline constexpr char kPageName[] = "goshim-stats";
inline constexpr uint64_t kPageMagic = 0x6d69687359474f47;  // of the bytes "GOGYshim"
// Changes with every change of the structures below, of the counters, or of the reasons to wait.
inline constexpr uint32_t kPageLayout = 1;

// COUNTER(name, what one is)
// clang-format off
#define GOSHIM_COUNTERS(COUNTER) \
  COUNTER(inherits, "switch to a thread that goes on in the slice of the one that woke it") \
  COUNTER(gs_made, "thread made") \
  COUNTER(gs_ended, "thread ended") \
  COUNTER(wakes, "kernel thread woken or made, to run threads") \
  COUNTER(futile_wakes, "kernel thread that ran out of work too soon to have been worth waking") \
  COUNTER(steal_tries, "look into the queues of the other Ps") \
  COUNTER(steals, "such a look that found threads") \
  COUNTER(handoffs, "P handed over because its kernel thread blocks") \
  COUNTER(retakes, "P taken from a kernel thread that blocks") \
  COUNTER(preempts_asked, "request to a running thread to make room") \
  COUNTER(preempts_taken, "thread that made room on request") \
  COUNTER(polls, "look at the poller") \
  COUNTER(poll_events, "event that the poller had") \
  COUNTER(poll_woken, "thread woken by such an event") \
  COUNTER(timers, "timer fired") \
  COUNTER(calls, "call that may block in the kernel, begun") \
  COUNTER(calls_ended, "such a call, ended")
// clang-format on

enum class Counter : uint32_t {
#define COUNTER(name, meaning) name,
  GOSHIM_COUNTERS(COUNTER)
#undef COUNTER
      kCount
};
inline constexpr size_t kCounters = static_cast<size_t>(Counter::kCount);

inline constexpr size_t kWaitReasons = static_cast<size_t>(WaitReason::Region) + 1;
// A reason to wait, as one word.
const char* wait_reason_name(WaitReason reason);

// From runnable to running, in nanoseconds: four buckets for each power of two. The first holds what is below
// 2^kLatencyLeast, the last what is above all others (more than a minute).
inline constexpr int kLatencyLeast = 6;
inline constexpr size_t kLatencyBuckets = 1 + 4 * 30 + 1;
constexpr size_t latency_bucket(uint64_t ns) {
  if (ns >> kLatencyLeast == 0) return 0;
  int log = 63 - __builtin_clzll(ns);
  size_t bucket = 1 + 4 * static_cast<size_t>(log - kLatencyLeast) + (ns >> (log - 2) & 3);
  return bucket < kLatencyBuckets - 1 ? bucket : kLatencyBuckets - 1;
}
// The least that belongs to it.
constexpr uint64_t latency_from(size_t bucket) {
  if (bucket == 0) return 0;
  size_t step = bucket - 1;
  return (4 + step % 4) << (kLatencyLeast + step / 4 - 2);
}
// Every so many wake-ups of each kind one is timed.
inline constexpr uint64_t kLatencySample = 64;

// The area of one P (C1).
struct alignas(kCacheLine) Counts {
  std::atomic<uint64_t> of[kCounters];
  std::atomic<uint64_t> parks[kWaitReasons];    // waits begun, by reason
  std::atomic<uint64_t> readied[kWaitReasons];  // and ended; under None, first runs
  std::atomic<uint64_t> latency[kLatencyBuckets];
  // Written by sysmon (C3).
  alignas(kCacheLine) std::atomic<uint64_t> schedticks;  // slices begun
  std::atomic<uint32_t> queued;                          // Gs in its queue
  std::atomic<PStatus> status;
};

struct alignas(kCacheLine) Page {
  // Constant once magic is there, which is stored last (release).
  std::atomic<uint64_t> magic;
  uint32_t layout;
  uint32_t size;        // of all
  uint32_t first_area;  // offset of the area of those without a P; those of the Ps follow
  uint32_t area_size;
  int32_t pid;       // as the process itself sees it
  Nanos started_at;  // when the runtime started
  char version[16];  // of the library
  // Ps that have an area. Grows (release).
  alignas(kCacheLine) std::atomic<int32_t> procs;
  // Written by sysmon (C3).
  std::atomic<int32_t> limit;    // Ps that may run Gs
  std::atomic<Nanos> seen_at;    // when
  std::atomic<int32_t> ms;       // kernel threads that run Gs
  std::atomic<int32_t> idle_ms;  // of them, without work
  std::atomic<int32_t> idle_ps;
  std::atomic<int32_t> spinning;  // kernel threads that look for work
  std::atomic<uint32_t> queued;   // Gs in the global queue
  std::atomic<int32_t> polled;    // Gs that wait in the poller

  // Of P i; kNoP is that of those without one.
  const Counts* area(int i) const {
    return reinterpret_cast<const Counts*>(reinterpret_cast<const char*>(this) + first_area +
                                           static_cast<size_t>(i + 1) * area_size);
  }
  static constexpr int kNoP = -1;
};

// ---- writing ----

// The runtime starts, in the child of a fork perhaps; it has no kernel thread yet (C5). False: no memory at all.
bool page_open();
// It runs: the page is valid from now on.
void page_show(int pid, Nanos started_at);
// It could not start.
void page_close();
Page* page();  // null before that
// The area of P i, from now on; one that nobody sees if there is no memory for it. By one thread at a time, i from 0
// and without gaps.
Counts* page_counts(int i);
void page_after_fork_child();
// By sysmon (C3).
void page_look(Nanos now);

// For those who have no P; never null.
extern Counts* counts_outside;

inline void bump(std::atomic<uint64_t>& counter, uint64_t n = 1) {
  counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

// p: the caller's P, or null. Preemption off.
inline void tally(P* p, Counter c, uint64_t n = 1) {
  auto i = static_cast<size_t>(c);
  if (GOSHIM_LIKELY(p != nullptr)) bump(p->counts->of[i], n);
  else counts_outside->of[i].fetch_add(n, std::memory_order_relaxed);
}
// For the calling thread, whatever it is. Preemption off.
inline void tally(Counter c, uint64_t n = 1) {
  G* g = getg();
  tally(g ? m_p(g->m.load(std::memory_order_relaxed)) : nullptr, c, n);
}

// ---- reading ----

// The sums over all Ps, and what follows from them.
struct Totals {
  uint64_t counts[kCounters];
  uint64_t parks[kWaitReasons];
  uint64_t readied[kWaitReasons];
  uint64_t latency[kLatencyBuckets];
  uint64_t switches;  // times that a kernel thread went over to a G
  // Gs that there are, and what they do. The four add up to live.
  uint64_t live;
  uint64_t running;   // on a kernel thread: with a P, or coming back from the kernel without one
  uint64_t runnable;  // in a queue
  uint64_t in_calls;  // in a call that may block in the kernel
  uint64_t waiting;
  uint64_t waiting_for[kWaitReasons];
};

// True for a page of this layout, complete, in size bytes of memory. Any memory, any contents.
bool page_valid(const void* memory, size_t size);
// Ps that have an area.
int page_procs(const Page* page);
// Any thread, any process, at any time; allocates nothing.
void page_totals(const Page* page, Totals* out);
// With the slices begun, and the Gs in queues, as the caller knows them.
void page_totals(const Page* page, uint64_t schedticks, uint64_t queued, Totals* out);
// The same of the calling process, with queues as they are now; false if its runtime has not started. Any thread, and
// in signal handlers.
bool own_totals(Totals* out);

}  // namespace goshim
