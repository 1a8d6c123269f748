// The constructor, and the start of the runtime at the first creation of a thread (D1).
#include "interpose/init.h"

#include "base/options.h"
#include "base/print.h"
#include "base/sys.h"
#include "interpose/real.h"
#include "trace/schedtrace.h"

namespace goshim {
namespace {

enum class State : uint32_t { Fresh, Starting, Started, Native };
std::atomic<State> state{State::Fresh};

}  // namespace

bool runtime_ensure() {
  State s = state.load(std::memory_order_acquire);
  if (GOSHIM_LIKELY(s == State::Started)) return true;
  if (s == State::Native) return false;
  real();
  State fresh = State::Fresh;
  if (!state.compare_exchange_strong(fresh, State::Starting)) {
    if (fresh == State::Starting) return false;  // the probe thread itself, or a foreign thread meanwhile: natively
    return fresh == State::Started;
  }
  options_read(environ);
  if (!options.enabled) {
    state.store(State::Native, std::memory_order_release);
    return false;
  }
  const char* why = runtime_start();
  if (why) message("%s; running natively", why);
  state.store(why ? State::Native : State::Started, std::memory_order_release);
  return !why;
}

}  // namespace goshim

namespace {

__attribute__((constructor(101))) void goshim_load() {
  goshim::resolve_real();
  goshim::options_read(environ);
}

__attribute__((destructor)) void goshim_unload() {
  if (goshim::options.stats) goshim::stats_line();
}

}  // namespace
