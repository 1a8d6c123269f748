// Calls as a kernel thread (see shared.h).
#include "sync/shared.h"

#include <linux/futex.h>

namespace goshim {
namespace {

// What the kernel looks at when a thread ends, and the word that glibc keeps before it.
struct RobustList {
  void* prev;
  robust_list_head head;
};

ptrdiff_t robust_offset;  // of RobustList::head from the thread pointer; 0: unknown. Set once, by shared_init
long futex_offset;

__thread bool robust_registered;

// A function of its own: its thread-local variable is the M's TCB's.
GOSHIM_NOINLINE void register_robust_list() {
  if (robust_registered || robust_offset == 0) return;
  robust_registered = true;
  auto* head = reinterpret_cast<robust_list_head*>(static_cast<char*>(arch::thread_pointer()) + robust_offset);
  robust_list_head* known = nullptr;
  size_t size;
  if (sys::call(SYS_get_robust_list, 0, &known, &size) != 0 || known == head) return;
  auto* list = reinterpret_cast<RobustList*>(reinterpret_cast<char*>(head) - offsetof(RobustList, head));
  list->prev = head;
  head->list.next = &head->list;
  head->futex_offset = futex_offset;
  head->list_op_pending = nullptr;
  sys::call(SYS_set_robust_list, head, sizeof *head);
}

}  // namespace

void shared_init() {
  robust_list_head* head = nullptr;
  size_t size = 0;
  if (sys::call(SYS_get_robust_list, 0, &head, &size) != 0 || !head || size != sizeof *head) return;
  futex_offset = head->futex_offset;
  robust_offset = reinterpret_cast<char*>(head) - static_cast<char*>(arch::thread_pointer());
}

void* shared_swap_in() {
  void* mine = arch::thread_pointer();
  arch::set_thread_pointer(getg()->m.load(std::memory_order_relaxed)->own_tcb);
  register_robust_list();
  return mine;
}

void shared_swap_out(void* mine) { arch::set_thread_pointer(mine); }

}  // namespace goshim
