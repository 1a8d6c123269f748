// The constructor, and the start of the runtime at the first creation of a thread (D1).
#include "interpose/init.h"

#include <elf.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/resource.h>

#include <cstring>

#include "base/host.h"
#include "base/options.h"
#include "base/print.h"
#include "base/sys.h"
#include "interpose/process.h"
#include "interpose/real.h"
#include "sync/shared.h"
#include "trace/schedtrace.h"
#include "trace/timeline.h"

namespace goshim {
namespace {

enum class State : uint32_t { Fresh, Starting, Started, Native };
// Release when the start is over, acquire by who goes on because of it: what the start has made is seen.
std::atomic<State> state{State::Fresh};

// A Go program brings a scheduler of its own, which makes raw system calls and owns every signal (D13). It carries an
// ELF note by "Go".
bool is_go_program() {
  bool found = false;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* arg) {
        for (int i = 0; i < info->dlpi_phnum; i++) {
          const ElfW(Phdr)& ph = info->dlpi_phdr[i];
          if (ph.p_type != PT_NOTE) continue;
          auto* at = reinterpret_cast<const char*>(info->dlpi_addr + ph.p_vaddr);
          const char* end = at + ph.p_memsz;
          while (at + sizeof(ElfW(Nhdr)) <= end) {
            auto* note = reinterpret_cast<const ElfW(Nhdr)*>(at);
            const char* name = at + sizeof *note;
            if (note->n_namesz >= 3 && std::memcmp(name, "Go", 3) == 0) *static_cast<bool*>(arg) = true;
            at = name + round_up(note->n_namesz, 4) + round_up(note->n_descsz, 4);
          }
        }
        return 1;  // the program is the first object; the others do not matter
      },
      &found);
  return found;
}

}  // namespace

// The first thread's stack, without the look into /proc/self/maps that pthread_getattr_np() takes: its end is known,
// since the kernel puts the program's name there (fs/exec.c). False if this is another thread, or looks unusual.
static bool first_stack(void** base, size_t* size) {
  constexpr uintptr_t kPlausible = 4 << 20;  // what a program's arguments and environment take at most, with frames
  auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  auto* name = reinterpret_cast<const char*>(getauxval(AT_EXECFN));
  auto at = reinterpret_cast<uintptr_t>(name);
  rlimit limit;
  if (sys::gettid() != sys::getpid() || at <= here || at - here > kPlausible) return false;
  if (getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur > 1 << 30) return false;
  uintptr_t end = round_up(at + strlen(name) + 1 + sizeof(void*), kPage);
  if (end - here > limit.rlim_cur) return false;
  *size = limit.rlim_cur & ~(kPage - 1);
  *base = reinterpret_cast<void*>(end - *size);
  return true;
}

static void own_stack(void** base, size_t* size) {
  if (first_stack(base, size)) return;
  pthread_attr_t attr;
  if (REAL(pthread_getattr_np)(pthread_self(), &attr) != 0) return;
  pthread_attr_getstack(&attr, base, size);
  pthread_attr_destroy(&attr);
}

// The first of: our constructor, a thread that is made before it. Those of the program's libraries may run earlier.
static void load() {
  static std::atomic<bool> done{false};
  if (done.exchange(true)) return;
  resolve_real();
  options_read(environ);
  shared_init();
  register_fork_handlers();
}

bool runtime_ensure() {
  State s = state.load(std::memory_order_acquire);
  if (GOSHIM_LIKELY(s == State::Started)) return true;
  if (s == State::Native) return false;
  load();
  State fresh = State::Fresh;
  if (!state.compare_exchange_strong(fresh, State::Starting)) {
    if (fresh == State::Starting) return false;  // the probe thread itself, or a foreign thread meanwhile: natively
    return fresh == State::Started;
  }
  if (!options.enabled) {
    state.store(State::Native, std::memory_order_release);
    return false;
  }
  host.own_stack = own_stack;
  int before = errno;  // creating a thread leaves it alone
  const char* why = is_go_program() ? "this is a Go program, which has a scheduler of its own" : runtime_start();
  if (why) message("%s; running natively", why);
  errno = before;
  state.store(why ? State::Native : State::Started, std::memory_order_release);
  return !why;
}

bool runtime_possible() {
  load();
  return options.enabled && state.load(std::memory_order_acquire) != State::Native;
}

void runtime_forget() { state.store(State::Fresh, std::memory_order_release); }

}  // namespace goshim

namespace {

__attribute__((constructor(101))) void goshim_load() {
  goshim::load();
  if (goshim::options.stats) goshim::stats_open();
}

__attribute__((destructor)) void goshim_unload() {
  if (goshim::options.stats) goshim::stats_line();
  goshim::timeline_end();
}

}  // namespace
