// aarch64: the registers of interrupted flows, and system calls that a request stops (contract: arch/arch.h).
#include <asm/sigcontext.h>
#include <errno.h>
#include <sys/auxv.h>
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
GOSHIM_LABEL goshim_words_begin[];
GOSHIM_LABEL goshim_bad_word[];
#undef GOSHIM_LABEL
void goshim_store_vectors(void* vregs);
}

namespace goshim::arch {
namespace {

constexpr size_t kInfo = 128;                 // siginfo, in front of the ucontext in the kernel's frame
constexpr size_t kRecords = 4096;             // of the ucontext, by the ABI
constexpr unsigned long kMinSigStackAt = 51;  // AT_MINSIGSTKSZ, newer than some headers
// Condition flags, and the type of the branch that was about to be checked: as at a call.
constexpr uint64_t kNotAtACall = 0xf0000000 | 0x0c00;
constexpr uint32_t kSvc = 0xd4000001;
constexpr size_t kInsn = 4;

// What the kernel lays on the stack for a handler, and what rt_sigreturn takes. Records that do not fit (SVE with long
// vectors, SME) lie behind it, and one in it says where.
struct Frame {
  unsigned char info[kInfo];
  ucontext_t uc;
};
static_assert(offsetof(Frame, uc.uc_mcontext.regs) == 312 && offsetof(Frame, uc.uc_mcontext.__reserved) == 592,
              "inject.S knows these");
static_assert(sizeof(Frame) == 592 + kRecords);

size_t area_size = sizeof(Frame);

uintptr_t at(const char* label) { return reinterpret_cast<uintptr_t>(label); }

ucontext_t* context(void* uc) { return static_cast<ucontext_t*>(uc); }
const ucontext_t* context(const void* uc) { return static_cast<const ucontext_t*>(uc); }

Frame* frame_of(void* area) { return static_cast<Frame*>(area); }

// The record of a kind, or null; with magic 0, the end of the list.
_aarch64_ctx* record(const ucontext_t* uc, uint32_t magic) {
  auto* low = const_cast<unsigned char*>(uc->uc_mcontext.__reserved);
  for (size_t offset = 0; offset + sizeof(_aarch64_ctx) <= kRecords;) {
    auto* head = reinterpret_cast<_aarch64_ctx*>(low + offset);
    if (head->magic == magic) return head;
    if (head->magic == 0 || head->size == 0) return nullptr;
    offset += head->size;
  }
  return nullptr;
}

fpsimd_context* vectors(const ucontext_t* uc) { return reinterpret_cast<fpsimd_context*>(record(uc, FPSIMD_MAGIC)); }

void end_records(void* end) { std::memset(end, 0, sizeof(_aarch64_ctx)); }

// Leaves the record of v0 to v31 alone, and ends the list behind it: the kernel then clears the rest of SVE.
void keep_vectors_only(ucontext_t* uc) {
  auto* first = uc->uc_mcontext.__reserved;
  fpsimd_context* v = vectors(uc);
  if (!v) return;
  std::memmove(first, v, sizeof *v);
  end_records(first + sizeof *v);
}

uintptr_t entry_sp(uintptr_t interrupted_sp) { return interrupted_sp & ~15UL; }  // no red zone

void enter(ucontext_t* uc, void* area, uintptr_t sp) {
  constexpr int kX19 = 19;
  keep_vectors_only(uc);
  mcontext_t& m = uc->uc_mcontext;
  m.regs[kX19] = reinterpret_cast<uintptr_t>(area);
  m.sp = sp;
  m.pc = at(goshim_inject_entry);
  m.pstate &= ~kNotAtACall;
}

uint32_t insn_at(uintptr_t pc) {
  uint32_t insn;
  std::memcpy(&insn, reinterpret_cast<const void*>(pc), sizeof insn);
  return insn;
}

// ---- the first argument of a system call that is over: its register holds the result ----
//
// The other arguments and the number are still in their registers. This one mostly came from another register or from
// the stack shortly before the call, and can be had from there again.

// An instruction that writes one general register, of those that compilers put before a system call.
struct Move {
  uint32_t to;
  enum { Unknown, Register, Constant, Memory } from;
  bool wide;        // 64 bits, else zero-extended 32 bits
  bool sign;        // sign-extended from 32 bits
  uint32_t source;  // register, or base of the address
  uint64_t value;   // constant, or distance from the base
};

Move decode(uint32_t insn) {
  constexpr uint32_t kRegister = 31;
  Move m{insn & kRegister, Move::Unknown, (insn >> 31) != 0, false, 0, 0};
  uint64_t scaled = (insn >> 10) & 0xfff;
  uint64_t imm16 = (insn >> 5) & 0xffff;
  if ((insn & 0x7fe0ffe0) == 0x2a0003e0) {  // mov
    m.from = Move::Register;
    m.source = (insn >> 16) & kRegister;
  } else if ((insn & 0xfffffc00) == 0x93407c00) {  // sxtw
    m.from = Move::Register;
    m.sign = true;
    m.source = (insn >> 5) & kRegister;
  } else if ((insn & 0x7fe00000) == 0x52800000) {  // movz, unshifted
    m.from = Move::Constant;
    m.value = imm16;
  } else if ((insn & 0x7fe00000) == 0x12800000) {  // movn, unshifted
    m.from = Move::Constant;
    m.value = ~imm16;
  } else if ((insn & 0xbfc00000) == 0xb9400000 || (insn & 0xffc00000) == 0xb9800000) {  // ldr, ldrsw
    m.from = Move::Memory;
    m.sign = (insn & 0xffc00000) == 0xb9800000;
    m.wide = m.wide && (insn & 0x40000000) != 0;
    m.source = (insn >> 5) & kRegister;
    m.value = scaled * (m.wide ? 8 : 4);
  }
  return m;
}

bool first_argument(uintptr_t svc, const mcontext_t& now, uint64_t* out) {
  constexpr int kFarthest = 12;
  constexpr uint32_t kSp = 31;
  uint32_t written = 1;  // x0
  for (int i = 1; i <= kFarthest; i++) {
    Move m = decode(insn_at(svc - static_cast<uintptr_t>(i) * kInsn));
    if (m.from == Move::Unknown) return false;
    if (m.to != 0) {
      written |= 1U << m.to;
      continue;
    }
    if (m.from != Move::Constant && m.source != kSp && (written >> m.source & 1)) return false;
    if (m.from == Move::Constant) *out = m.value;
    else if (m.from == Move::Register) *out = m.source == kSp ? 0 : now.regs[m.source];
    else {
      uintptr_t address = (m.source == kSp ? now.sp : now.regs[m.source]) + m.value;
      *out = 0;
      std::memcpy(out, reinterpret_cast<const void*>(address), m.wide ? 8 : 4);
    }
    if (m.sign) *out = static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(*out)));
    else if (!m.wide) *out = static_cast<uint32_t>(*out);
    return true;
  }
  return false;
}

}  // namespace

void init_injection(ptrdiff_t nopreempt, ptrdiff_t pending) {
  goshim_nopreempt_offset = nopreempt;
  goshim_pending_offset = pending;
  size_t needed = getauxval(kMinSigStackAt);  // the largest frame that the kernel makes on this processor
  if (needed > area_size) area_size = needed;
}

uintptr_t pc_of(const void* uc) { return context(uc)->uc_mcontext.pc; }
uintptr_t sp_of(const void* uc) { return context(uc)->uc_mcontext.sp; }

bool skip_bad_word(void* uc) {
  if (pc_of(uc) < at(goshim_words_begin) || pc_of(uc) >= at(goshim_bad_word)) return false;
  context(uc)->uc_mcontext.pc = at(goshim_bad_word);
  return true;
}

size_t saved_size() { return round_up(area_size, 64); }

void save_context(void* ucontext, void* area, void* top) {
  ucontext_t* uc = context(ucontext);
  auto* from = static_cast<char*>(ucontext) - kInfo;
  size_t size = sizeof(Frame);
  if (const _aarch64_ctx* end = record(uc, 0))
    size = static_cast<size_t>(reinterpret_cast<const char*>(end + 1) - from);
  auto* extra = reinterpret_cast<extra_context*>(record(uc, EXTRA_MAGIC));
  if (extra) {
    size_t with = extra->datap + extra->size - reinterpret_cast<uintptr_t>(from);
    if (with <= area_size && with > size) size = with;
  }
  std::memcpy(area, from, size);
  if (extra) {
    auto* moved = reinterpret_cast<extra_context*>(record(&frame_of(area)->uc, EXTRA_MAGIC));
    moved->datap += reinterpret_cast<uintptr_t>(area) - reinterpret_cast<uintptr_t>(from);
  }
  enter(uc, area, top ? reinterpret_cast<uintptr_t>(top) & ~15UL : entry_sp(uc->uc_mcontext.sp));
}

// Before rt_sigreturn: what belongs to the kernel thread is that of the one that runs the flow now.
extern "C" void goshim_make_frame_current(void* area) {
  ucontext_t& uc = frame_of(area)->uc;
  syscall(SYS_sigaltstack, 0, reinterpret_cast<long>(&uc.uc_stack));
  constexpr long kBlock = 0;
  syscall(SYS_rt_sigprocmask, kBlock, 0, reinterpret_cast<long>(&uc.uc_sigmask), sizeof(uint64_t));
}

bool in_critical_code(uintptr_t pc) { return pc >= at(goshim_critical_begin) && pc < at(goshim_critical_end); }

void restart_restore(void* uc, void* area) { enter(context(uc), area, entry_sp(frame_of(area)->uc.uc_mcontext.sp)); }

bool interrupt_syscall(void* uc) {
  mcontext_t& m = context(uc)->uc_mcontext;
  if (m.pc >= at(goshim_syscall_check) && m.pc <= at(goshim_syscall_at)) {
    m.pc = at(goshim_syscall_stopped);
    return true;
  }
  return m.pc == at(goshim_syscall_done) || m.pc == at(goshim_syscall_stopped);
}

void rewind_interrupted_syscall(void* uc) {
  constexpr int kX8 = 8;
  mcontext_t& m = context(uc)->uc_mcontext;
  if (m.regs[0] != static_cast<uint64_t>(-EINTR) || insn_at(m.pc - kInsn) != kSvc) return;
  if (!handlers_interrupt(m.regs[kX8])) return;
  uint64_t first;
  if (!first_argument(m.pc - kInsn, m, &first)) return;
  m.regs[0] = first;
  m.pc -= kInsn;
}

void fail_restarted_syscall(void* area) {
  constexpr int kX8 = 8;
  mcontext_t& m = frame_of(area)->uc.uc_mcontext;
  if (!signals_interrupt(m.regs[kX8]) || insn_at(m.pc) != kSvc) return;
  m.regs[0] = static_cast<uint64_t>(-EINTR);
  m.pc += kInsn;
}

// Handlers see v0 to v31, and the syndrome of a fault.
void saved_to_ucontext(const void* area, void* ucontext) {
  const ucontext_t& saved = static_cast<const Frame*>(area)->uc;
  mcontext_t& m = context(ucontext)->uc_mcontext;
  std::memcpy(&m, &saved.uc_mcontext, offsetof(mcontext_t, __reserved));
  unsigned char* end = m.__reserved;
  for (uint32_t magic : {uint32_t{FPSIMD_MAGIC}, uint32_t{ESR_MAGIC}}) {
    const _aarch64_ctx* head = record(&saved, magic);
    if (!head) continue;
    std::memcpy(end, head, head->size);
    end += head->size;
  }
  end_records(end);
}

void ucontext_to_saved(const void* ucontext, void* area) {
  const ucontext_t* uc = context(ucontext);
  ucontext_t& saved = frame_of(area)->uc;
  std::memcpy(&saved.uc_mcontext, &uc->uc_mcontext, offsetof(mcontext_t, __reserved));
  const fpsimd_context* edited = vectors(uc);
  fpsimd_context* v = vectors(&saved);
  if (edited && v) *v = *edited;
}

// The second half of goshim_capture_ucontext.
extern "C" void goshim_capture_vectors(void* ucontext) {
  mcontext_t& m = context(ucontext)->uc_mcontext;
  m.fault_address = 0;
  m.pstate = 0;
  auto* v = reinterpret_cast<fpsimd_context*>(m.__reserved);
  v->head = {FPSIMD_MAGIC, sizeof *v};
  uint64_t fpsr;
  uint64_t fpcr;
  asm volatile("mrs %0, fpsr" : "=r"(fpsr));
  asm volatile("mrs %0, fpcr" : "=r"(fpcr));
  v->fpsr = static_cast<uint32_t>(fpsr);
  v->fpcr = static_cast<uint32_t>(fpcr);
  goshim_store_vectors(v->vregs);
  end_records(v + 1);
}

long install_handler(int sig, void (*fn)(int, void*, void*), unsigned long flags, uint64_t mask) {
  KernelAction action{reinterpret_cast<void*>(fn), flags, nullptr, mask};  // the vDSO has the way back
  return syscall(SYS_rt_sigaction, sig, reinterpret_cast<long>(&action), 0, sizeof mask);
}

}  // namespace goshim::arch
