// Shows read-write locks: readers are inside together, a writer alone; EBUSY, EDEADLK, ETIMEDOUT and EINVAL as glibc
// gives them; the writer-preferring kind holds new readers off; a plain invariant holds under many of both.
#include "check.h"

#include <stdatomic.h>

enum { kReaders = 20 };
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER, busy = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t together;
static long first, second;
static atomic_int readers_inside, writer_waits;

static void* read_together(void* arg) {
  CHECK_OK(pthread_rwlock_rdlock(&lock));
  pthread_barrier_wait(&together);  // Passes only if all the readers hold the lock.
  CHECK_EQ(pthread_rwlock_trywrlock(&lock), EBUSY);
  CHECK_OK(pthread_rwlock_tryrdlock(&lock));
  pthread_barrier_wait(&together);
  CHECK_OK(pthread_rwlock_unlock(&lock));
  stir((unsigned)(intptr_t)arg);
  CHECK_OK(pthread_rwlock_unlock(&lock));
  return arg;
}

static void* keep_invariant(void* arg) {
  for (unsigned i = 0; i < 200; i++) {
    const unsigned choice = i * 7 + (unsigned)(intptr_t)arg;
    struct timespec far = ms_from_now(choice % 2 ? CLOCK_REALTIME : CLOCK_MONOTONIC, 60000);
    if (choice % 5 == 0) {
      if (choice % 3 == 0) {
        CHECK_OK(pthread_rwlock_wrlock(&lock));
      } else if (choice % 2) {
        CHECK_OK(pthread_rwlock_timedwrlock(&lock, &far));
      } else {
        CHECK_OK(pthread_rwlock_clockwrlock(&lock, CLOCK_MONOTONIC, &far));
      }
      CHECK_EQ(atomic_load(&readers_inside), 0);
      first++;
      if (i % 8 == 0) stir(i / 8 * 2);
      second++;
    } else {
      if (choice % 3 == 0) {
        CHECK_OK(pthread_rwlock_rdlock(&lock));
      } else if (choice % 2) {
        CHECK_OK(pthread_rwlock_timedrdlock(&lock, &far));
      } else {
        CHECK_OK(pthread_rwlock_clockrdlock(&lock, CLOCK_MONOTONIC, &far));
      }
      atomic_fetch_add(&readers_inside, 1);
      const long seen = first;
      if (i % 8 == 0) stir(i / 8);
      CHECK_EQ(second, seen);
      CHECK_EQ(first, seen);
      atomic_fetch_sub(&readers_inside, 1);
    }
    CHECK_OK(pthread_rwlock_unlock(&lock));
  }
  return arg;
}

// `busy` is held by main: for writing when arg is 0, for reading when it is 1.
static void* find_it_busy(void* arg) {
  const int reading = (intptr_t)arg == 1;
  struct timespec soon = ms_from_now(CLOCK_REALTIME, 2), steady = ms_from_now(CLOCK_MONOTONIC, 2), past = {0, 0};
  struct timespec bad = {soon.tv_sec + 100, 1000000000};
  CHECK_EQ(pthread_rwlock_trywrlock(&busy), EBUSY);
  CHECK_EQ(pthread_rwlock_timedwrlock(&busy, &soon), ETIMEDOUT);
  CHECK(now_ns(CLOCK_REALTIME) >= soon.tv_sec * NS_PER_S + soon.tv_nsec);
  CHECK_EQ(pthread_rwlock_clockwrlock(&busy, CLOCK_MONOTONIC, &steady), ETIMEDOUT);
  CHECK_EQ(pthread_rwlock_timedwrlock(&busy, &past), ETIMEDOUT);
  CHECK_EQ(pthread_rwlock_timedwrlock(&busy, &bad), EINVAL);
  CHECK_EQ(pthread_rwlock_clockwrlock(&busy, CLOCK_PROCESS_CPUTIME_ID, &soon), EINVAL);
  CHECK_EQ(pthread_rwlock_timedrdlock(&busy, &bad), EINVAL);
  CHECK_EQ(pthread_rwlock_clockrdlock(&busy, CLOCK_PROCESS_CPUTIME_ID, &soon), EINVAL);
  CHECK_EQ(pthread_rwlock_tryrdlock(&busy), reading ? 0 : EBUSY);
  CHECK_EQ(pthread_rwlock_timedrdlock(&busy, &soon), reading ? 0 : ETIMEDOUT);
  if (reading) {
    CHECK_OK(pthread_rwlock_unlock(&busy));
    CHECK_OK(pthread_rwlock_unlock(&busy));
  }
  return arg;
}

static void* write_it(void* arg) {
  atomic_store(&writer_waits, 1);
  CHECK_OK(pthread_rwlock_wrlock(&busy));
  CHECK_OK(pthread_rwlock_unlock(&busy));
  return arg;
}

static void check_kind(int kind) {
  pthread_rwlockattr_t attr;
  pthread_t writer, asker;
  int value = -1;
  CHECK_OK(pthread_rwlockattr_init(&attr));
  CHECK_OK(pthread_rwlockattr_setkind_np(&attr, kind));
  CHECK_OK(pthread_rwlockattr_getkind_np(&attr, &value));
  CHECK_EQ(value, kind);
  CHECK_OK(pthread_rwlock_init(&busy, &attr));
  CHECK_OK(pthread_rwlock_wrlock(&busy));
  CHECK_EQ(pthread_rwlock_wrlock(&busy), EDEADLK);
  CHECK_EQ(pthread_rwlock_rdlock(&busy), EDEADLK);
  CHECK_EQ(pthread_rwlock_tryrdlock(&busy), EBUSY);
  CHECK_EQ(pthread_rwlock_trywrlock(&busy), EBUSY);
  CHECK_OK(pthread_create(&asker, NULL, find_it_busy, (void*)0));
  CHECK_OK(pthread_join(asker, NULL));
  CHECK_OK(pthread_rwlock_unlock(&busy));
  CHECK_OK(pthread_rwlock_rdlock(&busy));
  CHECK_OK(pthread_create(&asker, NULL, find_it_busy, (void*)1));
  CHECK_OK(pthread_join(asker, NULL));
  atomic_store(&writer_waits, 0);
  CHECK_OK(pthread_create(&writer, NULL, write_it, NULL));
  EVENTUALLY(atomic_load(&writer_waits));
  if (kind == PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) {
    EVENTUALLY((value = pthread_rwlock_tryrdlock(&busy)) != 0 || pthread_rwlock_unlock(&busy) != 0);
    CHECK_EQ(value, EBUSY);
  } else {
    sleep_ms(5);
    CHECK_OK(pthread_rwlock_rdlock(&busy));
    CHECK_OK(pthread_rwlock_unlock(&busy));
  }
  CHECK_OK(pthread_rwlock_unlock(&busy));
  CHECK_OK(pthread_join(writer, NULL));
  CHECK_OK(pthread_rwlock_destroy(&busy));

  CHECK_OK(pthread_rwlock_init(&lock, &attr));
  CHECK_OK(pthread_rwlockattr_destroy(&attr));
  run_threads(kReaders, read_together);
  first = second = 0;
  run_threads(kReaders, keep_invariant);
  CHECK_OK(pthread_rwlock_destroy(&lock));
}

int main(void) {
  pthread_rwlockattr_t attr;
  int value = -1;
  CHECK_OK(pthread_rwlockattr_init(&attr));
  CHECK_EQ(pthread_rwlockattr_setkind_np(&attr, 77), EINVAL);
  CHECK_OK(pthread_rwlockattr_getkind_np(&attr, &value));
  CHECK_EQ(value, PTHREAD_RWLOCK_DEFAULT_NP);
  CHECK_EQ(pthread_rwlockattr_setpshared(&attr, 77), EINVAL);
  CHECK_OK(pthread_barrier_init(&together, NULL, kReaders));
  check_kind(PTHREAD_RWLOCK_PREFER_READER_NP);
  check_kind(PTHREAD_RWLOCK_PREFER_WRITER_NP);
  check_kind(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
  return 0;
}
