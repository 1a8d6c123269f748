// A small explicit-state model checker: threads are programs of atomic steps over one copyable state; every
// interleaving is explored once per distinct state. For protocols too delicate for stress tests.
//
// A state type S has: `bool step(int thread)`: performs thread's next step and returns true, or returns false and
// changes nothing if the thread has ended or must wait; `bool done() const`: every thread has ended as it should; `void
// check() const`: asserts what must hold in every state; and operator<=> (defaulted).
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace model {

// Explores everything from start; returns the number of distinct states. Fails the test at a state in which nobody can
// step although it is not done: a deadlock, or a lost wake-up.
template <typename S>
size_t explore(const S& start, int threads) {
  std::map<S, std::pair<S, int>> seen{{start, {start, -1}}};  // how each state was reached
  auto path = [&](S s) {
    std::string threads_in_turn;
    for (auto it = seen.find(s); it->second.second >= 0; it = seen.find(it->second.first)) {
      threads_in_turn.insert(0, std::to_string(it->second.second) + " ");
    }
    return threads_in_turn;
  };
  std::vector<S> open{start};
  while (!open.empty()) {
    S state = open.back();
    open.pop_back();
    state.check();
    if (::testing::Test::HasFailure()) {
      ADD_FAILURE() << "steps of threads: " << path(state);
      return seen.size();
    }
    bool moved = false;
    for (int t = 0; t < threads; t++) {
      S next = state;
      if (!next.step(t)) continue;
      moved = true;
      if (seen.emplace(next, std::pair{state, t}).second) open.push_back(next);
    }
    if (!moved && !state.done()) {
      ADD_FAILURE() << "a state in which nobody can go on and the work is not done; steps of threads: " << path(state);
      return seen.size();
    }
  }
  return seen.size();
}

}  // namespace model
