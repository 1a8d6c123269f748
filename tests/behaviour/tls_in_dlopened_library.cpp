// Shows that a library loaded while threads live gives every thread, old and new, its own thread-local variables with
// the initial values, and runs their destructors at each thread's end.
#include "check.h"

#include <dlfcn.h>

#include <atomic>

#include "lib/tlslib.h"

namespace {

struct Library {
  void* handle;
  IntAddress number;
  Touch touch;
  Live live;
};

Library load() {
  Library library;
  library.handle = dlopen("libtlslib.so", RTLD_NOW);
  if (library.handle == nullptr) check_fail(__FILE__, __LINE__, "%s", dlerror());
  library.number = reinterpret_cast<IntAddress>(dlsym(library.handle, "tlslib_int"));
  library.touch = reinterpret_cast<Touch>(dlsym(library.handle, "tlslib_touch"));
  library.live = reinterpret_cast<Live>(dlsym(library.handle, "tlslib_live"));
  CHECK(library.number != nullptr && library.touch != nullptr && library.live != nullptr);
  return library;
}

}  // namespace

int main() {
  CHECK(dlopen("libtlslib.so", RTLD_NOW | RTLD_NOLOAD) == nullptr);  // The runner must not have linked it.
  for (int round = 0; round < 4; round++) {
    static std::atomic<int> ready;
    static std::atomic<const Library*> loaded;
    ready = 0;
    loaded = nullptr;
    auto use = [](int index) {
      ready++;
      for (unsigned step = 0; loaded == nullptr; step++) stir(step);
      const Library& library = *loaded;
      CHECK_EQ(*library.number(), 1234);
      int* const address = library.number();
      for (int step = 1; step <= 40; step++) {
        *library.number() = index + step;
        stir(static_cast<unsigned>(index + step));
        CHECK_EQ(*library.number(), index + step);
        CHECK_EQ(library.number(), address);
        CHECK_EQ(library.touch(), step);
      }
    };
    pthread_t early = spawn([use] { parallel(25, use); });
    EVENTUALLY(ready == 25);
    Library library = load();
    pthread_t late = spawn([use] { parallel(25, use); });
    loaded = &library;
    join(early);
    join(late);
    CHECK_EQ(library.live(), 0);
    CHECK_EQ(*library.number(), 1234);
    CHECK_EQ(dlclose(library.handle), 0);
  }
  return 0;
}
