// For the syscall() function.
#pragma once

namespace goshim {

// futex(2) with its six arguments; the kernel's answer (-errno).
long futex_call(long address, long op, long value, long timeout, long address2, long value3);

}  // namespace goshim
