// Shows that loading and unloading libraries, looking up symbols and unwinding, in several threads at once, does not
// disturb threads that run, sleep or throw meanwhile; a library whose thread_local lives in a thread stays loaded.
#include "check.h"

#include <dlfcn.h>

#include <atomic>

#include "lib/tlslib.h"

namespace {

int depth(int levels) {
  sched_yield();
  if (levels == 0) throw 7;
  return depth(levels - 1) + 1;
}

}  // namespace

int main() {
  static std::atomic<bool> stop;
  static std::atomic<int> caught;
  pthread_t bystanders = spawn([] {
    parallel(12, [](int index) {
      for (unsigned step = 0; !stop; step++) {
        stir(step + static_cast<unsigned>(index));
        try {
          depth(5);
        } catch (int value) {
          CHECK_EQ(value, 7);
          caught++;
        }
      }
    });
  });
  parallel(6, [](int index) {
    for (int round = 0; round < 40; round++) {
      void* handle = dlopen("libtlslib.so", RTLD_NOW);
      if (handle == nullptr) check_fail(__FILE__, __LINE__, "%s", dlerror());
      auto number = reinterpret_cast<IntAddress>(dlsym(handle, "tlslib_int"));
      CHECK(number != nullptr);
      *number() = round;
      stir(static_cast<unsigned>(index + round));
      CHECK_EQ(*number(), round);
      CHECK_EQ(dlclose(handle), 0);
    }
  });
  EVENTUALLY(caught >= 12);
  stop = true;
  join(bystanders);

  static std::atomic<bool> may_end;
  may_end = false;
  static std::atomic<bool> closed;
  pthread_t holder = spawn([] {
    void* handle = dlopen("libtlslib.so", RTLD_NOW);
    CHECK(handle != nullptr);
    CHECK_EQ(reinterpret_cast<Touch>(dlsym(handle, "tlslib_touch"))(), 1);
    CHECK_EQ(dlclose(handle), 0);
    closed = true;
    while (!may_end) usleep(500);
  });
  EVENTUALLY(closed);
  CHECK(dlopen("libtlslib.so", RTLD_NOW | RTLD_NOLOAD) != nullptr);
  may_end = true;
  join(holder);
  return 0;
}
