// Shows that a process whose address space is used up goes on when its threads block in the kernel: there is nothing
// left to make kernel threads of.
#include "check.h"

#include <sys/resource.h>

#include <atomic>

int main() {
  static pthread_barrier_t begin;
  static std::atomic<int> there, polls;
  CHECK_OK(pthread_barrier_init(&begin, nullptr, 13));
  pthread_t starter = spawn([] {
    parallel(12, [](int index) {
      there++;
      pthread_barrier_wait(&begin);
      for (unsigned step = 0; step < 20; step++) {
        CHECK_EQ(poll(nullptr, 0, 2), 0);
        polls++;
        stir(step + static_cast<unsigned>(index));
      }
    });
  });
  EVENTUALLY(there == 12);
  long pages = 0;
  FILE* statm = fopen("/proc/self/statm", "r");
  CHECK(statm != nullptr);
  CHECK_EQ(fscanf(statm, "%ld", &pages), 1);
  fclose(statm);
  const rlim_t used = static_cast<rlim_t>(pages) * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
  struct rlimit limit = {used, used};
  CHECK_SYS(setrlimit(RLIMIT_AS, &limit));
  pthread_barrier_wait(&begin);
  join(starter);
  CHECK_EQ(polls, 12 * 20);
  return 0;
}
