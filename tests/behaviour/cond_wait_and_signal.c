// Shows condition variables: a signal wakes at least one waiter, a broadcast all, a thousand at a time; no wake-up is
// lost however signaller and waiters race, and a waiter that returns holds the mutex.
#include "check.h"

enum { kWaiters = 1000 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER, all_there = PTHREAD_COND_INITIALIZER;
static int waiting, generation, tickets, inside;

static void* wait_for_broadcast(void* arg) {
  CHECK_OK(pthread_mutex_lock(&mutex));
  for (int round = 0; round < 3; round++) {
    const int mine = generation;
    if (++waiting == kWaiters) CHECK_OK(pthread_cond_signal(&all_there));
    while (generation == mine) {
      CHECK_OK(pthread_cond_wait(&cond, &mutex));
      CHECK_EQ(inside++, 0);
      if ((intptr_t)arg % 50 == 0) sched_yield();
      CHECK_EQ(--inside, 0);
    }
  }
  CHECK_OK(pthread_mutex_unlock(&mutex));
  return arg;
}

static void* take_ticket(void* arg) {
  CHECK_OK(pthread_mutex_lock(&mutex));
  while (tickets == 0) CHECK_OK(pthread_cond_wait(&cond, &mutex));
  tickets--;
  CHECK_OK(pthread_mutex_unlock(&mutex));
  return arg;
}

static void* serve(void* arg) {
  for (int i = 0; i < 200; i++) {
    CHECK_OK(pthread_mutex_lock(&mutex));
    tickets++;
    if (i % 2 == 0) CHECK_OK(pthread_cond_signal(&cond));  // Under the mutex or not.
    CHECK_OK(pthread_mutex_unlock(&mutex));
    if (i % 2 == 1) CHECK_OK(pthread_cond_signal(&cond));
    if (i % 16 == 0) stir((unsigned)i / 16);
  }
  return arg;
}

int main(void) {
  pthread_t threads[kWaiters], servers[4];
  CHECK_OK(pthread_cond_signal(&cond));  // Nobody waits: nothing is kept.
  CHECK_OK(pthread_cond_broadcast(&cond));
  for (intptr_t i = 0; i < kWaiters; i++) CHECK_OK(pthread_create(&threads[i], NULL, wait_for_broadcast, (void*)i));
  CHECK_OK(pthread_mutex_lock(&mutex));
  for (int round = 0; round < 3; round++) {
    while (waiting < kWaiters) CHECK_OK(pthread_cond_wait(&all_there, &mutex));
    waiting = 0;
    generation++;
    CHECK_OK(pthread_cond_broadcast(&cond));
  }
  CHECK_OK(pthread_mutex_unlock(&mutex));
  for (int i = 0; i < kWaiters; i++) CHECK_OK(pthread_join(threads[i], NULL));

  for (intptr_t i = 0; i < 800; i++) CHECK_OK(pthread_create(&threads[i], NULL, take_ticket, (void*)i));
  for (int i = 0; i < 4; i++) CHECK_OK(pthread_create(&servers[i], NULL, serve, NULL));
  for (int i = 0; i < 800; i++) CHECK_OK(pthread_join(threads[i], NULL));
  for (int i = 0; i < 4; i++) CHECK_OK(pthread_join(servers[i], NULL));
  CHECK_EQ(tickets, 0);
  CHECK_OK(pthread_cond_destroy(&cond));
  return 0;
}
