// Mappings by way of syscall(2).
#pragma once

namespace goshim {

// If nr makes or ends a mapping (mmap, munmap, mremap, shmat, shmdt), makes that call, notes what became shared or
// private, stores what the kernel returned (-errno), and says true. For any thread, also in signal handlers.
bool mapping_syscall(long nr, const long args[6], long* result);

}  // namespace goshim
