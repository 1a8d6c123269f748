// Shows that every pthread_attr function stores, returns, refuses and hands to the thread what glibc's does.
#include "check.h"

#include <limits.h>
#include <signal.h>

static void* own_detachstate(void* arg) {
  pthread_attr_t attr;
  int state = -1;
  CHECK_OK(pthread_getattr_np(pthread_self(), &attr));
  CHECK_OK(pthread_attr_getdetachstate(&attr, &state));
  CHECK_OK(pthread_attr_destroy(&attr));
  return (void*)(intptr_t)(state == PTHREAD_CREATE_JOINABLE ? (intptr_t)arg : -1);
}

static void* own_mask(void* arg) {
  sigset_t mask;
  CHECK_OK(pthread_sigmask(SIG_BLOCK, NULL, &mask));
  CHECK_EQ(sigismember(&mask, SIGUSR1), 1);
  CHECK_EQ(sigismember(&mask, SIGUSR2), 0);
  return arg;
}

static void* own_affinity(void* arg) {
  cpu_set_t set;
  CHECK_OK(pthread_getaffinity_np(pthread_self(), sizeof set, &set));
  CHECK(CPU_EQUAL(&set, (cpu_set_t*)arg));
  return NULL;
}

static void* own_stack_size(void* arg) {
  pthread_attr_t attr;
  size_t size = 0;
  CHECK_OK(pthread_getattr_np(pthread_self(), &attr));
  CHECK_OK(pthread_attr_getstacksize(&attr, &size));
  CHECK_OK(pthread_attr_destroy(&attr));
  CHECK(size >= *(size_t*)arg);
  return NULL;
}

static void* own_cut_stack_size(void* arg) {
  pthread_attr_t attr;
  size_t size = 0;
  void* low = NULL;
  CHECK_OK(pthread_getattr_np(pthread_self(), &attr));
  CHECK_OK(pthread_attr_getstack(&attr, &low, &size));
  CHECK_OK(pthread_attr_destroy(&attr));
  CHECK_EQ(size, *(size_t*)arg & ~(size_t)63);
  CHECK((char*)&low > (char*)low && (char*)&low < (char*)low + size);
  return NULL;
}

static void run_with(const pthread_attr_t* attr, void* (*routine)(void*), void* arg, void* wanted) {
  pthread_t thread;
  void* result = NULL;
  CHECK_OK(pthread_create(&thread, attr, routine, arg));
  CHECK_OK(pthread_join(thread, &result));
  CHECK_EQ(result, wanted);
}

int main(void) {
  pthread_attr_t attr;
  CHECK_OK(pthread_attr_init(&attr));

  int value = -1;
  CHECK_OK(pthread_attr_getdetachstate(&attr, &value));
  CHECK_EQ(value, PTHREAD_CREATE_JOINABLE);
  CHECK_EQ(pthread_attr_setdetachstate(&attr, 77), EINVAL);
  CHECK_OK(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED));
  CHECK_OK(pthread_attr_getdetachstate(&attr, &value));
  CHECK_EQ(value, PTHREAD_CREATE_DETACHED);
  CHECK_OK(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_JOINABLE));
  run_with(&attr, own_detachstate, (void*)5, (void*)5);

  size_t size = 0;
  CHECK_OK(pthread_attr_getguardsize(&attr, &size));
  CHECK_EQ(size, sysconf(_SC_PAGESIZE));
  CHECK_OK(pthread_attr_setguardsize(&attr, 40000));
  CHECK_OK(pthread_attr_getguardsize(&attr, &size));
  CHECK_EQ(size, 40000);
  run_with(&attr, own_detachstate, (void*)6, (void*)6);
  CHECK_OK(pthread_attr_setguardsize(&attr, 0));
  run_with(&attr, own_detachstate, (void*)7, (void*)7);

  CHECK_OK(pthread_attr_getstacksize(&attr, &size));
  CHECK(size >= (size_t)PTHREAD_STACK_MIN);
  CHECK_EQ(pthread_attr_setstacksize(&attr, (size_t)PTHREAD_STACK_MIN - 1), EINVAL);
  const size_t sizes[] = {(size_t)PTHREAD_STACK_MIN, (size_t)PTHREAD_STACK_MIN + 83 * 1024 + 123, 64 << 20};
  for (int i = 0; i < 3; i++) {
    size_t wanted = sizes[i];
    CHECK_OK(pthread_attr_setstacksize(&attr, wanted));
    CHECK_OK(pthread_attr_getstacksize(&attr, &size));
    CHECK_EQ(size, wanted);
    run_with(&attr, own_cut_stack_size, &wanted, NULL);
  }

  CHECK_OK(pthread_attr_getscope(&attr, &value));
  CHECK_EQ(value, PTHREAD_SCOPE_SYSTEM);
  CHECK_OK(pthread_attr_setscope(&attr, PTHREAD_SCOPE_SYSTEM));
  CHECK_EQ(pthread_attr_setscope(&attr, PTHREAD_SCOPE_PROCESS), ENOTSUP);
  CHECK_EQ(pthread_attr_setscope(&attr, 77), EINVAL);
  CHECK_OK(pthread_attr_getinheritsched(&attr, &value));
  CHECK_EQ(value, PTHREAD_INHERIT_SCHED);
  CHECK_EQ(pthread_attr_setinheritsched(&attr, 77), EINVAL);
  CHECK_OK(pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED));
  CHECK_OK(pthread_attr_getschedpolicy(&attr, &value));
  CHECK_EQ(value, SCHED_OTHER);
  CHECK_EQ(pthread_attr_setschedpolicy(&attr, 77), EINVAL);
  struct sched_param param = {.sched_priority = 5};
  CHECK_EQ(pthread_attr_setschedparam(&attr, &param), EINVAL);
  CHECK_OK(pthread_attr_setschedpolicy(&attr, SCHED_RR));
  CHECK_OK(pthread_attr_setschedparam(&attr, &param));
  param.sched_priority = 0;
  CHECK_OK(pthread_attr_getschedparam(&attr, &param));
  CHECK_EQ(param.sched_priority, 5);
  CHECK_OK(pthread_attr_setschedpolicy(&attr, SCHED_OTHER));
  param.sched_priority = 0;
  CHECK_OK(pthread_attr_setschedparam(&attr, &param));
  run_with(&attr, own_detachstate, (void*)8, (void*)8);

  sigset_t mask;
  CHECK_EQ(pthread_attr_getsigmask_np(&attr, &mask), PTHREAD_ATTR_NO_SIGMASK_NP);
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR1);
  CHECK_OK(pthread_attr_setsigmask_np(&attr, &mask));
  sigemptyset(&mask);
  CHECK_OK(pthread_attr_getsigmask_np(&attr, &mask));
  CHECK_EQ(sigismember(&mask, SIGUSR1), 1);
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR2);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &mask, NULL));  // The attribute beats inheritance.
  run_with(&attr, own_mask, (void*)1, (void*)1);
  CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &mask, NULL));
  CHECK_OK(pthread_attr_destroy(&attr));

  CHECK_OK(pthread_attr_init(&attr));
  cpu_set_t all, one, got;
  CHECK_SYS(sched_getaffinity(0, sizeof all, &all));
  int first = 0;
  while (!CPU_ISSET(first, &all)) first++;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  CHECK_OK(pthread_attr_setaffinity_np(&attr, sizeof one, &one));
  CHECK_OK(pthread_attr_getaffinity_np(&attr, sizeof got, &got));
  CHECK(CPU_EQUAL(&one, &got));
  run_with(&attr, own_affinity, &one, NULL);
  CHECK_SYS(sched_getaffinity(0, sizeof got, &got));
  CHECK(CPU_EQUAL(&all, &got));
  CPU_ZERO(&one);
  CHECK_OK(pthread_attr_setaffinity_np(&attr, sizeof one, &one));
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, &attr, own_affinity, &all), EINVAL);
  CHECK_OK(pthread_attr_destroy(&attr));

  pthread_attr_t standard;
  CHECK_OK(pthread_getattr_default_np(&standard));
  CHECK_OK(pthread_attr_getstacksize(&standard, &size));
  CHECK(size >= (size_t)PTHREAD_STACK_MIN);
  size_t wanted = 3 << 20;
  CHECK_OK(pthread_attr_setstacksize(&standard, wanted));
  CHECK_OK(pthread_setattr_default_np(&standard));
  CHECK_OK(pthread_attr_init(&attr));
  CHECK_OK(pthread_attr_getstacksize(&attr, &size));
  CHECK_EQ(size, wanted);
  run_with(NULL, own_stack_size, &wanted, NULL);
  static char stack[1 << 17];
  CHECK_OK(pthread_attr_setstack(&standard, stack, sizeof stack));
  CHECK_EQ(pthread_setattr_default_np(&standard), EINVAL);
  return 0;
}
