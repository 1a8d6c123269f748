// Reads and writes of pipes that are known not to wait.
//
// An attempt that must not block is a vectored call with a flag, and in the kernel it takes 60 to 70 ns longer than a
// plain read or write of 100 bytes, which takes 250. Where one G reads or writes one pipe many times in a row, the
// kernel is asked now and then how much there is in it, and for so long the calls are plain ones.
//
//   K1  Only a pipe that no other process has and that no second number names. What the kernel tells is sure as long as
//       one G uses this end by reads or writes that are served in full: another one begins a streak of its own, and the
//       first one's is over.
//   K2  Others may come all the same: at the same moment, with other calls (readv, splice), or going round the runtime.
//       Then a plain call may block in the kernel. As any call there that goshim does not know (D8), it costs a kernel
//       thread for as long, and nothing else: signals and cancellation end it as a call in a region (plain_syscall()).
//       Two pages are always left free, so that it takes a crowd.
//   K3  How many writes fit: a write goes behind the last one into its page if it fits, else into a new page. So every
//       page but the first and the last has no room left for the largest write there was: as many bytes lie in it at
//       the least, and that bounds how many pages are in use.
#pragma once

#include "net/descriptor.h"

namespace goshim {

// Whether the calling G's next call of n bytes on this pipe's end is surely served at once: it is a plain one then.
bool streak_covers(Descriptor* d, Direction direction, size_t n);
// It was none, and has been served in full.
void streak_goes_on(int fd, Descriptor* d, Direction direction, size_t n);
// A call was not served in full.
inline void streak_ends(Descriptor* d) { d->sure.store(0, std::memory_order_relaxed); }

}  // namespace goshim
