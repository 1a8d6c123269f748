// What the kernel keeps by kernel thread and the program by its own thread: id, name, processors, policy, nice value.
//
//   I1  All Ms are alike ("clean"), those of locked Gs apart. A G that differs from the clean state is locked to its M
//       (D13), and the kernel keeps its values; one that returns to the clean state is unlocked.
//   I2  What is asked for a G that cannot be locked from here (it has not begun, or is another one) is noted; it takes
//       effect when the G begins, and is what the G's values read as until then.
//
// Results are error numbers, 0 for success. On a G with preemption on, unless said otherwise.
#pragma once

#include "sched/runtime.h"

namespace goshim {

constexpr int kFirstVirtualTid = 1 << 23;  // ids below are the kernel's

// What stands in a system call for the id of a live thread. Ids that nobody has stay: the kernel does not know them.
//   kernel_tid        where it takes a thread's: the M of a G
//   process_of        where it takes any thread's for its process
//   not_a_process     where a thread's is no process's: a kernel thread of goshim's own, of which the kernel says so
int kernel_tid(int tid);
int process_of(int id);
int not_a_process(int id);

// The same for the clock of a thread's CPU time; other clocks stay.
clockid_t kernel_clock(clockid_t clock);

// If path leads into /proc by a virtual thread id, writes the path that the kernel knows to buf. On a G; path may be
// bad.
constexpr size_t kTaskPathMax = 128;  // longer ones are not translated: the kernel has none
bool translate_task_path(const char* path, char* buf, size_t size);

constexpr size_t kCpuBytes = 1024;  // the largest set of processors that Linux is built for

// Name of a G: up to 15 characters.
void name_set(G* g, const char* name);
void name_get(G* g, char* name);

// Processors, in the kernel's format. cpus_get gives the bytes written, or -errno.
int cpus_set(G* g, size_t size, const void* cpus);
long cpus_get(G* g, size_t size, void* cpus);
int cpus_check(size_t size, const void* cpus);  // what cpus_set would give

int policy_set(G* g, int policy, int priority);
int policy_check(int policy, int priority);
void policy_get(G* g, int* policy, int* priority);

// Priority-ceiling mutexes raise the thread that holds them, as libc does it. Any thread, on itself.
//   priority_raise    to at least this priority; -1 takes that back. An error number: the kernel may refuse it, and
//   does
//                     for policies without priorities
//   priority_own_get  policy and priority without that
//   priority_own_set  changes those; while raised, at least
bool priority_is_raised();
int priority_raise(int priority);
void priority_own_get(int* policy, int* priority);
int priority_own_set(int policy, int priority);

int nice_set(G* g, int nice);
int nice_get(G* g);

// How much later than asked timers may wake the calling G, in nanoseconds; 0 sets what it began with. Only told: the
// runtime's timers are exact.
unsigned long timer_slack_get();
void timer_slack_set(unsigned long slack);

// A new G inherits the creator's name and values; called before it can run, on any thread.
void ident_g_create(G* g);
// The first act of a G on itself, if it has notes.
void ident_g_begin_slow(G* g);
inline void ident_g_begin(G* g) {
  if (GOSHIM_UNLIKELY(g->ident != nullptr)) ident_g_begin_slow(g);
}

// At the start of the runtime, on its first G: with a policy that is reset at a fork it differs from the Ms that are
// made for others. Preemption off, the receiver of signals is there.
void ident_start();

// In the child of a fork.
void ident_after_fork_child();

}  // namespace goshim
