// Type-stable memory for the runtime's own objects: carved from mapped chunks, never given back, so a stale pointer to
// an object always points at an object of that type (sysmon and wakers rely on it).
#pragma once

#include <sys/mman.h>

#include <new>

#include "base/base.h"
#include "base/lock.h"

namespace goshim {

// Objects are linked through T::slab_next while free. Caller contract: as for Lock.
template <typename T>
class Slab {
 public:
  // A constructed object the first time, whatever release() left in it later; null when memory is exhausted.
  T* take() {
    LockGuard guard(lock_);
    if (T* t = free_) {
      free_ = t->slab_next;
      return t;
    }
    if (left_ == 0) {
      void* chunk = sys::map(chunk_, PROT_READ | PROT_WRITE);
      if (!chunk) return nullptr;
      next_ = static_cast<char*>(chunk);
      left_ = chunk_ / sizeof(T);
      chunk_ = kChunk;
    }
    T* t = new (next_) T();
    next_ += sizeof(T);
    left_--;
    return t;
  }
  void release(T* t) {
    LockGuard guard(lock_);
    t->slab_next = free_;
    // A fork may come in between: its child must not see the head without the link. For other threads the lock does it.
    std::atomic_thread_fence(std::memory_order_release);
    free_ = t;
  }
  // For the child of a fork: somebody may have been in the middle of carving; what is left of the chunk is given up.
  void reset_lock() {
    lock_.reset();
    left_ = 0;
  }

 private:
  // The first one is small: most programs need no more, and those of all slabs share a page table.
  static constexpr size_t kFirstChunk = 1 << 16;
  static constexpr size_t kChunk = 1 << 20;
  Lock lock_;
  T* free_ = nullptr;
  char* next_ = nullptr;
  size_t left_ = 0;
  size_t chunk_ = kFirstChunk;
};

}  // namespace goshim
