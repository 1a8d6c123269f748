// Gs by thread id (see tids.h).
//
// A table of hints, at least twice as large as there are Gs at a time. Ids are given in sequence, so the lowest bits of
// one say its slot: whoever starts as a thread writes itself there, one store beside the last one, and pushes out who
// was there a whole turn ago. That one has mostly ended; if not, it is found by a walk over all Gs, which puts all that
// live back where they can be found, in a second place if the first is taken by another that lives. A slot proves
// nothing: the G in it must have the id and be alive.
#include "sched/tids.h"

#include <sys/mman.h>

#include "base/sys.h"
#include "sched/internal.h"
#include "sched/sched.h"

namespace goshim {
namespace {

constexpr uint32_t kFirstSlots = 1024;

std::atomic<G*> first_slots[kFirstSlots];
constinit TidTable first_table{first_slots, kFirstSlots - 1};
uint32_t structures;  // sched.all_lock

bool alive(const G* g) { return g->tp && g->status.load(std::memory_order_acquire) != GStatus::Dead; }

// A G whose block is not there yet has no id.
int tid_of(G* g) { return std::atomic_ref<int>(tls_of(g)->tid).load(std::memory_order_relaxed); }

bool is(G* g, int tid) { return g && alive(g) && tid_of(g) == tid; }

uint32_t first_place(const TidTable* t, int tid) { return static_cast<uint32_t>(tid) & t->mask; }

uint32_t second_place(const TidTable* t, int tid) {
  constexpr uint32_t kGolden = 0x9e3779b1;
  return (static_cast<uint32_t>(tid) * kGolden >> 4) & t->mask;
}

// Puts g there unless another that lives is there by right.
bool put(const TidTable* t, uint32_t place, G* g) {
  G* there = t->slots[place].load(std::memory_order_acquire);
  if (there == g) return true;
  if (there && alive(there) && (first_place(t, tid_of(there)) == place || second_place(t, tid_of(there)) == place))
    return false;
  return t->slots[place].compare_exchange_strong(there, g, std::memory_order_acq_rel);
}

}  // namespace

std::atomic<const TidTable*> tid_table{&first_table};

G* tid_find(int tid) {
  const TidTable* table = tid_table.load(std::memory_order_acquire);
  for (uint32_t place : {first_place(table, tid), second_place(table, tid)}) {
    G* g = table->slots[place].load(std::memory_order_acquire);
    if (is(g, tid)) return g;
  }
  struct Search {
    const TidTable* table;
    int tid;
    G* found;
  } search{table, tid, nullptr};
  for_each_g(
      [](G* g, void* arg) {
        auto* s = static_cast<Search*>(arg);
        if (!alive(g)) return;
        int its = tid_of(g);
        if (its == s->tid) s->found = g;
        if (!put(s->table, first_place(s->table, its), g)) put(s->table, second_place(s->table, its), g);
      },
      &search);
  return search.found;
}

void tid_make_room() {
  const TidTable* table = tid_table.load(std::memory_order_relaxed);
  uint32_t slots = table->mask + 1;
  if (++structures <= slots / 2) return;
  slots *= 4;
  size_t size = sizeof(TidTable) + slots * sizeof(std::atomic<G*>);
  auto* larger = static_cast<TidTable*>(sys::map(size, PROT_READ | PROT_WRITE));
  if (!larger) return;  // the old one will do, more slowly
  larger->slots = reinterpret_cast<std::atomic<G*>*>(larger + 1);
  larger->mask = slots - 1;
  tid_table.store(larger, std::memory_order_release);  // the old one may be in use: it stays
}

void tid_after_fork_child() {
  for (std::atomic<G*>& slot : first_slots) slot.store(nullptr, std::memory_order_relaxed);
  tid_table.store(&first_table, std::memory_order_relaxed);
  structures = 0;
}

}  // namespace goshim
