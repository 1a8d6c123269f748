// Shows barriers: nobody passes before all have come, one thread a round is told it is the serial one, rounds do not
// mix, and the barrier may be destroyed, and its memory reused, by whoever returned first.
#include "check.h"

#include <stdatomic.h>

enum { kThreads = 32, kRounds = 100 };
static pthread_barrier_t barrier;
static atomic_int arrived[kRounds], serial[kRounds];

static void* rounds(void* arg) {
  for (int round = 0; round < kRounds; round++) {
    if (round % 8 == 0) stir((unsigned)(round / 8 + (intptr_t)arg));
    atomic_fetch_add(&arrived[round], 1);
    const int result = pthread_barrier_wait(&barrier);
    CHECK_EQ(atomic_load(&arrived[round]), kThreads);
    CHECK(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
    if (result != 0) atomic_fetch_add(&serial[round], 1);
    if (round > 0) CHECK_EQ(atomic_load(&serial[round - 1]), 1);
  }
  return arg;
}

static pthread_barrier_t* volatile shared;
static atomic_int finished;

static void* meet(void* arg) {
  if ((intptr_t)arg % 3 == 0) sched_yield();
  if (pthread_barrier_wait(shared) == PTHREAD_BARRIER_SERIAL_THREAD) {
    CHECK_OK(pthread_barrier_destroy(shared));
    memset(shared, 0xff, sizeof *shared);
    free(shared);
  }
  atomic_fetch_add(&finished, 1);
  return arg;
}

int main(void) {
  CHECK_EQ(pthread_barrier_init(&barrier, NULL, 0), EINVAL);
  CHECK_OK(pthread_barrier_init(&barrier, NULL, 1));
  for (int i = 0; i < 3; i++) CHECK_EQ(pthread_barrier_wait(&barrier), PTHREAD_BARRIER_SERIAL_THREAD);
  CHECK_OK(pthread_barrier_destroy(&barrier));
  pthread_barrierattr_t attr;
  int shared_value = -1;
  CHECK_OK(pthread_barrierattr_init(&attr));
  CHECK_EQ(pthread_barrierattr_setpshared(&attr, 77), EINVAL);
  CHECK_OK(pthread_barrierattr_getpshared(&attr, &shared_value));
  CHECK_EQ(shared_value, PTHREAD_PROCESS_PRIVATE);
  CHECK_OK(pthread_barrier_init(&barrier, &attr, kThreads));
  run_threads(kThreads, rounds);
  for (int i = 0; i < kRounds; i++) CHECK_EQ(atomic_load(&serial[i]), 1);
  CHECK_OK(pthread_barrier_destroy(&barrier));
  for (int i = 0; i < 100; i++) {
    shared = malloc(sizeof *shared);
    CHECK_OK(pthread_barrier_init(shared, NULL, 8));
    run_threads(8, meet);
  }
  CHECK_EQ(atomic_load(&finished), 800);
  return 0;
}
