// 4-ary heaps of timers (see timer.h).
//
//   T1  t->heap and t->index are written under the lock of the heap that t is in or enters.
//   T2  firing is 1 from the moment t leaves its heap to fire until fire() has returned; it is set under the heap's
//       lock. timer_stop, which finds heap == null, waits for it: after that nobody holds t.
#include "park/timer.h"

#include <sys/mman.h>

#include <cstring>

#include "base/print.h"
#include "sched/internal.h"
#include "trace/page.h"
#include "trace/timeline.h"

namespace goshim {
namespace {

void place(TimerHeap* h, uint32_t i, Timer* t) {
  h->slots[i] = t;
  t->index = i;
}

void sift_up(TimerHeap* h, uint32_t i) {
  Timer* t = h->slots[i];
  while (i > 0) {
    uint32_t parent = (i - 1) / 4;
    if (h->slots[parent]->when <= t->when) break;
    place(h, i, h->slots[parent]);
    i = parent;
  }
  place(h, i, t);
}

void sift_down(TimerHeap* h, uint32_t i) {
  Timer* t = h->slots[i];
  for (;;) {
    uint32_t child = 4 * i + 1;
    if (child >= h->size) break;
    uint32_t best = child;
    for (uint32_t c = child + 1; c < child + 4 && c < h->size; c++) {
      if (h->slots[c]->when < h->slots[best]->when) best = c;
    }
    if (h->slots[best]->when >= t->when) break;
    place(h, i, h->slots[best]);
    i = best;
  }
  place(h, i, t);
}

void set_first(TimerHeap* h) { h->first.store(h->size ? h->slots[0]->when : kForever, std::memory_order_seq_cst); }

void grow(TimerHeap* h) {
  uint32_t capacity = h->slots == h->few ? kPage / sizeof(Timer*) : h->capacity * 2;
  auto** slots = static_cast<Timer**>(sys::map(capacity * sizeof(Timer*), PROT_READ | PROT_WRITE));
  if (!slots) fatal("timer_start: no memory for %u timers", capacity);
  std::memcpy(slots, h->slots, h->size * sizeof(Timer*));
  if (h->slots != h->few) sys::unmap(h->slots, h->capacity * sizeof(Timer*));
  h->slots = slots;
  h->capacity = capacity;
}

void remove(TimerHeap* h, Timer* t) {
  uint32_t i = t->index;
  Timer* last = h->slots[--h->size];
  if (last != t) {
    place(h, i, last);
    sift_up(h, i);
    sift_down(h, last->index);
  }
  t->heap.store(nullptr, std::memory_order_release);
  if (i == 0) set_first(h);
}

}  // namespace

void timer_start(Timer* t, Nanos when, G* (*fire)(void*), void* arg) {
  M* m = getg()->m.load(std::memory_order_relaxed);
  P* p = m_p(m);
  TimerHeap* h = p ? &p->timers : &sched.ps[0].timers;
  t->when = when;
  t->fire = fire;
  t->arg = arg;
  bool earliest;
  {
    LockGuard guard(h->lock);
    if (h->size == h->capacity) grow(h);
    t->heap.store(h, std::memory_order_release);
    h->slots[h->size] = t;
    sift_up(h, h->size++);
    earliest = t->index == 0;
    if (earliest) set_first(h);
  }
  if (earliest) wake_poller(when);
}

bool timer_stop(Timer* t) {
  for (;;) {
    TimerHeap* h = t->heap.load(std::memory_order_acquire);
    if (!h) {
      while (t->firing.load(std::memory_order_acquire)) arch::pause();  // T2
      return false;
    }
    LockGuard guard(h->lock);
    if (t->heap.load(std::memory_order_relaxed) != h) continue;
    remove(h, t);
    return true;
  }
}

Nanos timers_run(TimerHeap* h, Nanos now) {
  for (;;) {
    Timer* t;
    {
      LockGuard guard(h->lock);
      if (h->size == 0 || h->slots[0]->when > now) return h->first.load(std::memory_order_relaxed);
      t = h->slots[0];
      t->firing.store(1, std::memory_order_relaxed);  // T2
      remove(h, t);
    }
    tally(Counter::timers);
    timeline(Event::Timer);
    G* g = t->fire(t->arg);
    t->firing.store(0, std::memory_order_release);
    if (g) ready(g);
  }
}

}  // namespace goshim
