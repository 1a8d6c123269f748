// Shows set_tid_address(2): the word it names is cleared when the thread ends, and who waits for it by futex(2) woken;
// a word in memory that is gone by then harms nobody.
#include "check.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static void* end_with(void* word) {
  long id = syscall(SYS_gettid);
  if (word) atomic_store((atomic_int*)word, (int)id);
  else word = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK_EQ(syscall(SYS_set_tid_address, word), id);
  return NULL;
}

int main(void) {
  enum { kThreads = 20 };
  static atomic_int words[kThreads];
  pthread_attr_t attr;
  pthread_t thread;
  // Natively nobody can join them any more: libc waits for the word that the kernel had before.
  CHECK_EQ(pthread_attr_init(&attr), 0);
  CHECK_EQ(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED), 0);
  for (int i = 0; i < kThreads; i++) {
    atomic_store(&words[i], -1);
    CHECK_EQ(pthread_create(&thread, &attr, end_with, i % 4 == 3 ? NULL : &words[i]), 0);
  }
  for (int i = 0; i < kThreads; i++) {
    if (i % 4 == 3) continue;
    int seen;
    // The kernel's wake is one for all processes.
    while ((seen = atomic_load(&words[i])) != 0) syscall(SYS_futex, &words[i], FUTEX_WAIT, seen, NULL, NULL, 0);
  }
  return 0;
}
