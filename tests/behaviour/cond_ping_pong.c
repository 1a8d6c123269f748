// Shows that no wake-up is lost in pairs of threads that wake each other by condition variables, thousands of times,
// while others keep the processors busy.
#include "check.h"

enum { kPairs = 16, kRounds = 400 };
static struct table {
  pthread_mutex_t mutex;
  pthread_cond_t turn_changed[2];
  int turn, rallies;
} tables[kPairs];

static void* play(void* arg) {
  const intptr_t index = (intptr_t)arg;
  struct table* table = &tables[index / 2];
  const int side = index % 2;
  for (int i = 0; i < kRounds; i++) {
    CHECK_OK(pthread_mutex_lock(&table->mutex));
    while (table->turn != side) CHECK_OK(pthread_cond_wait(&table->turn_changed[side], &table->mutex));
    table->turn = 1 - side;
    table->rallies++;
    if (index % 4 < 2) CHECK_OK(pthread_cond_signal(&table->turn_changed[1 - side]));
    CHECK_OK(pthread_mutex_unlock(&table->mutex));
    if (index % 4 >= 2) CHECK_OK(pthread_cond_signal(&table->turn_changed[1 - side]));
    if (i % 64 == 0) compute(100000);
  }
  return arg;
}

int main(void) {
  for (int i = 0; i < kPairs; i++) {
    CHECK_OK(pthread_mutex_init(&tables[i].mutex, NULL));
    for (int side = 0; side < 2; side++) CHECK_OK(pthread_cond_init(&tables[i].turn_changed[side], NULL));
  }
  run_threads(2 * kPairs, play);
  for (int i = 0; i < kPairs; i++) CHECK_EQ(tables[i].rallies, 2 * kRounds);
  return 0;
}
