// sanitize: thread
// Lock and Slab under contention, and the readers of the kernel's text files.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/lock.h"
#include "base/slab.h"

namespace goshim {
namespace {

template <typename Body>
void in_threads(int n, Body body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < n; i++) threads.emplace_back(body, i);
  for (std::thread& t : threads) t.join();
}

TEST(Lock, ExcludesAndPublishes) {
  constexpr int kThreads = 8, kRounds = 20000;
  Lock lock;
  long counter = 0;  // plain: the lock is all that orders it
  in_threads(kThreads, [&](int) {
    for (int i = 0; i < kRounds; i++) {
      LockGuard hold(lock);
      counter++;
    }
  });
  EXPECT_EQ(counter, long{kThreads} * kRounds);
  EXPECT_FALSE(lock.held());
}

TEST(Lock, WakesThoseWhoSleep) {
  Lock lock;
  for (int round = 0; round < 20; round++) {
    std::atomic<int> inside{0};
    lock.lock();
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++) {
      threads.emplace_back([&] {
        LockGuard hold(lock);
        inside.fetch_add(1);
      });
    }
    usleep(2000);  // they spin for microseconds only
    EXPECT_EQ(inside.load(), 0);
    lock.unlock();
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(inside.load(), 4);
  }
}

TEST(Lock, TryLockFailsOnAHeldOne) {
  Lock lock;
  ASSERT_TRUE(lock.try_lock());
  EXPECT_TRUE(lock.held());
  EXPECT_FALSE(lock.try_lock());
  lock.reset();
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

struct alignas(64) Thing {
  int value = 42;
  std::atomic<int> users{0};
  Thing* slab_next = nullptr;
};

TEST(Slab, LastOutIsFirstIn) {
  Slab<Thing> slab;
  Thing* a = slab.take();
  Thing* b = slab.take();
  slab.release(a);
  slab.release(b);
  EXPECT_EQ(slab.take(), b);
  EXPECT_EQ(slab.take(), a);
}

TEST(Slab, KeepsWhatReleaseLeft) {
  Slab<Thing> slab;
  Thing* a = slab.take();
  EXPECT_EQ(a->value, 42);
  a->value = 7;
  slab.release(a);
  EXPECT_EQ(slab.take()->value, 7);
}

TEST(Slab, GrowsOverChunksWithDistinctAlignedObjects) {
  Slab<Thing> slab;
  std::set<Thing*> seen;
  for (int i = 0; i < 50000; i++) {  // several chunks of 1 MB
    Thing* t = slab.take();
    ASSERT_NE(t, nullptr);
    ASSERT_EQ(reinterpret_cast<uintptr_t>(t) % alignof(Thing), 0U);
    ASSERT_TRUE(seen.insert(t).second);
  }
}

TEST(Slab, GivesNoObjectTwice) {
  Slab<Thing> slab;
  in_threads(4, [&](int) {
    Thing* mine[8];
    for (int i = 0; i < 3000; i++) {
      for (Thing*& t : mine) {
        t = slab.take();
        ASSERT_EQ(t->users.fetch_add(1), 0);
      }
      for (Thing* t : mine) {
        t->users.fetch_sub(1);
        slab.release(t);
      }
    }
  });
}

class File : public ::testing::Test {
 protected:
  void SetUp() override { close(mkstemp(name)); }
  void TearDown() override { unlink(name); }
  void put(const std::string& text) { std::ofstream(name) << text; }
  char name[32] = "/tmp/goshim-file-XXXXXX";
};

TEST_F(File, IsCutToTheBuffer) {
  char buf[8];
  put("12345678901");
  EXPECT_EQ(read_file(name, buf, sizeof buf), 7);
  EXPECT_STREQ(buf, "1234567");
  put("");
  EXPECT_EQ(read_file(name, buf, sizeof buf), 0);
  EXPECT_STREQ(buf, "");
  EXPECT_EQ(read_file("/nonexistent", buf, sizeof buf), -ENOENT);
}

TEST_F(File, LinesOfAnyLength) {
  put("one\n\n" + std::string(5000, 'x') + "\nlast");
  LineReader lines(name);
  EXPECT_STREQ(lines.next(), "one");
  EXPECT_STREQ(lines.next(), "");
  EXPECT_EQ(std::string(lines.next()), std::string(1023, 'x'));
  EXPECT_STREQ(lines.next(), "last");
  EXPECT_EQ(lines.next(), nullptr);
  LineReader none("/nonexistent");
  EXPECT_EQ(none.next(), nullptr);
}

TEST(Number, EndsWhereTheDigitsDo) {
  long v;
  const char* end;
  ASSERT_TRUE(parse_number("42 100", &v, &end));
  EXPECT_EQ(v, 42);
  EXPECT_STREQ(end, " 100");
  EXPECT_TRUE(parse_number("9223372036854775807", &v, &end));
  EXPECT_FALSE(parse_number("9223372036854775808", &v, &end));
  EXPECT_FALSE(parse_number("-1", &v, &end));
  EXPECT_FALSE(parse_number("", &v, &end));
}

}  // namespace
}  // namespace goshim
