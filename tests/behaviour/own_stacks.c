// Shows that a thread given a stack (pthread_attr_setstack) runs on it and reports it, and that the memory is the
// program's again the moment join returns: it is unmapped at once, or given to the next thread.
#include "check.h"

#include <sys/mman.h>

enum { kSize = 128 * 1024, kThreads = 16 };
static char* stacks[kThreads];

static void* on_own_stack(void* arg) {
  char* const mine = stacks[(intptr_t)arg];
  pthread_attr_t attr;
  void* low = NULL;
  size_t size = 0;
  CHECK_OK(pthread_getattr_np(pthread_self(), &attr));
  CHECK_OK(pthread_attr_getstack(&attr, &low, &size));
  CHECK_OK(pthread_attr_destroy(&attr));
  CHECK_EQ(low, mine);
  CHECK_EQ(size, kSize);
  for (unsigned step = 0; step < 20; step++) {
    stir(step + (unsigned)(intptr_t)arg);
    char* const frame = __builtin_frame_address(0);
    CHECK(frame > mine && frame < mine + kSize);
  }
  return arg;
}

int main(void) {
  for (int round = 0; round < 20; round++) {
    pthread_t threads[kThreads];
    pthread_attr_t attr;
    CHECK_OK(pthread_attr_init(&attr));
    for (intptr_t i = 0; i < kThreads; i++) {
      if (stacks[i] == NULL) {
        stacks[i] = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(stacks[i] != MAP_FAILED);
      }
      CHECK_OK(pthread_attr_setstack(&attr, stacks[i], kSize));
      CHECK_OK(pthread_create(&threads[i], &attr, on_own_stack, (void*)i));
    }
    for (int i = 0; i < kThreads; i++) {
      CHECK_OK(pthread_join(threads[i], NULL));
      if (i % 2 == 0) {
        CHECK_SYS(munmap(stacks[i], kSize));
        stacks[i] = NULL;
      } else {
        memset(stacks[i], 0xee, kSize);  // The next thread starts on a stack full of garbage.
      }
    }
    CHECK_OK(pthread_attr_destroy(&attr));
  }
  return 0;
}
