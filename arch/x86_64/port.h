// x86-64: the inline part of the port contract (arch.h).
#pragma once

#include "base/base.h"

// How the FS base is written. Set before there is another kernel thread; later only from kTpTrapped to kTpSystemCall,
// by anyone. context.S knows the values.
inline constexpr uint8_t kTpDirect = 0;      // by an instruction: the kernel keeps what user mode sets
inline constexpr uint8_t kTpTrapped = 1;     // by an instruction, on kernel threads that have a cell: arch.h
inline constexpr uint8_t kTpSystemCall = 2;  // by arch_prctl
extern "C" __attribute__((visibility("hidden"))) uint8_t goshim_tp_mode;
// Constant once it is kTpTrapped. See traps.cpp.
extern "C" __attribute__((visibility("hidden"))) char* goshim_traps;

namespace goshim::arch {

inline long syscall(long nr, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  long ret;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(ret)
               : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return ret;
}

// TLS variant 2: [static TLS][thread pointer: struct pthread].
constexpr bool kTlsAbove = false;
constexpr size_t kTcbHead = 0;

// What libc adds to the flags of each action: programs see it there.
constexpr unsigned long kActionFlags = 0x04000000;  // SA_RESTORER

// The kernel's sigaction.
struct KernelAction {
  void* handler;
  unsigned long flags;
  const void* restorer;
  uint64_t mask;
};

constexpr size_t kTrap = 64;
constexpr size_t kTrapsSize = 32768 * kTrap;  // kernel threads beyond have no cell

inline void* fs_base() {
  void* base;
  asm volatile("rdfsbase %0" : "=r"(base));
  return base;
}
inline void set_fs_base(void* base) { asm volatile("wrfsbase %0" : : "r"(base) : "memory"); }
inline bool is_trap(void* base) { return static_cast<size_t>(static_cast<char*>(base) - goshim_traps) < kTrapsSize; }

inline void* sleep_begins() {
  if (GOSHIM_LIKELY(__atomic_load_n(&goshim_tp_mode, __ATOMIC_RELAXED) != kTpTrapped)) return nullptr;
  return fs_base();
}

// Another kernel thread may go on behind the call; what the flow had before is its thread pointer there too.
inline void sleep_ends(void* tp) {
  if (GOSHIM_UNLIKELY(tp != nullptr) && !is_trap(tp) && is_trap(fs_base())) set_fs_base(tp);
}

inline void pause() { asm volatile("pause"); }

// decl-based in libc: 1 is free, 0 or less is held.
// Every locked instruction is a full barrier: the compiler alone is to be held back.
inline void fence_after_rmw() { std::atomic_signal_fence(std::memory_order_seq_cst); }

constexpr bool kStaleCode = false;
inline void synchronise_code() {}

constexpr int kSpinFree = 1;
constexpr int kSpinHeld = 0;

inline uint64_t cycles() { return __builtin_ia32_rdtsc(); }

}  // namespace goshim::arch

#define GOSHIM_EXPORT_JUMP(name, target)                                                                               \
  __asm__(".pushsection .text\n.globl " #name "\n.type " #name ", @function\n" #name ":\n.cfi_startproc\njmp " #target \
          "\n.cfi_endproc\n"                                                                                           \
          ".size " #name ", .-" #name "\n.popsection");
