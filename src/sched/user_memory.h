// Addresses that the program gives to calls which goshim answers itself. Where it has no memory the kernel answers
// EFAULT, and so must goshim, which reads and writes there in the program's place. Any thread; no libc call.
#pragma once

#include "sched/runtime.h"

namespace goshim {

// The four bytes at p, or less than 0 where nothing can be read.
long user_word(const void* p);
// The same for what is going to be written.
long user_word_to_write(void* p);

// Whether `size` bytes at p, four at least and a page at most, can be read, or written.
inline bool user_readable(const void* p, size_t size) {
  return user_word(p) >= 0 && user_word(static_cast<const char*>(p) + size - sizeof(uint32_t)) >= 0;
}
inline bool user_writable(void* p, size_t size) {
  return user_word_to_write(p) >= 0 && user_word_to_write(static_cast<char*>(p) + size - sizeof(uint32_t)) >= 0;
}

}  // namespace goshim
