// Shows that GOSHIM=off holds for threads that a library of the program makes in its constructor, which runs before
// goshim's.
// libs: ctorthread
// run: native=no chaos=no procs=1 env=GOSHIM=off
#include "../../interpose/goshim.h"
#include "check.h"

extern "C" int ctorthread_ticks();

int main() {
  EVENTUALLY(ctorthread_ticks() > 1);
  CHECK(!goshim_active());
  join(spawn([] { CHECK(!goshim_active()); }));
  return 0;
}
