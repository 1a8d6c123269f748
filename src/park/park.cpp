// The parking lot (see park.h): a fixed table of buckets, hashed by key. A bucket holds the distinct keys that have
// waiters, as a list of the waiters that are first on their key; each first one heads the FIFO of its key. So a hundred
// thousand waiters on one key cost the others in its bucket nothing, and taking the first off is O(1). The nodes lie on
// the waiters' stacks: parking allocates nothing and cannot fail.
//
//   L1  Links, queued and key of a node, and G::park_key, are written under the lock of the bucket of its key (both
//       locks in unpark_requeue). Who wants the bucket of a node reads key, locks, and looks again (lock_place).
//   L2  Who takes a node off the queue (queued becomes false) wakes its owner, once, after the lock is released; until
//       then the node stays: its owner cannot have left park(). An owner that took itself off wakes nobody.
//   L3  A node may be looked at by its timer until timer_stop() has returned; park() calls that before it returns.
//   L4  The waker sets the request in the G's Tls, issues a membarrier, reads G::park_key; the G sets park_key, then
//       reads the request. So an interrupt is seen by one of them.
//
// Memory order: a waiter looks at the object under the bucket's lock, and a waker takes the same lock after he has
// changed the object: of the two critical sections the second sees what came before the end of the first. So validate
// may use relaxed loads, and callbacks relaxed changes of the bits that are theirs. What the waker did before is seen
// by the woken through ready(): a release into a run queue, an acquire out of it; and through G::busy.
//
// Lock order: a bucket's lock is taken before the scheduler's and the timers' locks, and two buckets in address order.
#include "park/park.h"

#include <errno.h>
#include <sys/mman.h>

#include <cstring>

#include "base/host.h"
#include "park/timer.h"
#include "sched/sched.h"
#include "sched/section.h"

namespace goshim {
namespace {

struct Waiter {
  std::atomic<const void*> key;  // L1; relaxed: who reads it without the lock looks again under it
  // FIFO of the key: prev of the first is null.
  Waiter* next = nullptr;
  Waiter* prev = nullptr;
  // Only in the first of a key: the last of it, and its neighbours in the bucket's list of keys.
  Waiter* last = nullptr;
  Waiter* next_key = nullptr;
  Waiter* prev_key = nullptr;
  const ParkRequest* request;
  G* g;                 // null: a foreign thread
  uint64_t ticket = 0;  // order of arrival in the bucket
  bool queued = false;  // L1
  bool interruptible;
  ParkResult result = ParkResult::Unparked;  // written by who takes it off, before it is woken
  uint32_t gift = 0;                         // likewise
  // Futex of a foreign thread; 1 is the waker's last store to the node (release: result and gift; acquire).
  std::atomic<uint32_t> woken{0};
};

struct alignas(32) Bucket {
  Lock lock;
  Waiter* keys = nullptr;  // lock
  uint64_t tickets = 0;    // lock: handed out so far
};

constexpr int kBucketBits = 15;
// In zeroed memory that the kernel provides page by page when a bucket is first used. constinit: an initialiser that
// runs would touch all of it in every program, and reset locks that threads of other libraries' constructors use.
alignas(kPage) constinit Bucket buckets[1 << kBucketBits];

Bucket* bucket_of(const void* key) {
  return &buckets[reinterpret_cast<uintptr_t>(key) * 0x9e3779b97f4a7c15UL >> (64 - kBucketBits)];
}

// ---- queues; the bucket's lock is held ----

Waiter* first_of(const Bucket* b, const void* key) {
  Waiter* w = b->keys;
  while (w && w->key.load(std::memory_order_relaxed) != key) w = w->next_key;
  return w;
}

void replace_first(Bucket* b, Waiter* old, Waiter* first) {
  first->last = old->last;
  first->next_key = old->next_key;
  first->prev_key = old->prev_key;
  if (first->next_key) first->next_key->prev_key = first;
  if (first->prev_key) first->prev_key->next_key = first;
  else b->keys = first;
}

void enqueue(Bucket* b, Waiter* w, const void* key, bool front) {
  w->key.store(key, std::memory_order_relaxed);
  w->queued = true;
  w->ticket = ++b->tickets;
  w->next = nullptr;
  w->prev = nullptr;
  Waiter* first = first_of(b, key);
  if (!first) {
    w->last = w;
    w->prev_key = nullptr;
    w->next_key = b->keys;
    if (b->keys) b->keys->prev_key = w;
    b->keys = w;
  } else if (front) {
    w->ticket = first->ticket;
    w->next = first;
    first->prev = w;
    replace_first(b, first, w);
  } else {
    w->prev = first->last;
    first->last->next = w;
    first->last = w;
  }
  if (G* g = w->g) {
    g->park_place = w;
    g->park_key.store(key, std::memory_order_release);
  }
}

// first: the first of w's key.
void remove(Bucket* b, Waiter* first, Waiter* w) {
  if (w == first) {
    if (w->next) {
      w->next->prev = nullptr;
      replace_first(b, w, w->next);
    } else {
      if (w->next_key) w->next_key->prev_key = w->prev_key;
      if (w->prev_key) w->prev_key->next_key = w->next_key;
      else b->keys = w->next_key;
    }
  } else {
    w->prev->next = w->next;
    if (w->next) w->next->prev = w->prev;
    else first->last = w->prev;
  }
  w->queued = false;
  if (G* g = w->g) g->park_key.store(nullptr, std::memory_order_relaxed);
}

// Locks the bucket that w is in, or was in last.
Bucket* lock_place(const Waiter* w) {
  for (;;) {
    const void* key = w->key.load(std::memory_order_relaxed);
    Bucket* b = bucket_of(key);
    b->lock.lock();
    if (GOSHIM_LIKELY(w->key.load(std::memory_order_relaxed) == key)) return b;
    b->lock.unlock();
  }
}

// Takes w off for another reason than an unpark. The bucket's lock is held, w is queued.
void give_up(Bucket* b, Waiter* w, ParkResult why) {
  const void* key = w->key.load(std::memory_order_relaxed);
  remove(b, first_of(b, key), w);
  w->result = why;
  const ParkRequest& r = *w->request;
  auto* removed = why == ParkResult::Interrupted && r.interrupted ? r.interrupted : r.timed_out;
  if (removed) removed(r.ctx, key, first_of(b, key) == nullptr);
}

// The owner gives up by itself; false if somebody else has taken it off and wakes it.
bool withdraw(Waiter* w, ParkResult why) {
  Bucket* b = lock_place(w);
  bool ours = w->queued;
  if (ours) give_up(b, w, why);
  b->lock.unlock();
  return ours;
}

// ---- waking; no lock is held (L2) ----

void wake_foreign(Waiter* w) {
  w->woken.store(1, std::memory_order_release);
  // The node may be gone by now: then this wakes nobody, or somebody spuriously who looks again.
  sys::futex_wake(&w->woken, 1);
}

void wake(Waiter* w) {
  if (GOSHIM_LIKELY(w->g != nullptr)) ready(w->g);
  else wake_foreign(w);
}

// Wakes a list linked by next.
int wake_all(Waiter* list) {
  constexpr int kBatch = 64;
  int n = 0;
  while (list) {
    G* gs[kBatch];
    int batch = 0;
    while (list && batch < kBatch) {
      Waiter* w = list;
      list = w->next;  // read first: the node dies when its owner runs
      n++;
      if (w->g) gs[batch++] = w->g;
      else wake_foreign(w);
    }
    ready_many(gs, batch);
  }
  return n;
}

// Waiters taken off, in order, linked by next.
struct Taken {
  Waiter* head = nullptr;
  Waiter** tail = &head;
  int count = 0;
  void add(Waiter* w) {
    w->next = nullptr;
    w->result = ParkResult::Unparked;
    *tail = w;
    tail = &w->next;
    count++;
  }
  void give(uint32_t gift) {
    for (Waiter* w = head; w; w = w->next) w->gift = gift;
  }
};

// The timer of a G that waits.
G* time_out(void* arg) {
  auto* w = static_cast<Waiter*>(arg);
  Bucket* b = lock_place(w);
  G* g = w->queued ? w->g : nullptr;
  if (g) give_up(b, w, ParkResult::TimedOut);
  b->lock.unlock();
  return g;
}

// ---- parking ----

// The part under the lock. Unparked stands for "queued".
ParkResult get_in_line(const ParkRequest& r, Waiter* w) {
  Bucket* b = bucket_of(r.key);
  LockGuard guard(b->lock);
  if (!r.validate(r.ctx)) return ParkResult::Invalid;
  if (GOSHIM_UNLIKELY(r.deadline != kForever) && r.deadline <= sys::nanotime()) {
    if (r.timed_out) r.timed_out(r.ctx, r.key, first_of(b, r.key) == nullptr);
    return ParkResult::TimedOut;
  }
  enqueue(b, w, r.key, r.front);
  return ParkResult::Unparked;
}

bool interrupt_due(const ParkRequest& r) {
  uint32_t pending = goshim_tls.pending.load(std::memory_order_relaxed);
  if (r.signals_only) return (pending & kPendingSignal) != 0;
  return (pending & (kPendingSignal | kPendingCancel)) != 0 ||
         goshim_tls.interrupt.load(std::memory_order_relaxed) != 0;
}

GOSHIM_NOINLINE ParkResult park_foreign(const ParkRequest& r, uint32_t* gift) {
  Waiter w{.key = r.key, .request = &r, .g = nullptr, .interruptible = false};
  {
    Section section;
    ParkResult in_line = get_in_line(r, &w);
    if (in_line != ParkResult::Unparked) return in_line;
  }
  if (r.before_sleep) r.before_sleep(r.ctx);
  while (w.woken.load(std::memory_order_acquire) == 0) {
    long error = sys::futex_wait(&w.woken, 0, r.deadline);
    ParkResult why = ParkResult::TimedOut;
    if (error == -EINTR && r.interruptible) why = ParkResult::Interrupted;  // its handlers have run in the kernel's way
    else if (error != -ETIMEDOUT) continue;
    Section section;
    if (withdraw(&w, why)) return why;
  }
  if (gift) *gift = w.gift;
  return w.result;
}

// Runs the handlers that have interrupted the wait. Preemption off; on again at the end.
GOSHIM_COLD void run_handlers(const ParkRequest& r) {
  _pthread_cleanup_buffer on_the_way_out;
  host.cleanup_push(&on_the_way_out, r.abandoned, r.ctx);
  preempt_on();
  host.cleanup_pop(&on_the_way_out, 0);
}

}  // namespace

size_t park_request_offset() { return offsetof(Waiter, request); }

ParkResult park(const ParkRequest& r, uint32_t* gift) {
  G* g = getg();
  if (GOSHIM_UNLIKELY(g == nullptr)) return park_foreign(r, gift);
  preempt_off();
  // With the counter raised by the caller too, a handler could not run and the wait would go on at once, for ever.
  bool interruptible = r.interruptible && goshim_tls.nopreempt == 1 + r.raised;
  Waiter w{.key = r.key, .request = &r, .g = g, .interruptible = interruptible};
  park_prepare(r.reason);
  ParkResult in_line = get_in_line(r, &w);
  if (in_line != ParkResult::Unparked) {
    g->status.store(GStatus::Running, std::memory_order_relaxed);
    preempt_on();
    return in_line;
  }
  if (GOSHIM_UNLIKELY(r.deadline != kForever)) timer_start(&g->timer, r.deadline, time_out, &w);
  if (r.before_sleep) r.before_sleep(r.ctx);
  std::atomic_signal_fence(std::memory_order_seq_cst);  // L4
  if (GOSHIM_UNLIKELY(interruptible && interrupt_due(r)) && withdraw(&w, ParkResult::Interrupted)) {
    g->status.store(GStatus::Running, std::memory_order_relaxed);
  } else {
    park_switch();
  }
  if (GOSHIM_UNLIKELY(r.deadline != kForever)) timer_stop(&g->timer);  // L3
  if (gift) *gift = w.gift;
  if (GOSHIM_UNLIKELY(w.result == ParkResult::Interrupted) && r.abandoned) run_handlers(r);
  else preempt_on();
  return w.result;
}

UnparkInfo unpark_one(const void* key, UnparkDone done, void* ctx) {
  Section section;
  Bucket* b = bucket_of(key);
  UnparkInfo info{0, false};
  Waiter* w;
  {
    LockGuard guard(b->lock);
    w = first_of(b, key);
    if (w) {
      info = {1, w->next != nullptr};
      remove(b, w, w);
    }
    uint32_t gift = done ? done(ctx, info) : 0;
    if (w) {
      w->result = ParkResult::Unparked;
      w->gift = gift;
    }
  }
  if (w) wake(w);
  return info;
}

int unpark_many(const void* key, int count) {
  constexpr int kBatch = 64;  // what is done under one hold of the lock
  Section section;
  Bucket* b = bucket_of(key);
  uint64_t limit = 0;
  int woken = 0;
  for (bool more = true; more && woken < count;) {
    Taken taken;
    {
      LockGuard guard(b->lock);
      if (limit == 0) limit = b->tickets;
      Waiter* first = first_of(b, key);
      while (first && taken.count < kBatch && woken + taken.count < count && first->ticket <= limit) {
        Waiter* next = first->next;
        remove(b, first, first);
        taken.add(first);
        first = next;
      }
      more = first && first->ticket <= limit;
    }
    woken += wake_all(taken.head);
  }
  return woken;
}

UnparkInfo unpark_filter(const void* key, Filter (*filter)(void* ctx, uintptr_t token), UnparkDone done, void* ctx) {
  Section section;
  Bucket* b = bucket_of(key);
  UnparkInfo info{0, false};
  Taken taken;
  {
    LockGuard guard(b->lock);
    Waiter* first = first_of(b, key);
    for (Waiter* w = first; w;) {
      Waiter* next = w->next;
      Filter verdict = filter(ctx, w->request->token);
      if (verdict == Filter::Stop) break;
      if (verdict == Filter::Unpark) {
        Waiter* after = w == first ? next : first;
        remove(b, first, w);
        first = after;
        taken.add(w);
      }
      w = next;
    }
    info = {taken.count, first != nullptr};
    if (done) taken.give(done(ctx, info));
  }
  wake_all(taken.head);
  return info;
}

RequeueInfo unpark_requeue(const void* from, const void* to, RequeuePlan (*plan)(void* ctx),
                           void (*done)(void* ctx, RequeueInfo info), void* ctx) {
  Section section;
  Bucket* bf = bucket_of(from);
  Bucket* bt = bucket_of(to);
  Bucket* low = bf < bt ? bf : bt;
  Bucket* high = bf < bt ? bt : bf;
  RequeueInfo info{0, 0, false};
  Taken taken;
  low->lock.lock();
  if (high != low) high->lock.lock();
  RequeuePlan p = plan(ctx);
  if (p.wake >= 0) {
    Waiter* first = first_of(bf, from);
    while (first && taken.count < p.wake) {
      Waiter* next = first->next;
      remove(bf, first, first);
      taken.add(first);
      first = next;
    }
    while (first && info.moved < p.move && from != to) {
      Waiter* next = first->next;
      remove(bf, first, first);
      enqueue(bt, first, to, false);
      info.moved++;
      first = next;
    }
    info.woken = taken.count;
    info.have_more = first != nullptr;
    if (done) done(ctx, info);
  } else {
    info.woken = -1;
  }
  if (high != low) high->lock.unlock();
  low->lock.unlock();
  if (taken.head && !taken.head->next) wake(taken.head);
  else wake_all(taken.head);
  return info;
}

void unpark_interrupt(G* g) {
  while (const void* key = g->park_key.load(std::memory_order_acquire)) {
    Bucket* b = bucket_of(key);
    b->lock.lock();
    if (g->park_key.load(std::memory_order_relaxed) != key) {
      b->lock.unlock();
      continue;
    }
    auto* w = static_cast<Waiter*>(g->park_place);
    bool allowed = w->interruptible;
    if (allowed) give_up(b, w, ParkResult::Interrupted);
    b->lock.unlock();
    if (allowed) ready(g);
    return;
  }
}

bool park_sleep(Nanos deadline, bool interruptible) {
  char nobody_wakes_me;
  ParkRequest r{
      .key = &nobody_wakes_me,
      .validate = [](void*) { return true; },
      .before_sleep = nullptr,
      .timed_out = nullptr,
      .ctx = nullptr,
      .deadline = deadline,
      .reason = WaitReason::Sleep,
      .interruptible = interruptible,
  };
  return park(r) != ParkResult::Interrupted;
}

void park_after_fork_child() {
  // Gives the pages back: they read as zero, which is an empty table. Locked memory refuses that.
  if (sys::advise(buckets, sizeof buckets, MADV_DONTNEED) != 0)
    std::memset(static_cast<void*>(buckets), 0, sizeof buckets);
}

}  // namespace goshim
