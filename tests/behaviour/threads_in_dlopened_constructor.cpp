// Shows a thread started by a constructor inside dlopen, under the loader's lock, and joined inside dlclose, while
// other threads look up symbols; again and again.
#include "check.h"

#include <dlfcn.h>

#include <atomic>

int main() {
  static std::atomic<bool> stop;
  pthread_t others = spawn([] {
    parallel(6, [](int) {
      while (!stop) {
        CHECK(dlsym(RTLD_DEFAULT, "malloc") != nullptr);
        sched_yield();
      }
    });
  });
  for (int round = 0; round < 15; round++) {
    void* handle = dlopen("libctorthread.so", RTLD_NOW);
    if (handle == nullptr) check_fail(__FILE__, __LINE__, "%s", dlerror());
    auto ticks = reinterpret_cast<int (*)()>(dlsym(handle, "ctorthread_ticks"));
    CHECK(ticks != nullptr);
    EVENTUALLY(ticks() > 0);
    CHECK_EQ(dlclose(handle), 0);
    CHECK(dlopen("libctorthread.so", RTLD_NOW | RTLD_NOLOAD) == nullptr);
  }
  stop = true;
  join(others);
  return 0;
}
