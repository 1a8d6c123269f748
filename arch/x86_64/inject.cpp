// x86-64: the registers of interrupted flows, and system calls that a request stops (contract: arch/arch.h).
#include <asm/sigcontext.h>
#include <cpuid.h>
#include <errno.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include <cstring>

#include "arch/arch.h"
#include "arch/interrupted_calls.h"

extern "C" {
// Read by goshim_inject_entry: distances from the thread pointer.
__attribute__((visibility("hidden"))) ptrdiff_t goshim_nopreempt_offset;
__attribute__((visibility("hidden"))) ptrdiff_t goshim_pending_offset;

#define GOSHIM_LABEL extern const char __attribute__((visibility("hidden")))
GOSHIM_LABEL goshim_inject_entry[];
GOSHIM_LABEL goshim_critical_begin[];
GOSHIM_LABEL goshim_critical_end[];
GOSHIM_LABEL goshim_syscall_check[];
GOSHIM_LABEL goshim_syscall_at[];
GOSHIM_LABEL goshim_syscall_done[];
GOSHIM_LABEL goshim_syscall_stopped[];
GOSHIM_LABEL goshim_restorer[];
GOSHIM_LABEL goshim_words_begin[];
GOSHIM_LABEL goshim_bad_word[];
#undef GOSHIM_LABEL
}

namespace goshim::arch {
namespace {

constexpr size_t kLegacy = 512;      // fxsave image
constexpr size_t kXsaveHeader = 64;  // behind it; the first word says which components are not in their initial state
constexpr uint32_t kDefaultMxcsr = 0x1f80;
constexpr long kCleanFlags = 0x202;  // interrupts on, everything else clear, as the ABI wants at a call
constexpr uintptr_t kRedZone = 128;
constexpr uintptr_t kFrame = 40;  // as in inject.S
constexpr size_t kUcXstate = 1;   // UC_FP_XSTATE

struct Saved {
  gregset_t gregs;
  uint64_t components;  // xsave mask; 0: the image is an fxsave one
  alignas(64) unsigned char image[kLegacy + kXsaveHeader];
};
static_assert(offsetof(Saved, components) == 184 && offsetof(Saved, image) == 192, "inject.S knows these");
static_assert(REG_RSP == 15 && REG_RIP == 16 && REG_EFL == 17 && REG_RBX == 11,
              "inject.S knows the order of gregset_t");

size_t image_size;

uintptr_t at(const char* label) { return reinterpret_cast<uintptr_t>(label); }

ucontext_t* context(void* uc) { return static_cast<ucontext_t*>(uc); }

_fpx_sw_bytes software_bytes(const void* image) {
  _fpx_sw_bytes sw;
  std::memcpy(&sw, static_cast<const char*>(image) + kLegacy - sizeof sw, sizeof sw);
  return sw;
}

void save_image(Saved* saved, void* fpregs) {
  saved->components = 0;
  if (!fpregs) return;
  _fpx_sw_bytes sw = software_bytes(fpregs);
  size_t size = kLegacy;
  if (sw.magic1 == FP_XSTATE_MAGIC1 && sw.xstate_size >= kLegacy + kXsaveHeader && sw.xstate_size <= image_size) {
    size = sw.xstate_size;
    saved->components = sw.xfeatures;
  }
  std::memcpy(saved->image, fpregs, size);
  if (!saved->components) return;
  // What the handler's return loads: the initial state, as natively in a handler. The ABI wants an empty x87 stack.
  std::memset(static_cast<char*>(fpregs) + kLegacy, 0, sizeof(uint64_t));
  static_cast<_libc_fpstate*>(fpregs)->mxcsr = kDefaultMxcsr;
}

uintptr_t entry_sp(greg_t interrupted_sp) {
  return (static_cast<uintptr_t>(interrupted_sp) - kRedZone - kFrame) & ~15UL;
}

void enter(ucontext_t* uc, void* area, uintptr_t sp) {
  greg_t* r = uc->uc_mcontext.gregs;
  r[REG_RBX] = reinterpret_cast<greg_t>(area);
  r[REG_RSP] = static_cast<greg_t>(sp);
  r[REG_RIP] = static_cast<greg_t>(at(goshim_inject_entry));
  r[REG_EFL] = kCleanFlags;
}

bool is_syscall_at(uintptr_t pc) {
  auto* code = reinterpret_cast<const unsigned char*>(pc);
  return code[0] == 0x0f && code[1] == 0x05;
}

}  // namespace

void init_injection(ptrdiff_t nopreempt, ptrdiff_t pending) {
  goshim_nopreempt_offset = nopreempt;
  goshim_pending_offset = pending;
  unsigned a, b, c, d;
  // Leaf 0xd: the size of the standard-format image of all components that the kernel has enabled.
  image_size = kLegacy + kXsaveHeader;
  if (__get_cpuid_count(0xd, 0, &a, &b, &c, &d) && b > image_size) image_size = b;
}

uintptr_t pc_of(const void* uc) {
  return static_cast<uintptr_t>(static_cast<const ucontext_t*>(uc)->uc_mcontext.gregs[REG_RIP]);
}
uintptr_t sp_of(const void* uc) {
  return static_cast<uintptr_t>(static_cast<const ucontext_t*>(uc)->uc_mcontext.gregs[REG_RSP]);
}

bool skip_bad_word(void* uc) {
  if (pc_of(uc) < at(goshim_words_begin) || pc_of(uc) >= at(goshim_bad_word)) return false;
  context(uc)->uc_mcontext.gregs[REG_RIP] = static_cast<greg_t>(at(goshim_bad_word));
  return true;
}

size_t saved_size() { return round_up(offsetof(Saved, image) + image_size, 64); }

void save_context(void* ucontext, void* area, void* top) {
  ucontext_t* uc = context(ucontext);
  auto* saved = static_cast<Saved*>(area);
  std::memcpy(saved->gregs, uc->uc_mcontext.gregs, sizeof saved->gregs);
  save_image(saved, uc->uc_mcontext.fpregs);
  enter(uc, area, top ? reinterpret_cast<uintptr_t>(top) & ~15UL : entry_sp(saved->gregs[REG_RSP]));
}

bool in_critical_code(uintptr_t pc) { return pc >= at(goshim_critical_begin) && pc < at(goshim_critical_end); }

void restart_restore(void* uc, void* area) {
  enter(context(uc), area, entry_sp(static_cast<Saved*>(area)->gregs[REG_RSP]));
}

bool interrupt_syscall(void* uc) {
  greg_t* r = context(uc)->uc_mcontext.gregs;
  auto pc = static_cast<uintptr_t>(r[REG_RIP]);
  if (pc >= at(goshim_syscall_check) && pc <= at(goshim_syscall_at)) {
    r[REG_RIP] = static_cast<greg_t>(at(goshim_syscall_stopped));
    return true;
  }
  return pc == at(goshim_syscall_done) || pc == at(goshim_syscall_stopped);
}

void rewind_interrupted_syscall(void* uc) {
  greg_t* r = context(uc)->uc_mcontext.gregs;
  auto pc = static_cast<uintptr_t>(r[REG_RIP]);
  if (r[REG_RAX] != -EINTR || !is_syscall_at(pc - 2)) return;
  // Only "mov eax, number" directly before it tells which call it was; with a prefix it would be "mov r8d, number".
  constexpr uintptr_t kMov = 5;
  constexpr unsigned char kMovEax = 0xb8;
  constexpr unsigned char kRexB = 0x41;
  auto* mov = reinterpret_cast<const unsigned char*>(pc - 2 - kMov);
  if (mov[0] != kMovEax || mov[-1] == kRexB) return;
  uint32_t nr;
  std::memcpy(&nr, mov + 1, sizeof nr);
  if (!handlers_interrupt(nr)) return;
  r[REG_RAX] = nr;
  r[REG_RIP] = static_cast<greg_t>(pc - 2);
}

void fail_restarted_syscall(void* area) {
  greg_t* r = static_cast<Saved*>(area)->gregs;
  if (!signals_interrupt(r[REG_RAX]) || !is_syscall_at(static_cast<uintptr_t>(r[REG_RIP]))) return;
  r[REG_RAX] = -EINTR;
  r[REG_RIP] += 2;
}

void saved_to_ucontext(const void* area, void* ucontext) {
  ucontext_t* uc = context(ucontext);
  auto* saved = static_cast<Saved*>(const_cast<void*>(area));
  std::memcpy(uc->uc_mcontext.gregs, saved->gregs, sizeof saved->gregs);
  uc->uc_mcontext.fpregs = reinterpret_cast<fpregset_t>(saved->image);
  uc->uc_flags = saved->components ? kUcXstate : 0;
}

void ucontext_to_saved(const void* ucontext, void* area) {
  auto* uc = static_cast<const ucontext_t*>(ucontext);
  auto* saved = static_cast<Saved*>(area);
  std::memcpy(saved->gregs, uc->uc_mcontext.gregs, sizeof saved->gregs);
  auto* image = reinterpret_cast<const unsigned char*>(uc->uc_mcontext.fpregs);
  if (!image || image == saved->image) return;
  _fpx_sw_bytes sw = software_bytes(image);
  bool whole = sw.magic1 == FP_XSTATE_MAGIC1 && sw.xfeatures == saved->components && sw.xstate_size <= image_size;
  std::memcpy(saved->image, image, whole ? sw.xstate_size : kLegacy);
}

extern "C" void goshim_capture_ucontext(void* ucontext) {
  ucontext_t* uc = context(ucontext);
  greg_t* r = uc->uc_mcontext.gregs;
  std::memset(r, 0, sizeof uc->uc_mcontext.gregs);
  asm volatile("movq %%rbx, %0" : "=m"(r[REG_RBX]));
  asm volatile("movq %%r12, %0" : "=m"(r[REG_R12]));
  asm volatile("movq %%r13, %0" : "=m"(r[REG_R13]));
  asm volatile("movq %%r14, %0" : "=m"(r[REG_R14]));
  asm volatile("movq %%r15, %0" : "=m"(r[REG_R15]));
  auto* frame = static_cast<uintptr_t*>(__builtin_frame_address(0));
  r[REG_RBP] = static_cast<greg_t>(frame[0]);
  r[REG_RSP] = reinterpret_cast<greg_t>(frame + 2);
  r[REG_RIP] = reinterpret_cast<greg_t>(__builtin_return_address(0));
  r[REG_EFL] = kCleanFlags;
  uc->uc_flags = 0;
  uc->uc_mcontext.fpregs = &uc->__fpregs_mem;
  alignas(64) unsigned char image[kLegacy];
  asm volatile("fxsave64 %0" : "=m"(image));
  std::memset(image + kLegacy - sizeof(_fpx_sw_bytes), 0, sizeof(_fpx_sw_bytes));
  std::memcpy(&uc->__fpregs_mem, image, sizeof uc->__fpregs_mem);
}

long install_handler(int sig, void (*fn)(int, void*, void*), unsigned long flags, uint64_t mask) {
  constexpr unsigned long kRestorer = 0x04000000;  // SA_RESTORER
  KernelAction action{reinterpret_cast<void*>(fn), flags | kRestorer, goshim_restorer, mask};
  return syscall(SYS_rt_sigaction, sig, reinterpret_cast<long>(&action), 0, sizeof mask);
}

}  // namespace goshim::arch
