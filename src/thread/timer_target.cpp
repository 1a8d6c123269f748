// Timers whose signal is for one thread (see timer_target.h).
#include "thread/timer_target.h"

#include "base/lock.h"
#include "sched/safe_pool.h"

namespace goshim {
namespace {

struct alignas(64) Target {
  SafePoolItem pool;
  Target* next;
  int timer;
  bool for_thread;
  int overrun;  // of the signal that was delivered last; negative: none was
  G* g;         // for_thread; null: main
  uint64_t id;  // of g; another one by now: the thread has ended
};

constexpr int kBuckets = 64;

Lock lock;
SafePool pool;              // lock
bool pool_ready;            // lock
Target* buckets[kBuckets];  // lock
// Written under lock: with none, signals of timers need not look. Relaxed: raised before the timer is armed, by a
// system call that its signals come after.
std::atomic<int> n_targets;

Target** find(int timer) {
  Target** at = &buckets[static_cast<unsigned>(timer) % kBuckets];
  while (*at && (*at)->timer != timer) at = &(*at)->next;
  return at;
}

}  // namespace

// Lock held. Null without memory.
static Target* find_or_make(int timer) {
  if (!pool_ready) {
    pool.init(sizeof(Target));
    pool_ready = true;
  }
  Target** at = find(timer);
  if (*at) return *at;
  auto* fresh = static_cast<Target*>(pool.take());
  if (!fresh) return nullptr;
  fresh->timer = timer;
  fresh->for_thread = false;
  fresh->overrun = -1;
  fresh->next = nullptr;
  *at = fresh;
  n_targets.fetch_add(1, std::memory_order_relaxed);
  return fresh;
}

bool timer_target_set(int timer, G* g) {
  NoPreempt guard;
  LockGuard hold(lock);
  Target* target = find_or_make(timer);
  if (!target) return false;
  target->for_thread = true;
  target->g = g;
  target->id = g ? g->id : 0;
  return true;
}

void timer_delivered(const siginfo_t& info) {
  LockGuard hold(lock);
  if (Target* target = find_or_make(info.si_timerid)) target->overrun = info.si_overrun;
}

int timer_overrun(int timer) {
  if (n_targets.load(std::memory_order_relaxed) == 0) return -1;
  NoPreempt guard;
  LockGuard hold(lock);
  const Target* target = *find(timer);
  return target ? target->overrun : -1;
}

bool timer_target_known(int timer) {
  if (n_targets.load(std::memory_order_relaxed) == 0) return false;
  NoPreempt guard;
  LockGuard hold(lock);
  return *find(timer) != nullptr;
}

void timer_target_drop(int timer) {
  if (n_targets.load(std::memory_order_relaxed) == 0) return;
  NoPreempt guard;
  LockGuard hold(lock);
  Target** at = find(timer);
  Target* target = *at;
  if (!target) return;
  *at = target->next;
  pool.release(target);
  n_targets.fetch_sub(1, std::memory_order_relaxed);
}

bool timer_target_of(const siginfo_t& info, G* main, G** g) {
  if (info.si_code != SI_TIMER || n_targets.load(std::memory_order_relaxed) == 0) return false;
  LockGuard hold(lock);
  const Target* target = *find(info.si_timerid);
  if (!target || !target->for_thread) return false;
  if (!target->g) {
    *g = main;
  } else {
    bool alive = target->g->id == target->id && target->g->status.load(std::memory_order_acquire) != GStatus::Dead;
    *g = alive ? target->g : nullptr;
  }
  return true;
}

void timer_target_after_fork_child() {
  lock.reset();
  for (Target*& bucket : buckets) bucket = nullptr;
  n_targets.store(0, std::memory_order_relaxed);
}

}  // namespace goshim
