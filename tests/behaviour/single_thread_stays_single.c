// Shows that a program that makes no thread has one kernel thread, no foreign descriptor and an open signal mask,
// whatever it locks, waits for and sleeps.
#include "check.h"

#include <dirent.h>
#include <semaphore.h>
#include <signal.h>

static int entries(const char* path) {
  DIR* directory = opendir(path);
  CHECK(directory != NULL);
  int count = 0;
  while (readdir(directory) != NULL) count++;
  closedir(directory);
  return count - 2;  // Without . and ..
}

int main(void) {
  const int descriptors = entries("/proc/self/fd");
  CHECK_EQ(entries("/proc/self/task"), 1);
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
  pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
  pthread_barrier_t barrier;
  sem_t sem;
  CHECK_OK(pthread_barrier_init(&barrier, NULL, 1));
  CHECK_SYS(sem_init(&sem, 0, 1));
  for (int i = 0; i < 10; i++) {
    struct timespec soon = ms_from_now(CLOCK_REALTIME, 1);
    CHECK_OK(pthread_mutex_lock(&mutex));
    CHECK_EQ(pthread_cond_timedwait(&cond, &mutex, &soon), ETIMEDOUT);
    CHECK_OK(pthread_mutex_unlock(&mutex));
    CHECK_OK(pthread_rwlock_wrlock(&rwlock));
    CHECK_OK(pthread_rwlock_unlock(&rwlock));
    CHECK_EQ(pthread_barrier_wait(&barrier), PTHREAD_BARRIER_SERIAL_THREAD);
    CHECK_SYS(sem_wait(&sem));
    CHECK_SYS(sem_post(&sem));
    CHECK_EQ(poll(NULL, 0, 1), 0);
    stir((unsigned)i);
  }
  int ends[2];
  char byte;
  CHECK_SYS(pipe(ends));
  CHECK_EQ(write(ends[1], "x", 1), 1);
  CHECK_EQ(read(ends[0], &byte, 1), 1);
  close(ends[0]);
  close(ends[1]);
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) _exit(entries("/proc/self/task"));
  CHECK_EQ(wait_status(child), 1);
  CHECK_EQ(system("true"), 0);
  CHECK_EQ(entries("/proc/self/task"), 1);
  CHECK_EQ(entries("/proc/self/fd"), descriptors);
  sigset_t mask;
  CHECK_SYS(sigprocmask(SIG_BLOCK, NULL, &mask));
  for (int signal = 1; signal < 32; signal++) CHECK_EQ(sigismember(&mask, signal), 0);
  return 0;
}
