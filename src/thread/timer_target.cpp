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
  G* g;         // null: main
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

bool timer_target_set(int timer, G* g) {
  NoPreempt guard;
  LockGuard hold(lock);
  if (!pool_ready) {
    pool.init(sizeof(Target));
    pool_ready = true;
  }
  Target** at = find(timer);
  if (!*at) {
    auto* fresh = static_cast<Target*>(pool.take());
    if (!fresh) return false;
    fresh->timer = timer;
    fresh->next = nullptr;
    *at = fresh;
    n_targets.fetch_add(1, std::memory_order_relaxed);
  }
  (*at)->g = g;
  (*at)->id = g ? g->id : 0;
  return true;
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
  if (!target) return false;
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
