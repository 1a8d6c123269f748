// Thread control blocks: every G owns a real glibc TCB and static TLS block, so that the compiler's TLS addresses and
// glibc's per-thread state (errno, locale, stdio ownership, cleanup chain, pthread_self) are per G for free.
//
// The layout of glibc's struct pthread is learned once, at start, from a probe thread; no offset is compiled in.
#pragma once

#include <pthread.h>

#include "arch/arch.h"
#include "base/base.h"

namespace goshim::tcb {

// Where struct pthread begins, which pthread_t names, as a distance from the thread pointer. Constant after learn().
extern ptrdiff_t pthread_at;
inline void* tp_of(pthread_t t) {
  return reinterpret_cast<void*>(t - static_cast<uintptr_t>(arch::kTlsAbove ? pthread_at : 0));
}
inline pthread_t pthread_of(void* tp) {
  return reinterpret_cast<pthread_t>(tp) + static_cast<uintptr_t>(arch::kTlsAbove ? pthread_at : 0);
}

// Learns the layout and checks every assumption. Null on success, else one line that says what could not be learned:
// the caller then lets the program run natively. Call once, on the program's thread that creates the first thread,
// before anything else here. Calls libc (creates and joins a few probe threads).
const char* learn();

// Bytes (multiple of 64) that a TCB with its static TLS takes at the top of a stack. Constant after learn().
size_t footprint();

// Builds a fresh TCB in the footprint() bytes that end at top (64-byte aligned); returns the thread pointer. The memory
// must be zero. Links it into glibc's list of user-stack threads, where it stays until destroy(). On a program's thread
// only: calls libc's allocator. Null when memory is exhausted.
void* create(void* top);

// What pthread_getattr_np and glibc's unwinder are told: block is the lowest address including the guard.
void set_stack(void* tp, void* block, size_t size, size_t guard);

// glibc's tid field. Virtual for Gs, the kernel's for Ms.
void set_tid(void* tp, int tid);
int tid(const void* tp);

// A dying G, on its own TCB with preemption on, after all destructors: frees what glibc would free at thread exit
// (dynamic TLS blocks, resolver state, pending dlerror, TSD blocks) and gives all TLS variables their initial values,
// goshim_tls apart. malloc's caches stay for the next G. Calls libc's allocator; the G must not call libc afterwards.
void retire(void* tp);

// The rest of the end: gives struct pthread (TSD, cancellation and resolver state, robust list) the contents of a new
// thread's. Here and not in begin(), since it takes some tens of cache lines, and they are in this core's cache: who
// makes the next thread may be on another one. No handler of the program may run on this TCB any more: preemption off.
// No libc call.
void renew(void* tp);

// A renewed TCB is to serve a new thread. Of what others may write to a dead one's this clears what is left: a late
// request for cancellation. goshim_tls and the tid are left to the caller. No libc call, any context.
void reuse(void* tp);

// The first thing a new thread does on its TCB, with preemption off: the tables of the global locale, as they are now.
// No libc call.
void begin(void* tp);

// Gives a retired TCB up: unlinks it and frees its dtv. The memory may be reused or unmapped afterwards. On a program's
// thread only.
void destroy(void* tp);

// A TCB for an M's g0 or another kernel thread of goshim: no libc call, no dynamic TLS, linked into glibc's list so
// that set*id() reaches it. The memory must be zero. Preemption off, a g0, or a foreign thread; null if memory is
// exhausted.
void* create_for_kernel_thread(void* top);

// Where the kernel is to write the thread id at clone(): so that set*id() knows a kernel thread from its first moment.
int* tid_word(void* tp);

// The first and the last call of such a kernel thread, on itself. begin: says its tid, registers its robust list. end:
// takes its TCB off glibc's lists; may sleep, so it must hold no P. relink: lists the TCB again for its next kernel
// thread, after end or after a fork; context as create_for_kernel_thread().
void begin_kernel_thread();
void end_kernel_thread();
void relink_kernel_thread(void* tp);

// Around each call of a set*id() function of libc, on a program's thread with preemption on: kernel threads that are
// being made meanwhile wait until the call can reach them, and the call runs on the TCB that glibc has for this kernel
// thread. Between the two nothing but that call may be made; leave() brings errno back. In a blocking region: the call
// waits for libc's lock.
struct SetXid {
  void* caller;
  void* own;
  arch::TpCell* cell;
  uint64_t mask;
};
void setxid_enter(SetXid* call);
void setxid_leave(SetXid* call);

constexpr int kSigSetXid = 33;

// Wraps glibc's handler of that signal (set*id for all threads), so that it runs on the TCB glibc's lists hold for this
// kernel thread (M::own_tcb). Called once at start, after learn().
void wrap_setxid();

// glibc's cancelhandling word of a TCB.
// Set by others and read by the thread with seq_cst (C1 in thread/cancel.cpp); libc's own accesses are as it makes
// them.
std::atomic<int>* cancel_word(void* tp);

// The main thread's TCB was made by ld.so: says "rseq not registered" in it, as in all others, after unregistering
// the calling kernel thread's rseq area. Called once on the main thread at start.
void adopt_main(void* tp);

// In the child of a fork, on the surviving G, preemption off: every other TCB is dropped from glibc's list (fork does
// that, _Fork does not). relink() puts that of a G back which was dead at the fork; on a program's thread with
// preemption on. A G that was alive at the fork left malloc's caches half-changed: its TCB must not be used
// again.
void after_fork_child(void* tp);
void relink(void* tp);

}  // namespace goshim::tcb
