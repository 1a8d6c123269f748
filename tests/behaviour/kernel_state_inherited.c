// Shows that a thread inherits from the one that makes it what that has given its kernel thread after others existed:
// that it may not gain privileges, a filter of system calls, a personality. Others stay as they were.
#include "check.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { kThreads = 20, kRounds = 10 };

// getpgid(2) answers with this errno from here on.
static void deny_getpgid(int error) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  CHECK_SYS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0));
}

static void* restricted(void* arg) {
  CHECK_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
  CHECK_ERRNO(getpgid(0), EXDEV);
  CHECK_EQ(personality(0xffffffff), ADDR_NO_RANDOMIZE);
  return arg;
}

static void* makes_restricted(void* arg) {
  restricted(arg);
  run_threads(2, restricted);
  return arg;
}

static void* free_still(void* arg) {
  CHECK_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
  CHECK_SYS(getpgid(0));
  CHECK_EQ(personality(0xffffffff), 0);
  return arg;
}

static pthread_barrier_t restrained, looked;

static void* restrains_itself(void* arg) {
  CHECK_SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  deny_getpgid(EXDEV);
  CHECK_SYS(personality(ADDR_NO_RANDOMIZE));
  pthread_barrier_wait(&restrained);
  for (int i = 0; i < kRounds; i++) run_threads(kThreads, makes_restricted);
  pthread_barrier_wait(&looked);
  return arg;
}

int main(void) {
  CHECK_SYS(personality(0));
  pthread_barrier_init(&restrained, NULL, 2);
  pthread_barrier_init(&looked, NULL, 2);
  pthread_t thread;
  CHECK_OK(pthread_create(&thread, NULL, restrains_itself, NULL));
  pthread_barrier_wait(&restrained);
  for (int i = 0; i < kRounds; i++) run_threads(kThreads, free_still);
  pthread_barrier_wait(&looked);
  CHECK_OK(pthread_join(thread, NULL));
  run_threads(kThreads, free_still);
  return 0;
}
