// futex(2) as programs call it through syscall(2): Rust's standard library, C++20's atomic waits, allocators.
// Operations on words that this process alone can see run on the parking lot; the others in the kernel, in a blocking
// region.
#pragma once

#include "base/base.h"

namespace goshim {

// The six arguments of futex(2); the kernel's answer (-errno).
long futex_op(long address, long op, long value, long timeout, long address2, long value3);

}  // namespace goshim
