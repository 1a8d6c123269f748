// The local run queue of a P: a ring of 256 Gs and the runnext slot. One producer, the owner of the P; any number of
// consumers. Overflow goes to the caller as a batch (proc.cpp moves it to the global queue under one lock).
//
//   R1  tail is written by the owner only; a slot in [head, tail) is stable: the owner writes slot tail % 256 only while
//       tail - head < 256, as seen by an acquire load of head.
//   R2  a consumer owns the Gs it read only if its CAS moved head over them: Gs read from slots that the owner has since
//       overwritten are dropped, because head has then moved.
//   R3  tail's release store publishes the slot; a consumer's acquire load of tail sees it.
#pragma once

#include "sched/runtime.h"

namespace goshim {

constexpr uint32_t kRunqBatch = kRunqSize / 2;

inline bool runq_empty(const P* p) {
  // A G may move from runnext to the ring between the loads: tail is read again after runnext, and compared.
  for (;;) {
    uint32_t head = p->runq_head.load(std::memory_order_acquire);
    uint32_t tail = p->runq_tail.load(std::memory_order_acquire);
    G* next = p->runnext.load(std::memory_order_acquire);
    if (tail == p->runq_tail.load(std::memory_order_acquire)) return head == tail && next == nullptr;
  }
}

inline uint32_t runq_length(const P* p) {
  uint32_t head = p->runq_head.load(std::memory_order_relaxed);
  uint32_t tail = p->runq_tail.load(std::memory_order_relaxed);
  uint32_t n = tail - head;
  return n > kRunqSize ? 0 : n;
}

// Owner only. False when the ring is full.
inline bool runq_push(P* p, G* g) {
  uint32_t head = p->runq_head.load(std::memory_order_acquire);  // R1
  uint32_t tail = p->runq_tail.load(std::memory_order_relaxed);
  if (GOSHIM_UNLIKELY(tail - head >= kRunqSize)) return false;
  p->runq[tail % kRunqSize].store(g, std::memory_order_relaxed);
  p->runq_tail.store(tail + 1, std::memory_order_release);  // R3
  return true;
}

// Owner only: the oldest G of the ring, or null.
inline G* runq_pop(P* p) {
  for (;;) {
    uint32_t head = p->runq_head.load(std::memory_order_acquire);
    uint32_t tail = p->runq_tail.load(std::memory_order_relaxed);
    if (head == tail) return nullptr;
    G* g = p->runq[head % kRunqSize].load(std::memory_order_relaxed);
    if (p->runq_head.compare_exchange_weak(head, head + 1, std::memory_order_acq_rel, std::memory_order_relaxed))
      return g;
  }
}

// Owner only: half of the ring into batch (at most kRunqBatch); the number, 0 if consumers were faster.
inline uint32_t runq_take_half(P* p, G** batch) {
  uint32_t head = p->runq_head.load(std::memory_order_acquire);
  uint32_t tail = p->runq_tail.load(std::memory_order_relaxed);
  uint32_t n = (tail - head) / 2;
  if (n > kRunqBatch) n = kRunqBatch;
  for (uint32_t i = 0; i < n; i++) batch[i] = p->runq[(head + i) % kRunqSize].load(std::memory_order_relaxed);
  if (n && !p->runq_head.compare_exchange_strong(head, head + n, std::memory_order_acq_rel, std::memory_order_relaxed))
    return 0;
  return n;
}

// Any M: half of the victim's ring into batch, at least one if there is any.
inline uint32_t runq_grab(P* victim, G** batch) {
  for (;;) {
    uint32_t head = victim->runq_head.load(std::memory_order_acquire);
    uint32_t tail = victim->runq_tail.load(std::memory_order_acquire);  // R3
    uint32_t n = tail - head;
    n -= n / 2;
    if (n == 0) return 0;
    if (n > kRunqBatch) continue;  // head and tail were not of one moment
    for (uint32_t i = 0; i < n; i++) batch[i] = victim->runq[(head + i) % kRunqSize].load(std::memory_order_relaxed);
    if (victim->runq_head.compare_exchange_weak(head, head + n, std::memory_order_acq_rel, std::memory_order_relaxed))
      return n;
  }
}

}  // namespace goshim
