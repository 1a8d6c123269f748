// Looks for the work of other programs (see crowd.h).
#include "sched/crowd.h"

#include <time.h>

#include "base/file.h"
#include "sched/internal.h"
#include "trace/page.h"

namespace goshim {
namespace {

constexpr Nanos kLookEvery = 100 * kMillisecond;  // the kernel counts in hundredths of a second
constexpr Nanos kTooOld = kSecond;                // nothing was looked at in between
constexpr uint64_t kFewWakes = 10;                // in that time: they do no harm

// Of all processors together; -1 if the kernel does not tell.
Nanos idle_time() {
  char text[64];
  long seconds;
  const char* at;
  if (read_file("/proc/uptime", text, sizeof text) <= 0) return -1;
  for (at = text; *at && *at != ' ';) at++;
  if (*at != ' ' || !parse_number(at + 1, &seconds, &at) || *at != '.') return -1;
  long hundredths;
  const char* end;
  if (!parse_number(at + 1, &hundredths, &end) || end != at + 3) return -1;
  return seconds * kSecond + hundredths * (kSecond / 100);
}

Nanos own_time() {
  timespec t{};
  return sys::call(SYS_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, &t) == 0 ? t.tv_sec * kSecond + t.tv_nsec : 0;
}

uint64_t kernel_threads_woken() {
  uint64_t sum = 0;
  const Page* all = page();
  for (int i = Page::kNoP, n = page_procs(all); i < n; i++)
    sum += all->area(i)->of[static_cast<size_t>(Counter::wakes)].load(std::memory_order_relaxed);
  return sum;
}

}  // namespace

void crowd_look(Nanos now, int procs) {
  static Nanos looked_at = -kTooOld;
  static Nanos idle_then;
  static Nanos own_then;
  static uint64_t woken_then;
  Nanos past = now - looked_at;
  if (past < kLookEvery) return;
  uint64_t woken = kernel_threads_woken();
  bool many = woken - woken_then >= kFewWakes;
  Nanos idle = many ? idle_time() : -1;
  Nanos own = many ? own_time() : 0;
  if (past < kTooOld && idle >= 0 && idle_then >= 0) {
    // Less than half a processor is free, and others use a quarter of one at the least.
    Nanos free = idle - idle_then;
    Nanos theirs = procs * past - free - (own - own_then);
    sched.crowded.store(free < past / 2 && theirs > past / 4, std::memory_order_relaxed);
  } else {
    sched.crowded.store(false, std::memory_order_relaxed);
  }
  looked_at = now;
  idle_then = idle;
  own_then = own;
  woken_then = woken;
}

}  // namespace goshim
