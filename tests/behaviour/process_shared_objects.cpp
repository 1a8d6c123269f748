// Shows that process-shared mutexes, condition variables, semaphores, barriers and futexes work between the threads
// of a parent and those of its child.
#include "check.h"

#include <linux/futex.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <atomic>

namespace {

struct Shared {
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  pthread_rwlock_t rwlock;
  pthread_barrier_t barrier;
  sem_t sems[2];
  std::atomic<unsigned> word;
  long counter;
  int turn;
};
Shared* shared;
constexpr int kThreads = 6, kRounds = 50;

void work(int side) {
  parallel(kThreads, [side](int index) {
    for (int i = 0; i < kRounds; i++) {
      CHECK_OK(pthread_mutex_lock(&shared->mutex));
      const long before = shared->counter;
      if (i % 16 == 0) sched_yield();
      shared->counter = before + 1;
      CHECK_OK(pthread_mutex_unlock(&shared->mutex));
      CHECK_OK(i % 8 == 0 ? pthread_rwlock_wrlock(&shared->rwlock) : pthread_rwlock_rdlock(&shared->rwlock));
      CHECK_OK(pthread_rwlock_unlock(&shared->rwlock));
    }
    pthread_barrier_wait(&shared->barrier);
    if (index == 0) {
      for (int i = 0; i < kRounds; i++) {
        CHECK_OK(pthread_mutex_lock(&shared->mutex));
        while (shared->turn != side) CHECK_OK(pthread_cond_wait(&shared->cond, &shared->mutex));
        shared->turn = 1 - side;
        CHECK_OK(pthread_cond_broadcast(&shared->cond));
        CHECK_OK(pthread_mutex_unlock(&shared->mutex));
      }
    } else if (index == 1) {
      for (int i = 0; i < kRounds; i++) {
        if (side == 0) CHECK_SYS(sem_post(&shared->sems[1]));
        CHECK_SYS(sem_wait(&shared->sems[side]));
        if (side == 1) CHECK_SYS(sem_post(&shared->sems[0]));
      }
    } else if (index == 2) {
      for (unsigned i = 0; i < kRounds; i++) {
        for (;;) {
          const unsigned now = shared->word;
          if (now % 2 == static_cast<unsigned>(side)) break;
          syscall(SYS_futex, &shared->word, FUTEX_WAIT, now, nullptr, nullptr, 0);
        }
        shared->word++;
        syscall(SYS_futex, &shared->word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
      }
    }
  });
}

}  // namespace

int main() {
  shared = static_cast<Shared*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  pthread_mutexattr_t mutex;
  pthread_condattr_t cond;
  pthread_rwlockattr_t rwlock;
  pthread_barrierattr_t barrier;
  CHECK_OK(pthread_mutexattr_init(&mutex));
  CHECK_OK(pthread_condattr_init(&cond));
  CHECK_OK(pthread_rwlockattr_init(&rwlock));
  CHECK_OK(pthread_barrierattr_init(&barrier));
  CHECK_OK(pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED));
  CHECK_OK(pthread_condattr_setpshared(&cond, PTHREAD_PROCESS_SHARED));
  CHECK_OK(pthread_rwlockattr_setpshared(&rwlock, PTHREAD_PROCESS_SHARED));
  CHECK_OK(pthread_barrierattr_setpshared(&barrier, PTHREAD_PROCESS_SHARED));
  CHECK_OK(pthread_mutex_init(&shared->mutex, &mutex));
  CHECK_OK(pthread_cond_init(&shared->cond, &cond));
  CHECK_OK(pthread_rwlock_init(&shared->rwlock, &rwlock));
  CHECK_OK(pthread_barrier_init(&shared->barrier, &barrier, 2 * kThreads));
  for (sem_t& sem : shared->sems) CHECK_SYS(sem_init(&sem, 1, 0));
  const pid_t child = fork();
  CHECK_SYS(child);
  work(child == 0 ? 1 : 0);
  if (child == 0) _exit(0);
  CHECK_EQ(wait_status(child), 0);
  CHECK_EQ(shared->counter, 2 * kThreads * kRounds);
  return 0;
}
