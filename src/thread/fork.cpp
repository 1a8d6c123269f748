// fork, vfork, spawn and exec (D10).
//
// The child of a fork is a program that has no threads yet: its only thread is a foreign one, as main is before the
// first creation of a thread, and everything it calls goes to libc. The kernel has been given back what the G had in
// the runtime's hands (handlers, signal mask, alternate stack, name, timer slack), so a child that makes no thread pays
// nothing, holds no further kernel thread (unshare, setns and the like ask for that), and is as native as it can be.
// Its first creation of a thread starts the runtime again (runtime_start): the calling thread is a G once more, the
// survivor of the old runtime if it is the one that forked.
//
//   F1  No lock of the runtime is held across libc's fork, which waits for malloc's and stdio's locks: a preempted G
//       may hold those, so the caller is in a region and its P is free to run the holder. Hence every structure of the
//       runtime may be torn in the child: it reads none of them before they have been made new. What it does read must
//       be right at every instruction of its writers: lists are pushed with one store of a complete element.
//   F2  The child resets at once what foreign threads use (the parking lot), the rest when the runtime starts again.
//   F3  Gs other than the survivor are orphans: they count as ended; their structures and stack slots are used again
//       one by one as new Gs need them (proc.cpp), their TCBs never. The survivor's slot is not: glibc knows the
//       process's first kernel thread by the TCB in it, as it knows main's.
//   F4  From fork_prepare() to fork_child() the G cannot move: the kernel thread that the child has is the one whose
//       state it gives back.
#include "thread/fork.h"
#include "thread/aio.h"

#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/host.h"
#include "net/descriptor.h"
#include "net/io.h"
#include "net/poller.h"
#include "park/park.h"
#include "sched/cputime.h"
#include "sched/internal.h"
#include "sched/tids.h"
#include "sync/hooks.h"
#include "sync/shared.h"
#include "tcb/tcb.h"
#include "thread/ident.h"
#include "trace/page.h"
#include "trace/timeline.h"

namespace goshim {
namespace {

constexpr size_t kMaskSize = sizeof(uint64_t);

uint64_t set_kernel_mask(uint64_t mask) {
  uint64_t before = 0;
  sys::call(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &before, kMaskSize);
  return before;
}

// The M that the calling G stays on, by preempt_off() or by a lock.
M* own_m() { return getg()->m.load(std::memory_order_relaxed); }

void set_timer_slack(long slack) { sys::call(SYS_prctl, PR_SET_TIMERSLACK, slack, 0, 0, 0); }

// A thread control block for a kernel thread of the program's own making, at the top of a mapping.
struct Foreign {
  void* tp;
  int tid;  // the kernel writes 0 when the thread has ended; taken again by a CAS (acquire: it has left its block)
  Foreign* next;
};
std::atomic<Foreign*> foreigners{nullptr};  // pushed by CAS (release; acquire), never taken off

std::atomic<int> in_exec{0};

}  // namespace

void fork_prepare() {
  records_shared();
  if (!getg()) return;
  preempt_off();
  region_enter(RegionClass::Long);
  m_leave_thread_pointer(own_m());
}

void fork_parent() {
  if (!getg()) return;
  m_take_thread_pointer(own_m());
  region_exit();
  preempt_on();
}

bool fork_child() {
  once_after_fork_child();
  shared_after_fork_child();
  mutex_after_fork_child();
  futex_after_fork_child();
  aio_after_fork_child();
  if (!runtime_started) return false;
  G* g = goshim_tls.owner;                                     // in a child of vfork that forks, too
  runtime_started.store(false, std::memory_order_relaxed);     // there is no other thread
  timeline_switch.on.store(false, std::memory_order_relaxed);  // it is already: T2 in trace/timeline.h
  sched.survivor = g;
  sched.first_id = sched.ids.load(std::memory_order_relaxed);
  live_reset();
  park_after_fork_child();
  tcb::after_fork_child(arch::thread_pointer());
  sysmon_after_fork_child();
  poller_after_fork_child();
  page_after_fork_child();
  records_after_fork_child();
  io_after_fork_child(g);
  signal_after_fork_child(g);
  ident_after_fork_child();
  foreigners.store(nullptr, std::memory_order_relaxed);
  in_exec.store(0, std::memory_order_relaxed);
  tcb::set_tid(arch::thread_pointer(), sys::gettid());  // a raw fork has not done that
  goshim_tls.tid = sys::gettid();                       // what it locks from here on is its own when it is a G again
  if (!g) return true;
  g->kind = -1;  // F3
  goshim_tls.g = nullptr;
  goshim_tls.owner = nullptr;
  goshim_tls.pending.store(0, std::memory_order_relaxed);
  goshim_tls.interrupt.store(0, std::memory_order_relaxed);
  goshim_tls.nopreempt--;  // fork_prepare()
  set_timer_slack(sched.timer_slack);
  if (g->name[0]) sys::call(SYS_prctl, PR_SET_NAME, g->name, 0, 0, 0);
  set_kernel_mask(g->sigmask.load(std::memory_order_relaxed));  // last: handlers may run from here on
  return true;
}

void leave_thread_pointer() {
  NoPreempt guard;
  if (getg()) m_leave_thread_pointer(own_m());
}

KnownThreadPointer::KnownThreadPointer() : on_g_(getg() != nullptr) {
  if (!on_g_) return;
  preempt_off();
  m_leave_thread_pointer(own_m());
}

KnownThreadPointer::~KnownThreadPointer() {
  if (!on_g_) return;
  m_take_thread_pointer(own_m());
  preempt_on();
}

bool hide_caller() {
  records_shared();
  if (!getg()) return false;
  preempt_off();
  region_enter(RegionClass::Long);
  m_leave_thread_pointer(own_m());
  goshim_tls.g = nullptr;
  return true;
}

void unhide_caller() {
  goshim_tls.g = goshim_tls.owner;
  m_take_thread_pointer(own_m());
  region_exit();
  preempt_on();
}

void become_hidden_caller() {
  set_timer_slack(sched.timer_slack);
  set_kernel_mask(goshim_tls.owner->sigmask.load(std::memory_order_relaxed));
}

// The M is kept by the lock, not by the region alone: a malloc that the program brings along may park, which leaves the
// region.
NativeState::NativeState() : g_(getg()) {
  records_shared();
  if (!g_) return;
  lock_os_thread();
  region_enter(RegionClass::Long);
  m_leave_thread_pointer(own_m());
  set_timer_slack(sched.timer_slack);
  m_mask_ = set_kernel_mask(g_->sigmask.load(std::memory_order_relaxed));
}

NativeState::~NativeState() {
  if (!g_) return;
  set_kernel_mask(m_mask_);
  m_take_thread_pointer(own_m());
  set_timer_slack(kMTimerSlack);
  region_exit();
  unlock_os_thread();
}

ExecState::ExecState() {
  if (!g_) return;
  // A preemption signal that is on its way when the program is replaced would end the new one: no more are sent, and
  // one that was has come.
  std::atomic<bool>& sent = own_m()->preempt_sent;
  while (sent.exchange(true, std::memory_order_seq_cst)) sys::sched_yield();
  in_exec.fetch_add(1, std::memory_order_relaxed);
  handed_ = signals_to_kernel();
}

ExecState::~ExecState() {
  if (!g_) return;
  signals_from_kernel(handed_);
  in_exec.fetch_sub(1, std::memory_order_relaxed);
  own_m()->preempt_sent.store(false, std::memory_order_seq_cst);
}

bool exec_under_way() { return in_exec.load(std::memory_order_relaxed) != 0; }

bool fork_left_threads() { return sched.first_id != 0; }

bool fork_orphan(const G* g) { return g->id < sched.first_id && g != sched.survivor; }

void fork_rebuild() {
  sched.lock.reset();
  sched.dead_lock.reset();
  sched.all_lock.reset();
  sched.runq = {};
  sched.urgent = {};
  sched.runq_size.store(0, std::memory_order_relaxed);
  sched.returned_since.store(0, std::memory_order_relaxed);
  sched.wake_owed.store(false, std::memory_order_relaxed);
  sched.urgent_size.store(0, std::memory_order_relaxed);
  sched.idle_m = nullptr;
  sched.n_idle_m.store(0, std::memory_order_relaxed);
  sched.idle_p = nullptr;
  sched.n_idle_p.store(0, std::memory_order_relaxed);
  sched.n_spinning.store(0, std::memory_order_relaxed);
  sched.last_poll.store(1, std::memory_order_relaxed);
  sched.poll_until.store(0, std::memory_order_relaxed);
  sched.sysmon_asleep.store(0, std::memory_order_relaxed);
  sched.sysmon_woken.store(0, std::memory_order_relaxed);
  for (G*& dead : sched.dead) dead = nullptr;
  // Orphans: all Gs but the survivor, and those that an earlier fork left and nobody has used yet.
  G* orphans = sched.all_gs.load(std::memory_order_relaxed);
  G** end = &orphans;
  while (*end) {
    if (*end == sched.survivor) *end = (*end)->all_link;
    else end = &(*end)->all_link;
  }
  *end = sched.orphans;
  sched.orphans = orphans;
  sched.all_gs.store(nullptr, std::memory_order_relaxed);
  stack::after_fork_child();
  tid_after_fork_child();
  g_after_fork_child();
  cpu_after_fork_child();
  m_after_fork_child();
}

void* foreign_tcb(int** tid_word) {
  for (Foreign* f = foreigners.load(std::memory_order_acquire); f; f = f->next) {
    int free = 0;
    if (!__atomic_compare_exchange_n(&f->tid, &free, 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) continue;
    tcb::renew(f->tp);
    tcb::begin(f->tp);
    *tid_word = &f->tid;
    return f->tp;
  }
  size_t size = round_up(sizeof(Foreign) + tcb::footprint(), kPage);
  auto* f = static_cast<Foreign*>(sys::map(size, PROT_READ | PROT_WRITE));
  if (!f) return nullptr;
  f->tp = tcb::create(reinterpret_cast<char*>(f) + size);
  if (!f->tp) {
    sys::unmap(f, size);
    return nullptr;
  }
  f->tid = 1;
  Foreign* head = foreigners.load(std::memory_order_relaxed);
  do f->next = head;
  while (!foreigners.compare_exchange_weak(head, f, std::memory_order_release, std::memory_order_relaxed));
  *tid_word = &f->tid;
  return f->tp;
}

}  // namespace goshim

// ---- called by goshim_vfork (arch/) ----

extern "C" __attribute__((visibility("hidden"))) int goshim_before_vfork() { return goshim::hide_caller(); }

extern "C" __attribute__((visibility("hidden"))) int goshim_after_vfork(long result, int hidden) {
  if (hidden && result == 0) goshim::become_hidden_caller();
  else if (hidden) goshim::unhide_caller();
  if (result >= 0) return static_cast<int>(result);
  *goshim::host.errno_location() = static_cast<int>(-result);
  return -1;
}
