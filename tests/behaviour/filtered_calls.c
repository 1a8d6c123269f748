// Shows that a program runs where a filter (seccomp) denies system calls that the kernel has, as the filters of
// containers do with calls that they do not know yet: with EPERM or ENOSYS, before the first thread.
// run: chaos=no
#include "check.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define ROUNDS 200

static int there[2], back[2];

static void* echo(void* arg) {
  char byte;
  for (int i = 0; i < ROUNDS; i++) {
    CHECK_EQ(read(there[0], &byte, 1), 1);
    CHECK_EQ(write(back[1], &byte, 1), 1);
  }
  return arg;
}

static void* sleep_long(void* arg) {
  sleep_ms(300);
  return arg;
}

static int deny(const int* calls, int n, int error) {
  struct sock_filter filter[32];
  int length = 0;
  filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (int i = 0; i < n; i++) {
    filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], 0, 1);
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error);
  }
  filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = {(unsigned short)length, filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static double cpu_seconds(void) {
  struct rusage usage;
  CHECK_OK(getrusage(RUSAGE_SELF, &usage));
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void work(void) {
  pthread_t thread;
  char byte = 'x';
  CHECK_OK(pipe(there));
  CHECK_OK(pipe(back));
  CHECK_OK(pthread_create(&thread, NULL, echo, NULL));
  for (int i = 0; i < ROUNDS; i++) {
    CHECK_EQ(write(there[1], &byte, 1), 1);
    CHECK_EQ(read(back[0], &byte, 1), 1);
  }
  CHECK_OK(pthread_join(thread, NULL));
  // A wait is a wait: nothing runs in circles meanwhile. A reader makes that the poller's business.
  CHECK_OK(pthread_create(&thread, NULL, echo, NULL));
  pthread_t sleeper;
  double before = cpu_seconds();
  CHECK_OK(pthread_create(&sleeper, NULL, sleep_long, NULL));
  CHECK_OK(pthread_join(sleeper, NULL));
  CHECK(cpu_seconds() - before < 0.15);
}

static void run_without(const int* calls, int n, int error) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    if (deny(calls, n, error) != 0) _exit(SKIP_STATUS);
    work();
    _exit(0);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == SKIP_STATUS) {
    puts("no filters here");
    exit(SKIP_STATUS);
  }
  CHECK_EQ(status, 0);
}

int main(void) {
  static const int newer[] = {SYS_epoll_pwait2, SYS_preadv2,     SYS_pwritev2,    SYS_pidfd_open,
                              SYS_pidfd_getfd,  SYS_close_range, SYS_memfd_create};
  static const int barrier[] = {SYS_membarrier};  // goshim says that it is missing; the program runs natively
  const int errors[] = {EPERM, ENOSYS};
  for (int i = 0; i < 2; i++) {
    run_without(newer, sizeof newer / sizeof *newer, errors[i]);
    run_without(barrier, 1, errors[i]);
  }
  return 0;
}
