// The dump: all Gs, what they wait for and where they stand, as `goshim dump PID` prints it.
//
// Stacks are read from outside, by the launcher, from a process that it has stopped: the process itself may hold any
// lock, and an unwinder needs some. What the launcher needs to know to find its way is DumpMap. Where there is no
// launcher, or it may not look, the library lists the Gs itself, without stacks, locks or memory.
#pragma once

#include "net/descriptor.h"
#include "park/park.h"
#include "sched/inject.h"
#include "sched/internal.h"
#include "sync/mutex.h"
#include "sync/once.h"
#include "sync/rwlock.h"

namespace goshim {

// The way into the runtime's structures, at the exported symbol goshim_debug. Constant after the runtime's start.
struct DumpMap {
  char magic[8];                     // kDumpMagic
  uint64_t layout;                   // kDumpLayout of the build
  const std::atomic<bool>* started;  // runtime_started
  const Sched* sched;                //
  const char* switch_middle;         // arch::goshim_switch_middle
  const char* switch_end;            // arch::goshim_switch_end
  ptrdiff_t tls;                     // goshim_tls in a thread control block, from its thread pointer
  ptrdiff_t once_frames;             // once_frames_at()
  size_t park_request;               // park_request_offset()
  arch::TrapMap traps;               //
};
constexpr char kDumpMagic[8] = "goshim1";

// Equal in two builds if what the launcher reads lies at the same places in both.
constexpr uint64_t dump_layout() {
  constexpr size_t kPlaces[] = {
      sizeof(DumpMap),
      sizeof(Sched),
      offsetof(Sched, active),
      offsetof(Sched, ps),
      offsetof(Sched, all_gs),
      offsetof(Sched, ms),
      offsetof(Sched, helpers),
      offsetof(Sched, coarse_now),
      sizeof(G),
      offsetof(G, ctx),
      offsetof(G, tp),
      offsetof(G, status),
      offsetof(G, m),
      offsetof(G, wait_reason),
      offsetof(G, wait_since),
      offsetof(G, timer),
      offsetof(G, park_key),
      offsetof(G, park_place),
      offsetof(G, locked_m),
      offsetof(G, stack),
      offsetof(G, id),
      offsetof(G, start),
      offsetof(G, joining),
      offsetof(G, user_stack),
      offsetof(G, saved),
      offsetof(G, all_link),
      offsetof(G, name),
      sizeof(M),
      offsetof(M, id),
      offsetof(M, tid),
      sizeof(P),
      sizeof(Tls),
      offsetof(Tls, tid),
      sizeof(Timer),
      offsetof(Timer, when),
      offsetof(Timer, heap),
      sizeof(ParkRequest),
      offsetof(ParkRequest, key),
      offsetof(SavedArea, outer),
      offsetof(SavedArea, sp),
      offsetof(SavedArea, registers),
      sizeof(Wait),
      offsetof(Wait, fd),
      offsetof(Wait, others),
      offsetof(Mutex, word),
      offsetof(Mutex, owner),
      offsetof(OnceFrame, once),
      offsetof(OnceFrame, outer),
      offsetof(RwLock, word),
      offsetof(RwLock, writer),
      static_cast<size_t>(GStatus::Waiting),
      static_cast<size_t>(WaitReason::Region),
  };
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (size_t place : kPlaces) hash = (hash ^ place) * 0x100000001b3;
  return hash;
}
constexpr uint64_t kDumpLayout = dump_layout();

// Writes a dump to fd and returns when it is there. On any thread, with preemption on; no lock of the program or of
// libc is needed. A blocking region for the caller.
void dump_to_fd(int fd);

// ---- triggers within the process; both off unless the option is set ----

// The option that a signal may be set by: the signal that asks for a dump, 0 for none. Constant after dump_start().
extern int dump_signal;
// At the start of the runtime.
void dump_start();
// Asks for a dump on stderr, which another kernel thread makes. Anywhere, also in a signal handler.
void dump_request();
// With the option deadlock, by sysmon when no P is in use and no timer is armed: asks for a dump if no G can ever run
// again, as far as can be seen. When to look again.
Nanos dump_if_asleep(Nanos now);

}  // namespace goshim

extern "C" __attribute__((visibility("default"))) goshim::DumpMap goshim_debug;
