// Shows that threads which compute share the Ps by timers of their kernel threads, in the child of a fork as well, and
// that there is one timer for each kernel thread at the most.
// run: native=no chaos=no limit=120 procs=1,2,4
#include "check.h"

#include <sys/wait.h>

#include <atomic>
#include <cstdlib>

namespace {

// /proc/self/timers; -1 where the kernel has none.
int timers() {
  FILE* f = fopen("/proc/self/timers", "r");
  if (!f) return -1;
  int n = 0;
  char line[256];
  while (fgets(line, sizeof line, f)) n += strncmp(line, "notify: signal/tid", 18) == 0;
  CHECK_EQ(fclose(f), 0);
  return n;
}

void share(int hogs) {
  std::atomic<bool> stop{false};
  std::atomic<long> done[5] = {};
  pthread_t threads[5];
  for (int i = 0; i < hogs; i++) {
    threads[i] = spawn([&, i] {
      while (!stop.load(std::memory_order_relaxed)) done[i].fetch_add(1, std::memory_order_relaxed);
    });
  }
  for (int round = 0; round < 5; round++) {
    for (int i = 0; i < hogs; i++) {
      const long before = done[i];
      EVENTUALLY(done[i] > before);
    }
  }
  stop = true;
  for (int i = 0; i < hogs; i++) join(threads[i]);
}

void check_timers() {
  const int n = timers();
  if (n < 0) return;
  const int procs = atoi(getenv("GOSHIM_MAXPROCS"));
  // A kernel thread that waited for its core had its slices ended by sysmon.
  CHECK(n <= 2 * procs + 2);
  if (procs <= 2) CHECK(n >= 1);
}

}  // namespace

int main() {
  if (timers() >= 0) CHECK_EQ(timers(), 0);
  for (int hogs : {5, 4, 3}) share(hogs);
  check_timers();
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    if (timers() >= 0) CHECK_EQ(timers(), 0);
    share(5);
    check_timers();
    _exit(0);
  }
  CHECK_EQ(wait_status(child), 0);
  return 0;
}
