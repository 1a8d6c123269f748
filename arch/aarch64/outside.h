// aarch64: a stopped kernel thread and a suspended flow, seen from outside (contract: arch/outside.h).
#pragma once

namespace goshim::arch {

// x0 to x30, sp. The program counter is none of them.
constexpr int kDwarfRegisters = 32;
constexpr int kDwarfSp = 31;
constexpr int kDwarfPc = -1;

// context.S; d8 to d15 are left out: nothing in an unwinder's tables depends on them.
constexpr int kSwitchWords = 22;
constexpr int kSwitchPcWord = 11;
constexpr SwitchWord kSwitchFrame[] = {{19, 0}, {20, 1}, {21, 2}, {22, 3}, {23, 4},  {24, 5},
                                       {25, 6}, {26, 7}, {27, 8}, {28, 9}, {29, 10}, {30, 11}};

struct Outside {
  user_regs_struct general;
  uint64_t tp;
  int call;
};

inline bool outside_read(pid_t tid, Outside* out) {
  out->call = -1;
  outside_regset(tid, NT_ARM_SYSTEM_CALL, &out->call, sizeof out->call);
  return outside_regset(tid, NT_PRSTATUS, &out->general, sizeof out->general) &&
         outside_regset(tid, NT_ARM_TLS, &out->tp, sizeof out->tp);
}

inline uint64_t outside_register(const Outside& o, int number) {
  return number == kDwarfSp ? o.general.sp : o.general.regs[number];
}

inline uint64_t outside_pc(const Outside& o) { return o.general.pc; }
inline uint64_t outside_tp(const Outside& o) { return o.tp; }
inline uint64_t outside_switch_tp(const Outside& o) { return o.general.regs[2]; }
inline long outside_syscall(const Outside& o) { return o.call; }
// Its register has the result, which tells the call to be begun anew.
inline bool outside_first_argument(const Outside&, uint64_t*) { return false; }

}  // namespace goshim::arch
