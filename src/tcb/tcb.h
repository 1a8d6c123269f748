// Thread control blocks: every G owns a real glibc TCB and static TLS block, so that the compiler's TLS addresses and
// glibc's per-thread state (errno, locale, stdio ownership, cleanup chain, pthread_self) are per G for free.
//
// The layout of glibc's struct pthread is learned once, at start, from a probe thread; no offset is compiled in.
#pragma once

#include "base/base.h"

namespace goshim::tcb {

// Learns the layout and checks every assumption. Null on success, else one line that says what could not be learned:
// the caller then lets the program run natively. Call once, on the program's thread that creates the first thread,
// before anything else here. Calls libc (creates and joins one probe pthread).
const char* learn();

// Bytes (multiple of 64) that a TCB with its static TLS takes at the top of a stack. Constant after learn().
size_t footprint();

// Builds a fresh TCB in the footprint() bytes that end at top (64-byte aligned); returns the thread pointer, which is
// also the pthread_t. The memory must be zero. Links it into glibc's list of user-stack threads, where it stays until
// destroy(). On a program's thread only: calls libc's allocator. Null when memory is exhausted.
void* create(void* top);

// What pthread_getattr_np and glibc's unwinder are told: block is the lowest address including the guard.
void set_stack(void* tp, void* block, size_t size, size_t guard);

// glibc's tid field. Virtual for Gs, the kernel's for Ms.
void set_tid(void* tp, int tid);
int tid(const void* tp);

// A dying G, on its own TCB with preemption on, after all destructors: frees what glibc would free at thread exit
// (dynamic TLS blocks, resolver state, strerror buffers, TSD blocks ...). Calls libc's allocator.
void retire(void* tp);

// Makes a retired TCB as good as new: initial TLS images, errno, locale, dlerror state, TSD, cancellation state.
// No libc call, any context. new_locale etc. are those of a new glibc thread (global locale).
void reset(void* tp);

// Gives a retired TCB up: unlinks it and frees its dtv. The memory may be reused or unmapped afterwards. On a program's
// thread only.
void destroy(void* tp);

// A TCB for an M's g0 or another kernel thread of goshim: no libc call, no dynamic TLS, linked into glibc's list with
// the kernel tid set by set_tid, so that set*id() reaches it. The memory must be zero.
void* create_for_kernel_thread(void* top);

// Wraps glibc's handler of signal 33 (set*id for all threads), so that it runs on the TCB glibc's lists hold for this
// kernel thread (M::own_tcb). Called once at start, after learn().
void wrap_setxid();

// glibc's cancelhandling word of a TCB.
std::atomic<int>* cancel_word(void* tp);

// The main thread's TCB was made by ld.so: says "rseq not registered" in it, as in all others, after unregistering
// the calling kernel thread's rseq area. Called once on the main thread at start.
void adopt_main(void* tp);

// In the child of a fork, on the surviving G: glibc has dropped every other TCB from its lists. Forgets them and makes
// the survivor's links and multiple_threads right. relink() puts one cached TCB back on the list for reuse.
void after_fork_child(void* tp);
void relink(void* tp);

}  // namespace goshim::tcb
