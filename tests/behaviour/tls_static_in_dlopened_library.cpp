// Shows that static TLS (initial-exec) of a library loaded while threads live starts from the initial image in
// threads that ran, slept or waited meanwhile, in later ones, and in those that reuse a dead thread's stack.
#include "check.h"

#include <dlfcn.h>

#include <atomic>

int main() {
  using Address = int* (*)();
  static std::atomic<int> ready;
  static std::atomic<Address> number, zero;
  CHECK(dlopen("libtlsstatic.so", RTLD_NOW | RTLD_NOLOAD) == nullptr);
  parallel(30, [](int) { sched_yield(); });  // Leaves dead stacks behind.
  auto use = [](int index) {
    ready++;
    for (unsigned step = 0; zero == nullptr; step++) {
      if (index % 3 == 0) usleep(300);
      stir(step);
    }
    CHECK_EQ(*number.load()(), 4321);
    CHECK_EQ(*zero.load()(), 0);
    for (int step = 0; step < 40; step++) {
      *number.load()() = index + step;
      *zero.load()() = index - step;
      stir(static_cast<unsigned>(index + step));
      CHECK_EQ(*number.load()(), index + step);
      CHECK_EQ(*zero.load()(), index - step);
    }
  };
  pthread_t early = spawn([use] { parallel(30, use); });
  EVENTUALLY(ready == 30);
  void* handle = dlopen("libtlsstatic.so", RTLD_NOW);
  if (handle == nullptr) check_fail(__FILE__, __LINE__, "%s", dlerror());
  number = reinterpret_cast<Address>(dlsym(handle, "tlsstatic_int"));
  zero = reinterpret_cast<Address>(dlsym(handle, "tlsstatic_other"));
  CHECK(number != nullptr && zero != nullptr);
  CHECK_EQ(*number.load()(), 4321);
  join(early);
  for (int round = 0; round < 3; round++) parallel(40, use);
  CHECK_EQ(*number.load()(), 4321);
  return 0;
}
