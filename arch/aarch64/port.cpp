// aarch64: thread pointer, new contexts, kernel threads (contract: arch/arch.h).
#include <sched.h>
#include <sys/syscall.h>

#include "arch/arch.h"

extern "C" {
void goshim_context_entry();
long goshim_clone(unsigned long flags, void* stack, int* parent_tid, void* tp, int* child_tid);
}

namespace goshim::arch {

namespace {
// What goshim_switch leaves on a stack, in words (context.S).
constexpr size_t kSwitchWords = 22;
constexpr size_t kX19 = 0;
constexpr size_t kX20 = 1;
constexpr size_t kX30 = 11;
constexpr size_t kFpcr = 20;
}  // namespace

void init() {}  // user mode may always write tpidr_el0

void* thread_pointer() {
  void* tp;
  asm("mrs %0, tpidr_el0" : "=r"(tp));
  return tp;
}

void set_thread_pointer(void* tp, TpCell*) { asm volatile("msr tpidr_el0, %0" : : "r"(tp) : "memory"); }

void make_context(Context* c, void* top, void (*entry)(void*), void* arg) {
  auto* sp = reinterpret_cast<uintptr_t*>(reinterpret_cast<uintptr_t>(top) & ~15UL);
  uintptr_t fpcr;
  asm volatile("mrs %0, fpcr" : "=r"(fpcr));
  sp -= kSwitchWords;
  for (size_t i = 0; i < kSwitchWords; i++) sp[i] = 0;
  sp[kX19] = reinterpret_cast<uintptr_t>(entry);
  sp[kX20] = reinterpret_cast<uintptr_t>(arg);
  sp[kX30] = reinterpret_cast<uintptr_t>(&goshim_context_entry);
  sp[kFpcr] = fpcr;
  c->sp = sp;
}

long clone_thread(void* top, void* tp, void (*fn)(void*), void* arg, int* tid_word) {
  auto* sp = reinterpret_cast<uintptr_t*>(reinterpret_cast<uintptr_t>(top) & ~15UL);
  *--sp = reinterpret_cast<uintptr_t>(arg);
  *--sp = reinterpret_cast<uintptr_t>(fn);
  unsigned long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                        CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
  return goshim_clone(flags, sp, tid_word, tp, tid_word);
}

long clone_process(void* top, void (*fn)(void*), void* arg) {
  auto* sp = reinterpret_cast<uintptr_t*>(reinterpret_cast<uintptr_t>(top) & ~15UL);
  *--sp = reinterpret_cast<uintptr_t>(arg);
  *--sp = reinterpret_cast<uintptr_t>(fn);
  return goshim_clone(CLONE_VM, sp, nullptr, nullptr, nullptr);
}

}  // namespace goshim::arch
