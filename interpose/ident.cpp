// Thread ids, names, attributes, processors and priorities; calls that change what the kernel keeps by kernel thread.
#include "thread/ident.h"

#include <cstring>

#include "interpose/calls.h"
#include "interpose/init.h"
#include "sched/user_memory.h"
#include "thread/life.h"
#include "thread/signal.h"

using namespace goshim;

namespace {

constexpr size_t kNameSize = 16;  // TASK_COMM_LEN

// The G a process or thread id names in a call that takes 0 for the caller; null if it is not one of goshim's.
G* g_named(pid_t id) {
  if (!on_g()) return nullptr;
  return id == 0 || id == goshim_tls.tid ? getg() : signal_g_of_tid(id);
}

// The G behind a thread handle, null for others' threads and before the start.
G* g_behind(pthread_t t) { return runtime_started ? g_of(t) : nullptr; }

int failed(int error) {
  if (error == 0) return 0;
  errno = error;
  return -1;
}

// A call that changes the calling kernel thread for good: the G stays on it from here on (D13).
template <typename F>
auto locked(F call) {
  if (!on_g()) return call();
  lock_os_thread();
  auto r = call();
  if (r < 0) unlock_os_thread();
  else getg()->own_state = true;
  return r;
}

// prctl options that change the calling thread and not the process.
bool is_per_thread(int option) {
  switch (option) {
    case PR_SET_SECCOMP:
    case PR_SET_NO_NEW_PRIVS:
    case PR_SET_KEEPCAPS:
    case PR_SET_SECUREBITS:
    case PR_CAPBSET_DROP:
    case PR_CAP_AMBIENT:
    case PR_SET_TSC:
    case PR_SET_FPEMU:
    case PR_SET_FPEXC:
    case PR_SET_UNALIGN:
    case PR_SET_ENDIAN:
    case PR_SET_IO_FLUSHER:
    case PR_MCE_KILL:
    case PR_SET_SPECULATION_CTRL:
    case PR_SET_SYSCALL_USER_DISPATCH:
    case PR_SET_TAGGED_ADDR_CTRL:
    case PR_PAC_RESET_KEYS:
    case PR_PAC_SET_ENABLED_KEYS:
    case PR_SVE_SET_VL:
    case PR_SCHED_CORE: return true;
    default: return false;
  }
}

// Where attributes have their policy, in words; -1 if that is not to be found.
int policy_place() {
  constexpr size_t kWords = sizeof(pthread_attr_t) / sizeof(int);
  int words[2][kWords] = {};
  constexpr int kPolicies[] = {SCHED_FIFO, SCHED_RR};
  for (int i : {0, 1}) {
    pthread_attr_t fresh{};
    pthread_attr_init(&fresh);
    pthread_attr_setschedpolicy(&fresh, kPolicies[i]);
    std::memcpy(words[i], &fresh, sizeof words[i]);
    pthread_attr_destroy(&fresh);
  }
  for (size_t i = 0; i < kWords; i++) {
    if (words[0][i] == SCHED_FIFO && words[1][i] == SCHED_RR) return static_cast<int>(i);
  }
  return -1;
}

// Processors, policy and parameters as g has them now.
int fill_values(G* g, pthread_attr_t* attr) {
  sched_param param{};
  int policy = 0;
  policy_get(g, &policy, &param.sched_priority);
  if (param.sched_priority) pthread_attr_setschedpolicy(attr, policy & ~SCHED_RESET_ON_FORK);
  pthread_attr_setschedparam(attr, &param);
  // Others than the POSIX policies libc knows in a thread, but does not take here.
  if (int at = pthread_attr_setschedpolicy(attr, policy) != 0 ? policy_place() : -1; at >= 0) {
    std::memcpy(reinterpret_cast<char*>(attr) + static_cast<size_t>(at) * sizeof policy, &policy, sizeof policy);
  }
  unsigned char cpus[kCpuBytes];
  long n = cpus_get(g, sizeof cpus, cpus);
  return n > 0 ? pthread_attr_setaffinity_np(attr, static_cast<size_t>(n), reinterpret_cast<cpu_set_t*>(cpus)) : 0;
}

// What pthread_getattr_np says of a thread goshim made. attr is initialised.
int fill_attr(G* g, pthread_attr_t* attr) {
  constexpr size_t kAligned = 64;  // as libc cuts the sizes of its own stacks
  size_t size = g->user_stack ? g->stack_asked : g->stack_asked & ~(kAligned - 1);
  char* low = g->user_stack ? static_cast<char*>(g->user_stack) : g->stack.top() - size;
  int error = pthread_attr_setstack(attr, low, size);
  if (!error) error = pthread_attr_setguardsize(attr, g->user_stack ? 0 : g->stack.guard);
  uint32_t life = g->life.load(std::memory_order_acquire);
  if (!error && (life & kExplicit)) error = pthread_attr_setinheritsched(attr, PTHREAD_EXPLICIT_SCHED);
  if (!error && (life & kDetached)) error = pthread_attr_setdetachstate(attr, PTHREAD_CREATE_DETACHED);
  return error ? error : fill_values(g, attr);
}

}  // namespace

// ---- ids and names ----

GOSHIM_EXPORT pid_t gettid() {
  if (!on_g()) return REAL(gettid)();
  return goshim_tls.tid;
}

GOSHIM_EXPORT int pthread_setname_np(pthread_t t, const char* name) {
  G* g = g_behind(t);
  if (!g) return REAL(pthread_setname_np)(t, name);
  if (std::strlen(name) >= kNameSize) return ERANGE;
  if (thread_has_ended(g)) return ENOENT;  // natively the name is a file of the kernel thread
  name_set(g, name);
  return 0;
}

GOSHIM_EXPORT int pthread_getname_np(pthread_t t, char* buf, size_t size) {
  G* g = g_behind(t);
  if (!g) return REAL(pthread_getname_np)(t, buf, size);
  if (size < kNameSize) return ERANGE;
  if (thread_has_ended(g)) return ENOENT;
  name_get(g, buf);
  return 0;
}

GOSHIM_EXPORT int prctl(int option, ...) {
  va_list args;
  va_start(args, option);
  auto a = va_arg(args, unsigned long);
  auto b = va_arg(args, unsigned long);
  auto c = va_arg(args, unsigned long);
  auto d = va_arg(args, unsigned long);
  va_end(args);
  if (on_g() && option == PR_SET_NAME) {
    name_set(getg(), reinterpret_cast<const char*>(a));
    return 0;
  }
  if (on_g() && option == PR_GET_NAME) {
    name_get(getg(), reinterpret_cast<char*>(a));
    return 0;
  }
  if (on_g() && option == PR_GET_TIMERSLACK) return static_cast<int>(timer_slack_get());
  if (on_g() && option == PR_SET_TIMERSLACK) {
    timer_slack_set(a);
    return 0;
  }
  auto call = [=] { return REAL(prctl)(option, a, b, c, d); };
  return is_per_thread(option) ? locked(call) : call();
}

// ---- attributes ----

GOSHIM_EXPORT int pthread_getattr_np(pthread_t t, pthread_attr_t* attr) {
  G* g = g_behind(t);
  if (!g) return REAL(pthread_getattr_np)(t, attr);
  bool is_main = g->kind < 0;  // whose stack libc finds in /proc/self/maps
  int error = is_main ? REAL(pthread_getattr_np)(t, attr) : pthread_attr_init(attr);
  if (error) return error;
  error = is_main ? fill_values(g, attr) : fill_attr(g, attr);
  if (error) pthread_attr_destroy(attr);
  return error;
}

static std::atomic<bool> default_attr_set{false};  // release, acquire: libc has the new ones
bool goshim::default_attr_changed() { return default_attr_set.load(std::memory_order_acquire); }

GOSHIM_EXPORT int pthread_setattr_default_np(const pthread_attr_t* attr) {
  int error = REAL(pthread_setattr_default_np)(attr);
  if (!error) default_attr_set.store(true, std::memory_order_release);
  size_t size = 0;
  // 0 in attr leaves the size as it is.
  if (!error && pthread_attr_getstacksize(attr, &size) == 0 && size) stack::set_default_size(size);
  return error;
}

// ---- processors ----

GOSHIM_EXPORT int pthread_setaffinity_np(pthread_t t, size_t size, const cpu_set_t* cpus) {
  G* g = g_behind(t);
  if (!g) return REAL(pthread_setaffinity_np)(t, size, cpus);
  return cpus_set(g, size, cpus);
}

GOSHIM_EXPORT int pthread_getaffinity_np(pthread_t t, size_t size, cpu_set_t* cpus) {
  G* g = g_behind(t);
  if (!g) return REAL(pthread_getaffinity_np)(t, size, cpus);
  long n = cpus_get(g, size, cpus);
  if (n < 0) return static_cast<int>(-n);
  std::memset(reinterpret_cast<char*>(cpus) + n, 0, size - static_cast<size_t>(n));
  return 0;
}

GOSHIM_EXPORT int sched_setaffinity(pid_t id, size_t size, const cpu_set_t* cpus) {
  G* g = g_named(id);
  if (!g) return REAL(sched_setaffinity)(id, size, cpus);
  return failed(cpus_set(g, size, cpus));
}

GOSHIM_EXPORT int sched_getaffinity(pid_t id, size_t size, cpu_set_t* cpus) {
  G* g = g_named(id);
  if (!g) return REAL(sched_getaffinity)(id, size, cpus);
  long n = cpus_get(g, size, cpus);
  if (n < 0) return failed(static_cast<int>(-n));
  std::memset(reinterpret_cast<char*>(cpus) + n, 0, size - static_cast<size_t>(n));
  return 0;
}

// ---- policies and priorities ----

// The caller's, while priority-ceiling mutexes raise it. Others' are told as raised.
static bool raised_self(pthread_t t) { return GOSHIM_UNLIKELY(priority_is_raised()) && t == pthread_self(); }

GOSHIM_EXPORT int pthread_setschedparam(pthread_t t, int policy, const sched_param* param) {
  if (raised_self(t)) {
    int error = on_g() ? 0 : REAL(pthread_setschedparam)(t, policy, param);  // libc remembers it
    return error ? error : priority_own_set(policy, param->sched_priority);
  }
  G* g = g_behind(t);
  if (!g) return REAL(pthread_setschedparam)(t, policy, param);
  if (thread_has_ended(g)) return ESRCH;
  return policy_set(g, policy, param->sched_priority);
}

GOSHIM_EXPORT int pthread_getschedparam(pthread_t t, int* policy, sched_param* param) {
  if (raised_self(t)) {
    priority_own_get(policy, &param->sched_priority);
    return 0;
  }
  G* g = g_behind(t);
  if (!g) return REAL(pthread_getschedparam)(t, policy, param);
  if (thread_has_ended(g)) return ESRCH;
  policy_get(g, policy, &param->sched_priority);
  return 0;
}

GOSHIM_EXPORT int pthread_setschedprio(pthread_t t, int priority) {
  G* g = g_behind(t);
  if (!g) return REAL(pthread_setschedprio)(t, priority);
  if (thread_has_ended(g)) return ESRCH;
  int policy;
  int old;
  if (raised_self(t)) {
    priority_own_get(&policy, &old);
    return priority_own_set(policy, priority);
  }
  policy_get(g, &policy, &old);
  return policy_set(g, policy, priority);
}

GOSHIM_EXPORT int sched_setscheduler(pid_t id, int policy, const sched_param* param) {
  G* g = g_named(id);
  if (!g || !param) return REAL(sched_setscheduler)(id, policy, param);
  return failed(policy_set(g, policy, param->sched_priority));
}

GOSHIM_EXPORT int __sched_setscheduler(pid_t id, int policy, const sched_param* param) {
  return sched_setscheduler(id, policy, param);
}

GOSHIM_EXPORT int sched_getscheduler(pid_t id) {
  G* g = g_named(id);
  if (!g) return REAL(sched_getscheduler)(id);
  int policy;
  int priority;
  policy_get(g, &policy, &priority);
  return policy;
}

GOSHIM_EXPORT int __sched_getscheduler(pid_t id) { return sched_getscheduler(id); }

GOSHIM_EXPORT int sched_setparam(pid_t id, const sched_param* param) {
  G* g = g_named(id);
  if (!g || !param) return REAL(sched_setparam)(id, param);
  return failed(policy_set(g, sched_getscheduler(id), param->sched_priority));
}

GOSHIM_EXPORT int sched_getparam(pid_t id, sched_param* param) {
  G* g = g_named(id);
  if (!g || !param) return REAL(sched_getparam)(id, param);
  int policy;
  policy_get(g, &policy, &param->sched_priority);
  return 0;
}

GOSHIM_EXPORT int __sched_getparam(pid_t id, sched_param* param) { return sched_getparam(id, param); }

GOSHIM_EXPORT int sched_rr_get_interval(pid_t id, timespec* interval) {
  return REAL(sched_rr_get_interval)(on_g() ? kernel_tid(id) : id, interval);
}

GOSHIM_EXPORT int setpriority(__priority_which_t which, id_t id, int nice) {
  G* g = which == PRIO_PROCESS ? g_named(static_cast<pid_t>(id)) : nullptr;
  if (!g) return REAL(setpriority)(which, id, nice);
  return failed(nice_set(g, nice));
}

GOSHIM_EXPORT int getpriority(__priority_which_t which, id_t id) {
  G* g = which == PRIO_PROCESS ? g_named(static_cast<pid_t>(id)) : nullptr;
  if (!g) return REAL(getpriority)(which, id);
  return nice_get(g);
}

GOSHIM_EXPORT int nice(int by) {
  if (!on_g()) return REAL(nice)(by);
  if (by == 0) return nice_get(getg());
  int error = nice_set(getg(), nice_get(getg()) + by);
  if (error) return failed(error == EACCES ? EPERM : error);
  return nice_get(getg());
}

// ---- processes, which the id of any of their threads may name ----

GOSHIM_EXPORT pid_t getpgid(pid_t id) { return REAL(getpgid)(process_of(id)); }

GOSHIM_EXPORT pid_t __getpgid(pid_t id) { return getpgid(id); }

GOSHIM_EXPORT int setpgid(pid_t id, pid_t group) { return REAL(setpgid)(not_a_process(id), group); }

GOSHIM_EXPORT int __setpgid(pid_t id, pid_t group) { return setpgid(id, group); }

GOSHIM_EXPORT pid_t getsid(pid_t id) { return REAL(getsid)(process_of(id)); }

GOSHIM_EXPORT int prlimit(pid_t id, __rlimit_resource which, const rlimit* limit, rlimit* old) {
  return REAL(prlimit)(process_of(id), which, limit, old);
}

GOSHIM_EXPORT int prlimit64(pid_t id, __rlimit_resource which, const rlimit64* limit, rlimit64* old) {
  return REAL(prlimit64)(process_of(id), which, limit, old);
}

GOSHIM_EXPORT ssize_t process_vm_readv(pid_t id, const iovec* to, unsigned long n, const iovec* from,
                                       unsigned long from_n, unsigned long flags) {
  return REAL(process_vm_readv)(process_of(id), to, n, from, from_n, flags);
}

GOSHIM_EXPORT ssize_t process_vm_writev(pid_t id, const iovec* from, unsigned long n, const iovec* to,
                                        unsigned long to_n, unsigned long flags) {
  return REAL(process_vm_writev)(process_of(id), from, n, to, to_n, flags);
}

// A descriptor of a single thread (newer kernels have that) would tell of a kernel thread's end.
GOSHIM_EXPORT int pidfd_open(pid_t id, unsigned flags) noexcept {
  constexpr unsigned kThread = O_EXCL;  // PIDFD_THREAD
  int named = not_a_process(id);
  if (named != id && (flags & kThread)) return failed(EINVAL);
  return static_cast<int>(plain_call(SYS_pidfd_open, named, flags));
}

// ---- state of the kernel thread (D13) ----

GOSHIM_EXPORT int unshare(int flags) {
  if ((flags & CLONE_FILES) && !own_files()) flags &= ~CLONE_FILES;
  return locked([=] { return REAL(unshare)(flags); });
}

GOSHIM_EXPORT int setns(int fd, int type) {
  return locked([=] { return REAL(setns)(fd, type); });
}

// Calls function with a header that has 0 in place of the caller's id, and for another what other() makes of it.
template <typename F, typename Other>
static int by_header(F function, Other other, cap_user_header_t header, cap_user_data_t data) {
  long id = on_g() ? user_word(&header->pid) : 0;
  if (id <= 0) return function(header, data);
  bool own = id == goshim_tls.tid;
  __user_cap_header_struct sent{header->version, own ? 0 : other(static_cast<int>(id))};
  int r = function(&sent, data);
  if (sent.version != header->version) header->version = sent.version;  // the kernel tells the one that it knows
  return r;
}

GOSHIM_EXPORT int capset(cap_user_header_t header, cap_user_data_t data) {
  // Another thread's are out of reach, also of one that happens to run on its kernel thread.
  auto other = [](int id) { return signal_g_of_tid(id) ? -1 : id; };
  return locked([=] { return by_header(REAL(capset), other, header, data); });
}

GOSHIM_EXPORT int capget(cap_user_header_t header, cap_user_data_t data) {
  return by_header(REAL(capget), kernel_tid, header, data);
}

GOSHIM_EXPORT int setfsuid(uid_t id) {
  return locked([=] { return REAL(setfsuid)(id); });
}

GOSHIM_EXPORT int setfsgid(gid_t id) {
  return locked([=] { return REAL(setfsgid)(id); });
}

GOSHIM_EXPORT int personality(unsigned long persona) {
  if (persona == 0xffffffff) return REAL(personality)(persona);  // only asks
  return locked([=] { return REAL(personality)(persona); });
}

// The tracer is a kernel thread, which must make every later request itself. The symbol's own declaration takes an
// enumeration, behind which C++ has no way to the other arguments.
GOSHIM_EXPORT long goshim_ptrace(int request, ...) __asm__("ptrace");
long goshim_ptrace(int request, ...) {
  va_list args;
  va_start(args, request);
  pid_t pid = va_arg(args, pid_t);
  void* address = va_arg(args, void*);
  void* data = va_arg(args, void*);
  va_end(args);
  if (on_g() && getg()->lock_count == 0) lock_os_thread();
  return REAL(ptrace)(static_cast<__ptrace_request>(request), pid, address, data);
}
