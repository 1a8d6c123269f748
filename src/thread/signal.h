// Signals belong to Gs (D9): their masks, alternate stacks and pending signals, the choice of a G for a signal to the
// process, and the running of the program's handlers. How it works is told at the head of signal.cpp.
//
// Signal sets are words: bit n-1 for signal n. Functions that fail return an error number, or -errno where they have a
// value. "On a G" means on the calling G with preemption on.
#pragma once

#include <signal.h>

#include "sched/runtime.h"

namespace goshim {

constexpr uint64_t signal_bit(int sig) { return UINT64_C(1) << (sig - 1); }

// What Ms leave open in the kernel: faults, set*id()'s signal, and what the kernel sends to the thread that caused it.
constexpr uint64_t signal_open_on_m() {
  constexpr int kSetXid = 33;
  uint64_t open = signal_bit(kSetXid);
  for (int sig : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGPIPE, SIGXFSZ, SIGTTIN, SIGTTOU, SIGPROF,
                  SIGVTALRM, SIGXCPU}) {
    open |= signal_bit(sig);
  }
  return open;
}

// ---- start, threads, fork ----

// Takes over the actions the program has installed so far, and the calling thread's mask and alternate stack for main.
void signal_init(G* main);
// Starts the receiver.
void signal_start();
// g is about to start with this mask. Preemption on or off.
void signal_g_create(G* g, uint64_t mask);
// The calling G ends.
void signal_g_exit(G* g);
// In the child of a fork: gives actions and alternate stack back to the kernel. signal_init() may follow one day.
void signal_after_fork_child(G* survivor);

// ---- running handlers, for inject.cpp ----

// Runs the handlers of what is pending and open. area: as in run_pending().
void signals_run(G* g, void* area);
void signals_run_fault(G* g, void* fault, void* area);
// True if sp lies on the alternate stack that g has declared. In a signal handler too.
bool signal_on_altstack(const G* g, uintptr_t sp);

// ---- for calls that block: which handlers ran since the mark was taken? ----
//
//   HandlerMark mark = handler_mark();
//   ... a wait that was interrupted, with its handlers run ...
//   if (handlers_ran(mark) && !handlers_restart(mark)) return -EINTR;
//
// When none ran the interrupt was the runtime's own affair, and the wait goes on. A handler may fork, and then the wait
// goes on in the child too, where the thread is no G any more.
struct HandlerMark {
  uint32_t ran;   // 1 and the handlers that have run on the calling G; 0 if the kernel runs them (a foreign thread)
  uint32_t hard;  // those without SA_RESTART among them
  bool counted() const { return ran != 0; }
};
HandlerMark handler_mark();
bool handlers_ran(const HandlerMark& mark);
bool handlers_restart(const HandlerMark& mark);  // every one of them had SA_RESTART

// ---- the program's calls ----

int signal_action(int sig, const struct sigaction* action, struct sigaction* old);
// Sets the calling G's mask, returns the old one; handlers of what becomes open run at once. On a G.
uint64_t signal_set_mask(uint64_t mask);
// Sets the mask for a call that waits under it, and returns the old one: the first handler that it lets in returns to
// the old mask, so that, as natively, no second one comes in that only the new mask lets in. signal_return_mask() ends
// that if no handler has. On a G.
uint64_t signal_lend_mask(uint64_t mask);
void signal_return_mask();
// Whether a handler would come at once under this mask. On a G.
bool signal_waits_for_mask(uint64_t mask);
// What a signal from this process carries (code: SI_USER, SI_TKILL, SI_QUEUE).
siginfo_t signal_info(int sig, int code);
// To a thread: pthread_kill and relatives. info: as the handler will see it.
int signal_send(G* g, const siginfo_t& info);
// To the process itself; 0 or -errno. The signal has been delivered on return if the calling G takes it.
long signal_send_process(const siginfo_t& info);
// On a G: what the process has been sent so far is delivered, or pending for the G to see, before this returns;
// natively the kernel does so whenever a call returns. Costs a system call.
void signal_fetch();
// The same for what timers send to threads, too (SIGEV_THREAD_ID), of signal sig (0: any). Waits for the receiver.
void signal_settle(int sig);
// The kernel thread that takes signals for the process: what timers send to it goes on to their targets
// (timer_target.h).
int signal_receiver();
// A signalfd for set is about to be made: what every G blocks of it stays pending in the kernel. Any thread.
void signal_by_descriptor(uint64_t set);
// Waits for a signal of set: its number, -EAGAIN after deadline (CLOCK_MONOTONIC; 0: only asks), -EINTR. On a G.
int signal_wait(uint64_t set, siginfo_t* info, Nanos deadline);
// Waits with this mask until a handler has run. On a G.
void signal_suspend(uint64_t mask);
uint64_t signal_pending();
// For exec, on a locked M whose mask in the kernel is the calling G's: gives the kernel what is pending for the process
// and the calling G and is blocked by the latter, as signals to the kernel thread, and leaves there what comes. Other
// threads that wait for the receiver do so until all of it has been taken back: exec has failed. On a G.
struct HandedSignals {
  void* own;     // the G's
  void* shared;  // the process's
};
HandedSignals signals_to_kernel();
void signals_from_kernel(const HandedSignals& handed);
// Stands around a call that acts on a terminal. Who blocks SIGTTIN or SIGTTOU must not be stopped by it, and the kernel
// looks at the mask of the kernel thread: it is the calling G's there. On a G or not.
class TerminalCall {
 public:
  TerminalCall();
  ~TerminalCall();
  TerminalCall(const TerminalCall&) = delete;
  TerminalCall& operator=(const TerminalCall&) = delete;

 private:
  uint64_t blocked_ = 0;
};
int signal_altstack(const stack_t* stack, stack_t* old);
// The live G with this virtual thread id, or null.
G* signal_g_of_tid(int tid);

}  // namespace goshim
