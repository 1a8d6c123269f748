// x86-64: thread pointer, new contexts, kernel threads (contract: arch/arch.h).
#include <sched.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#include "arch/arch.h"

extern "C" {
// Read by goshim_switch: how the FS base is written (port.h).
__attribute__((visibility("hidden"))) uint8_t goshim_tp_mode = kTpSystemCall;
void goshim_context_entry();
long goshim_clone(unsigned long flags, void* stack, int* parent_tid, int* child_tid, void* tp);
}

namespace goshim::arch {

namespace {
constexpr unsigned long kHwcap2FsGsBase = 2;
constexpr size_t kSwitchWords = 8;  // what goshim_switch leaves on a stack

// What the child of goshim_clone pops. clone() does not push a return address, so that after the two pops it calls fn
// with an aligned stack.
void* first_words(void* top, void (*fn)(void*), void* arg) {
  auto* sp = reinterpret_cast<uintptr_t*>(reinterpret_cast<uintptr_t>(top) & ~15UL);
  *--sp = reinterpret_cast<uintptr_t>(arg);
  *--sp = reinterpret_cast<uintptr_t>(fn);
  return sp;
}
}  // namespace

void init() {
  if (getauxval(AT_HWCAP2) & kHwcap2FsGsBase) goshim_tp_mode = kTpDirect;
}

void* thread_pointer() {
  void* tp;
  asm("movq %%fs:0, %0" : "=r"(tp));  // the TCB's first word is its own address (ABI)
  return tp;
}

void make_context(Context* c, void* top, void (*entry)(void*), void* arg) {
  auto* sp = reinterpret_cast<uintptr_t*>(reinterpret_cast<uintptr_t>(top) & ~15UL);
  uint32_t mxcsr;
  uint16_t x87;
  asm volatile("stmxcsr %0" : "=m"(mxcsr));
  asm volatile("fnstcw %0" : "=m"(x87));
  sp -= kSwitchWords;
  sp[0] = mxcsr | static_cast<uintptr_t>(x87) << 32;
  sp[1] = sp[2] = 0;
  sp[3] = reinterpret_cast<uintptr_t>(arg);    // r13
  sp[4] = reinterpret_cast<uintptr_t>(entry);  // r12
  sp[5] = sp[6] = 0;
  sp[7] = reinterpret_cast<uintptr_t>(&goshim_context_entry);
  c->sp = sp;
}

long clone_thread(void* top, void* tp, void (*fn)(void*), void* arg, int* tid_word) {
  unsigned long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                        CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
  return goshim_clone(flags, first_words(top, fn, arg), tid_word, tid_word, tp);
}

long clone_process(void* top, void (*fn)(void*), void* arg) {
  return goshim_clone(CLONE_VM, first_words(top, fn, arg), nullptr, nullptr, nullptr);
}

}  // namespace goshim::arch
