// C11 thread functions answer in their own numbers.
#pragma once

#include <errno.h>
#include <threads.h>

namespace goshim {

inline int c11(int error) {
  switch (error) {
    case 0: return thrd_success;
    case ENOMEM: return thrd_nomem;
    case ETIMEDOUT: return thrd_timedout;
    case EBUSY: return thrd_busy;
    default: return thrd_error;
  }
}

}  // namespace goshim
