// Processes made by a program's thread: fork, vfork, spawn, exec (D10). How the child of a fork goes on is told in
// fork.cpp.
#pragma once

#include "sched/runtime.h"
#include "thread/signal.h"

namespace goshim {

// Around the creation of a process with a copy of the memory: before it, after it in the parent (also when it failed),
// and first of all in the child. On any thread, before the start of the runtime too. Between prepare and the others: no
// interposed function, and on a G nothing is injected and the G stays on its M.
void fork_prepare();
void fork_parent();
// True if a runtime was left behind: the caller then lets the next creation of a thread start it anew.
bool fork_child();

// Around the creation of a process that shares the memory and runs while the caller waits (vfork): until unhide() the
// caller counts as a foreign thread, so that what the child calls goes straight to libc. False if it is one.
bool hide_caller();
void unhide_caller();
// In that child: what the kernel holds by thread becomes the G's.
void become_hidden_caller();

// A child is made that shares the caller's memory and its thread pointer: the kernel is to know it, on this M from now
// on.
void leave_thread_pointer();

// While it lives the kernel knows the calling G's thread pointer (arch.h: T2), and preemption is off: for calls of libc
// that block all signals for a moment. Nothing on a foreign thread, whose handlers may jump out.
class KnownThreadPointer {
 public:
  KnownThreadPointer();
  ~KnownThreadPointer();
  KnownThreadPointer(const KnownThreadPointer&) = delete;
  KnownThreadPointer& operator=(const KnownThreadPointer&) = delete;

 private:
  bool on_g_;
};

// While it lives, what the kernel holds by thread (signal mask, timer slack) is what the calling G's thread would
// natively have: for calls of libc that make a child or replace the program. A long blocking region on a locked M, in
// which libc may allocate. Nothing on a foreign thread.
class NativeState {
 public:
  NativeState();
  ~NativeState();
  NativeState(const NativeState&) = delete;
  NativeState& operator=(const NativeState&) = delete;

 protected:
  G* g_;

 private:
  uint64_t m_mask_ = 0;
};

// The same around exec, which keeps pending signals too.
class ExecState : NativeState {
 public:
  ExecState();
  ~ExecState();
  ExecState(const ExecState&) = delete;
  ExecState& operator=(const ExecState&) = delete;

 private:
  HandedSignals handed_{};
};

// While some G is in exec the kernel makes no threads.
bool exec_under_way();

// True for a thread of the parent process that the fork left behind: it counts as ended.
bool fork_orphan(const G* g);

// True in the child of a process that had threads: objects may speak of threads that are no more.
bool fork_left_threads();

// For the start of the runtime in the child of a fork: makes everything that the fork left in an arbitrary state new.
void fork_rebuild();

// A thread control block of its own for a kernel thread that the program clones into its memory without one; null when
// memory is exhausted. *tid_word is set to 1 and must become 0 when that thread has ended, which lets the block be used
// again. On a program's G, preemption on.
void* foreign_tcb(int** tid_word);

}  // namespace goshim
