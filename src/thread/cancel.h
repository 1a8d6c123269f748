// Cancellation as the waiting functions see it.
#pragma once

namespace goshim {

// A cancellation point: ends the calling thread (by unwinding) if a request is pending and cancellation is enabled.
// Preemption on.
void thread_test_cancel();

// True if thread_test_cancel() would not return.
bool cancel_pending();

}  // namespace goshim
