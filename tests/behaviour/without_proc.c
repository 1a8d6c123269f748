// Shows that threads that compute, and threads that wait in calls of libc's own, stop no others where the kernel's
// files about kernel threads (/proc) are out of reach: in a root without them, entered before the first thread or in
// the parent of a fork; with no descriptor left; in another PID namespace. What the system does not permit is left out.
#include "check.h"

#include <stdatomic.h>
#include <sys/resource.h>

#define READERS 6
#define SPINNERS 4

static int ends[2];
static FILE* streams[READERS];
static atomic_int go;

static void* spin(void* arg) {
  while (!atomic_load_explicit(&go, memory_order_relaxed)) {
  }
  return arg;
}

static void* set(void* arg) {
  atomic_store(&go, 1);
  return arg;
}

static void* get(void* arg) {
  CHECK_EQ(fgetc(arg), 'x');
  return NULL;
}

static void* put(void* arg) {
  sleep_ms(20);
  for (int i = 0; i < READERS; i++) CHECK_EQ(write(ends[1], "x", 1), 1);
  return arg;
}

static void make_streams(void) {
  CHECK_EQ(pipe(ends), 0);
  for (int i = 0; i < READERS; i++) {
    streams[i] = fdopen(ends[0], "r");
    CHECK(streams[i] != NULL);
    setvbuf(streams[i], NULL, _IONBF, 0);
  }
}

static void work(void) {
  pthread_t threads[SPINNERS + READERS + 2];
  int n = 0;
  alarm(60);
  for (int i = 0; i < READERS; i++) CHECK_OK(pthread_create(&threads[n++], NULL, get, streams[i]));
  CHECK_OK(pthread_create(&threads[n++], NULL, put, NULL));
  while (n > 0) CHECK_OK(pthread_join(threads[--n], NULL));
  atomic_store(&go, 0);
  for (int i = 0; i < SPINNERS; i++) CHECK_OK(pthread_create(&threads[n++], NULL, spin, NULL));
  CHECK_OK(pthread_create(&threads[n++], NULL, set, NULL));
  for (int i = 0; i < n; i++) CHECK_OK(pthread_join(threads[i], NULL));  // the last one sets the others free
}

static void* nothing(void* arg) { return arg; }

static void make_a_thread(void) {
  pthread_t thread;
  CHECK_OK(pthread_create(&thread, NULL, nothing, NULL));
  CHECK_OK(pthread_join(thread, NULL));
}

static char folder[] = "/tmp/without_procXXXXXX";

static int go_far(void) {
  if (chroot(folder) != 0) return -1;
  CHECK_EQ(chdir("/"), 0);
  return 0;
}

// In a child, so that each begins without threads. 77: not permitted.
static void in_child(const char* what, int (*run)(void)) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) _exit(run());
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == SKIP_STATUS) printf("%s: not permitted\n", what);
  else if (status != 0) check_fail(__FILE__, __LINE__, "%s: status 0x%x", what, status);
}

static int work_here(void) {
  work();
  return 0;
}

static int root_before_threads(void) {
  if (go_far() != 0) return SKIP_STATUS;
  work();
  return 0;
}

static int root_before_fork(void) {
  make_a_thread();
  if (go_far() != 0) return SKIP_STATUS;
  work();
  in_child("the child of a changed root", work_here);
  return 0;
}

static int no_descriptors(void) {
  struct rlimit few = {64, 64};
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  make_a_thread();
  while (dup(1) >= 0) {
  }
  in_child("a child without descriptors", work_here);
  return 0;
}

static int no_descriptors_from_the_start(void) {
  struct rlimit few = {64, 64};
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  while (dup(1) >= 0) {
  }
  work();
  return 0;
}

static int other_pids(void) {
  if (unshare(CLONE_NEWPID) != 0) return SKIP_STATUS;
  in_child("the first process of a PID namespace", work_here);
  return 0;
}

int main(void) {
  CHECK(mkdtemp(folder) != NULL);
  make_streams();
  in_child("a root without /proc", root_before_threads);
  in_child("a root without /proc, later", root_before_fork);
  in_child("no descriptors, later", no_descriptors);
  in_child("no descriptors", no_descriptors_from_the_start);
  in_child("a PID namespace", other_pids);
  CHECK_EQ(rmdir(folder), 0);
  return 0;
}
