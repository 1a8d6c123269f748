// Shows what calls make of a thread's id, by function and by number: where they take any thread's for its process, for
// the thread alone, or refuse one that is no process's; below /proc; and of the id of a thread that has ended.
#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

int capget(cap_user_header_t header, cap_user_data_t data);
int capset(cap_user_header_t header, const cap_user_data_t data);

static pthread_barrier_t at_work;
static _Atomic pid_t waits, computes;
static atomic_int stop, handled;

static void* wait_for_end(void* arg) {
  waits = gettid();
  pthread_barrier_wait(&at_work);
  for (;;) pause();
  return arg;
}

static void* compute_to_end(void* arg) {
  computes = gettid();
  pthread_barrier_wait(&at_work);
  while (!atomic_load(&stop)) compute(1000);
  return arg;
}

static void on_signal(int signal) {
  (void)signal;
  atomic_fetch_add(&handled, 1);
}

static void for_the_process(pid_t id) {
  CHECK_EQ(getpgid(id), getpgrp());
  CHECK_EQ(syscall(SYS_getpgid, id), getpgrp());
  CHECK_EQ(getsid(id), getsid(0));
  CHECK_EQ(syscall(SYS_getsid, id), getsid(0));
  struct rlimit mine, its;
  CHECK_SYS(getrlimit(RLIMIT_NOFILE, &mine));
  CHECK_SYS(prlimit(id, RLIMIT_NOFILE, NULL, &its));
  CHECK_EQ(its.rlim_cur, mine.rlim_cur);
  CHECK_SYS(syscall(SYS_prlimit64, id, RLIMIT_NOFILE, NULL, &its));
  char from[4] = "abc", to[4] = "";
  struct iovec local = {to, sizeof to}, remote = {from, sizeof from};
  CHECK_EQ(process_vm_readv(id, &local, 1, &remote, 1, 0), sizeof to);
  CHECK_STR(to, "abc");
  strcpy(to, "xyz");
  CHECK_EQ(syscall(SYS_process_vm_writev, id, &local, 1, &remote, 1, 0), sizeof to);
  CHECK_STR(from, "xyz");
  CHECK_EQ(syscall(SYS_kcmp, getpid(), id, KCMP_VM, 0, 0), 0);
  CHECK_EQ(syscall(SYS_kcmp, id, gettid(), KCMP_FILES, 0, 0), 0);
  if (syscall(SYS_move_pages, 0, 0, NULL, NULL, NULL, 0) == 0) {
    CHECK_SYS(syscall(SYS_move_pages, id, 0, NULL, NULL, NULL, 0));
  }
  const int before = atomic_load(&handled);
  siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
  CHECK_SYS(syscall(SYS_rt_sigqueueinfo, id, SIGUSR1, &info));
  EVENTUALLY(atomic_load(&handled) == before + 1);
}

static void for_the_thread(pid_t id) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, id};
  struct __user_cap_data_struct mine[2], its[2];
  CHECK_SYS(capget(&header, its));
  CHECK_SYS(syscall(SYS_capget, &header, its));
  CHECK_ERRNO(capset(&header, its), EPERM);
  header.pid = gettid();
  CHECK_SYS(capget(&header, mine));
  CHECK_EQ(memcmp(mine, its, sizeof mine), 0);
  CHECK_SYS(capset(&header, mine));
  CHECK_SYS(syscall(SYS_capset, &header, mine));
  header.version = 1;
  CHECK_ERRNO(capget(&header, mine), EINVAL);
  CHECK_EQ(header.version, _LINUX_CAPABILITY_VERSION_3);
  void *list = NULL, *own = NULL;
  size_t size;
  CHECK_SYS(syscall(SYS_get_robust_list, id, &list, &size));
  CHECK_SYS(syscall(SYS_get_robust_list, gettid(), &own, &size));
  CHECK(list != NULL && list != own);
}

// The kernel's structure, which no header of libc has yet.
struct policy_and_nice {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t deadline[3];
};

static void policy_of_thread(pid_t id) {
  const int own = getpriority(PRIO_PROCESS, 0), of_main = getpriority(PRIO_PROCESS, (id_t)getpid());
  const int changed = own < 19 ? own + 1 : own;
  struct policy_and_nice attr = {.size = sizeof attr, .policy = SCHED_BATCH, .nice = changed};
  CHECK_SYS(syscall(SYS_sched_setattr, id, &attr, 0));
  memset(&attr, 0, sizeof attr);
  CHECK_SYS(syscall(SYS_sched_getattr, id, &attr, sizeof attr, 0));
  CHECK_EQ(attr.policy, SCHED_BATCH);
  CHECK_EQ(attr.nice, changed);
  CHECK_EQ(sched_getscheduler(id), SCHED_BATCH);
  CHECK_EQ(getpriority(PRIO_PROCESS, (id_t)id), changed);
  CHECK_ERRNO(syscall(SYS_sched_setattr, id, (void*)8, 0), EFAULT);
  for (unsigned i = 0; i < 20; i++) {  // nobody else has it
    CHECK_EQ(getpriority(PRIO_PROCESS, 0), own);
    CHECK_EQ(getpriority(PRIO_PROCESS, (id_t)getpid()), of_main);
    CHECK_EQ(sched_getscheduler(0), SCHED_OTHER);
    stir(i);
  }
}

static void for_no_process(pid_t id) {
  CHECK_ERRNO(setpgid(id, 0), EINVAL);
  CHECK_ERRNO(syscall(SYS_setpgid, id, 0), EINVAL);
  // EINVAL, of newer kernels ENOENT.
  CHECK(syscall(SYS_pidfd_open, id, 0) == -1 && errno != ESRCH);
  int ends[2];
  struct f_owner_ex owner = {F_OWNER_PID, id};
  CHECK_SYS(pipe(ends));
  CHECK_SYS(fcntl(ends[0], F_SETOWN, id));
  CHECK_EQ(fcntl(ends[0], F_GETOWN), 0);
  CHECK_SYS(fcntl(ends[0], F_SETOWN, getpid()));
  CHECK_SYS(fcntl(ends[0], F_SETOWN_EX, &owner));
  CHECK_SYS(fcntl(ends[0], F_GETOWN_EX, &owner));
  CHECK_EQ(owner.type, F_OWNER_PID);
  CHECK_EQ(owner.pid, 0);
  close(ends[0]);
  close(ends[1]);
}

static void below_proc(const char* form, pid_t id) {
  char path[64];
  struct stat st;
  struct statx stx;
  snprintf(path, sizeof path, form, id);
  CHECK_SYS(stat(path, &st));
  CHECK_SYS(lstat(path, &st));
  CHECK_SYS(fstatat(AT_FDCWD, path, &st, 0));
  CHECK_SYS(statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, &stx));
  CHECK_SYS(access(path, F_OK));
  CHECK_SYS(eaccess(path, F_OK));
  CHECK_SYS(faccessat(AT_FDCWD, path, F_OK, 0));
  CHECK_SYS(syscall(SYS_newfstatat, AT_FDCWD, path, &st, 0));
  CHECK_SYS(syscall(SYS_faccessat, AT_FDCWD, path, F_OK));
  if (S_ISDIR(st.st_mode)) {
    DIR* dir = opendir(path);
    CHECK(dir != NULL);
    closedir(dir);
    char target[256] = "", wanted[256] = "";
    strcat(path, "/exe");
    CHECK_SYS(readlink("/proc/self/exe", wanted, sizeof wanted - 1));
    CHECK_SYS(readlink(path, target, sizeof target - 1));
    CHECK_STR(target, wanted);
    CHECK_SYS(syscall(SYS_readlinkat, AT_FDCWD, path, target, sizeof target - 1));
  }
}

static void* ask_of(void* arg) {
  const pid_t id = *(_Atomic pid_t*)arg;
  for_the_process(id);
  for_the_thread(id);
  policy_of_thread(id);
  for_no_process(id);
  const char* const forms[] = {"/proc/%d", "/proc/%d/stat", "/proc/self/task/%d", "/proc/self/task/%d/comm"};
  for (int i = 0; i < 4; i++) below_proc(forms[i], id);
  return NULL;
}

static void ask_of_ended(pid_t id) {
  struct stat st;
  struct rlimit limit;
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, id};
  struct __user_cap_data_struct data[2];
  char path[64];
  EVENTUALLY(fcntl(1, F_SETOWN, id) == -1);  // the kernel's thread ends a moment after its join
  CHECK_EQ(errno, ESRCH);
  CHECK_ERRNO(getpgid(id), ESRCH);
  CHECK_ERRNO(getsid(id), ESRCH);
  CHECK_ERRNO(setpgid(id, 0), ESRCH);
  CHECK_ERRNO(prlimit(id, RLIMIT_NOFILE, NULL, &limit), ESRCH);
  CHECK_ERRNO(capget(&header, data), ESRCH);
  CHECK_ERRNO(syscall(SYS_pidfd_open, id, 0), ESRCH);
  CHECK_ERRNO(syscall(SYS_kcmp, getpid(), id, KCMP_VM, 0, 0), ESRCH);
  CHECK_ERRNO(syscall(SYS_sched_getattr, id, path, 48, 0), ESRCH);
  snprintf(path, sizeof path, "/proc/self/task/%d", id);
  CHECK_ERRNO(stat(path, &st), ENOENT);
  // Pointers that lead nowhere, too.
  CHECK_ERRNO(syscall(SYS_readlinkat, AT_FDCWD, (char*)8, path, sizeof path), EFAULT);
  const char* volatile nowhere = (char*)8;
  CHECK_ERRNO(access(nowhere, F_OK), EFAULT);
  CHECK_ERRNO(open(nowhere, O_RDONLY), EFAULT);
}

int main(void) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  CHECK_SYS(sigaction(SIGUSR1, &action, NULL));
  CHECK_OK(pthread_barrier_init(&at_work, NULL, 3));
  pthread_t waiter, worker, asker;
  CHECK_OK(pthread_create(&waiter, NULL, wait_for_end, NULL));
  CHECK_OK(pthread_create(&worker, NULL, compute_to_end, NULL));
  pthread_barrier_wait(&at_work);
  ask_of(&waits);
  ask_of(&computes);
  CHECK_OK(pthread_create(&asker, NULL, ask_of, &waits));
  CHECK_OK(pthread_join(asker, NULL));
  atomic_store(&stop, 1);
  CHECK_OK(pthread_join(worker, NULL));
  ask_of_ended(computes);
  return 0;
}
