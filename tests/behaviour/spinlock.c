// Shows spin locks: exclusion and EBUSY, and progress when the holder sleeps or yields and all the others spin.
#include "check.h"

static pthread_spinlock_t spin;
static long counter;

static void* add(void* arg) {
  for (int i = 0; i < 100; i++) {
    if (i % 4 == 0) {
      int error;
      while ((error = pthread_spin_trylock(&spin)) != 0) {
        CHECK_EQ(error, EBUSY);
        sched_yield();
      }
    } else {
      CHECK_OK(pthread_spin_lock(&spin));
    }
    const long before = counter;
    if (i == 50) usleep(20);
    if (i % 25 == 1) sched_yield();
    counter = before + 1;
    CHECK_OK(pthread_spin_unlock(&spin));
  }
  return arg;
}

int main(void) {
  CHECK_OK(pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE));
  CHECK_OK(pthread_spin_lock(&spin));
  CHECK_EQ(pthread_spin_trylock(&spin), EBUSY);
  CHECK_OK(pthread_spin_unlock(&spin));
  run_threads(12, add);
  CHECK_EQ(counter, 1200);
  CHECK_OK(pthread_spin_destroy(&spin));
  return 0;
}
