// Shows that the program's __thread and thread_local variables are per thread, start from their initial image, keep
// their address across switches, and that each thread_local is destroyed once, in its own thread, in reverse order.
#include "check.h"

#include <atomic>

namespace {

std::atomic<int> constructed, destroyed;

__thread int plain = 42;
__thread char zeroed[5000];
__thread struct alignas(64) { uint64_t words[8]; } aligned;

struct Guard {
  explicit Guard(int rank) : rank(rank), owner(pthread_self()) { constructed++; }
  ~Guard() {
    sched_yield();
    CHECK(pthread_equal(owner, pthread_self()));
    CHECK_EQ(last, rank + 1);
    last = rank;
    destroyed++;
  }
  void touch() { uses++; }
  const int rank;
  const pthread_t owner;
  int uses = 0;
  static thread_local int last;
};
thread_local int Guard::last = 4;

Guard& guard(int rank) {
  thread_local Guard one(1);
  if (rank == 1) return one;
  thread_local Guard two(2);
  if (rank == 2) return two;
  thread_local Guard three(3);
  return three;
}

}  // namespace

int main() {
  constexpr int kThreads = 60;
  for (int round = 0; round < 3; round++) {  // Later rounds meet recycled stacks and thread control blocks.
    parallel(kThreads, [](int index) {
      CHECK_EQ(plain, 42);
      CHECK_EQ(Guard::last, 4);
      for (size_t i = 0; i < sizeof zeroed; i++) CHECK_EQ(zeroed[i], 0);
      CHECK_EQ(reinterpret_cast<uintptr_t>(&aligned) % 64, 0);
      CHECK_EQ(aligned.words[7], 0);
      int* const address = &plain;
      for (int rank = 1; rank <= 3; rank++) guard(rank);
      for (int step = 0; step < 60; step++) {
        plain = index * 1000 + step;
        zeroed[sizeof zeroed - 1] = static_cast<char>(index);
        aligned.words[7] = static_cast<uint64_t>(step);
        stir(static_cast<unsigned>(index + step));
        CHECK_EQ(plain, index * 1000 + step);
        CHECK_EQ(zeroed[sizeof zeroed - 1], static_cast<char>(index));
        CHECK_EQ(aligned.words[7], step);
        CHECK_EQ(address, &plain);
        guard(2).touch();
      }
      CHECK_EQ(guard(2).uses, 60);
    });
    CHECK_EQ(constructed.load(), kThreads * 3 * (round + 1));
    CHECK_EQ(destroyed.load(), kThreads * 3 * (round + 1));
  }
  CHECK_EQ(plain, 42);
  return 0;
}
