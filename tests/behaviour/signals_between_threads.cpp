// Shows that a signal reaches the thread it was sent to, whatever that thread does: computing, yielding, or blocked in
// any kind of wait; that it is counted exactly; and that the wait goes on as if nothing had happened.
// run: limit=60
#include "check.h"

#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>

#include <atomic>
#include <vector>

namespace {

constexpr int kRounds = 12;

struct Target {
  std::atomic<int> handled{0};
  std::atomic<int> values{0};  // sum of what came along
};

__thread Target* self;
std::atomic<bool> stop{false};
std::atomic<int> started{0};
pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
pthread_barrier_t barrier;
sem_t semaphore;
int pipe_ends[2];

void on_signal(int, siginfo_t* info, void*) {
  if (!self) check_fail(__FILE__, __LINE__, "the handler runs in a thread that was not asked");
  int saved = errno;
  if (info->si_code == SI_QUEUE) self->values += info->si_value.sival_int;
  self->handled++;
  errno = saved;
}

using Body = void (*)();

const struct {
  const char* what;
  Body body;
} kinds[] = {
    {"computes",
     [] {
       while (!stop) compute(1000);
     }},
    {"yields",
     [] {
       while (!stop) sched_yield();
     }},
    {"mutex",
     [] {
       CHECK_OK(pthread_mutex_lock(&mutex));
       CHECK_OK(pthread_mutex_unlock(&mutex));
     }},
    {"cond",
     [] {
       static pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
       CHECK_OK(pthread_mutex_lock(&own));
       while (!stop) CHECK_OK(pthread_cond_wait(&cond, &own));
       CHECK_OK(pthread_mutex_unlock(&own));
     }},
    {"rwlock",
     [] {
       CHECK_OK(pthread_rwlock_rdlock(&rwlock));
       CHECK_OK(pthread_rwlock_unlock(&rwlock));
     }},
    {"barrier", [] { pthread_barrier_wait(&barrier); }},
    {"semaphore",
     [] {
       while (sem_wait(&semaphore) != 0) CHECK_EQ(errno, EINTR);
     }},
    {"read",
     [] {
       char c;
       CHECK_EQ(read(pipe_ends[0], &c, 1), 1);
     }},
    {"poll",
     [] {
       pollfd one{pipe_ends[0], POLLIN, 0};
       while (poll(&one, 1, -1) != 1) CHECK_EQ(errno, EINTR);
     }},
    {"sleep",
     [] {
       while (!stop) usleep(50000);
     }},
    {"join",
     [] {
       pthread_t waiter = spawn([] {
         char c;
         CHECK_EQ(read(pipe_ends[0], &c, 1), 1);
       });
       CHECK_OK(pthread_join(waiter, nullptr));
     }},
    {"allocates",
     [] {
       while (!stop) {
         std::vector<char*> all;
         for (int i = 1; i < 50; i++) all.push_back(new char[static_cast<size_t>(i) * 37]);
         for (char* p : all) delete[] p;
       }
     }},
};
constexpr int kKinds = sizeof kinds / sizeof kinds[0];

}  // namespace

int main() {
  struct sigaction action {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  CHECK_SYS(sigaction(SIGUSR1, &action, nullptr));
  CHECK_SYS(sigaction(SIGRTMIN, &action, nullptr));
  CHECK_SYS(pipe(pipe_ends));
  CHECK_SYS(sem_init(&semaphore, 0, 0));
  CHECK_OK(pthread_barrier_init(&barrier, nullptr, 2));
  CHECK_OK(pthread_mutex_lock(&mutex));
  CHECK_OK(pthread_rwlock_wrlock(&rwlock));
  static Target targets[kKinds];
  pthread_t threads[kKinds];
  for (int k = 0; k < kKinds; k++) {
    threads[k] = spawn([k] {
      self = &targets[k];
      started++;
      kinds[k].body();
      self->handled += 1000000;  // it has left the wait
      while (!stop) usleep(1000);
    });
  }
  EVENTUALLY(started == kKinds);
  usleep(10000);  // most are in their wait by now; none need be
  for (int round = 0; round < kRounds; round++) {
    // One at a time is pending once; a queue of them each counts.
    for (int k = 0; k < kKinds; k++) CHECK_OK(pthread_kill(threads[k], SIGUSR1));
    for (int k = 0; k < kKinds; k++) {
      for (int i = 1; i <= 3; i++) {
        sigval value{};
        value.sival_int = i;
        CHECK_OK(pthread_sigqueue(threads[k], SIGRTMIN, value));
      }
    }
    for (int k = 0; k < kKinds; k++) {
      int wanted = (round + 1) * 4;
      EVENTUALLY(targets[k].handled >= wanted);
      if (targets[k].handled != wanted)
        check_fail(__FILE__, __LINE__, "%s: %d handlers, wanted %d", kinds[k].what, targets[k].handled.load(), wanted);
      CHECK_EQ(targets[k].values, (round + 1) * 6);
    }
  }
  stop = true;
  CHECK_OK(pthread_mutex_unlock(&mutex));
  CHECK_OK(pthread_rwlock_unlock(&rwlock));
  CHECK_OK(pthread_cond_broadcast(&cond));
  CHECK_SYS(sem_post(&semaphore));
  pthread_barrier_wait(&barrier);
  CHECK_EQ(write(pipe_ends[1], "xyz", 3), 3);
  for (pthread_t t : threads) join(t);
  return 0;
}
