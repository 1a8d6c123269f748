// Shows that the child of a fork, whichever thread forked, is a whole program: with locks and handlers in order, it
// makes threads that lock, wait with time-outs and allocate, and forks again, while 50 threads of the parent allocate,
// print and lock.
// run: limit=60
#include "check.h"

static volatile int stop;
static FILE* sink;
static pthread_mutex_t busy = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t guarded = PTHREAD_MUTEX_INITIALIZER;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn;

static void before(void) { CHECK_OK(pthread_mutex_lock(&guarded)); }
static void after(void) { CHECK_OK(pthread_mutex_unlock(&guarded)); }

static void* disturb(void* arg) {
  for (unsigned step = (unsigned)(intptr_t)arg; !stop; step++) {
    switch (step % 4) {
      case 0: free(malloc(step % 9000)); break;
      case 1: fprintf(sink, "%u\n", step); break;
      case 2:
        pthread_mutex_lock(&busy);
        sched_yield();
        pthread_mutex_unlock(&busy);
        break;
      default: usleep(20);
    }
  }
  return arg;
}

static void* take_turns(void* arg) {
  for (int i = 0; i < 5; i++) {
    pthread_mutex_lock(&mutex);
    while (turn != 1) pthread_cond_wait(&changed, &mutex);
    turn = 0;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
  }
  return arg;
}

static void* allocate_and_print(void* arg) {
  free(malloc(100));
  usleep(100);
  fprintf(sink, "child\n");
  pthread_mutex_lock(&guarded);
  pthread_mutex_unlock(&guarded);
  return arg;
}

static void be_a_program(int depth) {
  CHECK_EQ(gettid(), getpid());
  free(malloc(1000));
  fprintf(sink, "alone\n");
  usleep(100);
  pthread_t partner, others[6];
  CHECK_OK(pthread_create(&partner, NULL, take_turns, &turn));
  for (intptr_t i = 0; i < 6; i++) CHECK_OK(pthread_create(&others[i], NULL, allocate_and_print, (void*)i));
  CHECK_EQ(gettid(), getpid());
  pthread_mutex_lock(&mutex);
  for (int i = 0; i < 5; i++) {
    turn = 1;
    pthread_cond_broadcast(&changed);
    while (turn != 0) pthread_cond_wait(&changed, &mutex);
  }
  const struct timespec soon = ms_from_now(CLOCK_REALTIME, 1);
  CHECK_EQ(pthread_cond_timedwait(&changed, &mutex, &soon), ETIMEDOUT);
  pthread_mutex_unlock(&mutex);
  if (depth < 2) {
    const pid_t child = fork();
    CHECK_SYS(child);
    if (child == 0) {
      be_a_program(depth + 1);
      _exit(7);
    }
    CHECK_EQ(wait_status(child), 7);
  }
  void* result;
  for (intptr_t i = 0; i < 6; i++) {
    CHECK_OK(pthread_join(others[i], &result));
    CHECK_EQ(result, i);
  }
  CHECK_OK(pthread_join(partner, &result));
  CHECK_EQ(result, &turn);
}

static void* fork_often(void* arg) {
  for (int i = 0; i < 5; i++) {
    const pid_t child = fork();
    CHECK_SYS(child);
    if (child == 0) {
      be_a_program(0);
      _exit(5);
    }
    CHECK_EQ(wait_status(child), 5);
  }
  return arg;
}

int main(void) {
  sink = fopen("/dev/null", "w");
  CHECK_OK(pthread_atfork(before, after, after));
  pthread_t threads[50], forker;
  for (intptr_t i = 0; i < 50; i++) CHECK_OK(pthread_create(&threads[i], NULL, disturb, (void*)i));
  CHECK_OK(pthread_create(&forker, NULL, fork_often, NULL));
  fork_often(NULL);
  CHECK_OK(pthread_join(forker, NULL));
  stop = 1;
  for (int i = 0; i < 50; i++) CHECK_OK(pthread_join(threads[i], NULL));
  return 0;
}
