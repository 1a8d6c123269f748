// Stack slots: their size, guards, reuse, and what they cost.
#include "stack/stack.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "base/options.h"

namespace goshim {
namespace {

using stack::Stack;

constexpr size_t kSmall = 64 << 10;
constexpr size_t kLarge = 8 << 20;

// Whether the kernel, and so a program, can read the page.
bool readable(const void* page) { return syscall(SYS_rt_sigprocmask, SIG_BLOCK, page, nullptr, 8) == 0; }

Stack take(size_t size, size_t guard = kPage) {
  Stack s;
  EXPECT_TRUE(stack::take(size, guard, &s));
  return s;
}

size_t mappings() {
  std::ifstream maps("/proc/self/maps");
  std::string line;
  size_t n = 0;
  while (std::getline(maps, line)) n++;
  return n;
}

long status_kb(const char* field) {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.rfind(field, 0) == 0) return std::stol(line.substr(strlen(field) + 1));
  }
  return -1;
}

// Guards without a mapping: Linux 6.13.
bool cheap_guards() {
  void* p = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  bool yes = madvise(p, kPage, 102) == 0;
  munmap(p, kPage);
  return yes;
}

// Runs body in a child, for limits that would last; its failures are the child's exit status.
template <typename Body>
void in_child(Body body) {
  pid_t child = fork();
  if (child == 0) {
    stack::after_fork_child();
    body();
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

class StackSlots : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { stack::init(); }
};

TEST_F(StackSlots, DefaultSizeIsTheLimitOrTwoMegabytes) {
  auto with_limit = [](rlim_t bytes) {
    rlimit limit;
    getrlimit(RLIMIT_STACK, &limit);
    limit.rlim_cur = bytes;
    EXPECT_EQ(setrlimit(RLIMIT_STACK, &limit), 0);
    stack::init();
    return stack::default_size();
  };
  in_child([&] {
    EXPECT_EQ(with_limit(RLIM_INFINITY), 2U << 20);
    EXPECT_EQ(with_limit(1000000), 1003520U);
    EXPECT_EQ(with_limit(1), 16384U);
    EXPECT_EQ(with_limit(8 << 20), 8U << 20);
    options.stack_size = 100000;
    EXPECT_EQ(with_limit(8 << 20), 102400U);
  });
}

TEST_F(StackSlots, WholeUsablePartIsZeroAndWritable) {
  for (size_t size : {size_t{16384}, kSmall, size_t{100001}, kLarge, size_t{2} << 30}) {
    for (size_t guard : {size_t{0}, kPage, 3 * kPage, size_t{1}}) {
      Stack s = take(size, guard);
      EXPECT_EQ(s.guard, round_up(guard, kPage));
      EXPECT_EQ(s.size - s.guard, round_up(size, kPage));
      if (size <= kLarge) {
        for (char* p = s.base + s.guard; p < s.top(); p += 8) ASSERT_EQ(*reinterpret_cast<long*>(p), 0);
        memset(s.base + s.guard, 0xff, s.size - s.guard);
      }
      stack::release(s);
    }
  }
}

TEST_F(StackSlots, GuardFaultsAndItsNeighboursDoNot) {
  for (size_t guard : {kPage, 16 * kPage, size_t{1} << 20}) {
    for (size_t size : {kSmall, kLarge, (size_t{1} << 30) + kPage}) {
      Stack below = take(size, guard), s = take(size, guard);
      for (size_t at = 0; at < guard; at += kPage) {
        ASSERT_FALSE(readable(s.base + at));
        ASSERT_TRUE(stack::in_guard(s, s.base + at));
      }
      EXPECT_TRUE(readable(s.base + guard));
      EXPECT_FALSE(stack::in_guard(s, s.base + guard));
      EXPECT_FALSE(stack::in_guard(s, s.base - 1));
      EXPECT_TRUE(readable(below.top() - 1 - kPage));
      EXPECT_DEATH({ *static_cast<volatile char*>(s.base + guard - 1) = 1; }, "");
      stack::release(s);
      stack::release(below);
    }
  }
}

TEST_F(StackSlots, ComeBackLastInFirstOutAndZero) {
  Stack a = take(kLarge), b = take(kLarge);
  memset(b.top() - 3 * kPage, 0xff, 3 * kPage);
  stack::release(a);
  stack::release(b);
  Stack again = take(kLarge);
  EXPECT_EQ(again.base, b.base);
  for (char* p = again.top() - 3 * kPage; p < again.top(); p++) ASSERT_EQ(*p, 0);
  EXPECT_FALSE(readable(again.base));
  EXPECT_EQ(take(kLarge).base, a.base);
}

TEST_F(StackSlots, ShapesDoNotMix) {
  Stack a = take(kSmall, 0);
  stack::release(a);
  Stack b = take(kSmall - kPage, kPage);  // as many bytes in all
  EXPECT_NE(b.base, a.base);
  EXPECT_FALSE(readable(b.base));
  EXPECT_EQ(take(kSmall, 0).base, a.base);
}

TEST_F(StackSlots, TrimKeepsTheTopAndTheGuard) {
  Stack s = take(kLarge);
  for (char* p = s.base + s.guard; p < s.top(); p += kPage) *p = 1;
  stack::trim(s, 2 * kPage - 100);
  EXPECT_EQ(s.top()[-2 * static_cast<long>(kPage)], 1);
  EXPECT_EQ(s.top()[-3 * static_cast<long>(kPage)], 0);
  EXPECT_EQ(s.base[s.guard], 0);
  EXPECT_FALSE(readable(s.base));
  stack::trim(s, kLarge);
  stack::trim(s, 2 * kLarge);
  EXPECT_EQ(s.top()[-2 * static_cast<long>(kPage)], 1);
  stack::release(s);
}

TEST_F(StackSlots, ShapesBeyondTheTableHaveMappingsOfTheirOwn) {
  std::vector<Stack> all;
  for (size_t i = 0; i < 100; i++) all.push_back(take(kSmall + i * kPage));
  for (Stack& s : all) {
    EXPECT_FALSE(readable(s.base));
    memset(s.base + s.guard, 1, s.size - s.guard);
  }
  size_t before = mappings();
  for (Stack& s : all) stack::release(s);
  EXPECT_LT(mappings(), before);
}

TEST_F(StackSlots, AHundredThousandCostFewMappingsAndNoMemoryForGuards) {
  if (!cheap_guards()) GTEST_SKIP() << "needs MADV_GUARD_INSTALL";
  in_child([] {
    constexpr size_t kMany = 100000;
    size_t maps = mappings();
    long tables = status_kb("VmPTE:");
    std::vector<Stack> all;
    for (size_t i = 0; i < kMany; i++) {
      all.push_back(take(kLarge));
      *(all.back().top() - 1) = 1;
    }
    EXPECT_LT(mappings() - maps, 200U);
    EXPECT_LT(status_kb("VmPTE:") - tables, static_cast<long>(kMany) * 42 / 10);  // a page of the page table each: 4 KB
  });
}

TEST_F(StackSlots, LimitedAddressSpaceIsUsedToTheEnd) {
  in_child([] {
    long now = status_kb("VmSize:");
    rlimit limit{static_cast<rlim_t>(now) * 1024 + 40 * kLarge, RLIM_INFINITY};
    ASSERT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    Stack s;
    size_t n = 0;
    while (n < 1000 && stack::take(kLarge, 2 * kPage, &s)) n++;
    EXPECT_GE(n, 25U);
    EXPECT_LE(n, 40U);
    limit.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_AS, &limit);
    EXPECT_TRUE(stack::take(kLarge, 2 * kPage, &s));
  });
}

TEST_F(StackSlots, LockedMemoryHasGuardsWhileMappingsLast) {
  rlimit limit;
  getrlimit(RLIMIT_MEMLOCK, &limit);
  if (geteuid() != 0 && limit.rlim_cur != RLIM_INFINITY) GTEST_SKIP() << "may not lock memory";
  in_child([] {
    ASSERT_EQ(mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT), 0);
    Stack first = take(kSmall);
    EXPECT_FALSE(readable(first.base));
    for (int i = 0; i < 20000; i++) {
      Stack s = take(kSmall);
      *(s.top() - 1) = 1;
    }
    EXPECT_LT(mappings(), 40000U);
    memset(first.base + first.guard, 1, kSmall);
    stack::release(first);
    Stack again = take(kSmall);
    EXPECT_EQ(again.base, first.base);
    EXPECT_EQ(again.top()[-1], 0);
  });
}

TEST_F(StackSlots, LockingAllMemoryFillsOnlyWhatIsInUse) {
  rlimit limit;
  getrlimit(RLIMIT_MEMLOCK, &limit);
  if (geteuid() != 0 && limit.rlim_cur != RLIM_INFINITY) GTEST_SKIP() << "may not lock memory";
  in_child([] {
    for (int i = 0; i < 8; i++) take(kLarge, 5 * kPage);
    ASSERT_EQ(mlockall(MCL_CURRENT | MCL_FUTURE), 0);
    long before = status_kb("VmRSS:");
    for (int i = 0; i < 4; i++) take(kLarge, 6 * kPage);
    EXPECT_LT(status_kb("VmRSS:") - before, 5 * static_cast<long>(kLarge / 1024));
  });
}

TEST_F(StackSlots, AreThereInTheChildOfAFork) {
  Stack s = take(kLarge), cached = take(kLarge);
  *(s.top() - 1) = 5;
  stack::release(cached);
  in_child([&] {
    EXPECT_EQ(s.top()[-1], 5);
    EXPECT_FALSE(readable(s.base));
    Stack t = take(kLarge);
    EXPECT_EQ(t.base, cached.base);
    EXPECT_FALSE(readable(t.base));
    stack::release(t);
    stack::release(s);
  });
}

TEST_F(StackSlots, AreNotExecutable) {
  Stack s = take(kSmall);
  *(s.top() - 1) = static_cast<char>(0xc3);  // ret
  EXPECT_DEATH({ reinterpret_cast<void (*)()>(s.top() - 1)(); }, "");
}

TEST_F(StackSlots, ImpossibleSizesAreRefused) {
  Stack s;
  EXPECT_FALSE(stack::take(SIZE_MAX, kPage, &s));
  EXPECT_FALSE(stack::take(kSmall, SIZE_MAX, &s));
  EXPECT_FALSE(stack::take(size_t{1} << 48, kPage, &s));
}

}  // namespace
}  // namespace goshim
