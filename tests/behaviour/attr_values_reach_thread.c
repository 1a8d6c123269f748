// Shows what processors and policy a thread has that was made with attributes: all processors where the attributes have
// them all and the creator has not, the creator's policy where they have parameters only, and its parameters where they
// have a policy only; nothing of a policy that is reset at a fork. And that pthread_getattr_np tells these, of main
// too, when they have been changed since.
#include "check.h"

static cpu_set_t all, one;

struct Seen {
  int policy, priority, processors, attr_policy, attr_priority, attr_processors;
};

static void look(struct Seen* seen) {
  struct sched_param param;
  pthread_attr_t attr;
  cpu_set_t set;
  CHECK_OK(pthread_getschedparam(pthread_self(), &seen->policy, &param));
  seen->policy = sched_getscheduler(0);
  CHECK_SYS(sched_getparam(0, &param));
  seen->priority = param.sched_priority;
  CHECK_SYS(sched_getaffinity(0, sizeof set, &set));
  seen->processors = CPU_COUNT(&set);
  CHECK_OK(pthread_getattr_np(pthread_self(), &attr));
  CHECK_OK(pthread_attr_getschedpolicy(&attr, &seen->attr_policy));
  CHECK_OK(pthread_attr_getschedparam(&attr, &param));
  seen->attr_priority = param.sched_priority;
  CHECK_OK(pthread_attr_getaffinity_np(&attr, sizeof set, &set));
  seen->attr_processors = CPU_COUNT(&set);
  CHECK_OK(pthread_attr_destroy(&attr));
}

static void* look_around(void* arg) {
  look(arg);
  return NULL;
}

static struct Seen seen_by_thread(const pthread_attr_t* attr) {
  struct Seen seen;
  pthread_t thread;
  CHECK_OK(pthread_create(&thread, attr, look_around, &seen));
  CHECK_OK(pthread_join(thread, NULL));
  return seen;
}

static void* processors(void* arg) {
  pthread_attr_t attr;
  unsigned char many[512];
  const int count = CPU_COUNT(&all);
  CHECK_OK(pthread_setaffinity_np(pthread_self(), sizeof one, &one));
  CHECK_EQ(seen_by_thread(NULL).processors, 1);
  CHECK_OK(pthread_attr_init(&attr));
  CHECK_EQ(seen_by_thread(&attr).processors, 1);
  memset(many, 0xff, sizeof many);
  CHECK_OK(pthread_attr_setaffinity_np(&attr, sizeof(cpu_set_t), (cpu_set_t*)many));
  CHECK_EQ(seen_by_thread(&attr).processors, count);
  CHECK_EQ(seen_by_thread(&attr).attr_processors, count);
  CHECK_OK(pthread_attr_setaffinity_np(&attr, sizeof many, (cpu_set_t*)many));
  CHECK_EQ(seen_by_thread(&attr).processors, count);
  int low = 0;
  for (int i = 0; i < 8; i++) low += CPU_ISSET(i, &all) != 0;
  CHECK_OK(pthread_attr_setaffinity_np(&attr, 1, (cpu_set_t*)many));
  if (low) CHECK_EQ(seen_by_thread(&attr).processors, low);
  memset(many, 0, sizeof many);
  CHECK_OK(pthread_attr_setaffinity_np(&attr, sizeof many, (cpu_set_t*)many));
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, &attr, look_around, NULL), EINVAL);
  CHECK_OK(pthread_attr_setaffinity_np(&attr, 0, (cpu_set_t*)many));
  CHECK_EQ(seen_by_thread(&attr).processors, 1);
  CHECK_OK(pthread_attr_destroy(&attr));
  return arg;
}

static void* half_of_a_policy(void* arg) {
  pthread_attr_t attr;
  struct sched_param param = {0};
  CHECK_SYS(sched_setscheduler(0, SCHED_BATCH, &param));
  struct Seen seen = seen_by_thread(NULL);
  CHECK_EQ(seen.policy, SCHED_BATCH);
  CHECK_EQ(seen.attr_policy, SCHED_BATCH);
  CHECK_OK(pthread_attr_init(&attr));
  CHECK_OK(pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED));
  CHECK_EQ(seen_by_thread(&attr).policy, SCHED_OTHER);
  CHECK_OK(pthread_attr_setschedparam(&attr, &param));
  CHECK_EQ(seen_by_thread(&attr).policy, SCHED_BATCH);
  CHECK_OK(pthread_attr_setschedpolicy(&attr, SCHED_OTHER));
  CHECK_EQ(seen_by_thread(&attr).policy, SCHED_OTHER);
  CHECK_OK(pthread_attr_destroy(&attr));

  param.sched_priority = 5;
  if (sched_setscheduler(0, SCHED_FIFO, &param) == -1) return arg;  // not for everybody
  CHECK_OK(pthread_attr_init(&attr));
  CHECK_OK(pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED));
  CHECK_OK(pthread_attr_setschedpolicy(&attr, SCHED_RR));
  seen = seen_by_thread(&attr);
  CHECK_EQ(seen.policy, SCHED_RR);
  CHECK_EQ(seen.priority, 5);
  CHECK_EQ(seen.attr_policy, SCHED_RR);
  CHECK_EQ(seen.attr_priority, 5);
  CHECK_OK(pthread_attr_destroy(&attr));
  CHECK_SYS(sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param));
  CHECK_EQ(seen_by_thread(NULL).policy, SCHED_OTHER);
  CHECK_EQ(sched_getscheduler(0), SCHED_FIFO | SCHED_RESET_ON_FORK);
  return arg;
}

static void of_main(void) {
  struct Seen seen;
  const struct sched_param zero = {0};
  CHECK_OK(pthread_setschedparam(pthread_self(), SCHED_BATCH, &zero));
  CHECK_OK(pthread_setaffinity_np(pthread_self(), sizeof one, &one));
  look(&seen);
  CHECK_EQ(seen.attr_policy, SCHED_BATCH);
  CHECK_EQ(seen.attr_processors, 1);
  CHECK_OK(pthread_setaffinity_np(pthread_self(), sizeof all, &all));
  CHECK_OK(pthread_setschedparam(pthread_self(), SCHED_OTHER, &zero));
  look(&seen);
  CHECK_EQ(seen.attr_policy, SCHED_OTHER);
  CHECK_EQ(seen.attr_processors, CPU_COUNT(&all));
}

int main(void) {
  CHECK_SYS(sched_getaffinity(0, sizeof all, &all));
  int first = 0;
  while (!CPU_ISSET(first, &all)) first++;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  pthread_t thread;
  void* (*const parts[])(void*) = {processors, half_of_a_policy};
  for (int i = 0; i < 2; i++) {
    CHECK_OK(pthread_create(&thread, NULL, parts[i], NULL));
    CHECK_OK(pthread_join(thread, NULL));
  }
  of_main();
  return 0;
}
