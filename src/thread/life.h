// The life of a thread: create, join, detach, exit, thread-specific data destructors. Return values are POSIX error
// numbers as glibc's pthread functions give them.
#pragma once

#include "sched/runtime.h"

namespace goshim {

// Bits of G::life. Exited is set once, by the G; Detached by detach or at creation; Joining while a joiner waits;
// Explicit at creation: its attributes had a policy.
enum Life : uint32_t { kExited = 1, kDetached = 2, kJoining = 4, kExplicit = 8 };

// What libc answers with ESRCH until somebody joins it.
inline bool thread_has_ended(const G* g) { return (g->life.load(std::memory_order_acquire) & kExited) != 0; }

struct ThreadAttr {
  size_t stack_size = 0;       // usable bytes, TCB included
  size_t guard_size = 0;       // 0: no guard
  void* user_stack = nullptr;  // lowest address of a stack that the program supplies
  bool detached = false;
  bool has_mask = false;  // signal mask given; else the creator's is inherited
  uint64_t mask = 0;
  bool has_cpus = false;    // processors given, in the kernel's format; else the creator's
  unsigned char cpus[128];  // of any value unless has_cpus: most threads have none, and are made often
  bool has_policy = false;  // scheduling policy given; else the creator's
  int policy = 0;
  int priority = 0;
};

// Makes a thread that runs start(arg). EAGAIN without memory, EINVAL for sizes that make no stack, EINVAL or EPERM for
// processors or a policy it cannot have. On a G or a foreign thread; preemption on.
int thread_create(pthread_t* out, const ThreadAttr& attr, void* (*start)(void*), void* arg);

// Waits for g to end, until deadline (CLOCK_MONOTONIC; kForever none, 0: only asks). EDEADLK, EINVAL, ESRCH, EBUSY
// (only asked), ETIMEDOUT. A cancellation point unless it only asks.
int thread_join(G* g, void** result, Nanos deadline);
int thread_detach(G* g);

// Ends the calling G: destructors, joiners, and, if it was the last, exit(0). For a thread whose start has returned
// value or whose stack pthread_exit has unwound to the entry frame. main: it is the thread that main() ran on, whose
// thread_local objects are destroyed by exit() alone.
[[noreturn]] void thread_finish(void* value, bool main = false);
// exit(2) of the kernel: ends the calling thread without destructors, the process with this status if it was the last.
[[noreturn]] void thread_vanish(int status);

// Destructors of pthread keys; native keys hold the values.
void key_created(pthread_key_t key, void (*destructor)(void*));
void key_deleted(pthread_key_t key);

}  // namespace goshim
