// x86-64: a stopped kernel thread and a suspended flow, seen from outside (contract: arch/outside.h).
#pragma once

namespace goshim::arch {

// rax rdx rcx rbx rsi rdi rbp rsp r8 ... r15, return address.
constexpr int kDwarfRegisters = 17;
constexpr int kDwarfSp = 7;
constexpr int kDwarfPc = 16;

// Word 0 is the floating-point control state (context.S).
constexpr int kSwitchWords = 8;
constexpr int kSwitchPcWord = 7;
constexpr SwitchWord kSwitchFrame[] = {{15, 1}, {14, 2}, {13, 3}, {12, 4}, {3, 5}, {6, 6}};

struct Outside {
  user_regs_struct general;
};

inline bool outside_read(pid_t tid, Outside* out) {
  return outside_regset(tid, NT_PRSTATUS, &out->general, sizeof out->general);
}

inline uint64_t outside_register(const Outside& o, int number) {
  const user_regs_struct& u = o.general;
  const unsigned long long all[] = {u.rax, u.rdx, u.rcx, u.rbx, u.rsi, u.rdi, u.rbp, u.rsp,
                                    u.r8,  u.r9,  u.r10, u.r11, u.r12, u.r13, u.r14, u.r15};
  return all[number];
}

inline uint64_t outside_pc(const Outside& o) { return o.general.rip; }
inline uint64_t outside_tp(const Outside& o) { return o.general.fs_base; }
inline uint64_t outside_switch_tp(const Outside& o) { return o.general.rdx; }
inline long outside_syscall(const Outside& o) { return static_cast<long>(o.general.orig_rax); }
inline bool outside_first_argument(const Outside& o, uint64_t* out) {
  *out = o.general.rdi;
  return true;
}

}  // namespace goshim::arch
