// x86-64: the inline part of the port contract (arch.h).
#pragma once

#include "base/base.h"

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
