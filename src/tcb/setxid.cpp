// set*id() for all threads. glibc keeps a flag in every TCB on its lists, sends signal 33 to each one's tid, and goes
// on until the handlers have cleared all flags. The handler clears the flag of the TCB it runs on: on a kernel thread
// that happens to run a G that is the G's, and the call would never end. So the handler is run on the TCB that has the
// kernel thread's tid.
#include <signal.h>

#include "base/sys.h"
#include "sched/runtime.h"
#include "tcb/tcb.h"

namespace goshim::tcb {
namespace {

// glibc's. Written by wrap_setxid() before the wrapper can run; constant.
void (*glibc_handler)(int, siginfo_t*, void*);

// Not inlined: addresses of TLS variables must be taken after the thread pointer has changed.
GOSHIM_NOINLINE void handle(int sig, siginfo_t* info, void* context) {
  G* g = getg();
  void* interrupted = arch::thread_pointer();
  if (!g || tid(interrupted) == sys::gettid()) {
    glibc_handler(sig, info, context);
    return;
  }
  M* m = g->m.load(std::memory_order_relaxed);
  arch::set_thread_pointer(m->own_tcb, m->tp_cell);
  glibc_handler(sig, info, context);
  arch::set_thread_pointer(interrupted, m->tp_cell);
}

}  // namespace

void wrap_setxid() {
  arch::KernelAction action{};
  if (glibc_handler || sys::call(SYS_rt_sigaction, kSigSetXid, nullptr, &action, sizeof action.mask) != 0) return;
  if (!action.handler) return;
  glibc_handler = reinterpret_cast<decltype(glibc_handler)>(action.handler);
  action.handler = reinterpret_cast<void*>(handle);
  // Nothing may come between the two changes of the thread pointer. The stack of a G may be too small for the frame.
  action.mask = arch::handler_mask();
  action.flags |= SA_ONSTACK;
  sys::call(SYS_rt_sigaction, kSigSetXid, &action, nullptr, sizeof action.mask);
}

}  // namespace goshim::tcb
