// Shows that options hold for threads that a library of the program makes in its constructor, which runs before
// goshim's.
// libs: ctorthread
// run: native=no procs=1,3
#include "../../interpose/goshim.h"
#include "check.h"

extern "C" int ctorthread_ticks();

int main() {
  EVENTUALLY(ctorthread_ticks() > 1);
  CHECK(goshim_active());
  CHECK_EQ(goshim_maxprocs(), atoi(getenv("GOSHIM_MAXPROCS")));
  join(spawn([] {}));
  return 0;
}
