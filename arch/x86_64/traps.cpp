// x86-64: thread pointers where the kernel does not know of FSGSBASE but the processor has it switched on, as for the
// guests of some virtual machines (contract: arch/arch.h).
//
// Such a kernel takes it that the base is what arch_prctl() has set last. It loads that when it switches to the
// thread, and never looks what the register has. wrfsbase takes 10 ns there and arch_prctl, with its hypercall, 4 us;
// a fault takes 16 us, and comes where a kernel thread has lost its processor, or has slept outside sleep_begins()
// and sleep_ends().
//
// Below the traps lies room for static TLS, which has negative offsets, and above for the thread control block:
//
//   [reach: inaccessible][traps: 64 bytes each, inaccessible][reach: inaccessible]
#include "arch/arch.h"

#include <asm/prctl.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

extern "C" {
void* goshim_probe_fs_base();
extern const char goshim_no_fs_base[] __attribute__((visibility("hidden")));
__attribute__((visibility("hidden"))) char* goshim_traps;
}

namespace goshim::arch {

static_assert(offsetof(TpCell, trap) == 8 && offsetof(TpCell, known) == 16 && offsetof(TpCell, changing) == 20 &&
                  offsetof(TpCell, switches) == 24,
              "context.S knows these");

namespace {

// Constant once there is a cell.
TpCell* cells;
bool (*is_traced)();
void (*fault_handler)(int, void*, void*);

std::atomic<size_t> next_cell{0};

uint64_t bit_of(int sig) { return UINT64_C(1) << (sig - 1); }

void tell_kernel(void* base) { syscall(SYS_arch_prctl, ARCH_SET_FS, reinterpret_cast<long>(base)); }

// A fault is as dear as so many system calls.
constexpr uint32_t kPays = 4;
// After so many faults in a row at one place a look whether a tracer makes them.
constexpr uintptr_t kMany = 64;

// The handler of SIGSEGV: T1, T4. Uses no thread pointer; nothing but another fault interrupts it.
void on_trap(int sig, void* info, void* uc) {
  void* base = fs_base();
  if (is_trap(base)) {
    TpCell* cell = &cells[static_cast<size_t>(static_cast<char*>(base) - goshim_traps) / kTrap];
    uintptr_t pc = pc_of(uc);
    cell->fault_again = cell->fault_at == pc ? cell->fault_again + 1 : 0;
    cell->fault_at = pc;
    if (cell->fault_again % kMany == kMany - 1 && is_traced()) stop_traps();
    bool few = cell->switches - cell->switches_at_fault < kPays;
    cell->switches_at_fault = cell->switches;
    if (!have_traps()) {
      tell_kernel(cell->tp);
    } else if (few && !cell->changing) {
      cell->known = kPays;  // T4
      tell_kernel(cell->tp);
    } else {
      set_fs_base(cell->tp);
    }
    if (static_cast<siginfo_t*>(info)->si_code > 0) return;  // else it was sent, and is no fault that comes again
  }
  fault_handler(sig, info, uc);
}

void skip_probe(int, void*, void* uc) {
  static_cast<ucontext_t*>(uc)->uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(goshim_no_fs_base);
}

constexpr int kUnblock = 1;
constexpr int kSetMask = 2;

void set_mask(int how, const uint64_t* mask, uint64_t* before) {
  syscall(SYS_rt_sigprocmask, how, reinterpret_cast<long>(mask), reinterpret_cast<long>(before), sizeof *mask);
}

// Whether the processor lets user mode at the register: the instruction is undefined if not. The kernel would end a
// process that blocks that signal, as many do while they make a thread; one that has been sent it finds it pending.
bool register_is_open() {
  KernelAction before{};
  uint64_t signal = bit_of(SIGILL);
  uint64_t blocked = 0;
  uint64_t pending = 0;
  if (syscall(SYS_rt_sigpending, reinterpret_cast<long>(&pending), sizeof pending) != 0 || (pending & signal))
    return false;
  if (syscall(SYS_rt_sigaction, SIGILL, 0, reinterpret_cast<long>(&before), sizeof blocked) != 0) return false;
  if (install_handler(SIGILL, skip_probe, SA_SIGINFO, 0) != 0) return false;
  set_mask(kUnblock, &signal, &blocked);
  bool open = goshim_probe_fs_base() != nullptr;
  set_mask(kSetMask, &blocked, nullptr);
  syscall(SYS_rt_sigaction, SIGILL, reinterpret_cast<long>(&before), 0, sizeof blocked);
  return open;
}

// Whether the kernel puts back what it knows, and nothing else, after a sleep. The register has no thread pointer
// meanwhile: nothing in here uses one.
bool kernel_puts_back(void* trap) {
  void* tp = fs_base();
  long nap[2] = {0, 1};
  bool right = true;
  uint64_t all = ~UINT64_C(0);
  uint64_t before = 0;
  set_mask(kSetMask, &all, &before);
  long slack = syscall(SYS_prctl, PR_GET_TIMERSLACK);
  syscall(SYS_prctl, PR_SET_TIMERSLACK, 1);  // short naps
  for (int i = 0; i < 2 && right; i++) {
    tell_kernel(trap);
    set_fs_base(tp);
    syscall(SYS_nanosleep, reinterpret_cast<long>(nap), 0);
    void* found = fs_base();
    tell_kernel(tp);
    right = found == trap || found == tp;
  }
  syscall(SYS_prctl, PR_SET_TIMERSLACK, slack);
  set_mask(kSetMask, &before, nullptr);
  return right;
}

}  // namespace

void set_thread_pointer(void* tp, TpCell* cell) {
  if (cell && have_traps()) {
    cell->tp = tp;  // before the register: T1
    cell->switches++;
    if (cell->known > 1) {  // T4, as the switch does it
      cell->known--;
      tell_kernel(tp);
      return;
    }
    if (cell->known == 1) {
      cell->changing = 1;
      tell_kernel(cell->trap);
      cell->known = 0;
      std::atomic_signal_fence(std::memory_order_seq_cst);  // in this order
      cell->changing = 0;
    }
  } else if (goshim_tp_mode != kTpDirect) {
    tell_kernel(tp);
    return;
  }
  set_fs_base(tp);
}

bool trap_thread_pointers(size_t reach, bool (*traced)()) {
  if (goshim_tp_mode != kTpSystemCall || !register_is_open()) return false;
  auto map = [](size_t size, int protection) {
    long r = syscall(SYS_mmap, 0, static_cast<long>(size), protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    return r < 0 && r > -4096 ? nullptr : reinterpret_cast<char*>(r);
  };
  constexpr size_t kCellsSize = kTrapsSize / kTrap * sizeof(TpCell);
  size_t room = round_up(reach, kPage);
  size_t size = 2 * room + kTrapsSize;
  char* at = map(size, PROT_NONE);
  char* room_for_cells = map(kCellsSize, PROT_READ | PROT_WRITE);
  if (!at || !room_for_cells || !kernel_puts_back(at + room)) {
    if (at) syscall(SYS_munmap, reinterpret_cast<long>(at), static_cast<long>(size));
    if (room_for_cells) syscall(SYS_munmap, reinterpret_cast<long>(room_for_cells), kCellsSize);
    return false;
  }
  cells = reinterpret_cast<TpCell*>(room_for_cells);
  is_traced = traced;
  goshim_traps = at + room;
  goshim_tp_mode = kTpTrapped;
  return true;
}

bool have_traps() { return __atomic_load_n(&goshim_tp_mode, __ATOMIC_RELAXED) == kTpTrapped; }

TpCell* take_thread_pointer(TpCell** kept) {
  if (!have_traps()) return nullptr;
  if (!*kept) {
    size_t n = next_cell.fetch_add(1, std::memory_order_relaxed);
    if (n >= kTrapsSize / kTrap) return nullptr;
    *kept = &cells[n];
  }
  void* tp = thread_pointer();
  TpCell* cell = *kept;
  *cell = {};
  cell->tp = tp;
  cell->trap = goshim_traps + static_cast<size_t>(cell - cells) * kTrap;
  cell->known = 1;
  tell_kernel(cell->trap);
  cell->known = 0;
  set_fs_base(tp);
  return cell;
}

void leave_thread_pointer() {
  if (cells) tell_kernel(thread_pointer());
}

void stop_traps() {
  if (have_traps()) __atomic_store_n(&goshim_tp_mode, kTpSystemCall, __ATOMIC_RELAXED);
}

void forget_cells() { next_cell.store(0, std::memory_order_relaxed); }

const char* thread_pointer_way() {
  if (have_traps()) return "by an instruction, without the kernel";
  return goshim_tp_mode == kTpDirect ? "by an instruction" : "by system calls";
}

TrapMap trap_map() {
  if (!cells) return {};
  return {goshim_traps, kTrapsSize, kTrap, cells};
}

uint64_t handler_mask() { return cells ? ~bit_of(SIGSEGV) : ~UINT64_C(0); }

long install_fault_handler(int sig, void (*fn)(int, void*, void*), unsigned long flags, uint64_t mask) {
  if (sig != SIGSEGV || !cells) return install_handler(sig, fn, flags, mask);
  fault_handler = fn;
  return install_handler(sig, on_trap, flags | SA_NODEFER, mask);
}

}  // namespace goshim::arch
