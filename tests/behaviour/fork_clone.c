// Shows clone and the rarer forms of fork from threads: a copy of the process, a child that borrows the memory, with
// and without the parent's waiting, and a kernel thread of the program's own.
#include "check.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static const size_t kStack = 65536;
static int beside_others;

static void* disturb(void* arg) {
  for (unsigned step = 0; step < 10; step++) stir(step + (unsigned)(intptr_t)arg);
  return arg;
}

static int alone_in_a_copy(void* arg) {
  CHECK_EQ(gettid(), getpid());
  if (!beside_others) run_threads(2, disturb);  // libc's locks are in order then: clone does not look after them
  *(int*)arg = 1;
  return 33;
}

static int in_shared_memory(void* arg) {
  *(int*)arg = 1;
  return 34;
}

static int kernel_thread(void* arg) {
  errno = EXDEV;
  __atomic_store_n((int*)arg, (int)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
  return 0;
}

static void* clone_often(void* arg) {
  char* memory = mmap(NULL, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  char* const top = memory + kStack;
  for (int round = 0; round < 10; round++) {
    int seen = 0;
    pid_t child = clone(alone_in_a_copy, top, SIGCHLD, &seen);
    CHECK_SYS(child);
    CHECK_EQ(wait_status(child), 33);
    CHECK_EQ(seen, 0);
    child = clone(in_shared_memory, top, SIGCHLD | CLONE_VM | CLONE_VFORK, &seen);
    CHECK_SYS(child);
    CHECK_EQ(seen, 1);
    CHECK_EQ(wait_status(child), 34);
    seen = 0;
    child = clone(in_shared_memory, top, SIGCHLD | CLONE_VM, &seen);
    CHECK_SYS(child);
    CHECK_EQ(wait_status(child), 34);
    CHECK_EQ(seen, 1);
    int tid = 0;
    const int flags =
        CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;
    int running = 1;
    const pid_t made = clone(kernel_thread, top, flags, &tid, NULL, NULL, &running);
    CHECK_SYS(made);
    EVENTUALLY(__atomic_load_n(&running, __ATOMIC_SEQ_CST) == 0);
    CHECK_EQ(tid, made);
    child = _Fork();
    CHECK_SYS(child);
    if (child == 0) _exit(gettid() == getpid() ? 35 : 36);
    CHECK_EQ(wait_status(child), 35);
    child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    CHECK_SYS(child);
    if (child == 0) _exit(37);
    CHECK_EQ(wait_status(child), 37);
    CHECK_ERRNO(clone(NULL, top, SIGCHLD, NULL), EINVAL);
    CHECK_ERRNO(clone(in_shared_memory, NULL, SIGCHLD, NULL), EINVAL);
  }
  munmap(memory, kStack);
  return arg;
}

int main(void) {
  beside_others = 1;
  run_threads(4, clone_often);
  beside_others = 0;
  clone_often(NULL);
  return 0;
}
