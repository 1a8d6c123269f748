// Reading a page of counters (see page.h): the part that the launcher has too.
#include "trace/page.h"

#include "base/procs.h"

namespace goshim {
namespace {

template <size_t n>
void add(uint64_t (&to)[n], const std::atomic<uint64_t> (&from)[n]) {
  for (size_t i = 0; i < n; i++) to[i] += from[i].load(std::memory_order_relaxed);
}

uint64_t difference(uint64_t more, uint64_t less) { return more > less ? more - less : 0; }

}  // namespace

const char* wait_reason_name(WaitReason reason) {
  switch (reason) {
    case WaitReason::None: return "none";
    case WaitReason::Mutex: return "mutex";
    case WaitReason::Cond: return "cond";
    case WaitReason::RwLock: return "rwlock";
    case WaitReason::Barrier: return "barrier";
    case WaitReason::Semaphore: return "semaphore";
    case WaitReason::Once: return "once";
    case WaitReason::Join: return "join";
    case WaitReason::Futex: return "futex";
    case WaitReason::Sleep: return "sleep";
    case WaitReason::Io: return "io";
    case WaitReason::Signal: return "signal";
    case WaitReason::SpinLock: return "spinlock";
    case WaitReason::Region: return "region";
  }
  return "?";
}

bool page_valid(const void* memory, size_t size) {
  auto* p = static_cast<const Page*>(memory);
  return size >= sizeof(Page) && p->magic.load(std::memory_order_acquire) == kPageMagic && p->layout == kPageLayout &&
         p->size <= size && p->area_size == sizeof(Counts) && p->first_area >= sizeof(Page) &&
         p->first_area % alignof(Counts) == 0 && p->first_area + (kMaxProcs + UINT64_C(1)) * p->area_size <= p->size;
}

int page_procs(const Page* page) {
  int n = page->procs.load(std::memory_order_acquire);
  return n < 0 ? 0 : n > kMaxProcs ? kMaxProcs : n;
}

void page_totals(const Page* page, Totals* out) {
  uint64_t ticks = 0;
  uint64_t queued = page->queued.load(std::memory_order_relaxed);
  for (int i = 0, n = page_procs(page); i < n; i++) {
    ticks += page->area(i)->schedticks.load(std::memory_order_relaxed);
    queued += page->area(i)->queued.load(std::memory_order_relaxed);
  }
  page_totals(page, ticks, queued, out);
}

void page_totals(const Page* page, uint64_t schedticks, uint64_t queued, Totals* out) {
  *out = {};
  for (int i = Page::kNoP, n = page_procs(page); i < n; i++) {
    const Counts* c = page->area(i);
    add(out->parks, c->parks);
    add(out->readied, c->readied);
    add(out->counts, c->of);
    add(out->latency, c->latency);
  }
  auto of = [out](Counter c) { return out->counts[static_cast<size_t>(c)]; };
  out->switches = schedticks + of(Counter::inherits);
  out->live = difference(of(Counter::gs_made), of(Counter::gs_ended));
  // What is not of one moment is cut to what fits (C2).
  uint64_t left = out->live;
  auto part = [&left](uint64_t n) {
    if (n > left) n = left;
    left -= n;
    return n;
  };
  for (size_t r = 1; r < kWaitReasons; r++) {
    out->waiting_for[r] = part(difference(out->parks[r], out->readied[r]));
    out->waiting += out->waiting_for[r];
  }
  out->in_calls = part(difference(of(Counter::calls), of(Counter::calls_ended)));
  out->runnable = part(queued);
  out->running = left;
}

}  // namespace goshim
