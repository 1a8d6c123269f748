// Slices that the kernel ends by itself.
//
// To end a slice sysmon looks at the M (files of /proc), and sends it a signal from another core: 100 us for each in a
// virtual machine, where an interrupt from core to core is dear. So an M whose G has been interrupted because it
// computes asks for a timer of its own: the kernel's on this kernel thread's CPU time, which signals it after each
// kSlice that it has computed, at the next tick of its own core. It stops when two in a row found nobody waiting, or
// another G.
//
//   L1  The timer runs on CPU time: what sleeps is never interrupted by it, and Linux sends its signal on the way back
//       to the program, so that no call is cut short either.
//   L2  A G makes room when it has run, in one turn, from one signal to the next (or since the one that ended the turn
//       before) and others wait.
//   L3  sysmon leaves an M with such a timer alone for two slices. If its G goes on nevertheless (it was in the middle
//       of libc, or the kernel's ticks are longer than that) it is interrupted as any other.
//   L4  A kernel thread that the program may have changed (seccomp) has none: the M of a locked G.
//   L5  What a debugger steps through goes on: after it has stopped the process no G is preempted for a while.
#pragma once

#include "sched/runtime.h"

namespace goshim {

inline constexpr Nanos kSlice = 3 * kMillisecond;

// By the M that runs the calling G, which has been interrupted and is about to make room: its next slices are timed.
// Preemption off.
void slice_timer_start(M* m);

// They are not any more; the M's kernel thread ends. By the M itself, preemption off.
void slice_timer_stop(M* m);
void slice_timer_end(M* m);

// In the handler, on m's kernel thread, for a signal that comes from its timer: whether the G it runs is to be
// interrupted; the request is made then.
bool slice_timer_fired(M* m);

// For sysmon: L3, for a G that has run for so long.
inline bool slice_timed(const M* m, Nanos ran) {
  return m->slice_timed.load(std::memory_order_relaxed) && ran < 2 * kSlice;
}

}  // namespace goshim
