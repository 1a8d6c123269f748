// Shows that sched_getcpu and getcpu name a processor that exists, in every thread and after every switch.
#include "check.h"

static void* ask(void* arg) {
  const long processors = sysconf(_SC_NPROCESSORS_CONF);
  for (unsigned step = 0; step < 150; step++) {
    const int processor = sched_getcpu();
    CHECK(processor >= 0 && processor < processors);
    unsigned cpu = 1u << 30, node = 1u << 30;
    CHECK_SYS(getcpu(&cpu, &node));
    CHECK(cpu < (unsigned)processors);
    CHECK(node < 4096);
    stir(step + (unsigned)(intptr_t)arg);
  }
  return arg;
}

int main(void) {
  ask(NULL);
  run_threads(40, ask);
  ask(NULL);
  return 0;
}
