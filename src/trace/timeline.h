// The timeline (GOSHIM_TRACE=FILE): each M notes what it does, event by event, in a segment of a mapped file
// (timeline_file.h), which `goshim trace` makes readable. Nothing is ever flushed and no thread writes: what is noted
// is in the file, even if the program is killed at the next instruction.
//
//   T1  An M writes to its own segment only, with preemption off: no lock, no atomic operation but in a new segment.
//   T2  The flag lies in a page that the kernel clears in the child of a fork, whose address space lacks the mapping.
//   T3  Foreign threads note nothing.
//   T4  A G is noted as stopped before anybody else can note its next start: while it is busy.
//
// Every function but the first two: preemption off, any thread. One test of a flag when off.
#pragma once

#include "sched/runtime.h"
#include "trace/timeline_file.h"

namespace goshim {

using timeline_file::Event;
using timeline_file::StopReason;

// At the start of the runtime: makes the file, if options.trace names one. A line on stderr if that fails. The first
// time only. On the first M, before others run.
void timeline_start();
// At exit. Any thread.
void timeline_end();

// Whether events are noted: set by timeline_start(), cleared in the child of a fork and when the disk is full.
struct alignas(kPage) TimelineSwitch {
  std::atomic<bool> on;  // relaxed: set before there are other Ms, cleared for good; who is late notes an event more
};
extern TimelineSwitch timeline_switch;
inline bool timeline_on() { return GOSHIM_UNLIKELY(timeline_switch.on.load(std::memory_order_relaxed)); }

GOSHIM_NOINLINE void timeline_note(Event event, uint64_t argument);
GOSHIM_NOINLINE void timeline_note_block(M* m, G* g, const G* next);
GOSHIM_NOINLINE void timeline_note_yield(M* m, const G* next);
GOSHIM_NOINLINE void timeline_note_ready(const G* g);
GOSHIM_NOINLINE void timeline_note_call(long nr);
GOSHIM_COLD void timeline_note_name(const G* g);
GOSHIM_COLD void timeline_note_m_end(M* m);

// On the calling M.
inline void timeline(Event event, uint64_t argument = 0) {
  if (timeline_on()) timeline_note(event, argument);
}
inline void timeline(Event event, StopReason reason) { timeline(event, static_cast<uint64_t>(reason)); }
// g, which m runs, waits or has ended; next runs, or if null the g0.
inline void timeline_block(M* m, G* g, const G* next) {
  if (timeline_on()) timeline_note_block(m, g, next);
}
inline void timeline_yield(M* m, const G* next) {
  if (!timeline_on()) return;
  TimelineWriter& w = m->timeline;
  uint32_t distance = timeline_file::id_of(next->id) - w.run_base;
  if (GOSHIM_UNLIKELY(w.run == w.run_end || distance >= w.run_reach)) {
    timeline_note_yield(m, next);
    return;
  }
  auto entry = static_cast<uint16_t>(distance + 1);
  __builtin_memcpy(w.run, &entry, sizeof entry);
  w.run += w.run_width;
}
// g, still Waiting or Dead, is about to become runnable.
inline void timeline_ready(const G* g) {
  if (timeline_on()) timeline_note_ready(g);
}
inline void timeline_steal(const P* victim, uint64_t n) {
  if (timeline_on()) timeline_note(Event::Steal, static_cast<uint64_t>(victim->id) << 32 | n);
}
// The region that was just entered is around system call nr.
inline void timeline_call(long nr) {
  if (timeline_on()) timeline_note_call(nr);
}
// g has a name now.
inline void timeline_name(const G* g) {
  if (timeline_on()) timeline_note_name(g);
}
// m's kernel thread ends.
inline void timeline_m_end(M* m) {
  if (timeline_on()) timeline_note_m_end(m);
}

}  // namespace goshim
