// The local run queue of a P: a ring of 256 Gs and the runnext slot. One producer, the owner of the P; any number of
// consumers. Overflow goes to the caller as a batch (proc.cpp moves it to the global queue under one lock).
//
//   R1  tail is written by the owner only; a slot in [head, tail) is stable: the owner writes slot tail % 256 only
//       while tail - head < 256, as seen by an acquire load of head.
//   R2  a consumer owns the Gs it read only if its CAS moved head over them: Gs read from slots that the owner has
//       since overwritten are dropped, because head has then moved.
//   R3  tail's release store publishes the slot; a consumer's acquire load of tail sees it.
//   R4  Consumers change head only while tail is as they saw it: both are words of one CAS. So the owner may take the
//       last one back, or put one before the first. It then moves both ends on by the ring's size, or a consumer could
//       meet the same pair of ends again with another G in that slot.
//
// runnext is written at every hand-over and stolen seldom, so its owner uses no locked instruction and the thief pays:
//
//   N1  Only the owner stores a G there, and only over null; over null nobody else writes.
//   N2  The owner takes between taking = 1 and taking = 0, by a plain store of null, if it finds no mark.
//   N3  A thief (one at a time: next_thief) sets kWanted in runnext, issues a membarrier, and then reads taking. Reads
//       it 0, then the owner has not read runnext before the mark came, or its store of null is visible; from here on
//       it sees the mark. Reads it 1, the thief takes the mark away again.
//   N4  A marked runnext is changed by CAS only, by either side: whoever gets it to null has the G.
#pragma once

#include <linux/membarrier.h>

#include "base/sys.h"
#include "sched/runtime.h"

namespace goshim {

constexpr uint32_t kRunqBatch = kRunqSize / 2;

inline bool runq_empty(const P* p) {
  // A G may move from runnext to the ring between the loads: tail is read again after runnext, and compared.
  for (;;) {
    uint32_t head = p->runq_head.load(std::memory_order_acquire);
    uint32_t tail = p->runq_tail.load(std::memory_order_acquire);
    uintptr_t next = p->runnext.load(std::memory_order_acquire);
    if (tail == p->runq_tail.load(std::memory_order_acquire)) return head == tail && next == 0;
  }
}

inline uint32_t runq_length(const P* p) {
  uint32_t head = p->runq_head.load(std::memory_order_relaxed);
  uint32_t tail = p->runq_tail.load(std::memory_order_relaxed);
  uint32_t n = tail - head;
  return n > kRunqSize ? 0 : n;
}

// Changes the ends if they are as given.
inline bool runq_move(P* p, uint32_t head, uint32_t tail, uint32_t new_head, uint32_t new_tail) {
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && offsetof(P, runq_head) % 8 == 0 &&
                offsetof(P, runq_tail) == offsetof(P, runq_head) + 4);
  using Ends = uint64_t __attribute__((may_alias));
  Ends seen = head | uint64_t{tail} << 32;
  return __atomic_compare_exchange_n(reinterpret_cast<Ends*>(&p->runq_head), &seen, new_head | uint64_t{new_tail} << 32,
                                     false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
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
    if (runq_move(p, head, tail, head + 1, tail)) {
      // The next ones may have slept for long. They may be another's by now: these are hints.
      if (tail - head > 2) __builtin_prefetch(p->runq[(head + 2) % kRunqSize].load(std::memory_order_relaxed));
      if (tail - head > 1) {
        const G* next = p->runq[(head + 1) % kRunqSize].load(std::memory_order_relaxed);
        auto* sp = static_cast<const char*>(__atomic_load_n(&next->ctx.sp, __ATOMIC_RELAXED));
        __builtin_prefetch(sp);
        __builtin_prefetch(sp + kCacheLine);
        __builtin_prefetch(next->tp);
      }
      return g;
    }
  }
}

// Owner only: takes g out if it came last.
inline bool runq_take_last(P* p, const G* g) {
  uint32_t head = p->runq_head.load(std::memory_order_acquire);
  uint32_t tail = p->runq_tail.load(std::memory_order_relaxed);
  if (head == tail || p->runq[(tail - 1) % kRunqSize].load(std::memory_order_relaxed) != g) return false;
  return runq_move(p, head, tail, head + kRunqSize, tail - 1 + kRunqSize);  // R4
}

// Owner only: g comes first. False when the ring is full.
inline bool runq_push_front(P* p, G* g) {
  for (;;) {
    uint32_t head = p->runq_head.load(std::memory_order_acquire);
    uint32_t tail = p->runq_tail.load(std::memory_order_relaxed);
    if (GOSHIM_UNLIKELY(tail - head >= kRunqSize)) return false;
    p->runq[(head - 1) % kRunqSize].store(g, std::memory_order_relaxed);
    if (runq_move(p, head, tail, head - 1 + kRunqSize, tail + kRunqSize)) return true;  // R4
  }
}

// Owner only: half of the ring into batch (at most kRunqBatch); the number, 0 if consumers were faster.
inline uint32_t runq_take_half(P* p, G** batch) {
  uint32_t head = p->runq_head.load(std::memory_order_acquire);
  uint32_t tail = p->runq_tail.load(std::memory_order_relaxed);
  uint32_t n = (tail - head) / 2;
  if (n > kRunqBatch) n = kRunqBatch;
  for (uint32_t i = 0; i < n; i++) batch[i] = p->runq[(head + i) % kRunqSize].load(std::memory_order_relaxed);
  return n && runq_move(p, head, tail, head + n, tail) ? n : 0;
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
    if (runq_move(victim, head, tail, head + n, tail)) return n;
  }
}

// Owner only: what is in runnext, or null.
inline G* next_take(P* p) {
  if (p->runnext.load(std::memory_order_relaxed) == 0) return nullptr;  // N1
  p->taking.store(1, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);  // N3
  uintptr_t next = p->runnext.load(std::memory_order_relaxed);
  while (GOSHIM_UNLIKELY((next & kWanted) != 0)) {
    if (p->runnext.compare_exchange_strong(next, 0, std::memory_order_relaxed)) break;  // N4
  }
  p->runnext.store(0, std::memory_order_relaxed);
  p->taking.store(0, std::memory_order_release);
  return reinterpret_cast<G*>(next & ~kWanted);
}

// Owner only: runnext becomes g; returns the one that was there, or null.
inline G* next_put(P* p, G* g) {
  G* displaced = next_take(p);
  p->runnext.store(reinterpret_cast<uintptr_t>(g), std::memory_order_release);
  return displaced;
}

// Any M but the owner's.
inline G* next_steal(P* victim) {
  uintptr_t next = victim->runnext.load(std::memory_order_relaxed);
  if (next == 0 || victim->next_thief.exchange(true, std::memory_order_acquire)) return nullptr;
  bool taken = false;
  // acquire: what the owner wrote to the G is seen.
  if (victim->runnext.compare_exchange_strong(next, next | kWanted, std::memory_order_seq_cst)) {
    bool may = sys::call(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0 &&
               victim->taking.load(std::memory_order_acquire) == 0;
    uintptr_t marked = next | kWanted;
    taken = victim->runnext.compare_exchange_strong(marked, may ? 0 : next, std::memory_order_acq_rel) && may;
  }
  victim->next_thief.store(false, std::memory_order_release);
  return taken ? reinterpret_cast<G*>(next) : nullptr;
}

}  // namespace goshim
