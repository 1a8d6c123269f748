// Gs by thread id, without a walk over all of them: signals, priorities and CPU clocks name threads that way.
#pragma once

#include "sched/runtime.h"

namespace goshim {

struct TidTable {
  std::atomic<G*>*
      slots;  // release and acquire: the G that a slot leads to is complete; whether it is the right one is looked at
  uint32_t mask;  // number of slots - 1
};

// Never null. Replaced by a larger one as Gs are made, under sched.all_lock (release).
extern std::atomic<const TidTable*> tid_table;

// g has this id from now on. Any context.
inline void tid_note(int tid, G* g) {
  const TidTable* t = tid_table.load(std::memory_order_acquire);
  t->slots[static_cast<uint32_t>(tid) & t->mask].store(g, std::memory_order_release);
}

// The live G with this id, or null. Any context, in a handler of the kernel too. Takes time only for an id that nobody
// has, or once after many threads have come and gone.
G* tid_find(int tid);

// There is one more structure of a G. sched.all_lock held.
void tid_make_room();

// In the child of a fork: forgets all.
void tid_after_fork_child();

}  // namespace goshim
