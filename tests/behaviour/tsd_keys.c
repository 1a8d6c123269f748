// Shows the life of keys: all PTHREAD_KEYS_MAX of them hold values per thread, EAGAIN beyond, EINVAL for dead ones,
// and a value left under a deleted key is not seen by the key that takes its place, nor destroyed.
#include "check.h"

#include <limits.h>

static pthread_key_t keys[PTHREAD_KEYS_MAX + 1];
static int count;
static pthread_barrier_t barrier;

static void never(void* value) { check_fail(__FILE__, __LINE__, "destructor of a deleted key runs for %p", value); }

static void* all_keys(void* arg) {
  for (int i = 0; i < count; i++) CHECK(pthread_getspecific(keys[i]) == NULL);
  for (int i = 0; i < count; i++) {
    CHECK_OK(pthread_setspecific(keys[i], (void*)((intptr_t)arg * 10000 + i + 1)));
    if (i % 100 == 0) stir((unsigned)i / 100);
  }
  for (int i = 0; i < count; i++) CHECK_EQ(pthread_getspecific(keys[i]), (intptr_t)arg * 10000 + i + 1);
  return arg;
}

static void* keep_over_delete(void* arg) {
  CHECK_OK(pthread_setspecific(keys[0], (void*)1));
  pthread_barrier_wait(&barrier);
  pthread_barrier_wait(&barrier);  // Meanwhile the key is deleted and its slot taken again.
  CHECK(pthread_getspecific(keys[0]) == NULL);
  return arg;
}

int main(void) {
  while (count <= PTHREAD_KEYS_MAX) {
    const int error = pthread_key_create(&keys[count], NULL);
    if (error == EAGAIN) break;
    CHECK_OK(error);
    count++;
  }
  CHECK(count > PTHREAD_KEYS_MAX / 2 && count <= PTHREAD_KEYS_MAX);
  run_threads(20, all_keys);
  run_threads(20, all_keys);  // Recycled threads start empty.
  for (int i = 0; i < count; i++) CHECK_OK(pthread_key_delete(keys[i]));
  CHECK_EQ(pthread_key_delete(keys[0]), EINVAL);
  CHECK_EQ(pthread_setspecific(keys[0], &count), EINVAL);
  CHECK_EQ(pthread_setspecific(PTHREAD_KEYS_MAX + 5, &count), EINVAL);

  CHECK_OK(pthread_barrier_init(&barrier, NULL, 11));
  CHECK_OK(pthread_key_create(&keys[0], never));
  pthread_t threads[10];
  for (int i = 0; i < 10; i++) CHECK_OK(pthread_create(&threads[i], NULL, keep_over_delete, NULL));
  pthread_barrier_wait(&barrier);
  const pthread_key_t old = keys[0];
  CHECK_OK(pthread_key_delete(old));
  CHECK_OK(pthread_key_create(&keys[0], never));
  CHECK_EQ(keys[0], old);
  pthread_barrier_wait(&barrier);
  for (int i = 0; i < 10; i++) CHECK_OK(pthread_join(threads[i], NULL));
  return 0;
}
