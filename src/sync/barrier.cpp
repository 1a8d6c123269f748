// Barriers (see barrier.h).
#include "sync/barrier.h"

#include "park/park.h"

namespace goshim {
namespace {

struct Arrival {
  Barrier* barrier;
  ParkRequest* request;
  uint32_t round;
  bool counted;
  bool last;
  bool straggles;
};

bool arrive(void* ctx) {
  auto* a = static_cast<Arrival*>(ctx);
  Barrier* b = a->barrier;
  if (!a->counted) {
    a->counted = true;
    a->round = b->round;
    a->request->token = a->round;  // tells a round's waiters from those of the next
    if (++b->arrived < b->count) return true;
    a->last = true;
    b->arrived = 0;
    b->round++;
    return false;
  }
  if (b->round == a->round) {
    a->straggles = false;
    b->stragglers--;
    return true;
  }
  return false;  // still a straggler: the object is touched once more
}

void interrupted(void* ctx, const void*, bool) {
  auto* a = static_cast<Arrival*>(ctx);
  a->straggles = true;
  a->barrier->stragglers++;
}

// A straggler whose round is over leaves.
bool leave(void* ctx) {
  static_cast<Barrier*>(ctx)->stragglers--;
  return false;
}

bool has_stragglers(void* ctx) { return static_cast<Barrier*>(ctx)->stragglers != 0; }

ParkRequest request(const void* key, bool (*validate)(void*), void* ctx) {
  return {.key = key,
          .validate = validate,
          .before_sleep = nullptr,
          .timed_out = nullptr,
          .ctx = ctx,
          .deadline = kForever,
          .reason = WaitReason::Barrier,
          .interruptible = false};
}

}  // namespace

int barrier_wait(Barrier* b) {
  Arrival a{b, nullptr, 0, false, false, false};
  ParkRequest r = request(b, arrive, &a);
  r.timed_out = interrupted;
  r.interruptible = true;
  r.signals_only = true;
  a.request = &r;
  while (park(r) == ParkResult::Interrupted) {
  }
  if (a.straggles) {
    park(request(b, leave, b));
    unpark_all(&b->stragglers);
    return 0;
  }
  if (!a.last) return 0;
  // The last of an earlier round may not have come to its own wake-ups yet: those waiters are ahead in the queue.
  uint32_t round = a.round;
  unpark_filter(
      b,
      [](void* ctx, uintptr_t token) {
        auto ahead = static_cast<int32_t>(static_cast<uint32_t>(token) - *static_cast<uint32_t*>(ctx));
        return ahead <= 0 ? Filter::Unpark : Filter::Stop;
      },
      nullptr, &round);
  return PTHREAD_BARRIER_SERIAL_THREAD;
}

void barrier_destroy(Barrier* b) { park(request(&b->stragglers, has_stragglers, b)); }

}  // namespace goshim
