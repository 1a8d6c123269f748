// pthread_once. The routine may be left by a C++ exception (std::call_once counts on it) or by a forced unwind (exit,
// cancellation). The runtime is built without exceptions and must not need a C++ library, so the frame that calls the
// routine names a personality function of its own: an unwinder asks it when it passes the frame, whatever the reason,
// and it has no table to look into; being asked in the clean-up phase is all it needs to know. Where the routine, or
// what it has called, was compiled without unwind tables, a forced unwind does not come that far: then libc jumps to
// the end of the thread and runs the clean-up handlers in its list, where ours is too.
#include "sync/once.h"

#include <unwind.h>

#include "base/host.h"
#include "park/park.h"
#include "sync/hooks.h"

namespace goshim {
namespace {

constexpr uint32_t kDone = 2;
constexpr uint32_t kRunning = 1;
constexpr uint32_t kGeneration = 4;

uint32_t generation;  // written in the child of a fork only, when it has one thread

// Unwinding passes the frames in the list's order.
struct Frame : OnceFrame {
  _pthread_cleanup_buffer in_list;
};
__thread OnceFrame* innermost;

void finish(Once* once, uint32_t state) {
  once->word.store(state, std::memory_order_release);
  unpark_all(once);
}

// The routine of frame, the innermost, has not come to its end: the next caller runs it.
void abandon(void* frame) {
  auto* f = static_cast<Frame*>(frame);
  innermost = f->outer;
  finish(f->once, 0);
}

// Before the constructors nobody can be cancelled, and there is no list.
void enlist(Frame* f) {
  if (GOSHIM_LIKELY(host.cleanup_push != nullptr)) host.cleanup_push(&f->in_list, abandon, f);
}
void unlist(Frame* f) {
  if (f->in_list.__routine) host.cleanup_pop(&f->in_list, 0);
}

struct Wait {
  Once* once;
  uint32_t running;
};

bool still_running(void* ctx) {
  auto* w = static_cast<Wait*>(ctx);
  return w->once->word.load(std::memory_order_relaxed) == w->running;
}

}  // namespace

extern "C" __attribute__((visibility("hidden"), used)) _Unwind_Reason_Code goshim_once_unwound(
    int, _Unwind_Action actions, _Unwind_Exception_Class, _Unwind_Exception*, _Unwind_Context*) {
  if (actions & _UA_CLEANUP_PHASE) {
    auto* frame = static_cast<Frame*>(innermost);
    unlist(frame);
    abandon(frame);
  }
  return _URC_CONTINUE_UNWIND;
}

namespace {

// 0x1b: the personality's address as a 4-byte offset.
GOSHIM_NOINLINE void run(Once* once, void (*routine)()) {
  asm volatile(".cfi_personality 0x1b, goshim_once_unwound");
  Frame frame{{once, innermost}, {}};
  innermost = &frame;
  enlist(&frame);
  routine();
  unlist(&frame);
  innermost = frame.outer;
}

}  // namespace

void once_slow(Once* once, void (*routine)()) {
  uint32_t running;
  uint32_t w = once->word.load(std::memory_order_acquire);
  for (;;) {
    running = generation | kRunning;  // in each round: a handler may fork while we wait
    if (w & kDone) return;
    if (w == running) {
      Wait wait{once, running};
      park({.key = once,
            .validate = still_running,
            .before_sleep = nullptr,
            .timed_out = nullptr,
            .ctx = &wait,
            .reason = WaitReason::Once,
            .interruptible = true,
            .signals_only = true});
      w = once->word.load(std::memory_order_acquire);
      continue;
    }
    // Not run, or running in a thread that the fork left behind.
    if (once->word.compare_exchange_weak(w, running, std::memory_order_acquire)) break;
  }
  run(once, routine);
  finish(once, kDone);
}

ptrdiff_t once_frames_at() { return reinterpret_cast<char*>(&innermost) - static_cast<char*>(arch::thread_pointer()); }

void once_after_fork_child() { generation += kGeneration; }

}  // namespace goshim
