// Shows that the number of Ps can be changed hundreds of times under load of every kind: nobody stops, what was set is
// what is told, Ps too many go, Ps added are used, and a child of fork begins with what was set last.
// run: limit=60
#include <atomic>

#include "../../interpose/goshim.h"
#include "check.h"

static std::atomic<bool> stop{false};
constexpr int kKinds = 8;
static std::atomic<long> progress[kKinds];

static void hog(int kind) {
  while (!stop.load(std::memory_order_relaxed)) {
    compute(20000);
    progress[kind].fetch_add(1, std::memory_order_relaxed);
  }
}

static void mixed(int kind) {
  for (unsigned step = 0; !stop; step++) {
    stir(step);
    progress[kind]++;
  }
}

// Two that only ever switch to each other.
struct Pair {
  pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
  int turn = 0;
};

static void ping_pong(Pair* pair, int me, int kind) {
  pthread_mutex_lock(&pair->lock);
  while (!stop) {
    while (pair->turn != me && !stop) pthread_cond_wait(&pair->turned, &pair->lock);
    pair->turn = !me;
    pthread_cond_signal(&pair->turned);
    progress[kind]++;
  }
  pthread_cond_broadcast(&pair->turned);
  pthread_mutex_unlock(&pair->lock);
}

static void locked(int kind) {
  if (goshim_active()) CHECK_OK(goshim_lock_thread());
  for (unsigned step = 0; !stop; step++) {
    stir(step);
    progress[kind]++;
  }
  if (goshim_active()) CHECK_OK(goshim_unlock_thread());
}

static void change(unsigned i) {
  const int n = i % 17 == 0 ? 40 : static_cast<int>(i * 7 % 9) + 1;
  if (!goshim_active()) return;
  CHECK_OK(goshim_set_maxprocs(n));
}

static struct goshim_stats stats_now() {
  struct goshim_stats now;
  CHECK_OK(goshim_stats(&now, sizeof now));
  return now;
}

static void settles(int n, uint64_t idle) {
  if (!goshim_active()) return;
  CHECK_OK(goshim_set_maxprocs(n));
  CHECK_EQ(goshim_maxprocs(), n);
  EVENTUALLY(stats_now().procs == static_cast<uint64_t>(n) && stats_now().procs_surplus == 0);
  EVENTUALLY(stats_now().procs_idle <= idle);
}

int main() {
  if (goshim_active()) {
    CHECK_EQ(goshim_set_maxprocs(0), EINVAL);
    CHECK_EQ(goshim_set_maxprocs(GOSHIM_MAX_MAXPROCS + 1), EINVAL);
    CHECK_OK(goshim_set_maxprocs(3));  // before the first thread
    CHECK_EQ(goshim_maxprocs(), 3);
  }
  int ends[2];
  CHECK_SYS(pipe(ends));
  Pair pair;
  pthread_t threads[] = {
      spawn([] { hog(0); }),
      spawn([] { hog(0); }),
      spawn([] { hog(0); }),
      spawn([] { mixed(1); }),
      spawn([] { mixed(1); }),
      spawn([] { mixed(1); }),
      spawn([&] { ping_pong(&pair, 0, 2); }),
      spawn([&] { ping_pong(&pair, 1, 2); }),
      spawn([] { locked(3); }),
      spawn([&] {
        char byte = 0;
        while (!stop) CHECK_EQ(write(ends[1], &byte, 1), 1);
        close(ends[1]);
      }),
      spawn([&] {
        char byte;
        while (read(ends[0], &byte, 1) == 1) progress[4]++;
      }),
      spawn([] {
        while (!stop) {
          join(spawn([] { progress[5]++; }));
        }
      }),
      spawn([] {
        while (!stop) {
          usleep(300);
          progress[6]++;
        }
      }),
      spawn([] {  // changes it too
        for (unsigned i = 0; !stop; i++) {
          change(i);
          progress[7]++;
          usleep(5000);
        }
      }),
  };
  for (unsigned i = 0; i < 400; i++) {
    if (goshim_active()) CHECK_OK(goshim_set_maxprocs(static_cast<int>(i * 5 % 11) + 1));
    if (i % 4) usleep(i % 4 * 500);
  }
  for (auto& made : progress) {
    const long before = made;
    EVENTUALLY(made > before);
  }
  stop = true;
  for (pthread_t thread : threads) join(thread);

  // Only hogs: they are made to leave, and to use what is added.
  stop = false;
  for (pthread_t& thread : threads) thread = spawn([] { hog(0); });
  for (int round = 0; round < 3; round++) {
    settles(6, 0);
    settles(1, 0);
    settles(2, 0);
  }
  stop = true;
  for (pthread_t thread : threads) join(thread);

  if (goshim_active()) {
    const pid_t child = fork();
    if (child == 0) {
      CHECK_EQ(goshim_state(), GOSHIM_READY);
      CHECK_EQ(goshim_maxprocs(), 2);
      join(spawn([] { settles(4, 4); }));
      _exit(0);
    }
    CHECK_EQ(wait_status(child), 0);
  }
  return 0;
}
