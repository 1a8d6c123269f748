// Addresses that the program gives to calls which goshim answers itself. Where it has no memory the kernel answers
// EFAULT, and so must goshim, which reads and writes there in the program's place. Any thread; no libc call.
#pragma once

#include "sched/runtime.h"

namespace goshim {

// The four bytes at p, or less than 0 where nothing can be read.
long user_word(const void* p);
// The same for what is going to be written.
long user_word_to_write(void* p);

// Whether `size` bytes at p, none or four at least, can be read.
bool user_readable(const void* p, size_t size);
// The same for what is going to be written; a page at most.
bool user_writable(void* p, size_t size);

}  // namespace goshim
