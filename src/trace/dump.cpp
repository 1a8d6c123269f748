// The library's part of the dump (see dump.h): the map for the launcher, its start as a child, the plain list, and the
// triggers.
//
// The launcher as a child: cloned with the memory shared, so that nothing is copied however large the process is; it
// changes nothing of that memory, and is gone from it with the exec. It ends without a signal and is waited for by its
// id, so that no wait() of the program finds it.
#include "trace/dump.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <cstring>

#include "base/file.h"
#include "base/options.h"
#include "base/print.h"
#include "net/poller.h"
#include "thread/life.h"
#include "trace/page.h"

constinit goshim::DumpMap goshim_debug{};

namespace goshim {

int dump_signal;

namespace {

constexpr size_t kPathSize = 1024;

// What the child needs; in memory that is mapped for it, since small stacks have no room for it.
struct Child {
  char path[kPathSize];  // of the launcher
  char pid[16];
  int fd;
  std::atomic<uint32_t>
      go;  // (release, acquire) it may exec: the process has told the kernel that it may be traced by it
  alignas(16) char stack[16 << 10];
};

bool is_program(const char* path) { return sys::call(SYS_faccessat, AT_FDCWD, path, 1 /* X_OK */) == 0; }

// The launcher beside the library, or where an installation has it.
bool find_launcher(char* path) {
  if (options.launcher.text[0]) {
    format(path, kPathSize, "%s", options.launcher.text);
    return is_program(path);
  }
  char own[32];
  format(own, sizeof own, "%lx", reinterpret_cast<unsigned long>(&dump_to_fd));  // code: data may be of no file
  LineReader maps("/proc/self/maps");
  while (const char* line = maps.next()) {
    // "low-high rights offset device inode   path", numbers without leading zeros
    const char* dash = line;
    while (*dash && *dash != '-') dash++;
    const char* end = dash;
    while (*end && *end != ' ') end++;
    auto above = [&own](const char* number, const char* behind) {
      size_t length = static_cast<size_t>(behind - number);
      size_t own_length = strlen(own);
      return length != own_length ? length > own_length : strncmp(number, own, length) > 0;
    };
    if (!*dash || !*end || above(line, dash) || !above(dash + 1, end)) continue;
    while (*end && *end != '/') end++;
    size_t folder = 0;
    for (size_t i = 0; end[i]; i++) {
      if (end[i] == '/') folder = i;
    }
    if (folder == 0 || folder + 32 > kPathSize) return false;
    std::memcpy(path, end, folder);
    for (const char* place : {"/goshim", "/../bin/goshim", "/../../bin/goshim"}) {
      format(path + folder, kPathSize - folder, "%s", place);
      if (is_program(path)) return true;
    }
    return false;
  }
  return false;
}

// In the child, whose memory is the process's: system calls only.
void child_main(void* arg) {
  auto* child = static_cast<Child*>(arg);
  constexpr int kSignals = 64;
  for (int sig = 1; sig <= kSignals; sig++) arch::install_handler(sig, nullptr, 0, 0);  // SIG_DFL
  while (child->go.load(std::memory_order_acquire) == 0) sys::futex_wait(&child->go, 0);
  long out = child->fd != 1 ? sys::call(SYS_dup3, child->fd, 1, 0) : sys::call(SYS_fcntl, 1, F_SETFD, 0);
  if (out < 0) sys::call(SYS_exit_group, 1);  // it is closed; what is the program's standard output is not for us
  long nothing = sys::call(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY);
  if (nothing > 0) sys::call(SYS_dup3, nothing, 0, 0);
  sys::call(SYS_close_range, 3, ~0U, 0);  // the program's pipes are to end when it closes them
  uint64_t none = 0;
  sys::call(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof none);
  const char* argv[] = {"goshim", "dump", child->pid, nullptr};
  const char* envp[] = {nullptr};
  sys::call(SYS_execve, child->path, argv, envp);
  for (;;) sys::call(SYS_exit_group, 1);
}

// True if the launcher has written the dump.
bool dump_by_launcher(int fd) {
  auto* child = static_cast<Child*>(sys::map(sizeof(Child), PROT_READ | PROT_WRITE));
  if (!child) return false;
  child->fd = fd;
  int pid = sys::getpid();
  format(child->pid, sizeof child->pid, "%d", pid);
  int status = -1;
  if (find_launcher(child->path)) {
    long id = arch::clone_process(child->stack + sizeof child->stack, child_main, child);
    if (id > 0) {
      sys::call(SYS_prctl, PR_SET_PTRACER, id, 0, 0, 0);  // for Yama, which lets only parents trace
      child->go.store(1, std::memory_order_release);
      sys::futex_wake(&child->go, 1);
      while (sys::call(SYS_wait4, id, &status, __WALL, 0) == -EINTR) {
      }
    }
  }
  sys::unmap(child, sizeof *child);
  return status == 0;
}

// ---- the plain list ----

struct List {
  int fd;
  Nanos now;
  long count;
};

void list_one(G* g, void* arg) {
  auto* list = static_cast<List*>(arg);
  GStatus status = g->status.load(std::memory_order_acquire);
  if (status == GStatus::Dead || g->id == 0) return;
  list->count++;
  char line[256];
  Printable name(g->name, sizeof g->name);
  size_t n = format(line, sizeof line, "G %lu", static_cast<unsigned long>(g->id));
  if (name.text[0]) n += format(line + n, sizeof line - n, " \"%s\"", name.text);
  switch (status) {
    case GStatus::Dead: break;
    case GStatus::Runnable: n += format(line + n, sizeof line - n, " [runnable]"); break;
    case GStatus::Running: n += format(line + n, sizeof line - n, " [running]"); break;
    case GStatus::Syscall: n += format(line + n, sizeof line - n, " [syscall]"); break;
    case GStatus::Waiting:
      n += format(line + n, sizeof line - n, " [%s", wait_reason_name(g->wait_reason));
      if (g->wait_reason != WaitReason::Sleep && g->wait_reason != WaitReason::Io)
        n += format(line + n, sizeof line - n, " %p", g->park_key.load(std::memory_order_relaxed));
      n +=
          format(line + n, sizeof line - n, ", %ld ms]", static_cast<long>((list->now - g->wait_since) / kMillisecond));
      break;
  }
  if (g->start) n += format(line + n, sizeof line - n, " entry: %p", reinterpret_cast<void*>(g->start));
  format(line + n, sizeof line - n, "\n");
  sys::write(list->fd, line, n + 1);
}

void list_all(int fd) {
  char line[128];
  size_t n = format(line, sizeof line, "goshim dump of PID %d, without stacks: %ld Gs, %d Ms, %d Ps\n", sys::getpid(),
                    live(), sched.ms.load(std::memory_order_relaxed), sched.active.load(std::memory_order_relaxed));
  sys::write(fd, line, n);
  List list{fd, sys::nanotime(), 0};
  for_each_g(list_one, &list);
}

// ---- the thread that makes dumps on request ----

std::atomic<uint32_t> asked{0};        // requests so far; anyone (release; acquire)
std::atomic<bool> asleep{false};       // one of them was made because all Gs are asleep; sysmon sets, before asked
uint32_t answered;                     // the dumper's
constexpr Nanos kLook = kSecond / 10;  // for so long nothing must have run

// A kernel thread that the program has made by itself may wake Gs.
bool foreign_threads() {
  constexpr char kName[] = "\nThreads:\t";
  LineReader status("/proc/self/status");
  while (const char* line = status.next()) {
    if (strncmp(line, kName + 1, sizeof kName - 2) != 0) continue;
    long count;
    const char* end;
    if (!parse_number(line + sizeof kName - 2, &count, &end)) return true;
    return count > sched.ms.load() + sched.helpers.load();
  }
  return true;
}

// So may a timer's signal.
bool timers_armed() {
  for (int which : {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF}) {
    itimerval left{};
    if (sys::call(SYS_getitimer, which, &left) != 0 || left.it_value.tv_sec || left.it_value.tv_usec) return true;
  }
  char first[2];
  return read_file("/proc/self/timers", first, sizeof first) > 0;
}

void dumper_main(void*) {
  for (;;) {
    uint32_t now = asked.load(std::memory_order_acquire);
    if (now == answered) {
      sys::futex_wait(&asked, now);
      continue;
    }
    answered = now;
    if (asleep.exchange(false, std::memory_order_relaxed)) {
      if (foreign_threads() || timers_armed()) continue;
      message("all Gs are asleep, and nothing in this process can wake one: a deadlock, unless a signal is to come");
    }
    if (!dump_by_launcher(2)) list_all(2);
  }
}

struct Asleep {
  long live;
  bool all;
};

void look_asleep(G* g, void* arg) {
  auto* state = static_cast<Asleep*>(arg);
  GStatus status = g->status.load(std::memory_order_acquire);
  if (status == GStatus::Dead || g->id == 0) return;
  state->live++;
  bool can_wake = g->wait_reason == WaitReason::Io || g->wait_reason == WaitReason::Signal ||
                  g->timer.heap.load(std::memory_order_relaxed) != nullptr;
  if (status != GStatus::Waiting || can_wake) state->all = false;
}

// sysmon's: how much has been run, when it looked, and whether it has told.
uint64_t seen_ticks;
Nanos seen_when;
bool told;

}  // namespace

void dump_to_fd(int fd) {
  G* g = getg();
  bool program = g && g != g->m.load(std::memory_order_relaxed)->g0;
  if (program) region_enter(RegionClass::Long);
  if (!dump_by_launcher(fd)) list_all(fd);
  if (program) region_exit();
}

void dump_start() {
  std::memcpy(goshim_debug.magic, kDumpMagic, sizeof kDumpMagic);
  goshim_debug.layout = kDumpLayout;
  goshim_debug.started = &runtime_started;
  goshim_debug.sched = &sched;
  goshim_debug.switch_middle = arch::goshim_switch_middle;
  goshim_debug.switch_end = arch::goshim_switch_end;
  goshim_debug.tls = reinterpret_cast<char*>(&goshim_tls) - static_cast<char*>(arch::thread_pointer());
  goshim_debug.traps = arch::trap_map();
  goshim_debug.once_frames = once_frames_at();
  goshim_debug.park_request = park_request_offset();
  dump_signal = options.dump_signal;
  switch (dump_signal) {
    case SIGKILL:
    case SIGSTOP:
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP:
    case SIGSYS:
    case 32:  // taken by libc and by the runtime
      message("GOSHIM_DUMP_SIGNAL=%d: this signal cannot ask for a dump", dump_signal);
      dump_signal = 0;
      break;
    default: break;
  }
  answered = asked.load(std::memory_order_relaxed);
  if ((dump_signal || options.deadlock) && !helper_thread_start(dumper_main, nullptr, nullptr))
    fatal("cannot start a kernel thread");
}

void dump_request() {
  asked.fetch_add(1, std::memory_order_release);
  sys::futex_wake(&asked, 1);
}

Nanos dump_if_asleep(Nanos now) {
  uint64_t ticks = 0;
  for (int i = 0; i < sched.procs; i++)
    ticks +=
        sched.ps[i].schedtick.load(std::memory_order_relaxed) + sched.ps[i].syscalltick.load(std::memory_order_relaxed);
  if (ticks != seen_ticks || seen_when == 0) {
    seen_ticks = ticks;
    seen_when = now;
    told = false;
  }
  if (told) return kForever;
  if (now - seen_when < kLook) return seen_when + kLook;
  Asleep state{0, true};
  for_each_g(look_asleep, &state);
  if (!state.all || state.live == 0) return now + kSecond;
  told = true;
  asleep.store(true, std::memory_order_relaxed);
  dump_request();
  return kForever;
}

}  // namespace goshim
