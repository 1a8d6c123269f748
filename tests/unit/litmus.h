// Litmus tests on a processor with weak ordering: threads are short programs over a few words of memory; every order in
// which their accesses may take effect is explored, and the test asks whether an outcome is among them.
//
// The processor is like aarch64, whose memory is one for all (what one other thread sees, all do), and does everything
// out of order that the following does not forbid. An access waits for an earlier one of its thread if
//   - both are to the same word;
//   - a fence lies between them (an acquire fence: if the earlier one is a load);
//   - the earlier one is an acquire, or the later one a release;
//   - the earlier one is a seq_cst store and the later one a seq_cst load;
//   - the later one needs a register that the earlier one loads: for an address, for a value, or, if it is a store, for
//     the decision whether it is made. Loads go ahead before such a decision.
// A read-modify-write is two accesses, a load and a store, as ldaxr and stlxr are: so a later load may come between the
// two. It fails, and is not counted, if another thread writes to the word in between.
//
// membarrier() is a full fence in the calling thread, and one in each other thread at some place between two of its
// instructions, wherever that stands.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <set>
#include <stdexcept>
#include <vector>

namespace litmus {

constexpr int kWords = 8;
constexpr int kRegisters = 8;
using Registers = std::array<int, kRegisters>;
using Memory = std::array<int, kWords>;

enum Order : uint8_t { Relaxed, Acquire, Release, AcqRel, SeqCst };
inline bool acquires(Order o) { return o == Acquire || o == AcqRel || o == SeqCst; }
inline bool releases(Order o) { return o == Release || o == AcqRel || o == SeqCst; }

// What one instruction is made of.
struct Access {
  enum Kind : uint8_t { Load, Store, Fence, AcquireFence, Membarrier } kind;
  int at = 0;
  Order order = Relaxed;
  int to = -1;          // register of a load
  bool paired = false;  // the store of a read-modify-write, whose load is the one before
  std::function<int(const Registers&)> value = nullptr;  // of a store
  std::function<bool(int)> ready = nullptr;              // of a load: it waits until this holds of the word (a lock)
  std::function<bool(const Registers&)> when = nullptr;  // null: always
  std::function<bool(const Registers&)> store_when = nullptr;  // of a paired store
  unsigned needs = 0;                                          // registers of value
  unsigned decided_by = 0;                                     // and of the conditions
};

inline unsigned bit(int reg) { return 1U << reg; }

// One thread. Each function adds an instruction; when() qualifies the last one.
class Thread {
 public:
  std::vector<Access> code;

  Thread& load(int reg, int at, Order order = Relaxed) {
    return add({.kind = Access::Load, .at = at, .order = order, .to = reg});
  }
  Thread& store(int at, int value, Order order = Relaxed) {
    return add({.kind = Access::Store, .at = at, .order = order, .value = [value](const Registers&) { return value; }});
  }
  // reg becomes the old value, and the word old + by.
  Thread& fetch_add(int reg, int at, int by, Order order) {
    pair(reg, at, order, [reg, by](const Registers& r) { return r[static_cast<size_t>(reg)] + by; });
    return *this;
  }
  // reg becomes the old value; stores only over `expected`.
  Thread& compare_exchange(int reg, int at, int expected, int desired, Order order) {
    pair(reg, at, order, [desired](const Registers&) { return desired; });
    code.back().store_when = [reg, expected](const Registers& r) { return r[static_cast<size_t>(reg)] == expected; };
    code.back().decided_by |= bit(reg);
    return *this;
  }
  // Spins until the word is 0 and makes it 1; reg is lost.
  Thread& lock(int reg, int at, Order order = Acquire) {
    pair(reg, at, order, [](const Registers&) { return 1; });
    code[code.size() - 2].ready = [](int word) { return word == 0; };
    return *this;
  }
  Thread& unlock(int at, Order order = Release) { return store(at, 0, order); }
  Thread& fence() { return add({.kind = Access::Fence}); }
  Thread& acquire_fence() { return add({.kind = Access::AcquireFence}); }
  Thread& membarrier() { return add({.kind = Access::Membarrier}); }
  // The last instruction is made only if reg is value. A load's register stays 0 else.
  Thread& when(int reg, int value) {
    size_t first = code.size() - (code.back().paired ? 2 : 1);
    for (size_t i = first; i < code.size(); i++) {
      code[i].when = [reg, value](const Registers& r) { return r[static_cast<size_t>(reg)] == value; };
      code[i].decided_by |= bit(reg);
    }
    return *this;
  }

 private:
  Thread& add(Access a) {
    code.push_back(std::move(a));
    return *this;
  }
  void pair(int reg, int at, Order order, std::function<int(const Registers&)> value) {
    Order first = order == SeqCst ? SeqCst : acquires(order) ? Acquire : Relaxed;
    Order second = order == SeqCst ? SeqCst : releases(order) ? Release : Relaxed;
    add({.kind = Access::Load, .at = at, .order = first, .to = reg});
    add({.kind = Access::Store,
         .at = at,
         .order = second,
         .paired = true,
         .value = std::move(value),
         .needs = bit(reg)});
  }
};

// Whether b, later in the program than a, waits for a.
inline bool waits(const Access& a, const Access& b) {
  if (b.kind == Access::AcquireFence) return a.kind != Access::Store;
  if (a.kind > Access::Store || b.kind > Access::Store) return true;
  if (a.at == b.at) return true;
  if (a.kind == Access::Load && acquires(a.order)) return true;
  if (b.kind == Access::Store && releases(b.order)) return true;
  if (a.kind == Access::Store && b.kind == Access::Load && a.order == SeqCst && b.order == SeqCst) return true;
  if (a.kind != Access::Load) return false;
  unsigned needed = b.needs | (b.kind == Access::Store ? b.decided_by : 0);
  return (needed & bit(a.to)) != 0;
}

struct Outcome {
  Memory memory{};
  std::vector<Registers> registers;  // by thread
};

class Test {
 public:
  Memory initial{};
  std::vector<Thread> threads;

  // Whether some execution that comes to its end has an outcome of which `wanted` holds.
  bool reaches(const std::function<bool(const Outcome&)>& wanted) {
    seen_.clear();
    outcomes_ = 0;
    State s;
    s.memory = initial;
    s.threads.resize(threads.size());
    bool reached = explore(s, wanted);
    if (outcomes_ == 0) throw std::logic_error("no execution of this test comes to its end");
    return reached;
  }

 private:
  struct Progress {
    uint32_t done = 0;
    Registers registers{};
    int reserved = -1;      // word between the two halves of a read-modify-write
    uint32_t barriers = 0;  // of an own membarrier under way: threads that have passed theirs
    auto operator<=>(const Progress&) const = default;
  };
  struct State {
    Memory memory{};
    std::vector<Progress> threads;
    auto operator<=>(const State&) const = default;
  };
  std::set<State> seen_;
  int outcomes_ = 0;

  static bool may_go(const Progress& p, const Thread& t, size_t i) {
    for (size_t k = 0; k < i; k++) {
      if (!(p.done >> k & 1) && waits(t.code[k], t.code[i])) return false;
    }
    return true;
  }
  static bool is_prefix(uint32_t done) { return (done & (done + 1)) == 0; }

  // The conditions of an access are known once what they read is there.
  static bool known(const Progress& p, const Thread& t, size_t i) {
    for (size_t k = 0; k < i; k++) {
      if (t.code[k].kind == Access::Load && (t.code[i].decided_by & bit(t.code[k].to)) && !(p.done >> k & 1))
        return false;
    }
    return true;
  }

  bool explore(const State& s, const std::function<bool(const Outcome&)>& wanted) {
    if (!seen_.insert(s).second) return false;
    bool ended = true;
    for (size_t n = 0; n < threads.size(); n++) {
      const Thread& t = threads[n];
      for (size_t i = 0; i < t.code.size(); i++) {
        if (s.threads[n].done >> i & 1) continue;
        ended = false;
        if (!may_go(s.threads[n], t, i)) continue;
        if (t.code[i].kind == Access::Membarrier ? barrier(s, n, i, wanted) : step(s, n, i, wanted)) return true;
      }
    }
    if (!ended) return false;
    outcomes_++;
    Outcome o;
    o.memory = s.memory;
    for (size_t n = 0; n < threads.size(); n++) {
      Registers r = s.threads[n].registers;
      // A load that went ahead of its condition counts only if the condition holds. In the order of the program.
      for (const Access& a : threads[n].code) {
        if (a.kind == Access::Load && a.when && !a.when(r)) r[static_cast<size_t>(a.to)] = 0;
      }
      o.registers.push_back(r);
    }
    return wanted(o);
  }

  bool step(const State& s, size_t n, size_t i, const std::function<bool(const Outcome&)>& wanted) {
    const Access& a = threads[n].code[i];
    State next = s;
    Progress& p = next.threads[n];
    if (a.kind == Access::Load) {
      int word = next.memory[static_cast<size_t>(a.at)];
      bool counts = !a.when || !known(p, threads[n], i) || a.when(p.registers);
      if (counts) {
        if (a.ready && !a.ready(word)) return false;
        p.registers[static_cast<size_t>(a.to)] = word;
        if (i + 1 < threads[n].code.size() && threads[n].code[i + 1].paired) {
          if (p.reserved >= 0) return false;  // one at a time
          p.reserved = a.at;
        }
      }
    } else if (a.kind == Access::Store) {
      bool made = (!a.when || a.when(p.registers)) && (!a.store_when || a.store_when(p.registers));
      if (a.paired) {
        if (made && p.reserved != a.at) return false;
        p.reserved = -1;
      }
      if (made) {
        next.memory[static_cast<size_t>(a.at)] = a.value(p.registers);
        for (size_t other = 0; other < next.threads.size(); other++) {
          // That read-modify-write begins anew: as the execution in which it has not begun yet.
          if (other != n && next.threads[other].reserved == a.at) return false;
        }
      }
    }
    p.done |= 1U << i;
    return explore(next, wanted);
  }

  // The other threads pass their barriers one by one, each when what it has done is a beginning of its program.
  bool barrier(const State& s, size_t n, size_t i, const std::function<bool(const Outcome&)>& wanted) {
    uint32_t all = (1U << threads.size()) - 1;
    const Progress& p = s.threads[n];
    if ((p.barriers | 1U << n) == all) {
      State next = s;
      next.threads[n].barriers = 0;
      next.threads[n].done |= 1U << i;
      return explore(next, wanted);
    }
    for (size_t other = 0; other < threads.size(); other++) {
      if (other == n || (p.barriers >> other & 1)) continue;
      if (!is_prefix(s.threads[other].done)) continue;
      State next = s;
      next.threads[n].barriers |= 1U << other;
      if (explore(next, wanted)) return true;
    }
    return false;
  }
};

}  // namespace litmus
