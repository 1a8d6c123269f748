// Sleeping on a word of the runtime (see sys.h). Apart from sys.cpp, which the launcher is linked with too: the port
// is not.
#include "base/sys.h"

namespace goshim::sys {

long futex_wait(std::atomic<uint32_t>* word, uint32_t expected, Nanos until) {
  if (until == kForever) {
    return sleep_in(SYS_futex, word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, expected, nullptr, 0, 0);
  }
  timespec ts{until / kSecond, until % kSecond};
  return sleep_in(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected, &ts, nullptr,
                  FUTEX_BITSET_MATCH_ANY);
}

}  // namespace goshim::sys
