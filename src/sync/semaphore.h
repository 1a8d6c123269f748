// sem_t. Private ones on the parking lot; process-shared and named ones keep glibc's protocol on the same words,
// because the other process may not run goshim: a post adds a token and wakes one sleeper of the kernel's futex.
//
// The word: tokens in the low half, waiters in the high half, as glibc has it.
//
//   S1  Private: waiters is counted under the bucket's lock, and only while there are no tokens; a post that sees
//       waiters gives its token to the first of them instead of adding it. So a post touches the object for the last
//       time before the waiter it freed can run.
#pragma once

#include <semaphore.h>

#include "base/clock.h"

namespace goshim {

struct Semaphore {
  // Release by post, acquire by who takes a token; waiters are counted by relaxed RMWs, in the same word: a post either
  // sees the waiter, or the waiter the token.
  std::atomic<uint64_t> word;
  int shared;  // as glibc's sem_init and sem_open set it; 0: private
};
static_assert(sizeof(Semaphore) <= sizeof(sem_t));

inline Semaphore* semaphore_of(sem_t* s) { return reinterpret_cast<Semaphore*>(s); }

// Return 0 or an error number.
int semaphore_try_wait(Semaphore* s);                        // EAGAIN
int semaphore_wait(Semaphore* s, const Deadline* deadline);  // EINTR, ETIMEDOUT; a cancellation point
int semaphore_post(Semaphore* s);                            // EOVERFLOW; may be called by a signal handler

}  // namespace goshim
