// Cancellation (see cancel.h).
#include "thread/cancel.h"

namespace goshim {

void thread_test_cancel() {}

bool cancel_pending() { return false; }

}  // namespace goshim
