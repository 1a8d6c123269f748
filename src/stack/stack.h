// Stacks of Gs: slots of large reservations (D12). A slot is [guard | stack ... | TCB and static TLS at the top].
#pragma once

#include "base/base.h"

namespace goshim::stack {

struct Stack {
  char* base = nullptr;  // lowest address, where the guard begins
  size_t size = 0;       // bytes from base to the top; the slot's whole size
  size_t guard = 0;      // bytes of guard at base
  char* top() const { return base + size; }
};

// Reads RLIMIT_STACK and options; probes MADV_GUARD_INSTALL. Called at start, before take().
void init();

// The size of a thread made without an attribute (glibc's rule: RLIMIT_STACK, 2 MB if unlimited), and its guard.
size_t default_size();
// The program has chosen another (pthread_setattr_default_np); before init() too.
void set_default_size(size_t size);

// A slot whose usable part (without guard) has at least size bytes and whose guard has at least guard bytes (0: none).
// Memory above the guard is zero or as release() left it. False when address space or memory is exhausted (EAGAIN).
// Contract as for Lock: preemption off. No libc call.
bool take(size_t size, size_t guard, Stack* out);

// Gives a slot back for reuse; its pages are given back to the kernel.
void release(const Stack& s);

// Gives the pages of a cached slot back to the kernel, apart from the keep bytes at its top.
void trim(const Stack& s, size_t keep);

// True if addr lies in a guard of one of goshim's stacks: a stack overflow.
bool in_guard(const Stack& s, const void* addr);

// In the child of a fork.
void after_fork_child();

}  // namespace goshim::stack
