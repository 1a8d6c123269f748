// Injection: making a G call the runtime at any instruction, as if the program had called it (D5). Preemption and the
// handlers of signals come that way.
//
// Requests to a G are bits in its Tls::pending. They are acted upon by run_pending(), on the G: at the preempt_on()
// that lowers its counter to 0, or, while it runs program code, at once: a signal to its M (the preemption signal)
// makes goshim_injected() run on its stack.
#pragma once

#include "sched/runtime.h"
#include "sched/safe_pool.h"

namespace goshim {

// One saved context; G::saved leads to the innermost of a G (I2 in inject.cpp).
struct alignas(64) SavedArea {
  SafePoolItem pool;
  SavedArea* outer;
  uintptr_t sp;  // of the interrupted flow
  void* fault;   // a fault to be handled first, or null
  alignas(64) char registers[1];
};

// At the start of the runtime, on the program's thread: learns where libc's text lies, installs the handler. May be
// called again in the child of a fork.
void inject_init(int preempt_signal);

// By every kernel thread of goshim on itself: its alternate stack and its signal mask (everything asynchronous
// blocked).
void inject_init_thread(void* altstack, size_t size);
// That mask.
uint64_t inject_m_mask();

// By sysmon: asks the G that m runs to make room. Called again while it goes on: asks at most every millisecond.
void inject_preempt(M* m);

// Sends one of the runtime's signals to one of its kernel threads; 0 or -errno. Those are real-time signals, and there
// may be no place for more of these: RLIMIT_SIGPENDING counts what is queued for all processes of the user. Then it is
// the spare signal, which is pending once or not at all and needs no place; Ms take it as the preemption signal.
long inject_send(int tid, int signal);
inline constexpr int kSpareSignal = SIGBUS;  // every M has it open, and a handler unless the program ignores it
// Whether it was ever needed; whether this is one of them.
bool inject_spare_used();
bool inject_is_spare(const siginfo_t& info);
// Its handler; and what is to be done where the calling M has taken it by a system call.
void inject_on_spare(siginfo_t* info, void* uc);
void inject_spare_taken();
// Whether the program ignores it: then Ms do not get it, and inject_send() fails.
void inject_spare_ignored(bool ignored);

// Makes the G that m runs look at its requests. Any thread of goshim; safe in a signal handler.
void inject_poke(M* m);

// In the handler of a signal (kernel's ucontext): the requests of the running G are acted upon as soon as it may be.
void inject_requests(void* uc);

// The same for a fault, which cannot wait: signals_run_fault(fault) will run on the G, on the stack that ends at top
// if not null. False if memory is exhausted.
bool inject_fault(void* uc, void* fault, void* top);

// Acts upon the requests of the running G: preemption, signal handlers, cancellation. Preemption off, counter 1. area:
// registers of the interrupted flow, null if this is a call.
void run_pending(G* g, void* area);

// A G ends: its saved contexts are nobody's any more.
void inject_g_exit(G* g);

}  // namespace goshim
