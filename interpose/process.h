// Processes by way of syscall(2).
#pragma once

namespace goshim {

// libc's fork calls what goshim has to do then. Once, before the first thread and before others register theirs.
void register_fork_handlers();

// If nr makes a process or replaces the program (fork, vfork, clone, clone3, execve, execveat), makes that call as the
// interposed functions do, stores what the kernel returned (-errno), and says true. For any thread.
bool process_syscall(long nr, const long args[6], long* result);

}  // namespace goshim
