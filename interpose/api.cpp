// The functions of the public header, goshim.h.
#define GOSHIM_BUILDING_LIBRARY
#include "interpose/goshim.h"

#include <cstring>

#include "base/options.h"
#include "base/procs.h"
#include "interpose/init.h"
#include "interpose/real.h"
#include "trace/dump.h"

using namespace goshim;

static_assert(GOSHIM_MAX_MAXPROCS == kMaxProcs);

int goshim_version() { return GOSHIM_HEADER_VERSION; }

int goshim_state() {
  if (runtime_running()) return GOSHIM_RUNNING;
  return runtime_possible() ? GOSHIM_READY : GOSHIM_NATIVE;
}

int goshim_maxprocs() { return runtime_possible() ? max_procs() : 0; }

int goshim_set_maxprocs(int n) {
  if (n < 1 || n > kMaxProcs) return EINVAL;
  if (!runtime_possible()) return ENOTSUP;
  set_max_procs(n);
  return 0;
}

void goshim_yield() { sched_yield(); }

int goshim_lock_thread() {
  if (!runtime_ensure() || !on_g()) return 0;
  G* g = getg();
  if (g->program_locks == INT32_MAX) return EAGAIN;
  lock_os_thread();
  g->program_locks++;
  return 0;
}

int goshim_unlock_thread() {
  if (!on_g()) return 0;
  G* g = getg();
  if (g->program_locks == 0) return EPERM;
  g->program_locks--;
  unlock_os_thread();
  return 0;
}

uint64_t goshim_thread_id() { return on_g() ? getg()->id : 0; }

int goshim_stats(struct goshim_stats* out, size_t size) {
  if (!out || size == 0) return EINVAL;
  struct goshim_stats told {};
  if (runtime_running()) {
    Stats now{};
    stats(&now);
    auto number = [](long n) { return static_cast<uint64_t>(n > 0 ? n : 0); };
    told = {number(now.gs_made), number(now.gs_live), number(now.ms),         number(now.idle_ms),
            number(now.ps),      number(now.idle_ps), number(now.surplus_ps), number(now.runq)};
  }
  size_t known = size < sizeof told ? size : sizeof told;
  std::memcpy(out, &told, known);
  std::memset(reinterpret_cast<char*>(out) + known, 0, size - known);
  return 0;
}

int goshim_dump(int fd) {
  long flags = sys::call(SYS_fcntl, fd, F_GETFL);
  if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || (flags & O_PATH)) return EBADF;
  if (!runtime_running()) return ENOTSUP;
  dump_to_fd(fd);
  return 0;
}
