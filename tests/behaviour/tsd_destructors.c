// Shows that key destructors run at the thread's end, in the thread, with the value, after it was cleared, again and
// again up to PTHREAD_DESTRUCTOR_ITERATIONS while they set new values, and not for values that are NULL.
#include "check.h"

#include <limits.h>
#include <stdatomic.h>

static pthread_key_t once_key, stubborn_key, null_key, chain_key;
static atomic_int once_runs, stubborn_runs, chain_runs;

static void on_once(void* value) {
  CHECK(pthread_getspecific(once_key) == NULL);
  CHECK_EQ(*(pthread_t*)value, pthread_self());
  sched_yield();
  CHECK_EQ(*(pthread_t*)value, pthread_self());
  free(value);
  atomic_fetch_add(&once_runs, 1);
}

static void on_stubborn(void* value) {
  atomic_fetch_add(&stubborn_runs, 1);
  CHECK_OK(pthread_setspecific(stubborn_key, value));
}

static void on_null(void* value) { check_fail(__FILE__, __LINE__, "destructor called for value %p", value); }

// Sets another key's value: that one's destructor must run, in this round or the next.
static void on_chain(void* value) {
  (void)value;
  atomic_fetch_add(&chain_runs, 1);
  pthread_t* self = malloc(sizeof *self);
  *self = pthread_self();
  CHECK(pthread_getspecific(once_key) == NULL);
  CHECK_OK(pthread_setspecific(once_key, self));
}

static void* set_values(void* arg) {
  CHECK(pthread_getspecific(once_key) == NULL && pthread_getspecific(stubborn_key) == NULL);
  CHECK_OK(pthread_setspecific(stubborn_key, arg == NULL ? (void*)1 : arg));
  CHECK_OK(pthread_setspecific(null_key, arg));
  for (unsigned step = 0; step < 30; step++) {
    CHECK_OK(pthread_setspecific(chain_key, (void*)(intptr_t)(step + 1)));
    stir(step + (unsigned)(intptr_t)arg);
    CHECK_EQ(pthread_getspecific(chain_key), step + 1);
    CHECK_EQ(pthread_getspecific(stubborn_key), arg == NULL ? (void*)1 : arg);
  }
  CHECK_OK(pthread_setspecific(null_key, NULL));
  if ((intptr_t)arg % 2 == 0) pthread_exit(arg);
  return arg;
}

int main(void) {
  CHECK_OK(pthread_key_create(&once_key, on_once));  // Before the others: its value is set late in a round.
  CHECK_OK(pthread_key_create(&stubborn_key, on_stubborn));
  CHECK_OK(pthread_key_create(&null_key, on_null));
  CHECK_OK(pthread_key_create(&chain_key, on_chain));
  for (int round = 1; round <= 3; round++) {
    run_threads(40, set_values);
    CHECK_EQ(atomic_load(&once_runs), 40 * round);
    CHECK_EQ(atomic_load(&chain_runs), 40 * round);
    CHECK_EQ(atomic_load(&stubborn_runs), 40 * round * PTHREAD_DESTRUCTOR_ITERATIONS);
  }
  return 0;
}
