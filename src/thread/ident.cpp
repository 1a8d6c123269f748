// Ids, names and kernel scheduling values of Gs (see ident.h).
#include "thread/ident.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cstring>

#include "base/file.h"
#include "base/print.h"
#include "base/slab.h"
#include "sched/cputime.h"
#include "sched/internal.h"
#include "sched/sched.h"
#include "sched/user_memory.h"
#include "thread/signal.h"
#include "trace/timeline.h"

namespace goshim {
namespace {

constexpr size_t kNameSize = 16;

// Bits: the values that are kept by kernel thread.
enum Value : uint32_t { kCpus = 1, kPolicy = 2, kNice = 4 };

struct Values {
  unsigned char cpus[kCpuBytes] = {};
  size_t cpus_size = 0;  // bytes of cpus that the kernel uses
  int policy = 0;
  int priority = 0;
  int nice = 0;
};

// A G's, made when it first differs or something is noted for it; stays with the G when it is used again.
struct Ident {
  Values noted;
  uint32_t notes = 0;  // Value bits: I2
  uint32_t locks = 0;  // Value bits: each has one lock_os_thread(); the G itself
  Ident* slab_next = nullptr;
};

Slab<Ident> slab;
Lock lock;         // Ident::noted, Ident::notes, G::ident, and what follows
bool clean_known;  // lock
Values clean;      // lock; constant once known

Ident* ident_of(G* g) { return static_cast<Ident*>(g->ident); }

// Reads the values of kernel thread tid (0: the caller's).
void read_values(int tid, uint32_t which, Values* v) {
  if (which & kCpus) {
    long n = sys::call(SYS_sched_getaffinity, tid, kCpuBytes, v->cpus);
    v->cpus_size = n > 0 ? static_cast<size_t>(n) : 0;
  }
  if (which & kPolicy) {
    sched_param param{};
    v->policy = static_cast<int>(sys::call(SYS_sched_getscheduler, tid));
    sys::call(SYS_sched_getparam, tid, &param);
    v->priority = param.sched_priority;
  }
  // The kernel gives 20 - nice, so that no answer looks like an error.
  if (which & kNice) v->nice = 20 - static_cast<int>(sys::call(SYS_getpriority, PRIO_PROCESS, tid));
}

// As the kernel answers.
long write_value(int tid, uint32_t which, const Values& v) {
  sched_param param{};
  param.sched_priority = v.priority;
  switch (which) {
    case kCpus: return sys::call(SYS_sched_setaffinity, tid, v.cpus_size, v.cpus);
    case kPolicy: return sys::call(SYS_sched_setscheduler, tid, v.policy, &param);
    default: return sys::call(SYS_setpriority, PRIO_PROCESS, tid, v.nice);
  }
}

void copy_values(uint32_t which, const Values& from, Values* to) {
  if (which & kCpus) {
    std::memcpy(to->cpus, from.cpus, from.cpus_size);
    to->cpus_size = from.cpus_size;
  }
  if (which & kPolicy) {
    to->policy = from.policy;
    to->priority = from.priority;
  }
  if (which & kNice) to->nice = from.nice;
}

bool same_values(uint32_t which, const Values& a, const Values& b) {
  if ((which & kCpus) && (a.cpus_size != b.cpus_size || std::memcmp(a.cpus, b.cpus, a.cpus_size) != 0)) return false;
  if ((which & kPolicy) && (a.policy != b.policy || a.priority != b.priority)) return false;
  return !(which & kNice) || a.nice == b.nice;
}

void set_cpus(Values* v, size_t size, const void* cpus) {
  v->cpus_size = size < kCpuBytes ? size : kCpuBytes;
  std::memcpy(v->cpus, cpus, v->cpus_size);
}

// Before the first change by anybody. lock held.
void learn_clean() {
  if (clean_known) return;
  read_values(0, kCpus | kPolicy | kNice, &clean);
  clean_known = true;
}

// Null when memory is exhausted. lock held.
Ident* ident_for(G* g) {
  if (!g->ident) g->ident = slab.take();
  return ident_of(g);
}

// Another G's M while it is locked to one, else null. A G that ends meanwhile is an error of the program.
M* locked_m_of(G* g) { return std::atomic_ref<M*>(g->locked_m).load(std::memory_order_relaxed); }

// I1: changes the caller's kernel thread.
int change_self(uint32_t which, const Values& v) {
  G* self = getg();
  Ident* ident;
  {
    NoPreempt off;
    LockGuard guard(lock);
    learn_clean();
    ident = ident_for(self);
  }
  if (!ident) return ENOMEM;
  lock_os_thread();
  long r = write_value(0, which, v);
  if (r < 0) {
    unlock_os_thread();
    return static_cast<int>(-r);
  }
  Values now;
  if (which == kPolicy) copy_values(which, v, &now);  // the others are cut to what the kernel has
  else read_values(0, which, &now);
  if (ident->locks & which) unlock_os_thread();
  ident->locks |= which;
  NoPreempt off;
  LockGuard guard(lock);
  if (same_values(which, now, clean)) {
    ident->locks &= ~which;
    unlock_os_thread();
  }
  return 0;
}

// Whether the kernel would take v for a thread, and what it makes of it: tried on the caller's own kernel thread, which
// gets its values back. A nice value cannot be taken back, so it is not tried. As the kernel answers. Preemption off.
long try_value(uint32_t which, Values* v) {
  if (which == kNice) return 0;
  Values old;
  read_values(0, which, &old);
  long r = write_value(0, which, *v);
  if (r < 0) return r;
  read_values(0, which, v);
  write_value(0, which, old);
  return 0;
}

// What a child in the kernel makes of values with SCHED_RESET_ON_FORK.
void reset_policy(Values* v) {
  bool real_time = v->priority != 0;
  v->policy = real_time ? SCHED_OTHER : v->policy & ~SCHED_RESET_ON_FORK;
  v->priority = 0;
  if (real_time || v->nice < 0) v->nice = 0;
}

int change(G* g, uint32_t which, const Values& v) {
  if (g == getg()) return change_self(which, v);
  NoPreempt off;
  LockGuard guard(lock);
  learn_clean();
  if (M* m = locked_m_of(g)) {
    long r = write_value(m->tid, which, v);
    return r < 0 ? static_cast<int>(-r) : 0;
  }
  Ident* ident = ident_for(g);
  if (!ident) return ENOMEM;
  Values tried;
  copy_values(which, v, &tried);
  long r = try_value(which, &tried);
  if (r < 0) return static_cast<int>(-r);
  copy_values(which, tried, &ident->noted);
  if (same_values(which, tried, clean)) ident->notes &= ~which;
  else ident->notes |= which;
  return 0;
}

void values_of(G* g, uint32_t which, Values* v) {
  if (g == getg()) {
    read_values(0, which, v);
    return;
  }
  NoPreempt off;
  LockGuard guard(lock);
  Ident* ident = ident_of(g);
  if (M* m = locked_m_of(g)) read_values(m->tid, which, v);
  else if (ident && (ident->notes & which)) copy_values(which, ident->noted, v);
  else if (clean_known) copy_values(which, clean, v);
  else read_values(0, which, v);
}

// The number at *s, if that many digits stand between slashes or the end; moves *s behind it. -1 if not.
long path_number(const char** s) {
  long value;
  const char* end;
  if (**s < '0' || **s > '9' || !parse_number(*s, &value, &end) || (*end != 0 && *end != '/')) return -1;
  *s = end;
  return value;
}

bool skip(const char** s, const char* what) {
  size_t n = std::strlen(what);
  if (std::strncmp(*s, what, n) != 0) return false;
  *s += n;
  return true;
}

}  // namespace

// ---- ids ----

int kernel_tid(int tid) {
  if (tid == 0) return 0;
  if (tid < kFirstVirtualTid && tid != sched.pid) return tid;
  NoPreempt off;
  G* g = signal_g_of_tid(tid);
  if (!g) return tid;
  if (M* m = locked_m_of(g)) return m->tid;
  M* m = tid == sched.pid ? nullptr : g->m.load(std::memory_order_relaxed);
  return m ? m->tid : sched.pid;
}

int process_of(int id) { return id >= kFirstVirtualTid && signal_g_of_tid(id) ? sched.pid : id; }

int not_a_process(int id) { return id >= kFirstVirtualTid && signal_g_of_tid(id) ? signal_receiver() : id; }

clockid_t kernel_clock(clockid_t clock) {
  return is_cpu_clock(clock) && runtime_started ? cpu_clock(kernel_tid(cpu_clock_tid(clock))) : clock;
}

bool translate_task_path(const char* path, char* buf, size_t size) {
  constexpr uintptr_t kWord = sizeof(uint32_t);
  if (!path) return false;
  if (user_word(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(path) & ~(kWord - 1))) < 0) return false;
  const char* at = path;
  if (!skip(&at, "/proc/")) return false;
  // The id stands behind /proc/, or behind /proc/self/task/ or /proc/<process>/task/.
  const char* number = at;
  long id = skip(&at, "self") ? 0 : path_number(&at);
  if (id >= 0 && id < kFirstVirtualTid && skip(&at, "/task/")) {
    number = at;
    id = path_number(&at);
  }
  if (id < kFirstVirtualTid || id > INT32_MAX) return false;
  int tid = kernel_tid(static_cast<int>(id));
  auto before = static_cast<size_t>(number - path);
  if (tid == id || before + kNameSize + std::strlen(at) >= size) return false;
  std::memcpy(buf, path, before);
  format(buf + before, size - before, "%d%s", tid, at);
  return true;
}

// ---- names ----

void name_set(G* g, const char* name) {
  char padded[kNameSize] = {};
  size_t n = std::strlen(name);
  std::memcpy(padded, name, n < kNameSize ? n : kNameSize - 1);
  // The main thread's name is the process's in ps, top and /proc: its kernel thread must have it.
  if (g->id == 1) {
    char path[48];
    format(path, sizeof path, "/proc/self/task/%d/comm", sched.pid);
    long fd = sys::call(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd >= 0) {
      sys::write(static_cast<int>(fd), padded, std::strlen(padded));
      sys::close(static_cast<int>(fd));
    }
  }
  NoPreempt off;
  LockGuard guard(lock);
  std::memcpy(g->name, padded, kNameSize);
  timeline_name(g);
}

void name_get(G* g, char* name) {
  {
    NoPreempt off;
    LockGuard guard(lock);
    std::memcpy(name, g->name, kNameSize);
  }
  if (name[0]) return;
  // Nobody has named it or its creators: they are called as the process.
  char comm[kNameSize + 1] = {};
  long n = read_file("/proc/self/comm", comm, sizeof comm);
  if (n > 0 && comm[n - 1] == '\n') comm[n - 1] = 0;
  std::memcpy(name, comm, kNameSize);
}

// ---- scheduling values ----

int cpus_set(G* g, size_t size, const void* cpus) {
  Values v;
  set_cpus(&v, size, cpus);
  return change(g, kCpus, v);
}

int cpus_check(size_t size, const void* cpus) {
  Values v;
  set_cpus(&v, size, cpus);
  NoPreempt off;
  return static_cast<int>(-try_value(kCpus, &v));
}

long cpus_get(G* g, size_t size, void* cpus) {
  // How much the kernel wants room for, and gives, is its own affair: the number of processors there can be.
  long n = sys::call(SYS_sched_getaffinity, 0, size, cpus);
  if (n < 0 || g == getg()) return n;
  Values v;
  values_of(g, kCpus, &v);
  std::memset(cpus, 0, static_cast<size_t>(n));
  std::memcpy(cpus, v.cpus, static_cast<size_t>(n) < v.cpus_size ? static_cast<size_t>(n) : v.cpus_size);
  return n;
}

int policy_set(G* g, int policy, int priority) {
  Values v;
  v.policy = policy;
  v.priority = priority;
  return change(g, kPolicy, v);
}

int policy_check(int policy, int priority) {
  Values v;
  v.policy = policy;
  v.priority = priority;
  NoPreempt off;
  return static_cast<int>(-try_value(kPolicy, &v));
}

void policy_get(G* g, int* policy, int* priority) {
  Values v;
  values_of(g, kPolicy, &v);
  *policy = v.policy;
  *priority = v.priority;
}

// ---- priority ceilings ----

namespace {

// The calling thread's; all zero while it is not raised.
struct Raised {
  int by;  // the priority it is raised to
  int policy;
  int priority;  // its own
};
__thread Raised raised;

int set_own_policy(int policy, int priority) {
  Values v;
  v.policy = policy;
  v.priority = priority;
  if (getg()) return change_self(kPolicy, v);
  long r = write_value(0, kPolicy, v);
  return r < 0 ? static_cast<int>(-r) : 0;
}

int larger(int a, int b) { return a > b ? a : b; }

}  // namespace

bool priority_is_raised() { return raised.by != 0; }

void priority_own_get(int* policy, int* priority) {
  if (raised.by) {
    *policy = raised.policy;
    *priority = raised.priority;
    return;
  }
  Values v;
  read_values(0, kPolicy, &v);
  *policy = v.policy;
  *priority = v.priority;
}

int priority_raise(int priority) {
  int by = larger(priority, 0);
  if (by == raised.by) return 0;
  int policy;
  int own;
  priority_own_get(&policy, &own);
  if (larger(own, by) != larger(own, raised.by)) {
    if (int error = set_own_policy(policy, larger(own, by))) return error;
  }
  raised = by ? Raised{by, policy, own} : Raised{};
  return 0;
}

int priority_own_set(int policy, int priority) {
  int error = set_own_policy(policy, larger(priority, raised.by));
  if (!error && raised.by) raised = {raised.by, policy, priority};
  return error;
}

int nice_set(G* g, int nice) {
  Values v;
  v.nice = nice;
  return change(g, kNice, v);
}

int nice_get(G* g) {
  Values v;
  values_of(g, kNice, &v);
  return v.nice;
}

// ---- timer slack ----

namespace {

// 0: as it began; that 0: as the process had it when the runtime started.
struct Slack {
  unsigned long now;
  unsigned long first;
};
__thread Slack slack;

Slack* slack_of(G* g) {
  ptrdiff_t offset = reinterpret_cast<char*>(&slack) - reinterpret_cast<char*>(arch::thread_pointer());
  return reinterpret_cast<Slack*>(reinterpret_cast<char*>(g->tp) + offset);
}

unsigned long own_slack() {
  if (slack.now) return slack.now;
  return slack.first ? slack.first : static_cast<unsigned long>(sched.timer_slack);
}

// A policy with priorities has none, and newer kernels keep it from being set.
bool has_no_slack() { return sys::call(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0) == 0; }

}  // namespace

unsigned long timer_slack_get() { return has_no_slack() ? 0 : own_slack(); }

void timer_slack_set(unsigned long value) {
  if (!has_no_slack()) slack.now = value;
}

// ---- life ----

void ident_g_create(G* g) {
  G* creator = getg();
  if (creator && creator->id == 1 && !creator->name[0]) {
    char name[kNameSize];
    name_get(creator, name);
    std::memcpy(creator->name, name, kNameSize);
  }
  if (creator) std::memcpy(g->name, creator->name, kNameSize);
  else g->name[0] = 0;
  if (GOSHIM_UNLIKELY(slack.now | slack.first)) slack_of(g)->first = own_slack();
  if (GOSHIM_LIKELY(!g->ident && !(creator && creator->ident))) return;
  NoPreempt off;
  LockGuard guard(lock);
  if (Ident* old = ident_of(g)) old->notes = old->locks = 0;
  uint32_t inherited = creator && creator->ident ? ident_of(creator)->locks : 0;
  if (!inherited) return;
  Ident* ident = ident_for(g);
  if (!ident) return;
  read_values(0, inherited | kNice, &ident->noted);
  if ((inherited & kPolicy) && (ident->noted.policy & SCHED_RESET_ON_FORK)) {
    reset_policy(&ident->noted);
    for (uint32_t which : {kPolicy, kNice}) {
      if (same_values(which, ident->noted, clean)) inherited &= ~which;
      else inherited |= which;
    }
  }
  ident->notes = inherited;
}

void ident_g_begin_slow(G* g) {
  for (uint32_t which : {kCpus, kPolicy, kNice}) {
    Values v;
    {
      NoPreempt off;
      LockGuard guard(lock);
      if (!(ident_of(g)->notes & which)) continue;
      ident_of(g)->notes &= ~which;
      copy_values(which, ident_of(g)->noted, &v);
    }
    change_self(which, v);
  }
}

void ident_start() {
  slack = {};  // the kernel has what it was set to
  G* self = getg();
  Values own;
  read_values(0, kPolicy, &own);
  if (!(own.policy & SCHED_RESET_ON_FORK)) return;
  read_values(0, kNice, &own);
  LockGuard guard(lock);
  Ident* ident = ident_for(self);
  if (!ident) return;
  read_values(signal_receiver(), kCpus | kPolicy | kNice, &clean);
  clean_known = true;
  for (uint32_t which : {kPolicy, kNice}) {
    if (same_values(which, own, clean)) continue;
    ident->locks |= which;
    lock_os_thread();
  }
}

void ident_after_fork_child() {
  lock.reset();
  clean_known = false;  // the thread that forked may have differed
  sched.timer_slack = static_cast<long>(own_slack());
  slab.reset_lock();
}

}  // namespace goshim
