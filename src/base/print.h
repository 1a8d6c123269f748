// Messages to stderr without stdio, malloc or locks: safe on a g0, in a signal handler, in a child of vfork.
#pragma once

#include "base/base.h"

namespace goshim {

// Formats into buf (always terminated); returns the length. Knows %s %d %u %x %ld %lu %lx %p %c %%, nothing else.
size_t format(char* buf, size_t size, const char* fmt, ...) __attribute__((format(printf, 3, 4)));

// One line "goshim: ..." in one write(2) to stderr.
void message(const char* fmt, ...) __attribute__((format(printf, 1, 2)));

// message(), then abort(3)'s effect: SIGABRT with its default action. For broken invariants only.
[[noreturn]] GOSHIM_COLD void fatal(const char* fmt, ...) __attribute__((format(printf, 1, 2)));

// An invariant that debug builds check (-DGOSHIM_DEBUG).
#ifdef GOSHIM_DEBUG
#define GOSHIM_ASSERT(cond)                                                       \
  do {                                                                            \
    if (!(cond)) ::goshim::fatal("%s:%d: broken: %s", __FILE__, __LINE__, #cond); \
  } while (0)
#else
#define GOSHIM_ASSERT(cond) \
  do {                      \
  } while (0)
#endif

// s, of n bytes at most, cut and without control characters: a message stays one line, and a terminal obeys nothing.
struct Printable {
  explicit Printable(const char* s, size_t n = SIZE_MAX) {
    size_t i = 0;
    for (; i < n && s[i] && i + 1 < sizeof text; i++) text[i] = s[i] >= ' ' && s[i] <= '~' ? s[i] : '?';
    text[i] = 0;
  }
  char text[80];
};

}  // namespace goshim
