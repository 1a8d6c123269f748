// Shows that the allocator and the standard containers stay whole: blocks made in one thread, checked and freed in
// others, strings and streams built in many, with threads that end while others go on.
#include "check.h"

#include <atomic>
#include <map>
#include <sstream>
#include <string>
#include <vector>

int main() {
  constexpr int kSlots = 256;
  struct Block {
    size_t size;
    unsigned char fill;
  };
  static std::atomic<Block*> slots[kSlots];
  for (int round = 0; round < 3; round++) {
    parallel(40, [](int index) {
      std::map<std::string, int> counts;
      unsigned seed = static_cast<unsigned>(index) * 7919 + 1;
      for (unsigned step = 0; step < 400; step++) {
        seed = seed * 1103515245 + 12345;
        const size_t size = sizeof(Block) + (seed >> 8) % (step % 50 == 0 ? 200000 : 700);
        Block* block = static_cast<Block*>(malloc(size));
        block->size = size;
        block->fill = static_cast<unsigned char>(seed >> 16);
        memset(block + 1, block->fill, size - sizeof(Block));
        Block* other = slots[(seed >> 4) % kSlots].exchange(block);
        if (other != nullptr) {
          const auto* bytes = reinterpret_cast<unsigned char*>(other + 1);
          for (size_t i = 0; i < other->size - sizeof(Block); i += 17) CHECK_EQ(bytes[i], other->fill);
          free(other);
        }
        std::ostringstream text;
        text << "thread " << index << ' ' << step % 10;
        counts[text.str()]++;
        if (step % 32 == 0) stir(step / 32 + static_cast<unsigned>(index));
      }
      CHECK_EQ(counts.size(), 10);
      for (const auto& [text, count] : counts) CHECK_EQ(count, 40);
    });
  }
  for (auto& slot : slots) free(slot.load());
  return 0;
}
