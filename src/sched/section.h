// A stretch of code that may take locks of the runtime: on a G preemption is off, on a foreign thread signals are. A
// handler that posts a semaphore, or closes a descriptor, must not meet a lock held by the very thread it interrupted.
#pragma once

#include <signal.h>

#include "base/sys.h"
#include "sched/runtime.h"

namespace goshim {

class Section {
 public:
  Section() : foreign_(getg() == nullptr) {
    if (GOSHIM_UNLIKELY(foreign_)) {
      uint64_t all = ~UINT64_C(0);
      sys::call(SYS_rt_sigprocmask, SIG_BLOCK, &all, &mask_, sizeof all);
    } else {
      preempt_off();
    }
  }
  ~Section() {
    if (GOSHIM_UNLIKELY(foreign_)) sys::call(SYS_rt_sigprocmask, SIG_SETMASK, &mask_, nullptr, sizeof mask_);
    else preempt_on();
  }
  Section(const Section&) = delete;
  Section& operator=(const Section&) = delete;

 private:
  bool foreign_;
  uint64_t mask_ = 0;
};

}  // namespace goshim
