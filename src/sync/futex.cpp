// futex(2) (see futex.h). The key is the word's address, so a waiter that reaches the kernel past goshim (an inline
// system call, futex_waitv(2)) is not in our table: a wake that finds fewer here than it may wake asks the kernel too.
#include "sync/futex.h"

#include <errno.h>
#include <linux/futex.h>

#include "base/clock.h"
#include "base/lock.h"
#include "park/park.h"
#include "sched/sched.h"
#include "sched/user_memory.h"
#include "sync/hooks.h"
#include "sync/identity.h"
#include "sync/sharing.h"
#include "thread/ident.h"
#include "thread/life.h"
#include "thread/signal.h"

namespace goshim {
namespace {

using Word = std::atomic<uint32_t>;

struct Wait {
  const Word* word;
  uint32_t expected;
};

// Under the bucket's lock. Who wakes takes it too, behind his change of the word, so one of the two sees the other. The
// fence is for programs that announce the wait in another word, and count on it that futex(2) is a full barrier between
// that and the look at this one, as the kernel's is.
bool unchanged(void* ctx) {
  auto* w = static_cast<Wait*>(ctx);
  arch::fence_after_rmw();
  return w->word->load(std::memory_order_seq_cst) == w->expected;
}

// After an interrupt: as in the kernel, a wait with a time-out is never restarted after a handler.
bool ends(const HandlerMark& mark, bool timed) {
  if (!mark.counted()) return true;
  return handlers_ran(mark) && (timed || !handlers_restart(mark));
}

// A time that the program gave: 0, or as the kernel answers.
long check_time(const timespec* t) {
  if (!user_readable(t, sizeof *t)) return -EFAULT;
  return t->tv_sec < 0 || !valid_nanoseconds(t) ? -EINVAL : 0;
}

long wait(Word* word, uint32_t expected, const Deadline* deadline, uint32_t bits) {
  long now = user_word(word);
  if (now < 0) return -EFAULT;
  if (static_cast<uint32_t>(now) != expected) return -EAGAIN;
  Wait w{word, expected};
  HandlerMark mark = handler_mark();
  for (;;) {
    ParkRequest r{
        .key = word,
        .validate = unchanged,
        .before_sleep = nullptr,
        .timed_out = nullptr,
        .ctx = &w,
        .deadline = deadline ? deadline->monotonic() : kForever,
        .reason = WaitReason::Futex,
        .interruptible = true,
        .token = bits,
        .front = false,
        .signals_only = true,
    };
    switch (park(r)) {
      case ParkResult::Unparked: return 0;
      case ParkResult::Invalid: return -EAGAIN;
      case ParkResult::TimedOut:
        if (passed(deadline)) return -ETIMEDOUT;
        break;
      case ParkResult::Interrupted:
        if (ends(mark, deadline != nullptr)) return -EINTR;
        break;
    }
  }
}

struct Wake {
  int left;
  uint32_t bits;
};

Filter matches(void* ctx, uintptr_t token) {
  auto* w = static_cast<Wake*>(ctx);
  if (w->left == 0) return Filter::Stop;
  if (!(token & w->bits)) return Filter::Skip;
  w->left--;
  return Filter::Unpark;
}

int wake_count(long count) { return count <= 0 ? 1 : count > INT32_MAX ? INT32_MAX : static_cast<int>(count); }

// What a call answers that has found some here and asked the kernel for the rest.
long woken_too(long here, long by_kernel) { return here == 0 || by_kernel > 0 ? here + by_kernel : here; }

// flag: FUTEX_PRIVATE_FLAG, if the program gave it.
long wake(Word* word, long count, uint32_t bits, int flag) {
  if (bits == 0) return -EINVAL;
  int n = wake_count(static_cast<int>(count));
  int woken;
  if (bits == FUTEX_BITSET_MATCH_ANY) {
    woken = n == 1 ? unpark_one(word).unparked : unpark_many(word, n);
  } else {
    Wake w{n, bits};
    woken = unpark_filter(word, matches, nullptr, &w).unparked;
  }
  if (woken == n) return woken;
  return woken_too(woken, sys::call(SYS_futex, word, FUTEX_WAKE_BITSET | flag, n - woken, 0, 0, bits));
}

struct Requeue {
  const Word* word;
  bool compare;
  uint32_t expected;
  RequeuePlan plan;
};

// Among those that wait here; woken is negative if *expected is not there.
RequeueInfo requeue_here(Word* from, Word* to, int wake, int move, const uint32_t* expected) {
  Requeue r{from, expected != nullptr, expected ? *expected : 0, {wake, move}};
  return unpark_requeue(
      from, to,
      [](void* ctx) {
        auto* q = static_cast<Requeue*>(ctx);
        bool refused = q->compare && q->word->load(std::memory_order_seq_cst) != q->expected;
        return refused ? RequeuePlan{-1, 0} : q->plan;
      },
      nullptr, &r);
}

long requeue(Word* from, Word* to, int wake, int move, const uint32_t* expected, int flag) {
  if (wake < 0 || move < 0) return -EINVAL;
  if (expected && user_word(from) < 0) return -EFAULT;
  RequeueInfo info = requeue_here(from, to, wake, move, expected);
  if (info.woken < 0) return -EAGAIN;
  int here = info.woken + info.moved;
  wake -= info.woken;
  move -= info.moved;
  if (wake == 0 && move == 0) return here;
  int op = (expected ? FUTEX_CMP_REQUEUE : FUTEX_REQUEUE) | flag;
  return woken_too(here, sys::call(SYS_futex, from, op, wake, move, to, expected ? *expected : 0));
}

// ---- priority-inheriting locks: as locks only, since Gs have no priorities ----
//
// The word is 0 or the owner's thread id, with FUTEX_WAITERS while others are queued; programs take and release a lock
// without waiters by themselves. Unlock hands it to the first waiter, whose token is its id. So does the end of the
// owner, which looks through all that wait, after it has said that it ends; who begins to wait then finds it ended.

struct PiLock {
  Word* word;
  uint32_t self;
  uint32_t heir;  // unlock: the id of the waiter it is handed to
  uint32_t mark;  // and FUTEX_OWNER_DIED at the owner's end
  PiLock* next;   // in pi_waiting; both pi_lock
};

Lock pi_lock;
std::atomic<PiLock*> pi_waiting;  // written under pi_lock

void pi_link(PiLock* l) {
  NoPreempt off;
  LockGuard guard(pi_lock);
  l->next = pi_waiting.load(std::memory_order_relaxed);
  pi_waiting.store(l, std::memory_order_seq_cst);
}

// In the child of a fork, by a handler that has interrupted the wait, it is not there.
void pi_unlink(const PiLock* l) {
  NoPreempt off;
  LockGuard guard(pi_lock);
  PiLock* at = pi_waiting.load(std::memory_order_relaxed);
  if (at == l) pi_waiting.store(l->next, std::memory_order_relaxed);
  while (at && at->next != l) at = at->next;
  if (at) at->next = l->next;
}

bool pi_is_held(void* ctx) {
  auto* l = static_cast<PiLock*>(ctx);
  uint32_t w = l->word->load(std::memory_order_relaxed);
  do {
    if (!(w & FUTEX_TID_MASK)) return false;
  } while (!l->word->compare_exchange_weak(w, w | FUTEX_WAITERS, std::memory_order_relaxed));
  return true;
}

void pi_left(void* ctx, const void*, bool last_of_key) {
  if (last_of_key) static_cast<PiLock*>(ctx)->word->fetch_and(~FUTEX_WAITERS, std::memory_order_relaxed);
}

// The kernel knows nothing of Gs, and all other threads.
bool lives(uint32_t tid) {
  auto id = static_cast<int>(tid);
  if (G* g = runtime_started ? signal_g_of_tid(id) : nullptr) return !thread_has_ended(g);
  return id < kFirstVirtualTid && sys::call(SYS_sched_getscheduler, id) != -ESRCH;
}

long lock_pi(Word* word, const Deadline* deadline, bool only_try) {
  if (user_word_to_write(word) < 0) return -EFAULT;
  PiLock lock{word, static_cast<uint32_t>(self_id()), 0, 0, nullptr};
  for (;;) {
    uint32_t w = word->load(std::memory_order_relaxed);
    while (!(w & FUTEX_TID_MASK)) {  // so nobody is queued
      uint32_t mine = (w & FUTEX_OWNER_DIED) | lock.self;
      if (word->compare_exchange_weak(w, mine, std::memory_order_acquire, std::memory_order_relaxed)) return 0;
    }
    if ((w & FUTEX_TID_MASK) == lock.self) return -EDEADLK;
    if (!pi_is_held(&lock)) continue;
    uint32_t owner = word->load(std::memory_order_relaxed) & FUTEX_TID_MASK;
    // It may have given up the lock, and come to its end, since the word was read.
    auto ended_as_owner = [&] {
      return !lives(owner) && (word->load(std::memory_order_relaxed) & FUTEX_TID_MASK) == owner;
    };
    if (only_try) return ended_as_owner() ? -ESRCH : -EAGAIN;
    pi_link(&lock);
    if (owner && ended_as_owner()) {
      pi_unlink(&lock);
      return -ESRCH;
    }
    ParkRequest r{
        .key = word,
        .validate = pi_is_held,
        .before_sleep = nullptr,
        .timed_out = pi_left,
        .ctx = &lock,
        .deadline = deadline ? deadline->monotonic() : kForever,
        .reason = WaitReason::Futex,
        .interruptible = true,
        .token = lock.self,
        .front = false,
        .signals_only = true,
    };
    ParkResult result = park(r);
    pi_unlink(&lock);
    if (result == ParkResult::Unparked) return 0;
    if (result == ParkResult::TimedOut && passed(deadline)) return -ETIMEDOUT;
  }
}

// The lock is the caller's, in word and in fact. With no heir it is free.
void hand_over_pi(PiLock* lock) {
  unpark_filter(
      lock->word,
      [](void* ctx, uintptr_t token) {
        auto* l = static_cast<PiLock*>(ctx);
        if (l->heir) return Filter::Stop;
        l->heir = static_cast<uint32_t>(token);
        return Filter::Unpark;
      },
      [](void* ctx, UnparkInfo info) {
        auto* l = static_cast<PiLock*>(ctx);
        l->word->store(l->heir | l->mark | (info.have_more ? FUTEX_WAITERS : 0), std::memory_order_release);
        return uint32_t{0};
      },
      lock);
}

long unlock_pi(Word* word) {
  PiLock lock{word, static_cast<uint32_t>(self_id()), 0, 0, nullptr};
  long now = user_word(word);
  if (now < 0) return -EFAULT;
  if ((now & FUTEX_TID_MASK) != lock.self) return -EPERM;
  if (user_word_to_write(word) < 0) return -EFAULT;
  hand_over_pi(&lock);
  return 0;
}

// A wait that ends with the lock: its waker, FUTEX_CMP_REQUEUE_PI, lets as many as it is told go for it.
long wait_requeue_pi(Word* word, uint32_t expected, const Deadline* deadline, Word* lock) {
  if (word == lock) return -EINVAL;
  long r = wait(word, expected, deadline, FUTEX_BITSET_MATCH_ANY);
  return r == 0 ? lock_pi(lock, deadline, false) : r;
}

long requeue_pi(Word* word, int wake, int move, uint32_t expected, Word* lock) {
  if (wake != 1 || move < 0 || word == lock) return -EINVAL;
  if (user_word_to_write(lock) < 0) return -EFAULT;
  if (user_word(word) < 0) return -EFAULT;
  int woken = requeue_here(word, word, move < INT32_MAX ? move + 1 : move, 0, &expected).woken;
  return woken < 0 ? -EAGAIN : woken;
}

// The operation and comparison that FUTEX_WAKE_OP encodes in its last argument.
long wake_op(Word* first, int count, Word* second, int count2, uint32_t code, int flag) {
  uint32_t operation = code >> 28 & 0xf;
  uint32_t comparison = code >> 24 & 0xf;
  auto sign_extend = [](uint32_t twelve_bits) { return static_cast<int32_t>(twelve_bits << 20) >> 20; };
  auto operand = static_cast<uint32_t>(sign_extend(code >> 12 & 0xfff));
  int32_t against = sign_extend(code & 0xfff);
  if (operation & FUTEX_OP_OPARG_SHIFT) {
    operand = 1U << (operand & 31);
    operation &= ~static_cast<uint32_t>(FUTEX_OP_OPARG_SHIFT);
  }
  if (operation > FUTEX_OP_XOR || comparison > FUTEX_OP_CMP_GE) return -ENOSYS;
  if (user_word_to_write(second) < 0) return -EFAULT;
  uint32_t old = second->load(std::memory_order_relaxed);
  uint32_t next;
  do {
    switch (operation) {
      case FUTEX_OP_SET: next = operand; break;
      case FUTEX_OP_ADD: next = old + operand; break;
      case FUTEX_OP_OR: next = old | operand; break;
      case FUTEX_OP_ANDN: next = old & ~operand; break;
      default: next = old ^ operand; break;
    }
  } while (!second->compare_exchange_weak(old, next, std::memory_order_seq_cst));
  auto was = static_cast<int32_t>(old);
  bool also = false;
  switch (comparison) {
    case FUTEX_OP_CMP_EQ: also = was == against; break;
    case FUTEX_OP_CMP_NE: also = was != against; break;
    case FUTEX_OP_CMP_LT: also = was < against; break;
    case FUTEX_OP_CMP_LE: also = was <= against; break;
    case FUTEX_OP_CMP_GT: also = was > against; break;
    default: also = was >= against; break;
  }
  long woken = wake(first, count, FUTEX_BITSET_MATCH_ANY, flag);
  if (woken >= 0 && also) woken += wake(second, count2, FUTEX_BITSET_MATCH_ANY, flag);
  return woken;
}

// A duration, on CLOCK_MONOTONIC.
Deadline after(const timespec* t) {
  Nanos now = sys::nanotime();
  return {CLOCK_MONOTONIC, nanos_of(t) < kForever - now ? now + nanos_of(t) : kForever, true};
}

// The commands whose fourth argument is a time.
bool waits(int command) {
  return command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET || command == FUTEX_LOCK_PI ||
         command == FUTEX_LOCK_PI2 || command == FUTEX_WAIT_REQUEUE_PI;
}

long in_kernel(long address, long op, long value, long timeout, long address2, long value3) {
  if (!getg()) return sys::call(SYS_futex, address, op, value, timeout, address2, value3);
  auto command = static_cast<int>(op) & FUTEX_CMD_MASK;
  bool timed = timeout != 0 && (command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET);
  bool duration = timed && command == FUTEX_WAIT && !(op & FUTEX_CLOCK_REALTIME);
  timespec until;
  if (duration) {  // interrupted, it must not begin anew
    auto* t = reinterpret_cast<const timespec*>(timeout);
    if (long error = check_time(t)) return error;
    Nanos at = after(t).at;
    until = {at / kSecond, at % kSecond};
    op = FUTEX_WAIT_BITSET | (op & FUTEX_PRIVATE_FLAG);
    timeout = reinterpret_cast<long>(&until);
    value3 = FUTEX_BITSET_MATCH_ANY;
  }
  HandlerMark mark = handler_mark();
  for (;;) {
    long r = region_syscall(RegionClass::Long, SYS_futex, address, op, value, timeout, address2, value3);
    if (r != -EINTR || ends(mark, timed)) return r;
  }
}

bool is_word(long address) { return address >= static_cast<long>(kPage) && address % 4 == 0; }

// A lock of the thread with this id that somebody waits for, or null.
Word* awaited_from(uint32_t tid) {
  LockGuard guard(pi_lock);
  for (PiLock* l = pi_waiting.load(std::memory_order_relaxed); l; l = l->next) {
    long w = arch::goshim_touch_word(l->word);
    if (w >= 0 && (w & FUTEX_TID_MASK) == tid) return l->word;
  }
  return nullptr;
}

}  // namespace

void futex_thread_has_ended() {
  if (GOSHIM_LIKELY(pi_waiting.load(std::memory_order_seq_cst) == nullptr)) return;
  auto self = static_cast<uint32_t>(self_id());
  while (Word* word = awaited_from(self)) {
    PiLock lock{word, self, 0, FUTEX_OWNER_DIED, nullptr};
    hand_over_pi(&lock);
  }
}

void futex_after_fork_child() {
  pi_lock.reset();
  pi_waiting.store(nullptr, std::memory_order_relaxed);
}

long futex_op(long address, long op, long value, long timeout, long address2, long value3) {
  auto command = static_cast<int>(op) & FUTEX_CMD_MASK;
  auto* word = reinterpret_cast<Word*>(address);
  auto* other = reinterpret_cast<Word*>(address2);
  auto v = static_cast<uint32_t>(value);
  auto v3 = static_cast<uint32_t>(value3);
  auto value2 = static_cast<int>(timeout);  // some commands take a number there
  bool two = command == FUTEX_REQUEUE || command == FUTEX_CMP_REQUEUE || command == FUTEX_WAKE_OP ||
             command == FUTEX_WAIT_REQUEUE_PI || command == FUTEX_CMP_REQUEUE_PI;
  int flag = static_cast<int>(op) & FUTEX_PRIVATE_FLAG;
  bool words = is_word(address) && (!two || is_word(address2));
  // wake() looks in both places; there may be waiters here from before everything counted as shared.
  bool wakes = command == FUTEX_WAKE || command == FUTEX_WAKE_BITSET;
  bool ours = words && (flag || wakes || !(may_be_shared(word) || (two && may_be_shared(other))));
  // By the wall clock only some commands wait; the others the kernel refuses.
  if ((op & FUTEX_CLOCK_REALTIME) && command != FUTEX_WAIT_BITSET && command != FUTEX_WAIT_REQUEUE_PI &&
      command != FUTEX_LOCK_PI2) {
    ours = false;
  }
  // Without the private flag the kernel wants to know whose memory it is.
  if (two && !flag && ours) ours = user_word(word) >= 0 && user_word(other) >= 0;
  if (!ours) return in_kernel(address, op, value, timeout, address2, value3);
  Deadline deadline;
  const Deadline* until = nullptr;
  if (timeout && waits(command)) {
    auto* t = reinterpret_cast<const timespec*>(timeout);
    if (long error = check_time(t)) return error;
    bool wall = (op & FUTEX_CLOCK_REALTIME) || command == FUTEX_LOCK_PI;
    deadline = Deadline::of(wall ? CLOCK_REALTIME : CLOCK_MONOTONIC, t);
    if (command == FUTEX_WAIT) deadline = after(t);
    until = &deadline;
  }
  switch (command) {
    case FUTEX_WAIT: return wait(word, v, until, FUTEX_BITSET_MATCH_ANY);
    case FUTEX_WAIT_BITSET: return v3 ? wait(word, v, until, v3) : -EINVAL;
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2: return lock_pi(word, until, false);
    case FUTEX_TRYLOCK_PI: return lock_pi(word, nullptr, true);
    case FUTEX_UNLOCK_PI: return unlock_pi(word);
    case FUTEX_WAIT_REQUEUE_PI: return wait_requeue_pi(word, v, until, other);
    case FUTEX_CMP_REQUEUE_PI: return requeue_pi(word, static_cast<int>(v), value2, v3, other);
    case FUTEX_WAKE: return wake(word, value, FUTEX_BITSET_MATCH_ANY, flag);
    case FUTEX_WAKE_BITSET: return wake(word, value, v3, flag);
    case FUTEX_REQUEUE: return requeue(word, other, static_cast<int>(v), value2, nullptr, flag);
    case FUTEX_CMP_REQUEUE: return requeue(word, other, static_cast<int>(v), value2, &v3, flag);
    case FUTEX_WAKE_OP: return wake_op(word, static_cast<int>(v), other, value2, v3, flag);
    default: return in_kernel(address, op, value, timeout, address2, value3);
  }
}

}  // namespace goshim
