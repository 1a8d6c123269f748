// Injection (see inject.h; the processor's part: arch/arch.h).
//
// The handler saves the interrupted registers in an area of its own, not on the stack (a small stack may have no room
// for the vector registers), and returns into the port's trampoline on the G's stack. From there the G is in the
// runtime like any other caller: it may be switched away and go on upon another M. No signal frame outlives the
// handler.
//
//   I1  Only a G whose no-preempt counter is 0 is injected into (faults excepted), and the handler raises the
//       counter. So the program's code, and nothing else, is interrupted.
//   I2  G::saved lists the areas in use, innermost first. Changed by the G's own flow with the counter raised, and by
//       handlers that interrupt it at 0.
//   I3  The registers come back after the area has been given up: it is then M::spent_area, and goes to the pool when
//       the next one takes its place. Until the flow runs on, it is on that M with the counter raised or in critical
//       code.
//   I4  A flow that jumped out of its handlers (siglongjmp) leaves areas behind. They are those whose frame lies
//       below the stack pointer of the same stack, and go to the pool at the next injection, or at the G's end.
#include "sched/inject.h"

#include <elf.h>
#include <link.h>
#include <signal.h>

#include <cstring>

#include "base/host.h"
#include "base/print.h"
#include "sched/internal.h"
#include "sched/slice.h"
#include "thread/cancel.h"
#include "thread/signal.h"
#include "trace/page.h"
#include "trace/timeline.h"

namespace goshim {

namespace {

constexpr Nanos kAskAgain = kMillisecond;
constexpr Nanos kForceAfter = 100 * kMillisecond;
constexpr size_t kRoom = 2048;  // stack that a preemption needs: red zone, trampoline, the way to goshim_switch

using Area = SavedArea;

Area* area_of(void* registers) {
  return reinterpret_cast<Area*>(static_cast<char*>(registers) - offsetof(Area, registers));
}

SafePool areas;
int preempt_signal;
std::atomic<bool> spare_used{false};     // ever, by inject_send(); seq_cst: before the first of them
std::atomic<bool> spare_ignored{false};  // relaxed: what is lost meanwhile is asked for again

// Executable segments of libc and the loader. Constant after inject_init().
struct Range {
  uintptr_t low, high;
};
constexpr int kMaxRanges = 8;
Range libc_text[kMaxRanges];
int n_ranges;

bool is_libc(const char* path) {
  const char* name = path;
  for (const char* p = path; *p; p++) {
    if (*p == '/') name = p + 1;
  }
  return std::strncmp(name, "libc.so", 7) == 0 || std::strncmp(name, "libc-", 5) == 0 ||
         std::strncmp(name, "ld-", 3) == 0 || std::strncmp(name, "libpthread", 10) == 0;
}

int collect_text(dl_phdr_info* info, size_t, void*) {
  if (!is_libc(info->dlpi_name)) return 0;
  for (int i = 0; i < info->dlpi_phnum && n_ranges < kMaxRanges; i++) {
    const ElfW(Phdr)& ph = info->dlpi_phdr[i];
    if (ph.p_type != PT_LOAD || !(ph.p_flags & PF_X)) continue;
    uintptr_t low = info->dlpi_addr + ph.p_vaddr;
    libc_text[n_ranges++] = {low, low + ph.p_memsz};
  }
  return 0;
}

bool in_libc(uintptr_t pc) {
  for (int i = 0; i < n_ranges; i++) {
    if (pc >= libc_text[i].low && pc < libc_text[i].high) return true;
  }
  return false;
}

// The stack that g was given: what lies above its guard.
Range stack_of(const G* g) {
  if (g->user_stack) {
    auto low = reinterpret_cast<uintptr_t>(g->user_stack);
    return {low, low + g->stack_asked};
  }
  auto base = reinterpret_cast<uintptr_t>(g->stack.base);
  return {base + g->stack.guard, base + g->stack.size};
}

void drop_areas_until(G* g, const Area* last) {
  while (g->saved != last) {
    auto* area = static_cast<Area*>(g->saved);
    g->saved = area->outer;
    areas.release(area);
  }
}

// I4
void drop_abandoned(G* g, uintptr_t sp) {
  Range stack = stack_of(g);
  if (sp < stack.low || sp >= stack.high || signal_on_altstack(g, sp)) return;
  while (auto* area = static_cast<Area*>(g->saved)) {
    if (area->sp < stack.low || area->sp >= sp) return;
    g->saved = area->outer;
    areas.release(area);
  }
}

bool inject(void* uc, G* g, void* fault, void* top) {
  uintptr_t sp = arch::sp_of(uc);
  drop_abandoned(g, sp);
  auto* area = static_cast<Area*>(areas.take());
  if (!area) return false;
  area->outer = static_cast<Area*>(g->saved);
  area->sp = sp;
  area->fault = fault;
  g->saved = area;
  goshim_tls.nopreempt = goshim_tls.nopreempt + 1;
  arch::save_context(uc, area->registers, top);
  return true;
}

// The program's handlers may block: the blocking region that they interrupt is left meanwhile.
class RegionPause {
 public:
  explicit RegionPause(G* g) : g_(g), depth_(g->region_depth) {
    if (!depth_) return;
    g->region_depth = 1;
    region_exit();
  }
  ~RegionPause() {
    if (!depth_) return;
    region_enter(RegionClass::Short);
    g_->region_depth = depth_;
  }
  RegionPause(const RegionPause&) = delete;
  RegionPause& operator=(const RegionPause&) = delete;

 private:
  G* g_;
  uint32_t depth_;
};

M* m_of_kernel_thread(int tid) {
  M* m = sched.all_ms.load(std::memory_order_acquire);
  while (m && m->tid != tid) m = m->all_link;
  return m;
}

void on_request(int, void* info, void* uc) {
  G* g = goshim_tls.owner ? goshim_tls.owner : getg();  // hidden by vfork, it is still the G of an M
  if (!g) {
    cancel_run_foreign();
    return;
  }
  M* m = g->m.load(std::memory_order_relaxed);
  int tid = g->id == 1 ? sys::gettid() : m->tid;
  // A call as the kernel thread (tcb::setxid_enter, sync/shared.h) is made on main's TCB by another G, main runs
  // elsewhere.
  if (GOSHIM_UNLIKELY(m->tid != tid)) m = m_of_kernel_thread(tid);
  if (!m) return;
  g->requests++;
  if (static_cast<siginfo_t*>(info)->si_code == SI_TIMER) {
    if (m == g->m.load(std::memory_order_relaxed) && slice_timer_fired(m)) inject_requests(uc);
    return;
  }
  // First this, then the requests: who finds the flag set has made his request before.
  m->preempt_sent.store(false, std::memory_order_seq_cst);
  if (timespec* end = m->wait_end.load(std::memory_order_relaxed)) *end = {};
  if (GOSHIM_LIKELY(m == g->m.load(std::memory_order_relaxed))) inject_requests(uc);
}

}  // namespace

void inject_init(int signal) {
  preempt_signal = signal;
  n_ranges = 0;
  host.dl_iterate_phdr(collect_text, nullptr);
  char* tp = static_cast<char*>(arch::thread_pointer());
  arch::init_injection(reinterpret_cast<char*>(const_cast<int32_t*>(&goshim_tls.nopreempt)) - tp,
                       reinterpret_cast<char*>(&goshim_tls.pending) - tp);
  areas.init(offsetof(Area, registers) + arch::saved_size());
  arch::install_handler(signal, on_request, SA_SIGINFO | SA_ONSTACK | SA_RESTART, arch::handler_mask());
}

uint64_t inject_m_mask() { return ~(signal_open_on_m() | signal_bit(preempt_signal)); }

void inject_init_thread(void* altstack, size_t size) {
  stack_t stack{};
  stack.ss_sp = altstack;
  stack.ss_size = size;
  sys::call(SYS_sigaltstack, &stack, nullptr);
  uint64_t mask = inject_m_mask();
  sys::call(SYS_rt_sigprocmask, SIG_SETMASK, &mask, nullptr, sizeof mask);
}

long inject_send(int tid, int signal) {
  long r = sys::tgkill(sched.pid, tid, signal);
  if (GOSHIM_LIKELY(r != -EAGAIN)) return r;
  spare_used.store(true, std::memory_order_seq_cst);
  siginfo_t info{};
  info.si_signo = kSpareSignal;
  info.si_code = SI_QUEUE;
  info.si_pid = sched.pid;
  info.si_value.sival_ptr = &spare_used;
  long sent = sys::call(SYS_rt_tgsigqueueinfo, sched.pid, tid, kSpareSignal, &info);
  return spare_ignored.load(std::memory_order_relaxed) ? r : sent;
}

bool inject_spare_used() { return spare_used.load(std::memory_order_seq_cst); }

bool inject_is_spare(const siginfo_t& info) {
  if (GOSHIM_LIKELY(info.si_signo != kSpareSignal) || !inject_spare_used()) return false;
  // Where there was no place the kernel has forgotten what came with it.
  bool unsaid = info.si_code == SI_USER && info.si_pid == 0;
  return unsaid || (info.si_code == SI_QUEUE && info.si_pid == sched.pid && info.si_value.sival_ptr == &spare_used);
}

void inject_on_spare(siginfo_t* info, void* uc) { on_request(kSpareSignal, info, uc); }

void inject_spare_taken() {
  if (G* g = getg()) g->m.load(std::memory_order_relaxed)->preempt_sent.store(false, std::memory_order_seq_cst);
}

void inject_spare_ignored(bool ignored) { spare_ignored.store(ignored, std::memory_order_relaxed); }

void inject_poke(M* m) {
  if (m->preempt_sent.exchange(true, std::memory_order_seq_cst)) return;
  if (inject_send(m->tid, preempt_signal) != 0) m->preempt_sent.store(false, std::memory_order_relaxed);
}

void inject_preempt(M* m) {
  G* g = m->curg.load(std::memory_order_acquire);
  if (g == m->g0) return;
  Nanos now = sys::nanotime();
  Nanos last = m->preempt_last.load(std::memory_order_relaxed);
  // After a pause that long it is another matter, even if the G is the same.
  if (m->preempt_g != g || now - last > kForceAfter) {
    m->preempt_g = g;
    m->preempt_since = now;
  } else if (now - last < kAskAgain) {
    return;
  }
  m->preempt_last.store(now, std::memory_order_relaxed);
  m->preempt_force.store(now - m->preempt_since >= kForceAfter, std::memory_order_relaxed);
  timeline(Event::Preempt, timeline_file::id_of(g->id));
  tls_of(g)->pending.fetch_or(kPendingPreempt, std::memory_order_seq_cst);
  tally(Counter::preempts_asked);
  inject_poke(m);
}

void inject_requests(void* uc) {
  G* g = getg();
  M* m = g ? g->m.load(std::memory_order_relaxed) : nullptr;
  if (!g || g == m->g0) return;
  uint32_t pending = goshim_tls.pending.load(std::memory_order_seq_cst);
  bool interrupts = (pending & ~static_cast<uint32_t>(kPendingPreempt)) != 0;
  if (interrupts && arch::interrupt_syscall(uc)) return;
  if (goshim_tls.nopreempt != 0) return;  // I1: preempt_on() will see the requests
  if (!(pending & kPendingSignal)) arch::rewind_interrupted_syscall(uc);
  if (pending == 0) return;
  uintptr_t pc = arch::pc_of(uc);
  if (arch::in_critical_code(pc)) {
    goshim_tls.nopreempt = 1;
    arch::restart_restore(uc, static_cast<Area*>(m->spent_area)->registers);
    return;
  }
  if (!interrupts) {
    if (g->region_depth != 0) return;  // it has no P to give
    uintptr_t low = stack_of(g).low;
    uintptr_t sp = arch::sp_of(uc);
    if (sp >= low && sp - low < kRoom) return;
    if (in_libc(pc) && !m->preempt_force.load(std::memory_order_relaxed)) return;
    // From before a debugger stopped the process, which may step through this G now (stepped() in sysmon.cpp).
    if (stopped_since(m->preempt_last.load(std::memory_order_relaxed), sys::nanotime())) return;
  }
  inject(uc, g, nullptr, nullptr);
}

bool inject_fault(void* uc, void* fault, void* top) {
  return !arch::in_critical_code(arch::pc_of(uc)) && inject(uc, getg(), fault, top);
}

void run_pending(G* g, void* area) {
  while (uint32_t bits = goshim_tls.pending.exchange(0, std::memory_order_seq_cst)) {
    if (bits & (kPendingSignal | kPendingCancel)) {
      goshim_tls.interrupt.fetch_and(~static_cast<uint32_t>(kInterruptSignal), std::memory_order_seq_cst);
      RegionPause pause(g);
      if (bits & kPendingSignal) signals_run(g, area);
      if (!getg()) return;  // a handler has forked, and this is the child
      if (bits & kPendingCancel) cancel_run(g);
    }
    if ((bits & kPendingPreempt) && g->region_depth == 0) {
      tally(Counter::preempts_taken);
      if (area) slice_timer_start(g->m.load(std::memory_order_relaxed));
      sched_preempted();
    }
  }
}

void preempt_pending() {
  volatile int32_t* counter = &goshim_tls.nopreempt;
  do {
    *counter = 1;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    run_pending(getg(), nullptr);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    *counter = 0;
    std::atomic_signal_fence(std::memory_order_seq_cst);
  } while (goshim_tls.pending.load(std::memory_order_relaxed) != 0);
}

extern "C" void arch::goshim_injected(void* registers) {
  Area* area = area_of(registers);
  G* g = getg();
  M* m = g->m.load(std::memory_order_relaxed);
  if (m->spent_area == area) {  // a restore begins anew
    m->spent_area = nullptr;
    area->outer = static_cast<Area*>(g->saved);
    g->saved = area;
  }
  if (void* fault = area->fault) {
    area->fault = nullptr;
    RegionPause pause(g);
    signals_run_fault(g, fault, registers);
  }
  // A fault may have come where requests must wait.
  if (goshim_tls.nopreempt == 1) run_pending(g, registers);
  drop_areas_until(g, area);  // I4
  g->saved = area->outer;
  m = g->m.load(std::memory_order_relaxed);
  if (m->spent_area) areas.release(m->spent_area);
  m->spent_area = area;  // I3
}

void inject_g_exit(G* g) { drop_areas_until(g, nullptr); }

}  // namespace goshim
