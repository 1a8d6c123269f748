// Shows what join and detach answer for a thread that has been joined, is detached, or is oneself.
#include "check.h"

static void* end(void* arg) { return arg; }
static void* wait_for_flag(void* arg) {
  while (!__atomic_load_n((int*)arg, __ATOMIC_ACQUIRE)) usleep(100);
  return NULL;
}
int main(void) {
  pthread_t thread;
  CHECK_OK(pthread_create(&thread, NULL, end, NULL));
  CHECK_OK(pthread_join(thread, NULL));
  CHECK_EQ(pthread_join(thread, NULL), ESRCH);
  CHECK_EQ(pthread_detach(thread), ESRCH);
  CHECK_EQ(pthread_join(pthread_self(), NULL), EDEADLK);

  int flag = 0;
  CHECK_OK(pthread_create(&thread, NULL, wait_for_flag, &flag));
  CHECK_OK(pthread_detach(thread));
  CHECK_EQ(pthread_detach(thread), EINVAL);
  CHECK_EQ(pthread_join(thread, NULL), EINVAL);
  __atomic_store_n(&flag, 1, __ATOMIC_RELEASE);
  return 0;
}
