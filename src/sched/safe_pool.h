// Type-stable memory that a signal handler may take and give back, at any instruction and on any thread: a lock-free
// free list over mapped chunks. For saved contexts and queued signals.
#pragma once

#include <sys/mman.h>

#include "base/base.h"
#include "base/sys.h"

namespace goshim {

// What the pool keeps at the head of every item. Items are zero when taken for the first time, as they were left else.
struct SafePoolItem {
  uint32_t index;  // constant
  // Index + 1 of the next free item, 0 at the end. Written by the owner of the item before his release of the head;
  // relaxed: a value read too late belongs to a head that has moved on (its tag).
  std::atomic<uint32_t> next;
};

class SafePool {
 public:
  // Item sizes are multiples of 64. Called once before the first take(), on one thread.
  void init(size_t item_size) { size_ = item_size; }

  // Null when memory is exhausted.
  void* take() {
    uint64_t head = free_.load(std::memory_order_acquire);
    while (uint32_t first = static_cast<uint32_t>(head)) {
      SafePoolItem* item = at(first - 1);
      // The item may be another's by now: then the tag in head has moved on and the CAS fails.
      uint32_t after = item->next.load(std::memory_order_relaxed);
      if (free_.compare_exchange_weak(head, tagged(head, after), std::memory_order_acq_rel, std::memory_order_acquire))
        return item;
    }
    uint32_t fresh = fresh_.load(std::memory_order_relaxed);
    do {
      if (fresh / kPerChunk >= kChunks || !chunk(fresh / kPerChunk)) return nullptr;
    } while (!fresh_.compare_exchange_weak(fresh, fresh + 1, std::memory_order_relaxed));
    SafePoolItem* item = at(fresh);
    item->index = fresh;
    return item;
  }

  void release(void* taken) {
    auto* item = static_cast<SafePoolItem*>(taken);
    uint64_t head = free_.load(std::memory_order_relaxed);
    do {
      item->next.store(static_cast<uint32_t>(head), std::memory_order_relaxed);
    } while (!free_.compare_exchange_weak(head, tagged(head, item->index + 1), std::memory_order_acq_rel,
                                          std::memory_order_relaxed));
  }

 private:
  static constexpr uint32_t kPerChunk = 256;
  static constexpr uint32_t kChunks = 8192;

  // The upper half of the head counts changes: an item that was taken and came back meanwhile is noticed.
  static uint64_t tagged(uint64_t old_head, uint32_t first) { return ((old_head >> 32) + 1) << 32 | first; }

  SafePoolItem* at(uint32_t index) {
    char* base = chunks_[index / kPerChunk].load(std::memory_order_acquire);
    return reinterpret_cast<SafePoolItem*>(base + (index % kPerChunk) * size_);
  }

  bool chunk(uint32_t i) {
    if (chunks_[i].load(std::memory_order_acquire)) return true;
    char* none = nullptr;
    auto* made = static_cast<char*>(sys::map(kPerChunk * size_, PROT_READ | PROT_WRITE));
    if (!made) return false;
    if (!chunks_[i].compare_exchange_strong(none, made, std::memory_order_acq_rel)) sys::unmap(made, kPerChunk * size_);
    return true;
  }

  size_t size_ = 0;
  // Tag and index + 1 of the first free item. acq_rel: what the last owner wrote to an item, and the chunk it lies in,
  // are seen by the next one.
  std::atomic<uint64_t> free_{0};
  std::atomic<uint32_t> fresh_{0};  // items below have been taken once; relaxed: a number that is given out once
  std::atomic<char*> chunks_[kChunks] = {};  // written once each (release), read by acquire
};

}  // namespace goshim
