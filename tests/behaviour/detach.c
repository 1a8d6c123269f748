// Shows that detached threads end on their own and give back what they used: thousands, detached by attribute, by
// others or by themselves, before or after they ended.
#include "check.h"

#include <stdatomic.h>

static atomic_int ended;

static void* end(void* arg) {
  if ((intptr_t)arg % 3 == 1) CHECK_OK(pthread_detach(pthread_self()));
  if ((intptr_t)arg % 7 == 0) stir((unsigned)(intptr_t)arg);
  atomic_fetch_add(&ended, 1);
  return arg;
}

int main(void) {
  enum { kThreads = 6000 };
  pthread_attr_t attr;
  CHECK_OK(pthread_attr_init(&attr));
  CHECK_OK(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED));
  for (intptr_t i = 0; i < kThreads; i++) {
    pthread_t thread;
    CHECK_OK(pthread_create(&thread, i % 3 == 0 ? &attr : NULL, end, (void*)i));
    if (i % 3 == 2) {
      if (i % 2 == 0) sched_yield();
      CHECK_OK(pthread_detach(thread));
    }
    EVENTUALLY(i - atomic_load(&ended) < 200);
  }
  EVENTUALLY(atomic_load(&ended) == kThreads);
  return 0;
}
