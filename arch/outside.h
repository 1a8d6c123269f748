// The port contract for who looks at a process from outside: the launcher's dump. A port is a file
// arch/<name>/outside.h that provides these definitions, in namespace goshim::arch.
//
//   constexpr int kDwarfRegisters   Registers are meant by their DWARF numbers, all below this.
//   constexpr int kDwarfSp          The stack pointer's.
//   constexpr int kDwarfPc          The number by which an unwinder takes the program counter, -1 if it has none.
//
//   constexpr SwitchWord kSwitchFrame[]  What goshim_switch() leaves from the saved sp upwards: in which word which
//                                   register lies, as it is behind its return.
//   constexpr int kSwitchWords      How many words that takes: the stack pointer behind its return lies so much higher.
//   constexpr int kSwitchPcWord     The one with the address that it returns to.
//
//   struct Outside                  What the kernel tells of a kernel thread that is stopped by ptrace(2).
//   bool outside_read(pid_t, Outside*)               False if it tells nothing.
//   uint64_t outside_register(const Outside&, int)   By number, below kDwarfRegisters, other than kDwarfPc.
//   uint64_t outside_pc(const Outside&)
//   uint64_t outside_tp(const Outside&)              Thread pointer.
//   uint64_t outside_switch_tp(const Outside&)       goshim_switch()'s to_tp, while pc is in the second half of that.
//   long outside_syscall(const Outside&)             The number of the system call that it is in, -1 for none.
//   bool outside_first_argument(const Outside&, uint64_t*)  That call's; false if it cannot be had any more.
#pragma once

#include <elf.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>

#include "base/base.h"

namespace goshim::arch {

struct SwitchWord {
  int number;
  int word;
};

inline bool outside_regset(pid_t tid, int set, void* to, size_t size) {
  iovec io{to, size};
  return ptrace(PTRACE_GETREGSET, tid, reinterpret_cast<void*>(static_cast<uintptr_t>(set)), &io) == 0;
}

}  // namespace goshim::arch

#define GOSHIM_OUTSIDE_QUOTED(path) #path
// clang-format off
#define GOSHIM_OUTSIDE(name) GOSHIM_OUTSIDE_QUOTED(arch/name/outside.h)
// clang-format on
#include GOSHIM_OUTSIDE(GOSHIM_ARCH)
