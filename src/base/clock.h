// Absolute times as programs give them, and what they are on the clock the runtime's timers follow.
#pragma once

#include <time.h>

#include "base/base.h"
#include "base/sys.h"

namespace goshim {

inline bool valid_nanoseconds(const timespec* t) { return t->tv_nsec >= 0 && t->tv_nsec < kSecond; }

// A timespec in nanoseconds; before 0 counts as 0, too far to count as kForever.
inline Nanos nanos_of(const timespec* t) {
  if (t->tv_sec < 0) return 0;
  if (t->tv_sec >= kForever / kSecond - 1) return kForever;
  return t->tv_sec * kSecond + t->tv_nsec;
}

// A deadline on the clock it was given for. CLOCK_REALTIME may be set while somebody waits: who waits converts again
// after each wake-up and gives up only when passed() says so.
struct Deadline {
  clockid_t clock = CLOCK_MONOTONIC;
  Nanos at = kForever;
  bool valid = true;  // false: its nanoseconds are none, which most functions mind only when they are about to block
  bool negative = false;  // its seconds are

  static Deadline of(clockid_t clock, const timespec* t) {
    return {clock, nanos_of(t), valid_nanoseconds(t), t->tv_sec < 0};
  }

  // The same moment on CLOCK_MONOTONIC as things stand now; 1 (in the past, and not 0) if it is over.
  Nanos monotonic() const {
    if (at == kForever) return kForever;
    Nanos when = at;
    if (clock != CLOCK_MONOTONIC) {
      Nanos left = at - sys::clock_now(clock);
      if (left <= 0) return 1;
      Nanos now = sys::nanotime();
      when = left < kForever - now ? now + left : kForever;
    }
    return when > 0 ? when : 1;
  }
  bool passed() const { return at != kForever && sys::clock_now(clock) >= at; }
};

// For those whose deadline may be null: none.
inline bool passed(const Deadline* deadline) { return deadline && deadline->passed(); }

// CLOCK_MONOTONIC nanoseconds of an absolute time on clock (null: kForever).
inline Nanos deadline_of(clockid_t clock, const timespec* t) {
  return t ? Deadline{clock, nanos_of(t)}.monotonic() : kForever;
}

}  // namespace goshim
