// A library with dynamic thread-local storage, linked by one test and loaded at run time by others.
#include "tlslib.h"

#include <atomic>

namespace {

std::atomic<int> live;

struct Counted {
  Counted() { live++; }
  ~Counted() { live--; }
  int uses = 0;
};

thread_local int number = 1234;
thread_local char array[10000];
thread_local Counted counted;

}  // namespace

extern "C" {
__attribute__((visibility("default"))) int* tlslib_int() { return &number; }
__attribute__((visibility("default"))) char* tlslib_array() { return array; }
__attribute__((visibility("default"))) int tlslib_touch() { return ++counted.uses; }
__attribute__((visibility("default"))) int tlslib_live() { return live.load(); }
}
