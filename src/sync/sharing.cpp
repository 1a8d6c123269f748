// Ranges of shared memory (see sharing.h): a table of slots that is scanned. Programs have few shared mappings; one
// that has more than there are slots is not told apart any more, and everything counts as shared.
//
//   H1  A slot in use has begin > kTaken. Its owner, the one who set it from 0 to kTaken, writes end before begin
//       (release); a reader takes begin (acquire), then end.
//   H2  A range that shrinks or is cut in two stays covered all the time: the new slot is complete, and then cuts is
//       raised, before the old one changes (each a release). Who sees the old one changed (acquire) sees cuts changed
//       after his scan, and scans again: he may have passed by the new slot's place before. Two calls on overlapping
//       ranges at once are a race of the program's own.
#include "sync/sharing.h"

namespace goshim {
namespace {

constexpr uintptr_t kTaken = 1;
constexpr size_t kSlots = 256;

struct Slot {
  std::atomic<uintptr_t> begin;  // 0: free. H1
  std::atomic<uintptr_t> end;    // H1, H2
};

Slot slots[kSlots];
std::atomic<size_t> used;      // slots from here on have never been in use; only grows (release; acquire: the slots)
std::atomic<uint32_t> cuts;    // H2
std::atomic<bool> all_shared;  // set once (relaxed: nothing else hangs on it)

bool covered(uintptr_t begin, uintptr_t end) {
  for (;;) {
    uint32_t before = cuts.load(std::memory_order_acquire);
    size_t n = used.load(std::memory_order_acquire);
    for (size_t i = 0; i < n; i++) {
      uintptr_t b = slots[i].begin.load(std::memory_order_acquire);
      if (b > kTaken && b <= begin && end <= slots[i].end.load(std::memory_order_acquire)) return true;
    }
    if (cuts.load(std::memory_order_relaxed) == before) return false;
  }
}

void add(uintptr_t begin, uintptr_t end) {
  for (size_t i = 0; i < kSlots; i++) {
    uintptr_t free = 0;
    if (!slots[i].begin.compare_exchange_strong(free, kTaken, std::memory_order_acquire, std::memory_order_relaxed)) {
      continue;
    }
    slots[i].end.store(end, std::memory_order_relaxed);
    slots[i].begin.store(begin, std::memory_order_release);  // H1
    size_t known = used.load(std::memory_order_relaxed);
    while (known <= i && !used.compare_exchange_weak(known, i + 1, std::memory_order_release)) {
    }
    return;
  }
  note_all_shared();
}

}  // namespace

bool may_be_shared(const void* word) {
  auto at = reinterpret_cast<uintptr_t>(word);
  return all_shared.load(std::memory_order_relaxed) || covered(at, at + 1);
}

void note_shared(const void* begin, size_t length) {
  auto from = reinterpret_cast<uintptr_t>(begin);
  if (length && !covered(from, from + length)) add(from, from + length);
}

void note_private(const void* begin, size_t length) {
  size_t n = used.load(std::memory_order_acquire);
  auto from = reinterpret_cast<uintptr_t>(begin);
  uintptr_t to = from + length;
  for (size_t i = 0; i < n; i++) {
    uintptr_t b = slots[i].begin.load(std::memory_order_acquire);
    uintptr_t e = slots[i].end.load(std::memory_order_relaxed);
    if (b <= kTaken || e <= from || to <= b) continue;
    if (e > to) add(to, e);
    cuts.fetch_add(1, std::memory_order_release);  // H2
    if (b < from) slots[i].end.store(from, std::memory_order_release);
    else slots[i].begin.store(0, std::memory_order_release);
  }
}

void note_detached(const void* begin) {
  size_t n = used.load(std::memory_order_acquire);
  for (size_t i = 0; i < n; i++) {
    auto at = reinterpret_cast<uintptr_t>(begin);
    if (slots[i].begin.compare_exchange_strong(at, 0, std::memory_order_release, std::memory_order_relaxed)) return;
  }
}

void note_all_shared() { all_shared.store(true, std::memory_order_relaxed); }

}  // namespace goshim
