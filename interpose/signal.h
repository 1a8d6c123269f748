// Signals by way of syscall(2).
#pragma once

namespace goshim {

// If nr is a call about signals that goshim takes over, makes it as the interposed function does, stores its result
// (-errno), and says true. On a G.
bool signal_syscall(long nr, const long args[6], long* result);

}  // namespace goshim
