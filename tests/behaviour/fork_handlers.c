// Shows pthread_atfork's order: prepare handlers last to first, parent and child handlers first to last, all in the
// thread that forks, which may lock and switch in them; and that vfork and posix_spawn run none.
#include "check.h"

#include <spawn.h>

static char trace[64];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_t forker;

static void note(char what) {
  CHECK(pthread_equal(pthread_self(), forker));
  const size_t length = strlen(trace);
  trace[length] = what;
  trace[length + 1] = '\0';
}

static void prepare1(void) { note('a'); }
static void prepare2(void) {
  CHECK_OK(pthread_mutex_lock(&mutex));
  sched_yield();
  usleep(100);
  note('b');
}
static void parent1(void) { note('c'); }
static void parent2(void) {
  note('d');
  CHECK_OK(pthread_mutex_unlock(&mutex));
}
static void child1(void) { note('e'); }
static void child2(void) {
  note('f');
  CHECK_OK(pthread_mutex_unlock(&mutex));
}

static volatile int stop;
static void* lock_and_unlock(void* arg) {
  for (unsigned step = 0; !stop; step++) {
    pthread_mutex_lock(&mutex);
    if (step % 8 == 0) stir(step);
    pthread_mutex_unlock(&mutex);
    sched_yield();
  }
  return arg;
}

static void* fork_here(void* arg) {
  forker = pthread_self();
  for (int i = 0; i < 20; i++) {
    trace[0] = '\0';
    const pid_t child = fork();
    CHECK_SYS(child);
    if (child == 0) {
      CHECK_STR(trace, "baef");
      CHECK_OK(pthread_mutex_lock(&mutex));
      _exit(0);
    }
    CHECK_STR(trace, "bacd");
    CHECK_EQ(wait_status(child), 0);
  }
  trace[0] = '\0';
  pid_t child = vfork();
  if (child == 0) _exit(11);
  CHECK_EQ(wait_status(child), 11);
  char* const command[] = {(char*)"true", NULL};
  char* const environment[] = {NULL};
  CHECK_OK(posix_spawnp(&child, "true", NULL, NULL, command, environment));
  CHECK_EQ(wait_status(child), 0);
  CHECK_STR(trace, "");
  return arg;
}

int main(void) {
  CHECK_OK(pthread_atfork(prepare1, parent1, child1));
  CHECK_OK(pthread_atfork(prepare2, parent2, child2));
  CHECK_OK(pthread_atfork(NULL, NULL, NULL));
  pthread_t threads[4];
  for (intptr_t i = 0; i < 4; i++) CHECK_OK(pthread_create(&threads[i], NULL, lock_and_unlock, (void*)i));
  run_threads(1, fork_here);
  fork_here(NULL);
  stop = 1;
  for (intptr_t i = 0; i < 4; i++) CHECK_OK(pthread_join(threads[i], NULL));
  return 0;
}
