// Shows that a thread can use its stack to the end, but for a margin, by alloca and by recursion, with switches on the
// way down, for the smallest stacks, the default and large ones; and that what it wrote is there on the way up.
#include "check.h"

#include <alloca.h>
#include <limits.h>

enum { kMargin = 8 * 1024 };

static size_t stack_left(void) {
  pthread_attr_t attr;
  void* low = NULL;
  size_t size = 0;
  CHECK_OK(pthread_getattr_np(pthread_self(), &attr));
  CHECK_OK(pthread_attr_getstack(&attr, &low, &size));
  CHECK_OK(pthread_attr_destroy(&attr));
  const uintptr_t here = (uintptr_t)__builtin_frame_address(0);
  CHECK(here > (uintptr_t)low && here < (uintptr_t)low + size);
  return here - (uintptr_t)low;
}

__attribute__((noinline)) static unsigned dig(size_t bytes, unsigned level) {
  volatile unsigned char frame[512];
  frame[0] = frame[511] = (unsigned char)level;
  if (level % 128 == 0) stir(level / 128);
  unsigned sum = 0;
  if (bytes > 1024) sum = dig(bytes - 640, level + 1);
  CHECK_EQ(frame[0], level % 256);
  CHECK_EQ(frame[511], level % 256);
  return sum + 1;
}

static void* by_alloca(void* arg) {
  const size_t bytes = stack_left() - kMargin;
  volatile unsigned char* block = alloca(bytes);
  for (size_t i = 0; i < bytes; i += 1024) block[i] = (unsigned char)(i / 1024);
  sched_yield();
  usleep(100);
  for (size_t i = 0; i < bytes; i += 1024) CHECK_EQ(block[i], i / 1024 % 256);
  return arg;
}

static void* by_recursion(void* arg) {
  const size_t bytes = stack_left() - kMargin;
  CHECK(dig(bytes, 0) > bytes / 1024 - 2);
  return arg;
}

int main(void) {
  const size_t sizes[] = {PTHREAD_STACK_MIN + 16 * 1024, PTHREAD_STACK_MIN + 48 * 1024, 1024 * 1024, 0,
                          32 * 1024 * 1024};
  for (int round = 0; round < 2; round++) {
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
      pthread_attr_t attr;
      CHECK_OK(pthread_attr_init(&attr));
      if (sizes[i] != 0) CHECK_OK(pthread_attr_setstacksize(&attr, sizes[i]));
      pthread_t threads[8];
      for (int t = 0; t < 8; t++) {
        CHECK_OK(pthread_create(&threads[t], &attr, t % 2 == 0 ? by_alloca : by_recursion, NULL));
      }
      for (int t = 0; t < 8; t++) CHECK_OK(pthread_join(threads[t], NULL));
      CHECK_OK(pthread_attr_destroy(&attr));
    }
  }
  return 0;
}
