// Shows that pthread_getattr_np tells the truth about a thread's stack: the frame and the thread-local block lie in
// it, all of it can be touched, its sizes are those asked for, and the main thread and own stacks are right too.
#include "check.h"

#include <sys/mman.h>

static __thread int local;

struct ask {
  size_t size, guard;
  int detached;
};

static void inspect(const struct ask* wanted) {
  pthread_attr_t attr;
  void* low = NULL;
  size_t size = 0, guard = 0;
  int state = -1;
  CHECK_OK(pthread_getattr_np(pthread_self(), &attr));
  CHECK_OK(pthread_attr_getstack(&attr, &low, &size));
  CHECK_OK(pthread_attr_getguardsize(&attr, &guard));
  CHECK_OK(pthread_attr_getdetachstate(&attr, &state));
  CHECK_OK(pthread_attr_destroy(&attr));
  CHECK(size >= wanted->size);
  CHECK_EQ(guard, wanted->guard);
  CHECK_EQ(state, wanted->detached ? PTHREAD_CREATE_DETACHED : PTHREAD_CREATE_JOINABLE);
  const uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
  CHECK(frame > (uintptr_t)low && frame < (uintptr_t)low + size);
  CHECK((uintptr_t)&local > (uintptr_t)low && (uintptr_t)&local < (uintptr_t)low + size);
  CHECK(frame - (uintptr_t)low > wanted->size / 2);
  // Collectors scan from here to the top.
  volatile unsigned char* byte = low;
  unsigned sum = 0;
  for (size_t i = 0; i < size; i += 512) sum += byte[i];
  CHECK(sum < ~0u);
}

static void* inspect_self(void* arg) {
  inspect(arg);
  for (unsigned step = 0; step < 20; step++) stir(step);
  inspect(arg);
  return arg;
}

static int detached_done[2];

static void* inspect_detached(void* arg) {
  inspect(arg);
  CHECK_EQ(write(detached_done[1], "x", 1), 1);
  return NULL;
}

// Another thread's view of it.
static void* wait_for_end(void* arg) {
  pthread_barrier_wait(arg);
  pthread_barrier_wait(arg);
  return __builtin_frame_address(0);
}

int main(void) {
  const struct ask asks[] = {{128 << 10, 4096, 0}, {1 << 20, 16384, 0}, {8 << 20, 0, 0}, {256 << 10, 4096, 0}};
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 4; i++) {
      pthread_attr_t attr;
      pthread_t thread;
      CHECK_OK(pthread_attr_init(&attr));
      CHECK_OK(pthread_attr_setstacksize(&attr, asks[i].size));
      CHECK_OK(pthread_attr_setguardsize(&attr, asks[i].guard));
      CHECK_OK(pthread_create(&thread, &attr, inspect_self, (void*)&asks[i]));
      CHECK_OK(pthread_join(thread, NULL));
      CHECK_OK(pthread_attr_destroy(&attr));
    }
  }
  CHECK_SYS(pipe(detached_done));
  struct ask detached = {64 << 10, 4096, 1};
  pthread_attr_t attr;
  pthread_t thread;
  char byte;
  CHECK_OK(pthread_attr_init(&attr));
  CHECK_OK(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED));
  CHECK_OK(pthread_create(&thread, &attr, inspect_detached, &detached));
  CHECK_EQ(read(detached_done[0], &byte, 1), 1);

  pthread_barrier_t barrier;
  CHECK_OK(pthread_barrier_init(&barrier, NULL, 2));
  CHECK_OK(pthread_create(&thread, NULL, wait_for_end, &barrier));
  pthread_barrier_wait(&barrier);
  void *low = NULL, *frame = NULL;
  size_t size = 0;
  CHECK_OK(pthread_getattr_np(thread, &attr));
  CHECK_OK(pthread_attr_getstack(&attr, &low, &size));
  pthread_barrier_wait(&barrier);
  CHECK_OK(pthread_join(thread, &frame));
  CHECK((char*)frame > (char*)low && (char*)frame < (char*)low + size);

  CHECK_OK(pthread_getattr_np(pthread_self(), &attr));
  CHECK_OK(pthread_attr_getstack(&attr, &low, &size));
  CHECK((char*)&low > (char*)low && (char*)&low < (char*)low + size);
  return 0;
}
