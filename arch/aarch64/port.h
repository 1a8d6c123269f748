// aarch64: the inline part of the port contract (arch.h).
#pragma once

#include "base/base.h"

namespace goshim::arch {

// The kernel keeps every register but x0.
inline long syscall(long nr, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  register long x8 asm("x8") = nr;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  register long x4 asm("x4") = e;
  register long x5 asm("x5") = f;
  asm volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}

// TLS variant 1: [struct pthread][thread pointer: 16 bytes of TCB][static TLS].
constexpr bool kTlsAbove = true;
constexpr size_t kTcbHead = 16;

// What libc adds to the flags of each action: programs see it there.
constexpr unsigned long kActionFlags = 0;

// The kernel's sigaction.
struct KernelAction {
  void* handler;
  unsigned long flags;
  void* restorer;
  uint64_t mask;
};

// The kernel keeps what user mode has written to tpidr_el0: no traps.
inline const char* thread_pointer_way() { return "by an instruction"; }
inline bool trap_thread_pointers(size_t, bool (*)()) { return false; }
inline bool have_traps() { return false; }
inline TpCell* take_thread_pointer(TpCell**) { return nullptr; }
inline void leave_thread_pointer() {}
inline void stop_traps() {}
inline void forget_cells() {}
inline TrapMap trap_map() { return {}; }
inline void* sleep_begins() { return nullptr; }
inline void sleep_ends(void*) {}
inline uint64_t handler_mask() { return ~UINT64_C(0); }
inline long install_fault_handler(int sig, void (*fn)(int, void*, void*), unsigned long flags, uint64_t mask) {
  return install_handler(sig, fn, flags, mask);
}

// `yield` is a nop on most cores, `isb` takes about as long as x86's pause.
inline void pause() { asm volatile("isb" : : : "memory"); }

// An acquire and a release make no full barrier of ldaxr and stlxr: a later load may come before the store.
inline void fence_after_rmw() { std::atomic_thread_fence(std::memory_order_seq_cst); }

// Who has written code and made it visible (ic, dsb, isb) has done the isb for his own processor only.
constexpr bool kStaleCode = true;
inline void synchronise_code() { asm volatile("isb" : : : "memory"); }

constexpr int kSpinFree = 0;
constexpr int kSpinHeld = 1;

inline uint64_t cycles() {
  uint64_t count;
  asm volatile("mrs %0, cntvct_el0" : "=r"(count));
  return count;
}

}  // namespace goshim::arch

// hint #34 is bti c.
#define GOSHIM_EXPORT_JUMP(name, target)                                             \
  __asm__(".pushsection .text\n.globl " #name "\n.type " #name ", %function\n" #name \
          ":\n.cfi_startproc\nhint #34\nb " #target                                  \
          "\n.cfi_endproc\n"                                                         \
          ".size " #name ", .-" #name "\n.popsection");
