// The start of the runtime, at the first creation of a thread (D1): learns what must be learned, makes the Ps, turns
// the calling thread into a G.
#include <linux/membarrier.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "base/file.h"
#include "base/host.h"
#include "base/options.h"
#include "base/print.h"
#include "base/procs.h"
#include "net/poller.h"
#include "sched/cputime.h"
#include "sched/inject.h"
#include "sched/internal.h"
#include "sync/shared.h"
#include "tcb/tcb.h"
#include "thread/fork.h"
#include "thread/ident.h"
#include "thread/life.h"
#include "thread/signal.h"
#include "trace/dump.h"
#include "trace/page.h"
#include "trace/schedtrace.h"
#include "trace/timeline.h"

namespace goshim {

namespace {

// What a thread control block may have behind tcb::footprint()'s, and wild accesses before it.
constexpr size_t kTpReach = 1 << 20;

// What holds for the children of this process too. Null on success.
const char* learn() {
  arch::init();
  if (getauxval(AT_PAGESZ) != kPage) return "the kernel's pages are not of 4 KB";
  // What signals, preemption and retakes rest on. Here, since a child of a fork finds it as its parent did.
  if (sys::call(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0) return "no membarrier(2)";
  if (const char* why = tcb::learn()) return why;
  if (options.tp_trap && !traced_by_debugger()) {
    arch::trap_thread_pointers(tcb::footprint() + kTpReach, traced_by_debugger);
  }
  stack::init();
  sched.started_at = sys::nanotime();
  sched.coarse_now.store(sched.started_at, std::memory_order_relaxed);
  void* ps = sys::map(kMaxProcs * sizeof(P), PROT_READ | PROT_WRITE);
  if (!ps) return "no memory";
  sched.ps = static_cast<P*>(ps);
  return nullptr;
}

// The G of the calling thread: a new one, or the one it was before a fork left it alone (F3 in thread/fork.cpp).
G* adopt_current_thread() {
  G* g = sched.survivor;
  if (g && g->tp == arch::thread_pointer()) {
    g_list(g);
    g->life.store(g->life.load(std::memory_order_relaxed) & kDetached, std::memory_order_relaxed);
    g->joining.store(nullptr, std::memory_order_relaxed);
    g->region_depth = 0;
    g->locked_m = nullptr;
    g->lock_count = 0;
    g->program_locks = 0;
    g->own_state = false;  // all kernel threads will have it
    g->ident = nullptr;    // what this kernel thread has now is what its new threads inherit
    g->timer.heap.store(nullptr, std::memory_order_relaxed);
    g->timer.firing.store(0, std::memory_order_relaxed);
    return g;
  }
  void* stack_base = nullptr;
  size_t stack_size = 0;
  host.own_stack(&stack_base, &stack_size);

  g = g_make();
  if (!g) return nullptr;
  g->tp = arch::thread_pointer();
  g->kind = -1;
  g->stack = {static_cast<char*>(stack_base), stack_size, 0};
  return g;
}

void tell_decisions() {
  message("start: at most %d kernel threads run the program's at a time, %s",
          sched.limit.load(std::memory_order_relaxed),
          options.max_procs ? "by GOSHIM_MAXPROCS" : "as many as it may use processors");
  message("start: the thread pointer is set %s", arch::thread_pointer_way());
  message("start: what computes for long %s", options.preempt ? "is interrupted" : "goes on");
}

}  // namespace

const char* runtime_start() {
  host.single_threaded = &kNotAlone;
  if (!page_open()) return "no memory";
  if (sched.ps) {
    fork_rebuild();
  } else if (const char* why = learn()) {
    page_close();
    return why;
  }
  sched.pid = sys::getpid();
  procs_start();
  G* g = adopt_current_thread();
  if (!g) return "no memory";
  cpu_adopt(g);
  sched.survivor = g;
  g->result = PTHREAD_CANCELED;             // C5 in thread/cancel.cpp
  g->id = sched.first_id ? 1 : fresh_id();  // the process's first thread is 1
  live_reset();
  inject_init(options.preempt_signal);
  signal_init(g);
  M* m = m_adopt_current();
  if (!m) return "no memory";
  preempt_off();
  g->status.store(GStatus::Running);
  g->m.store(m);
  g->busy.store(1);
  m->curg.store(g);
  P* p = &sched.ps[0];
  p->m.store(m);
  p->status.store(PStatus::Running);
  m->p.store(reinterpret_cast<uintptr_t>(p));
  for (int i = sched.procs - 1; i > 0; i--) pidle_put(&sched.ps[i]);
  tcb::adopt_main(g->tp);
  tcb::wrap_setxid();
  goshim_tls.tid = sys::gettid();
  goshim_tls.g = goshim_tls.owner = g;
  timeline_start();
  template_thread_start();
  poller_start();
  sysmon_start();
  chaos_start();
  dump_start();
  signal_start();
  ident_start();
  schedtrace_start();
  for (int i = shared_held_before(); i > 0; i--) lock_os_thread();
  page_show(sched.pid, sched.started_at);
  runtime_started.store(true, std::memory_order_release);
  // Both numbers and the flag: set_max_procs() writes the one and then reads the flag.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (procs_wanted() != sched.limit.load()) procs_apply();  // changed since: set_max_procs()
  if (options.verbose) tell_decisions();
  preempt_on();
  return nullptr;
}

}  // namespace goshim
