// What single operations cost beside a given number of threads (bench/scale):
//   scale THREADS
//   scale floor THREADS    what their memory alone costs: a page in each 8 MB
// Prints a line for each figure, "NAME NANOSECONDS":
//   create   make a thread that then waits on a semaphore; THREADS times
//   yield    a yield of one of two threads, while the others wait
//   wake     post and be posted by each waiting thread in turn
//   timer    a sleep of a random time, of each thread: CPU time
//   join     end and join
// of the floor: create touches the pages for the first time, wake once more, join gives them back.
// A number of threads that cannot be had ends it with status 3.
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

using namespace bench;

constexpr long kSleepLeast = 200'000'000;  // nanoseconds
constexpr long kSleepMore = 400'000'000;
constexpr int kYields = 200000;
constexpr long kStack = 8L << 20;

long threads;
sem_t wake, woken, sleeping;

double now(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

void* lives(void* arg) {
  wait(&wake);
  sem_post(&woken);
  wait(&sleeping);
  unsigned seed = static_cast<unsigned>(reinterpret_cast<long>(arg));
  timespec t{0, kSleepLeast + rand_r(&seed) % kSleepMore};
  nanosleep(&t, nullptr);
  sem_post(&woken);
  wait(&wake);
  return arg;
}

void* yields(void* arg) {
  for (int i = 0; i < kYields; i++) sched_yield();
  return arg;
}

void figure(const char* name, double since, clockid_t clock, long times) {
  std::printf("%s %.1f\n", name, (now(clock) - since) / static_cast<double>(times));
}

void all(sem_t* s) {
  for (long i = 0; i < threads; i++) sem_post(s);
  for (long i = 0; i < threads; i++) wait(&woken);
}

int floor_of_memory() {
  auto bytes = static_cast<size_t>(threads * kStack);
  void* mapped =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (mapped == MAP_FAILED) return 3;
  madvise(mapped, bytes, MADV_NOHUGEPAGE);
  for (const char* name : {"create", "wake"}) {
    double since = now(CLOCK_MONOTONIC);
    for (long i = 1; i <= threads; i++) static_cast<volatile char*>(mapped)[i * kStack - 1] = 1;
    figure(name, since, CLOCK_MONOTONIC, threads);
  }
  double since = now(CLOCK_MONOTONIC);
  munmap(mapped, bytes);
  figure("join", since, CLOCK_MONOTONIC, threads);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  bool floor = argc == 3 && std::strcmp(argv[1], "floor") == 0;
  threads = argc == 2 || floor ? std::atol(argv[argc - 1]) : 0;
  if (threads <= 0) {
    std::fputs("usage: scale [floor] THREADS\n", stderr);
    return 2;
  }
  if (floor) return floor_of_memory();
  sem_init(&wake, 0, 0);
  sem_init(&woken, 0, 0);
  sem_init(&sleeping, 0, 0);
  join(start(nothing, nullptr));  // the first thread starts the runtime
  std::vector<pthread_t> made(static_cast<size_t>(threads));
  double since = now(CLOCK_MONOTONIC);
  for (long i = 0; i < threads; i++) {
    int error = pthread_create(&made[static_cast<size_t>(i)], nullptr, lives, reinterpret_cast<void*>(i));
    if (error == EAGAIN || error == ENOMEM) {
      std::fprintf(stderr, "scale: %ld threads and no more\n", i);
      _exit(3);
    }
  }
  figure("create", since, CLOCK_MONOTONIC, threads);

  since = now(CLOCK_MONOTONIC);
  pthread_t two[2];
  for (pthread_t& t : two) {
    if (pthread_create(&t, nullptr, yields, nullptr) != 0) _exit(3);
  }
  for (pthread_t t : two) pthread_join(t, nullptr);
  figure("yield", since, CLOCK_MONOTONIC, 2 * kYields);

  since = now(CLOCK_MONOTONIC);
  all(&wake);
  figure("wake", since, CLOCK_MONOTONIC, threads);

  since = now(CLOCK_PROCESS_CPUTIME_ID);
  all(&sleeping);
  figure("timer", since, CLOCK_PROCESS_CPUTIME_ID, threads);

  since = now(CLOCK_MONOTONIC);
  for (long i = 0; i < threads; i++) sem_post(&wake);
  for (pthread_t t : made) pthread_join(t, nullptr);
  figure("join", since, CLOCK_MONOTONIC, threads);
  return 0;
}
