// Which memory other processes, or the kernel, may wake futexes in. A futex operation without FUTEX_PRIVATE_FLAG
// (those of libstdc++'s atomic waits, latches and semaphores are such) on memory that is this process's alone need not
// go to the kernel: its waiters are Gs of this process.
//
// Ranges are kept from the program's calls that make and end shared mappings. All functions: any thread, also in signal
// handlers and beside a fork; no locks.
#pragma once

#include "base/base.h"

namespace goshim {

// False if only this process waits for the word and wakes its waiters.
bool may_be_shared(const void* word);

// The range is shared from now on. Called before any other thread can know of it.
void note_shared(const void* begin, size_t length);

// The range is no longer mapped, or private from now on.
void note_private(const void* begin, size_t length);

// What begins exactly there, a System V segment, is no longer mapped.
void note_detached(const void* begin);

// Any word may be woken by the kernel from now on.
void note_all_shared();

}  // namespace goshim
