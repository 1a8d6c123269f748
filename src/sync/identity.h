// Who holds a lock: the thread id as error-checking, recursive and robust objects store it, as glibc does.
#pragma once

#include "sched/runtime.h"

namespace goshim {

// The kernel thread id of a foreign thread, asked for once.
GOSHIM_COLD int foreign_id();

// Unique among the living threads of the process, never 0.
inline int self_id() {
  int tid = goshim_tls.tid;
  return GOSHIM_LIKELY(tid != 0) ? tid : foreign_id();
}

}  // namespace goshim
