// The structures of Gs: made, listed, counted, kept when their G has ended, and given to the next one.
//
// A dead G keeps its stack and its TCB. It is taken again by who makes a thread with a stack of the same kind (size and
// guard), the youngest first, since its memory is in the cache: from the P's own list, else from the global one, from
// which a P takes a batch.
// Lock order: dead_lock and all_lock are leaves; dead_lock may be taken under sched.lock.
#include <linux/membarrier.h>

#include "base/slab.h"
#include "sched/internal.h"
#include "sched/tids.h"
#include "tcb/tcb.h"
#include "trace/page.h"

namespace goshim {
namespace {

constexpr int kDeadLocal = 64;  // dead Gs a P keeps by kind; half moves when it is full
constexpr uint64_t kIdBatch = 64;

// Each written once, under kind_lock, before n_kinds counts it (release; acquire).
struct Kind {
  std::atomic<size_t> size{0};
  size_t guard = 0;
};
constinit Kind kinds[kStackKinds];
std::atomic<int> n_kinds{0};
Lock kind_lock;
Slab<G> g_slab;

// The dead list for stacks of this shape; kStackKinds when all lists are taken by other shapes.
int kind_of(size_t size, size_t guard) {
  int n = n_kinds.load(std::memory_order_acquire);
  for (int i = 0; i < n; i++) {
    if (kinds[i].size.load(std::memory_order_relaxed) == size && kinds[i].guard == guard) return i;
  }
  LockGuard hold(kind_lock);
  int now = n_kinds.load(std::memory_order_relaxed);
  for (int i = n; i < now; i++) {
    if (kinds[i].size.load(std::memory_order_relaxed) == size && kinds[i].guard == guard) return i;
  }
  if (now == kStackKinds) return kStackKinds;
  kinds[now].size.store(size, std::memory_order_relaxed);
  kinds[now].guard = guard;
  n_kinds.store(now + 1, std::memory_order_release);
  return now;
}

G* dead_get(int kind, size_t size, size_t guard) {
  P* p = current_p();
  if (p && kind < kStackKinds) {
    if (G* g = p->dead[kind]) {
      p->dead[kind] = g->schedlink;
      p->ndead[kind]--;
      return g;
    }
  }
  LockGuard hold(sched.dead_lock);
  if (kind == kStackKinds) {
    for (G** link = &sched.dead[kind]; *link; link = &(*link)->schedlink) {
      G* g = *link;
      if (g->stack.size == size + guard && g->stack.guard == guard) {
        *link = g->schedlink;
        return g;
      }
    }
    return nullptr;
  }
  G* g = sched.dead[kind];
  if (!g) return nullptr;
  sched.dead[kind] = g->schedlink;
  while (p && p->ndead[kind] < kDeadLocal / 2 && sched.dead[kind]) {
    G* more = sched.dead[kind];
    sched.dead[kind] = more->schedlink;
    more->schedlink = p->dead[kind];
    p->dead[kind] = more;
    p->ndead[kind]++;
  }
  return g;
}

}  // namespace

void dead_put(G* g) {
  int kind = g->kind;
  if (kind < 0) return;
  P* p = current_p();
  if (p && kind < kStackKinds) {
    g->schedlink = p->dead[kind];
    p->dead[kind] = g;
    if (++p->ndead[kind] < kDeadLocal) return;
    LockGuard hold(sched.dead_lock);
    while (p->ndead[kind] > kDeadLocal / 2) {
      G* more = p->dead[kind];
      p->dead[kind] = more->schedlink;
      p->ndead[kind]--;
      more->schedlink = sched.dead[kind];
      sched.dead[kind] = more;
    }
    return;
  }
  LockGuard hold(sched.dead_lock);
  g->schedlink = sched.dead[kind];
  sched.dead[kind] = g;
}

uint64_t fresh_id() {
  P* p = current_p();
  if (!p) return sched.ids.fetch_add(1, std::memory_order_relaxed);
  if (p->next_id == p->id_end) {
    p->next_id = sched.ids.fetch_add(kIdBatch, std::memory_order_relaxed);
    p->id_end = p->next_id + kIdBatch;
  }
  return p->next_id++;
}

// Above the kernel's largest pid, below 2^28 (D2); used again only after 2^27 threads.
int virtual_tid(uint64_t id) {
  constexpr uint32_t kFirst = (1U << 23) + 1;
  constexpr uint32_t kCount = (1U << 28) - kFirst;
  return static_cast<int>(kFirst + id % kCount);
}

// Counting by P costs no locked instruction. A G counts as made before it can run, and its end is stored with release:
// so who reads all ends first, and then all that were made, sees a G as living at least until its end, and 0 means that
// none is left.
static void count(Counter shown, std::atomic<uint64_t> P::*by_p, std::atomic<uint64_t>* elsewhere) {
  P* p = current_p();
  if (p) (p->*by_p).store((p->*by_p).load(std::memory_order_relaxed) + 1, std::memory_order_release);
  else elsewhere->fetch_add(1, std::memory_order_release);
  tally(p, shown);
}

void g_counts() { count(Counter::gs_made, &P::gs_made, &sched.gs_made); }

long live() {
  uint64_t ended = sched.gs_ended.load(std::memory_order_acquire);
  for (int i = 0; i < sched.procs; i++) ended += sched.ps[i].gs_ended.load(std::memory_order_acquire);
  uint64_t made = sched.gs_made.load(std::memory_order_acquire);
  for (int i = 0; i < sched.procs; i++) made += sched.ps[i].gs_made.load(std::memory_order_acquire);
  return static_cast<long>(made - ended);
}

// While the first one lives, no other can be the last and nobody needs to count. It sets first_ended and issues a
// membarrier: so any other has either counted its own end before, or sees first_ended.
bool g_ends() {
  NoPreempt guard;
  count(Counter::gs_ended, &P::gs_ended, &sched.gs_ended);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (getg() == sched.survivor) {
    sched.first_ended.store(true, std::memory_order_seq_cst);
    sys::call(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
  } else if (GOSHIM_LIKELY(!sched.first_ended.load(std::memory_order_relaxed))) {
    return false;
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);  // of two that end at once one sees both
  return live() == 0 && !sched.last_ended.exchange(true, std::memory_order_acq_rel);
}

void live_reset() {
  for (int i = 0; i < sched.procs; i++) {
    sched.ps[i].gs_made.store(0, std::memory_order_relaxed);
    sched.ps[i].gs_ended.store(0, std::memory_order_relaxed);
  }
  sched.gs_made.store(1, std::memory_order_relaxed);
  sched.gs_ended.store(0, std::memory_order_relaxed);
  sched.first_ended.store(false, std::memory_order_relaxed);
  sched.last_ended.store(false, std::memory_order_relaxed);
}

G* g_make() {
  G* g = g_slab.take();
  if (!g) return nullptr;
  g_list(g);
  return g;
}

void g_list(G* g) {
  LockGuard hold(sched.all_lock);
  g->all_link = sched.all_gs.load(std::memory_order_relaxed);
  sched.all_gs.store(g, std::memory_order_release);
  tid_make_room();
}

// Gives the stack slot of one G that a fork left behind back for use. Preemption off.
static void orphan_reclaim() {
  G* g;
  {
    LockGuard hold(sched.all_lock);
    g = sched.orphans;
    if (g) sched.orphans = g->all_link;
  }
  if (!g || g->kind < 0 || !g->tp) return;  // main, an earlier survivor, or not complete when the fork came
  stack::release(g->stack);
  g_slab.release(new (g) G());
}

void g_after_fork_child() {
  kind_lock.reset();
  g_slab.reset_lock();
}

// Address space or memory is used up: dead Gs in the caches of idle Ps come into reach, and Gs that are about to end
// get a chance to.
static void make_room() {
  {
    NoPreempt guard;
    LockGuard hold(sched.lock);
    LockGuard hold_dead(sched.dead_lock);
    for (P* list : {sched.idle_p, sched.retired}) {
      for (P* p = list; p; p = p->idle_link) {
        for (int kind = 0; kind < kStackKinds; kind++) {
          while (G* g = p->dead[kind]) {
            p->dead[kind] = g->schedlink;
            p->ndead[kind]--;
            g->schedlink = sched.dead[kind];
            sched.dead[kind] = g;
          }
        }
      }
    }
  }
  yield();
}

G* g_take(size_t stack_size, size_t guard_size) {
  int kind = kind_of(stack_size, guard_size);
  uint64_t id;
  G* g;
  stack::Stack s;
  for (bool again = false;; again = true) {
    NoPreempt guard;
    g = dead_get(kind, stack_size, guard_size);
    id = fresh_id();
    if (g) {
      wait_busy(g);
      break;
    }
    if (GOSHIM_UNLIKELY(sched.orphans != nullptr)) orphan_reclaim();
    if (stack::take(stack_size, guard_size, &s)) break;
    if (again) return nullptr;
    make_room();
  }
  if (g) {
    tcb::reuse(g->tp);
  } else {
    {
      NoPreempt guard;
      g = g_make();
      if (!g) {
        stack::release(s);
        return nullptr;
      }
    }
    g->stack = s;
    g->kind = kind;
    g->tp = tcb::create(s.top());
    if (!g->tp) {
      NoPreempt guard;
      stack::release(s);
      return nullptr;  // g stays on the list of all, without a TCB
    }
    tcb::set_stack(g->tp, s.base, s.size, s.guard);
  }
  Tls* tls = tls_of(g);
  int tid = virtual_tid(id);
  tls->g = tls->owner = g;
  tls->nopreempt = 1;
  tls->pending.store(0, std::memory_order_relaxed);
  tls->interrupt.store(0, std::memory_order_relaxed);
  tls->tid = tid;
  tid_note(tid, g);
  tcb::set_tid(g->tp, tid);
  g->id = id;
  g->status.store(GStatus::Dead, std::memory_order_relaxed);
  g->region_depth = 0;
  g->region_lasted = 0;
  g->own_files = false;
  g->plain_call.store(false, std::memory_order_relaxed);
  g->own_state = false;
  g->wait_reason = WaitReason::None;
  g->saved = nullptr;
  g->cpu_time.store(0, std::memory_order_relaxed);
  g->cpu_told.store(0, std::memory_order_relaxed);
  g->usage_total = g->usage_user = 0;
  return g;
}

void g_release(G* g) {
  NoPreempt guard;
  dead_put(g);
}

void for_each_g(void (*fn)(G*, void*), void* arg) {
  for (G* g = sched.all_gs.load(std::memory_order_acquire); g; g = g->all_link) fn(g, arg);
}

}  // namespace goshim
