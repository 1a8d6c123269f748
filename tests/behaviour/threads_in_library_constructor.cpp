// libs: ctorthread
// Shows a thread started by the constructor of a linked library, before main, and joined by its destructor, after it.
#include "check.h"

extern "C" int ctorthread_ticks();

int main() {
  EVENTUALLY(ctorthread_ticks() > 3);
  parallel(10, [](int index) {
    for (unsigned step = 0; step < 20; step++) stir(step + static_cast<unsigned>(index));
  });
  const int before = ctorthread_ticks();
  EVENTUALLY(ctorthread_ticks() > before);
  return 0;
}
