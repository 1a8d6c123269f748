// pthread_once_t and once_flag.
#pragma once

#include "base/base.h"

namespace goshim {

struct Once {
  // 0: not run; 2: done (release; acquire); else running: 1 plus the generation (counted by forks) above bit 1.
  std::atomic<uint32_t> word;
};

// The onces whose routines a thread is running, innermost first; on its stack.
struct OnceFrame {
  Once* once;
  OnceFrame* outer;
};
// Where the thread's innermost lies, from its thread pointer.
ptrdiff_t once_frames_at();

void once_slow(Once* once, void (*routine)());

// Runs routine once; others wait. If it is left by an exception or by cancellation, the next caller runs it.
inline void once_call(Once* once, void (*routine)()) {
  // acquire: what the routine did is seen.
  if (GOSHIM_UNLIKELY(once->word.load(std::memory_order_acquire) != 2)) once_slow(once, routine);
}

}  // namespace goshim
