// pthread_barrier_t, process-private, on the parking lot.
//
//   B1  arrived, round and stragglers change under the bucket's lock. The last to arrive opens the next round there,
//       and nobody touches the object afterwards, except stragglers: those whom a signal took off the queue. destroy
//       waits for them.
#pragma once

#include <pthread.h>

#include "base/base.h"

namespace goshim {

// Placed as glibc's, whose pthread_barrier_init is used.
struct Barrier {
  uint32_t arrived;
  uint32_t round;
  uint32_t count;  // constant
  int shared;      // constant
  uint32_t stragglers;
};
static_assert(sizeof(Barrier) <= sizeof(pthread_barrier_t));

inline Barrier* barrier_of(pthread_barrier_t* b) { return reinterpret_cast<Barrier*>(b); }

// PTHREAD_BARRIER_SERIAL_THREAD in one thread of each round, 0 in the others.
int barrier_wait(Barrier* b);
void barrier_destroy(Barrier* b);

}  // namespace goshim
