// Cancellation: all of it is libc's, on the TCB of the G, but for the request itself.
#include "thread/cancel.h"

#include "interpose/init.h"
#include "interpose/real.h"

using namespace goshim;

GOSHIM_EXPORT int pthread_cancel(pthread_t t) {
  if (runtime_running()) return thread_cancel(t);
  cancel_before_start();
  return REAL(pthread_cancel)(t);
}
