// Shows what the public header's functions tell a thread and do for it, in C: state, version, ids, locks to kernel
// threads, statistics; and that a program which uses them runs without goshim.
// flags: -std=c99 -pedantic
#include "../../interpose/goshim.h"
#include "check.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/syscall.h>

#define THREADS 20

static uint64_t ids[THREADS];
static int live = 0;

static long kernel_thread(void) {
  // By the kernel itself: goshim answers gettid() by the thread. "123/task/456"
  char path[64];
  const ssize_t n = readlink("/proc/thread-self", path, sizeof path - 1);
  CHECK(n > 0);
  path[n] = 0;
  return atol(strrchr(path, '/') + 1);
}

static void* talk(void* arg) {
  const intptr_t me = (intptr_t)arg;
  __atomic_fetch_add(&live, 1, __ATOMIC_RELAXED);
  if (goshim_active()) {
    ids[me] = goshim_thread_id();
    CHECK(ids[me] > 1);
    CHECK_EQ(goshim_unlock_thread(), EPERM);
    CHECK_OK(goshim_lock_thread());
    CHECK_OK(goshim_lock_thread());
  }
  // Each with a kernel thread of its own for as long as it is locked.
  const long kernel = kernel_thread();
  for (unsigned step = 0; step < 200; step++) {
    stir(step + (unsigned)me);
    CHECK_EQ(kernel_thread(), kernel);
    if (goshim_active()) {
      goshim_yield();
      CHECK_EQ(goshim_thread_id(), ids[me]);
    }
  }
  if (goshim_active()) {
    CHECK_OK(goshim_unlock_thread());
    CHECK_EQ(kernel_thread(), kernel);
    if (me % 2) CHECK_OK(goshim_unlock_thread());  // else it ends locked
    if (me % 2) CHECK_EQ(goshim_unlock_thread(), EPERM);
  }
  return arg;
}

static void* sleep_often(void* arg) {
  for (int i = 0; i < 5; i++) usleep(100);
  return arg;
}

int main(void) {
  if (goshim_active()) {
    CHECK(goshim_version() >= GOSHIM_HEADER_VERSION);
    CHECK_EQ(goshim_state(), GOSHIM_READY);
    CHECK_EQ(goshim_thread_id(), 0);
    struct goshim_stats stats;
    CHECK_OK(goshim_stats(&stats, sizeof stats));
    CHECK_EQ(stats.threads_made, 0);
    CHECK_EQ(goshim_unlock_thread(), 0);
    CHECK_OK(goshim_lock_thread());
    CHECK_EQ(goshim_state(), GOSHIM_RUNNING);
    CHECK_EQ(goshim_thread_id(), 1);
    int ends[2];
    CHECK_SYS(pipe(ends));
    CHECK_EQ(goshim_dump(-1), EBADF);
    CHECK_EQ(goshim_dump(ends[0]), EBADF);
    close(ends[0]);
    close(ends[1]);
  }
  const long kernel = kernel_thread();
  run_threads(THREADS, talk);
  CHECK_EQ(kernel_thread(), kernel);
  CHECK_EQ(live, THREADS);
  if (goshim_active()) {
    CHECK_OK(goshim_unlock_thread());
    for (int i = 0; i < THREADS; i++) {
      for (int j = 0; j < i; j++) CHECK(ids[i] != ids[j]);
    }
    struct goshim_stats stats;
    CHECK_EQ(goshim_stats(NULL, sizeof stats), EINVAL);
    CHECK_EQ(goshim_stats(&stats, 0), EINVAL);
    CHECK_OK(goshim_stats(&stats, sizeof stats));
    CHECK_EQ(stats.threads_made, THREADS + 1);
    CHECK_EQ(stats.threads_live, 1);
    CHECK_EQ(stats.procs, goshim_maxprocs());
    CHECK(stats.kernel_threads >= 1 && stats.kernel_threads_idle < stats.kernel_threads);
    CHECK(stats.procs_idle < stats.procs);
    CHECK_EQ(stats.running + stats.runnable + stats.in_calls + stats.waiting, 1);
    CHECK_EQ(stats.running, 1);
    CHECK(stats.switches >= THREADS);
    CHECK(stats.kernel_wakeups >= 1);
    const uint64_t calls = stats.calls;
    const uint64_t timers = stats.timers;
    for (int i = 0; i < 10; i++) usleep(2000);  // one of them at least is not over before it begins
    const int null = open("/dev/null", O_RDONLY);
    CHECK_SYS(null);
    CHECK_EQ(flock(null, LOCK_SH), 0);
    CHECK_OK(goshim_stats(&stats, sizeof stats));
    CHECK(stats.calls > calls);
    CHECK(stats.timers > timers);
    // More wake-ups than are timed.
    uint64_t counts[GOSHIM_LATENCY_BUCKETS + 1];
    CHECK_EQ(goshim_latency(NULL, 1), EINVAL);
    CHECK_EQ(goshim_latency(counts, 0), EINVAL);
    run_threads(400, sleep_often);
    CHECK_OK(goshim_stats(&stats, sizeof stats));
    CHECK_OK(goshim_latency(counts, GOSHIM_LATENCY_BUCKETS + 1));
    uint64_t timed = 0;
    for (int i = 0; i < GOSHIM_LATENCY_BUCKETS; i++) {
      timed += counts[i];
      CHECK(goshim_latency_from((size_t)i) < goshim_latency_from((size_t)i + 1));
    }
    CHECK(stats.latency_timed > 0);
    CHECK_EQ(timed, stats.latency_timed);
    CHECK_EQ(counts[GOSHIM_LATENCY_BUCKETS], 0);
    CHECK_EQ(goshim_latency_from(GOSHIM_LATENCY_BUCKETS), UINT64_MAX);
    // An older program's struct, a newer one's.
    struct {
      struct goshim_stats stats;
      uint64_t more;
    } big, small;
    memset(&big, 0xff, sizeof big);
    memset(&small, 0xff, sizeof small);
    CHECK_OK(goshim_stats(&big.stats, sizeof big));
    CHECK_EQ(big.more, 0);
    CHECK_OK(goshim_stats(&small.stats, 8));
    CHECK_EQ(small.stats.threads_made, THREADS + 401);
    CHECK_EQ(small.stats.threads_live, UINT64_MAX);
  }
  return 0;
}
