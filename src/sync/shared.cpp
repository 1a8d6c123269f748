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
__thread int held;  // see shared_held()

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
  static_assert(sizeof *head == kRobustListSize);
  if (sys::call(SYS_get_robust_list, 0, &head, &size) != 0 || !head || size != sizeof *head) return;
  futex_offset = head->futex_offset;
  robust_offset = reinterpret_cast<char*>(head) - static_cast<char*>(arch::thread_pointer());
}

void shared_held(int more) { held += more; }
int shared_held_before() { return held > 0 ? held : 0; }
void shared_after_fork_child() { held = 0; }

void* robust_list_of(const G* g) { return static_cast<char*>(g->tp) + robust_offset; }

void shared_swap_in(const G* g) {
  M* m = g->m.load(std::memory_order_relaxed);
  arch::set_thread_pointer(m->own_tcb, m->tp_cell);
  register_robust_list();
}

// First the place is known to the handler, then the look: a request made in between is seen by one of the two.
void shared_wait_begin(G* g, const SharedWait& wait) {
  g->m.load(std::memory_order_relaxed)->wait_end.store(wait.end, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  const Tls* tls = tls_of(g);
  if ((tls->interrupt.load(std::memory_order_seq_cst) & wait.by) ||
      (tls->pending.load(std::memory_order_seq_cst) & (kPendingSignal | kPendingCancel))) {
    *wait.end = {};
  }
}

void shared_wait_end(G* g) { g->m.load(std::memory_order_relaxed)->wait_end.store(nullptr, std::memory_order_relaxed); }

// The M's kernel thread may live on, or end after joiners have been told; so what the kernel does with its list is done
// here. The chain of a priority-inheriting mutex is the kernel's: only the first kernel thread, which never ends while
// the process lives, gives such a one up here, and then its next owner, if one waits already, is not told.
void shared_thread_exit() {
  G* g = getg();
  if (!g || g->lock_count == 0 || robust_offset == 0) return;
  preempt_off();
  M* m = g->m.load(std::memory_order_relaxed);
  bool first = m->tid == sys::getpid();
  auto* head = reinterpret_cast<robust_list_head*>(static_cast<char*>(m->own_tcb) + robust_offset);
  constexpr uintptr_t kInherits = 1;
  robust_list** link = &head->list.next;
  constexpr int kMost = 2048;  // the kernel's limit too: the list lies in memory that others write
  for (int i = 0; i < kMost && *link; i++) {
    uintptr_t tagged = reinterpret_cast<uintptr_t>(*link);
    auto* entry = reinterpret_cast<robust_list*>(tagged & ~kInherits);
    if (entry == &head->list) break;
    bool inherits = (tagged & kInherits) != 0;
    if (inherits && !first) {
      link = &entry->next;
      continue;
    }
    robust_list* next = entry->next;
    auto* word = reinterpret_cast<std::atomic<uint32_t>*>(reinterpret_cast<char*>(entry) + futex_offset);
    uint32_t w = word->load(std::memory_order_relaxed);
    bool ours = (w & FUTEX_TID_MASK) == static_cast<uint32_t>(m->tid);
    if (ours && inherits && (w & FUTEX_WAITERS)) {
      sys::call(SYS_futex, word, FUTEX_UNLOCK_PI, 0, 0, 0, 0);
    } else if (ours) {
      while (!word->compare_exchange_weak(w, (w & FUTEX_WAITERS) | FUTEX_OWNER_DIED, std::memory_order_release)) {
      }
      if (w & FUTEX_WAITERS) sys::call(SYS_futex, word, FUTEX_WAKE, 1, 0, 0, 0);
    }
    *link = next;
  }
  preempt_on();
}

// A function of its own, as above: the compiler may read the thread pointer early, as nothing it knows of changes it.
static GOSHIM_NOINLINE void back() { preempt_on(); }

void shared_swap_out(const G* g) {
  arch::set_thread_pointer(g->tp, g->m.load(std::memory_order_relaxed)->tp_cell);
  back();
}

}  // namespace goshim
