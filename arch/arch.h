// The port contract: everything that differs by processor. A port is a folder arch/<name>/ that provides these
// definitions in port.h (inline ones) and assembly or C++ files (the rest). Nothing in src/ or interpose/ may depend on
// the processor in any other way.
#pragma once

#include "base/base.h"

namespace goshim::arch {

// A suspended flow of control: everything else lies on its stack, below sp.
struct Context {
  void* sp = nullptr;
};

// What is known of a kernel thread's thread pointer while the kernel may know another one: take_thread_pointer(). Only
// that kernel thread and its handlers use it; the port's context.S knows the layout.
struct alignas(64) TpCell {
  void* tp;                         // the truth
  void* trap;                       // constant
  uint32_t known;                   // T4: not 0 while the kernel may know the truth
  uint32_t changing;                // T4
  uint64_t switches;                // so many
  uint64_t switches_at_fault;       // when there was the last fault
  uintptr_t fault_at, fault_again;  // where that was, and how often in a row
};

// Saves the caller's flow (callee-saved registers, floating-point control state) into *from and resumes *to with
// thread pointer to_tp; cell is the calling kernel thread's, null if it has none. When every word of *from is saved,
// *from_busy becomes 0 with release order: from then on another kernel thread may resume it, which has read that 0
// with acquire; so has the caller for *to. Returns when somebody resumes *from. Precondition: preemption off, so no
// signal handler of goshim acts between the two halves.
extern "C" void goshim_switch(Context* from, const Context* to, void* to_tp, std::atomic<uint32_t>* from_busy,
                              TpCell* cell);

// Between these two in its code the stack is the resumed flow's already, and its thread pointer to_tp, whether set or
// not yet. For who looks from outside.
extern "C" const char goshim_switch_middle[] __attribute__((visibility("hidden")));
extern "C" const char goshim_switch_end[] __attribute__((visibility("hidden")));

// Prepares *c so that the first switch to it calls entry(arg) on the stack that ends at top (16-byte aligned down
// here), with the floating-point control state of the caller. entry must not return. A backtrace ends there.
void make_context(Context* c, void* top, void (*entry)(void*), void* arg);

// Thread pointer of the calling kernel thread. set_thread_pointer falls back on a system call where user mode may not
// write it; init() finds that out and is called once, before any switch. cell: as for goshim_switch().
void init();
void* thread_pointer();
void set_thread_pointer(void* tp, TpCell* cell);
// How it is set on Ms, as a phrase. After trap_thread_pointers().
const char* thread_pointer_way();

// Where user mode can write the thread pointer, but the kernel puts back the one it knows of whenever the kernel thread
// has been off its processor, a port may tell the kernel of a trap in place of a thread pointer: an address whose every
// access faults. The handler of the fault, the port's, writes the true one and lets the access run again. So:
//   T1  A cell is the truth. What the processor has is that, or the kernel thread's trap.
//   T2  Code that uses the thread pointer must not run on a kernel thread that has a trap while the kernel has SIGSEGV
//       blocked or at another action than install_fault_handler()'s: it would end the process. Hence handler_mask(),
//       and leave_thread_pointer() around what blocks all signals, forks or execs.
//   T3  Where there is no cell the kernel knows the truth, at the price of a system call for each change.
//   T4  So it does for a while on a kernel thread that has had more faults than switches: `known` counts its next
//       switches. While `known` is 0 the kernel has the trap. Hence who tells the kernel the truth has raised it
//       before; the switch, which tells it the trap and then lowers it to 0, says so by `changing`, and a fault in a
//       handler changes nothing then.
// trap_thread_pointers() decides, once, before there is another kernel thread: accesses may lie up to reach bytes
// from a thread pointer. True if there will be traps. The other calls do nothing where there are none.
// traced: whether a debugger or tracer looks at this process (in a handler of a signal, too).
bool trap_thread_pointers(size_t reach, bool (*traced)());
bool have_traps();
// The calling kernel thread gets a trap, and its cell is returned: *kept, the one that it had before, or if that is
// null a new one, which is left there. Null if there are no traps (any more). No signal may come in between.
TpCell* take_thread_pointer(TpCell** kept);
// The kernel is told the true one again. From before that on the caller passes null for the cell.
void leave_thread_pointer();
// No more: each kernel thread leaves its trap at its next switch or fault. A debugger would stop at each fault; and
// where a tracer stops a kernel thread at the return from the handler, there would be no end to them. The handler of
// set*id() changes the thread pointer, wherever it comes.
void stop_traps();
// In the child of a fork, where no kernel thread has one: all cells are free.
void forget_cells();

// Where the traps and their cells are, for who looks from outside: all null where there are none.
struct TrapMap {
  const void* first = nullptr;
  size_t size = 0;  // of all traps, each of which is `each` bytes
  size_t each = 0;
  const TpCell* cells = nullptr;
};
TrapMap trap_map();

// Around a system call that mostly sleeps, in one flow: the fault behind it is spared.
//   void* sleep_begins()                           (inline, in port.h)
//   void sleep_ends(void* what_begins_returned)    (inline, in port.h)

// Raw system call with up to six arguments, as the kernel answers (-errno on failure).
//   long syscall(long nr, long... args)           (inline, in port.h)

// A system call that an injected request can stop: does nothing and returns -EINTR if *stop is non-zero at entry, or if
// interrupt_syscall() catches it before the kernel took it (or after the kernel decided to restart it).
extern "C" long goshim_syscall_unless(const std::atomic<uint32_t>* stop, long nr, long a, long b, long c, long d,
                                      long e, long f);

// clone() of a bare kernel thread: shares everything, thread pointer tp, runs fn(arg) on the stack that ends at top.
// fn must not return. Returns the kernel thread id or -errno. *tid_word holds the id before fn runs, and 0 once the
// kernel thread has left its stack for good.
long clone_thread(void* top, void* tp, void (*fn)(void*), void* arg, int* tid_word);

// A child process that shares the memory of this one and nothing else, ends without a signal, and runs fn(arg) on the
// stack that ends at top, with the caller's thread pointer. fn makes system calls only, and ends by exec or exit.
// Returns its id (for wait4 with __WALL) or -errno.
long clone_process(void* top, void (*fn)(void*), void* arg);

// ---- injection: making an interrupted flow call a routine (see sched/inject.h) ----
//
// In a signal handler, uc is the ucontext_t* the kernel passed. An area holds the registers of one interrupted flow:
// saved_size() bytes, 64-byte aligned.

// Where the calling flow's no-preempt counter and request word lie, as distances from its thread pointer. Called once,
// before any injection.
void init_injection(ptrdiff_t nopreempt, ptrdiff_t pending);
uintptr_t pc_of(const void* uc);
uintptr_t sp_of(const void* uc);
// Bytes that save_context() needs for this processor's whole register state. Constant after init_injection().
size_t saved_size();
// Copies the interrupted registers from uc into area and edits uc so that the handler's return enters
// goshim_injected(area): on the interrupted stack, below its red zone, or on the stack that ends at top.
void save_context(void* uc, void* area, void* top = nullptr);
// Called by the port on the interrupted flow's stack; provided by sched/inject.cpp. When it returns, the registers in
// area come back and the flow continues. On entry the no-preempt counter is raised; the last act before the registers
// come back is to lower it, and if it is 0 then and the request word is not, to raise it and call again. In between
// nobody else may write to area.
extern "C" void goshim_injected(void* area);
// True when the interrupted instruction lies behind that last act and before the flow's own first instruction. A
// request that comes then must not save these registers: restart_restore() makes the port call goshim_injected(area)
// again, with the area that is being restored. The caller raises the counter.
bool in_critical_code(uintptr_t pc);
void restart_restore(void* uc, void* area);
// If uc stands inside goshim_syscall_unless() before the call took effect, makes it return -EINTR. True if uc stands
// there, or behind the call.
bool interrupt_syscall(void* uc);
// If uc shows a system call that just failed with EINTR only because of this signal, makes it run again.
void rewind_interrupted_syscall(void* uc);
// If the flow in area stands before a system call that signals interrupt (the kernel has rewound it), makes it fail
// with EINTR.
void fail_restarted_syscall(void* area);
// The registers in area as the program's handlers want to see them, and back (edited ones take effect). The ucontext's
// floating-point pointer leads into area.
void saved_to_ucontext(const void* area, void* ucontext);
void ucontext_to_saved(const void* ucontext, void* area);
// A ucontext of the caller's own registers, for handlers that run at a call and not at an interruption.
extern "C" void goshim_capture_ucontext(void* ucontext);
// Runs fn(arg) on the stack that ends at top, and comes back.
extern "C" void goshim_call_on_stack(void* top, void (*fn)(void*), void* arg);
// rt_sigaction(2) for a handler of the runtime: the kernel's structure, with the port's own way back from a handler.
// fn is SIG_DFL, SIG_IGN or a handler of three arguments. Returns what the kernel returns.
long install_handler(int sig, void (*fn)(int, void*, void*), unsigned long flags, uint64_t mask);
// The same for the runtime's handler of a fault: one function for all, with nothing in mask beyond handler_mask(). It
// does not see the faults of T1.
long install_fault_handler(int sig, void (*fn)(int, void*, void*), unsigned long flags, uint64_t mask);
// All signals that may be blocked while code of the runtime runs.
uint64_t handler_mask();

// vfork(2): returns twice, on one stack, with errno set. Calls goshim_before_vfork() first and then, in the child and
// in the parent, goshim_after_vfork() with the kernel's answer and what the former returned; its result is returned.
// Both are provided by thread/fork.cpp.
extern "C" int goshim_vfork();
extern "C" int goshim_before_vfork();
extern "C" int goshim_after_vfork(long result, int hidden);

// The 32-bit word there, or -1 if the program has no memory there (or, for the second, none to write to): on_fault in
// thread/signal.cpp asks skip_bad_word(), which makes the function that stands in uc return -1; false if none does. On
// a G: the kernel must find that handler.
extern "C" long goshim_read_word(const void* word);
extern "C" long goshim_touch_word(void* word);
bool skip_bad_word(void* uc);

// How a thread control block and static TLS lie around the thread pointer.
//   constexpr bool kTlsAbove      false: [static TLS][tp: struct pthread]  (TLS variant 2)
//                                 true: [struct pthread][tp: kTcbHead bytes][static TLS]  (variant 1)
//   constexpr size_t kTcbHead     (both in port.h)

// The kernel's structure for rt_sigaction, in its layout: fields handler (an address), flags, mask, and restorer where
// there is one.
//   struct KernelAction                            (in port.h)

// Flags that libc adds to each action that a program sets, and does not hide from it.
//   constexpr unsigned long kActionFlags           (in port.h)

// At file scope: exports the function `name`, which is nothing but a jump to the function `target` of this library.
//   GOSHIM_EXPORT_JUMP(name, target)               (macro, in port.h)

// A full barrier for who has just made an atomic read-modify-write, of whatever order: nothing where such an
// instruction is a barrier by itself, as its store may be delayed past later loads where it is not.
//   void fence_after_rmw()                         (inline, in port.h)
// True where a processor may run stale code at an address that another one has written to, until it synchronises itself
// (a thread moved by the kernel is synchronised by that), and what does it.
//   constexpr bool kStaleCode                      (in port.h)
//   void synchronise_code()                        (inline, in port.h)

// Hint of a spin loop.
//   void pause()                                   (inline, in port.h)
// The values that libc's pthread_spinlock_t has when free and when held on this processor.
//   constexpr int kSpinFree, kSpinHeld             (in port.h)
// A cheap counter for seeds and spin bounds; no unit.
//   uint64_t cycles()                              (inline, in port.h)

}  // namespace goshim::arch

// The build names the port: GOSHIM_ARCH is the name of its folder.
#define GOSHIM_QUOTED(path) #path
// clang-format off
#define GOSHIM_PORT(name) GOSHIM_QUOTED(arch/name/port.h)
// clang-format on
#include GOSHIM_PORT(GOSHIM_ARCH)
