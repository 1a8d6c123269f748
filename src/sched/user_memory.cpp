// See user_memory.h.
#include "sched/user_memory.h"

#include <errno.h>

#include "base/sys.h"

namespace goshim {

// Off Gs there is no handler for the fault. The kernel says whether there is memory, by reading a set of signals to
// block in a way that it does not know.
long user_word(const void* p) {
  if (GOSHIM_LIKELY(getg() != nullptr)) return arch::goshim_read_word(p);
  constexpr int kNoWay = 99;
  constexpr uintptr_t kMask = 8;
  uintptr_t around = reinterpret_cast<uintptr_t>(p) & ~(kMask - 1);
  if (sys::call(SYS_rt_sigprocmask, kNoWay, around, nullptr, kMask) == -EFAULT) return -1;
  uint32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return word;
}

long user_word_to_write(void* p) { return getg() ? arch::goshim_touch_word(p) : user_word(p); }

}  // namespace goshim
