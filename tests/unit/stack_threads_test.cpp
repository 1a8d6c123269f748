// sanitize: thread
// Stack slots taken and given back by many threads at once.
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "stack/stack.h"

namespace goshim {
namespace {

TEST(StackThreads, NoSlotIsGivenTwice) {
  stack::init();
  constexpr int kThreads = 4;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; t++) {
    threads.emplace_back([t] {
      stack::Stack mine[6];
      for (int round = 0; round < 300; round++) {
        size_t size = size_t{65536} << (round % 3);
        for (stack::Stack& s : mine) {
          ASSERT_TRUE(stack::take(size, kPage, &s));
          auto* word = reinterpret_cast<long*>(s.top()) - 1;
          ASSERT_EQ(*word, 0);
          *word = t + 1;
        }
        for (stack::Stack& s : mine) {
          ASSERT_EQ(reinterpret_cast<long*>(s.top())[-1], t + 1);
          stack::release(s);
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
}

}  // namespace
}  // namespace goshim
