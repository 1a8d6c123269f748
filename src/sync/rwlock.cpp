// Reader-writer locks (see rwlock.h).
#include "sync/rwlock.h"

#include <errno.h>

#include "park/park.h"
#include "sched/sched.h"
#include "sync/identity.h"

namespace goshim {
namespace {

constexpr uint32_t kWriter = RwLock::kWriter;
constexpr uint32_t kReaders = 2;
constexpr uint32_t kWriters = 4;
constexpr uint32_t kReader = RwLock::kReader;
constexpr uint32_t kTooMany = 1U << 31;  // glibc refuses as many readers too

enum Gift : uint32_t { kRetry, kHanded };
enum Token : uintptr_t { kReads, kWrites };

bool keeps_readers_out(const pthread_rwlock_t* l) {
  return l->__data.__flags == PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP;
}

bool prefers_readers(const pthread_rwlock_t* l) { return l->__data.__flags == PTHREAD_RWLOCK_PREFER_READER_NP; }

bool may_read(const pthread_rwlock_t* l, uint32_t w) {
  return !(w & kWriter) && !((w & kWriters) && keeps_readers_out(l));
}

// ---- callbacks; the bucket's lock is held ----

bool reader_must_wait(void* ctx) {
  auto* pl = static_cast<pthread_rwlock_t*>(ctx);
  RwLock* l = rwlock_of(pl);
  uint32_t w = l->word.load(std::memory_order_relaxed);
  do {
    if (may_read(pl, w)) return false;
  } while (!l->word.compare_exchange_weak(w, w | kReaders, std::memory_order_relaxed));
  l->queued_readers++;
  return true;
}

bool writer_must_wait(void* ctx) {
  RwLock* l = rwlock_of(static_cast<pthread_rwlock_t*>(ctx));
  uint32_t w = l->word.load(std::memory_order_relaxed);
  do {
    if (!(w & kWriter) && w < kReader) return false;
  } while (!l->word.compare_exchange_weak(w, w | kWriters, std::memory_order_relaxed));
  l->queued_writers++;
  return true;
}

void reader_left(void* ctx, const void*, bool) {
  RwLock* l = rwlock_of(static_cast<pthread_rwlock_t*>(ctx));
  if (--l->queued_readers == 0) l->word.fetch_and(~kReaders, std::memory_order_relaxed);
}

void writer_left(void* ctx, const void*, bool) {
  RwLock* l = rwlock_of(static_cast<pthread_rwlock_t*>(ctx));
  if (--l->queued_writers == 0) l->word.fetch_and(~kWriters, std::memory_order_relaxed);
}

Filter only_readers(void*, uintptr_t token) { return token == kReads ? Filter::Unpark : Filter::Skip; }

struct HandOver {
  pthread_rwlock_t* lock;
  bool decided;
  bool to_readers;
  bool found;
};

Filter choose(void* ctx, uintptr_t token) {
  auto* h = static_cast<HandOver*>(ctx);
  if (!h->decided) {
    const RwLock* l = rwlock_of(h->lock);
    h->decided = true;
    h->to_readers = l->queued_readers != 0 && (l->queued_writers == 0 || prefers_readers(h->lock));
  }
  if (h->to_readers) return only_readers(nullptr, token);
  if (h->found) return Filter::Stop;
  if (token == kReads) return Filter::Skip;
  h->found = true;
  return Filter::Unpark;
}

// W2. kWriter is set, and stays set for a writer.
uint32_t hand_over(void* ctx, UnparkInfo info) {
  auto* h = static_cast<HandOver*>(ctx);
  RwLock* l = rwlock_of(h->lock);
  uint32_t w = 0;
  auto n = static_cast<uint32_t>(info.unparked);
  if (n != 0 && h->to_readers) {
    l->queued_readers -= n;
    w = n * kReader;
  } else if (n != 0) {
    l->queued_writers--;
    w = kWriter;
  }
  if (l->queued_readers) w |= kReaders;
  if (l->queued_writers) w |= kWriters;
  l->word.store(w, std::memory_order_release);
  return kHanded;
}

uint32_t let_readers_try(void* ctx, UnparkInfo info) {
  RwLock* l = rwlock_of(static_cast<pthread_rwlock_t*>(ctx));
  l->queued_readers -= static_cast<uint32_t>(info.unparked);
  if (l->queued_readers == 0) l->word.fetch_and(~kReaders, std::memory_order_relaxed);
  return kRetry;
}

// ----

void release_writer(pthread_rwlock_t* pl) {
  HandOver h{pl, false, false, false};
  unpark_filter(pl, choose, hand_over, &h);
}

ParkResult wait(pthread_rwlock_t* l, Token token, const Deadline* deadline, uint32_t* gift) {
  ParkRequest r{
      .key = l,
      .validate = token == kReads ? reader_must_wait : writer_must_wait,
      .before_sleep = nullptr,
      .timed_out = token == kReads ? reader_left : writer_left,
      .ctx = l,
      .deadline = deadline ? deadline->monotonic() : kForever,
      .reason = WaitReason::RwLock,
      .interruptible = true,
      .token = token,
      .front = false,
      .signals_only = true,
  };
  return park(r, gift);
}

// A writer that gives up may have been all that kept readers out (W3).
void writer_gave_up(pthread_rwlock_t* pl) {
  if (may_read(pl, rwlock_of(pl)->word.load(std::memory_order_relaxed))) {
    unpark_filter(
        pl, [](void*, uintptr_t token) { return only_readers(nullptr, token); }, let_readers_try, pl);
  }
}

int try_read(pthread_rwlock_t* pl) {
  RwLock* l = rwlock_of(pl);
  uint32_t w = l->word.load(std::memory_order_relaxed);
  while (may_read(pl, w)) {
    if (GOSHIM_UNLIKELY(w + kReader >= kTooMany)) return EAGAIN;
    // acquire: pairs with the release of a writer's unlock.
    if (l->word.compare_exchange_weak(w, w + kReader, std::memory_order_acquire, std::memory_order_relaxed)) return 0;
  }
  return EBUSY;
}

int try_write(RwLock* l) {
  uint32_t w = l->word.load(std::memory_order_relaxed);
  while (!(w & kWriter) && w < kReader) {
    if (l->word.compare_exchange_weak(w, w | kWriter, std::memory_order_acquire, std::memory_order_relaxed)) return 0;
  }
  return EBUSY;
}

bool is_writer(const RwLock* l) { return l->writer.load(std::memory_order_relaxed) == self_id(); }

}  // namespace

int rwlock_read(pthread_rwlock_t* pl, const Deadline* deadline) {
  if (deadline && !deadline->valid) return EINVAL;
  for (;;) {
    int error = try_read(pl);
    if (GOSHIM_LIKELY(error != EBUSY)) return error;
    if (is_writer(rwlock_of(pl))) return EDEADLK;
    uint32_t gift = kRetry;
    ParkResult r = wait(pl, kReads, deadline, &gift);
    if (r == ParkResult::Unparked && gift == kHanded) return 0;
    if (r == ParkResult::TimedOut && passed(deadline)) return ETIMEDOUT;
  }
}

int rwlock_write(pthread_rwlock_t* pl, const Deadline* deadline) {
  if (deadline && !deadline->valid) return EINVAL;
  RwLock* l = rwlock_of(pl);
  while (try_write(l) != 0) {
    if (is_writer(l)) return EDEADLK;
    uint32_t gift = kRetry;
    ParkResult r = wait(pl, kWrites, deadline, &gift);
    if (r == ParkResult::Unparked && gift == kHanded) break;
    if (r == ParkResult::TimedOut || r == ParkResult::Interrupted) {
      writer_gave_up(pl);
      if (r == ParkResult::TimedOut && passed(deadline)) return ETIMEDOUT;
    }
  }
  l->writer.store(self_id(), std::memory_order_relaxed);
  return 0;
}

int rwlock_try_read(pthread_rwlock_t* l) { return try_read(l); }

int rwlock_try_write(pthread_rwlock_t* pl) {
  RwLock* l = rwlock_of(pl);
  int error = try_write(l);
  if (error == 0) l->writer.store(self_id(), std::memory_order_relaxed);
  return error;
}

int rwlock_unlock(pthread_rwlock_t* pl) {
  RwLock* l = rwlock_of(pl);
  uint32_t w = l->word.load(std::memory_order_relaxed);
  if (w & kWriter) {
    l->writer.store(0, std::memory_order_relaxed);
    uint32_t alone = kWriter;
    if (l->word.compare_exchange_strong(alone, 0, std::memory_order_release, std::memory_order_relaxed)) return 0;
    release_writer(pl);
    return 0;
  }
  while (w >= kReader) {
    bool last = w < 2 * kReader;
    bool hand = last && (w & (kWriters | kReaders));
    uint32_t next = hand ? w - kReader + kWriter : w - kReader;
    // acq_rel when handing over: what the other readers released is passed on to the next owner.
    if (l->word.compare_exchange_weak(w, next, std::memory_order_acq_rel, std::memory_order_relaxed)) {
      if (hand) release_writer(pl);
      return 0;
    }
  }
  return 0;
}

}  // namespace goshim
