// syscall(2): the numbers that block, name a thread or change one go where the functions of the same name go; the rest
// goes to the kernel.
#include <sys/syscall.h>

#include "interpose/calls.h"
#include "interpose/memory.h"
#include "interpose/process.h"
#include "interpose/signal.h"
#include "interpose/sync.h"
#include "interpose/times.h"
#include "sched/user_memory.h"
#include "sync/shared.h"
#include "sync/sharing.h"
#include "thread/ident.h"
#include "thread/life.h"

using namespace goshim;

// What no header of every libc declares.
GOSHIM_EXPORT int pidfd_open(pid_t id, unsigned flags) noexcept;
GOSHIM_EXPORT int capget(cap_user_header_t header, cap_user_data_t data);
GOSHIM_EXPORT int capset(cap_user_header_t header, cap_user_data_t data);

namespace {

using Args = const long[6];

template <typename T>
T* pointer(long x) {
  return reinterpret_cast<T*>(x);
}

// The kernel's answer from a function that sets errno.
template <typename R>
long from_errno(R r) {
  return r == R(-1) ? -errno : static_cast<long>(r);
}

// A call that blocks: how long, and what becomes of it when a handler has run. False for other calls.
bool is_blocking(long nr, Args a, RegionClass* c, OnHandler* rule) {
  *c = RegionClass::Short;
  *rule = OnHandler::Restart;
  switch (nr) {
    case SYS_pread64:
    case SYS_pwrite64:
    case SYS_preadv:
    case SYS_pwritev:
    case SYS_tee:
    case SYS_vmsplice:
    case SYS_getrandom: return true;
    case SYS_preadv2: *rule = OnHandler::RestartIn; return true;
    case SYS_pwritev2:
    case SYS_sendfile: *rule = OnHandler::RestartOut; return true;
    case SYS_splice: *rule = OnHandler::RestartSplice; return true;
    default: break;
  }
  *c = RegionClass::Long;
  switch (nr) {
    case SYS_connect: *rule = OnHandler::RestartOut; return true;
    case SYS_copy_file_range:
    case SYS_fsync:
    case SYS_fdatasync:
    case SYS_sync_file_range:
    case SYS_syncfs:
    case SYS_sync:
    case SYS_msync:
    case SYS_fallocate:
    case SYS_flock:
    case SYS_mq_timedsend:
    case SYS_mq_timedreceive:
    case SYS_wait4:
    case SYS_waitid: return true;
    case SYS_msgrcv:
    case SYS_msgsnd:
#ifdef SYS_semop
    case SYS_semop:
#endif
    case SYS_semtimedop:
    case SYS_io_getevents: *rule = OnHandler::Fail; return true;
    case SYS_io_uring_enter: *rule = OnHandler::Fail; return a[2] != 0;  // completions to wait for
    default: return false;
  }
}

// A kernel's set of signals of size bytes as the functions take it.
const sigset_t* signals(long set, long size) { return size == 8 ? pointer<const sigset_t>(set) : nullptr; }

// pselect6 takes its set and the size in one argument.
const sigset_t* packed_signals(long packed) {
  const long* p = pointer<const long>(packed);
  if (p && !user_readable(p, 2 * sizeof *p)) return pointer<const sigset_t>(packed);  // as bad
  return p ? signals(p[0], p[1]) : nullptr;
}

// The kernel wakes the waiters of an owner that has ended: a list of the program's own has words that only it knows of.
void note_robust_list(Args a) {
  void* libcs = nullptr;
  size_t size = 0;
  if (sys::call(SYS_get_robust_list, 0, &libcs, &size) != 0 || pointer<void>(a[0]) != libcs) note_all_shared();
}

// The kernel's structure of sched_setattr(2) as far as goshim knows it; no header of libc 2.36 has it.
struct SchedAttr {
  uint32_t size;
  uint32_t policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
};
constexpr uint64_t kResetOnFork = 1;  // SCHED_FLAG_RESET_ON_FORK and others
constexpr uint64_t kKeepPolicy = 8;
constexpr uint64_t kKeepParams = 16;

// Another thread that a call names, which goshim keeps values for.
G* other_g(int tid) { return tid > 0 && tid != goshim_tls.tid ? signal_g_of_tid(tid) : nullptr; }

long set_sched_attr(G* g, const SchedAttr* attr) {
  if (!user_readable(attr, sizeof *attr)) return -EFAULT;
  auto policy = static_cast<int>(attr->policy);
  int error = 0;
  if (!(attr->flags & (kKeepPolicy | kKeepParams))) {
    int reset = (attr->flags & kResetOnFork) ? SCHED_RESET_ON_FORK : 0;
    error = policy_set(g, policy | reset, static_cast<int>(attr->priority));
  }
  bool has_nice = policy == SCHED_OTHER || policy == SCHED_BATCH;
  if (!error && has_nice && !(attr->flags & kKeepParams)) error = nice_set(g, attr->nice);
  return -error;
}

long get_sched_attr(G* g, SchedAttr* attr, long size, long flags) {
  long r = sys::call(SYS_sched_getattr, 0, attr, size, flags);
  if (r < 0) return r;
  int policy;
  int priority;
  policy_get(g, &policy, &priority);
  attr->policy = static_cast<uint32_t>(policy & ~SCHED_RESET_ON_FORK);
  attr->flags = (policy & SCHED_RESET_ON_FORK) ? kResetOnFork : 0;
  attr->priority = static_cast<uint32_t>(priority);
  attr->nice = priority ? 0 : nice_get(g);
  return r;
}

// Calls of a G that are more than system calls. False if nr is none.
bool as_function(long nr, Args a, long* r) {
  auto fd = static_cast<int>(a[0]);
  auto n = static_cast<int>(a[2]);
  switch (nr) {
    case SYS_set_tid_address: getg()->tid_word = pointer<int>(a[0]); [[fallthrough]];
    case SYS_gettid: *r = gettid(); return true;
    case SYS_get_robust_list: {
      G* g = fd == 0 ? getg() : signal_g_of_tid(fd);
      if (!g) return false;
      *pointer<void*>(a[1]) = robust_list_of(g);
      *pointer<size_t>(a[2]) = kRobustListSize;
      *r = 0;
      return true;
    }
    case SYS_set_robust_list:
      *r = 0;
      if (pointer<void>(a[0]) == robust_list_of(getg()) && static_cast<size_t>(a[1]) == kRobustListSize) return true;
      note_all_shared();  // the kernel wakes the waiters of an owner that has ended
      return false;
    case SYS_sched_yield: *r = sched_yield(); return true;
    case SYS_nanosleep: *r = from_errno(nanosleep(pointer<const timespec>(a[0]), pointer<timespec>(a[1]))); return true;
    case SYS_clock_nanosleep:
      *r = -clock_nanosleep(static_cast<clockid_t>(a[0]), static_cast<int>(a[1]), pointer<const timespec>(a[2]),
                            pointer<timespec>(a[3]));
      return true;
    case SYS_clock_gettime:
      *r = from_errno(clock_gettime(static_cast<clockid_t>(a[0]), pointer<timespec>(a[1])));
      return true;
    case SYS_clock_getres:
      *r = from_errno(clock_getres(static_cast<clockid_t>(a[0]), pointer<timespec>(a[1])));
      return true;
    case SYS_getrusage: *r = from_errno(getrusage(static_cast<__rusage_who_t>(fd), pointer<rusage>(a[1]))); return true;
#ifdef SYS_poll  // older names, which newer ports of Linux do not have
    case SYS_dup2: *r = from_errno(dup2(fd, static_cast<int>(a[1]))); return true;
    case SYS_poll: *r = from_errno(poll(pointer<pollfd>(a[0]), static_cast<nfds_t>(a[1]), n)); return true;
    case SYS_select:
      *r = from_errno(
          select(fd, pointer<fd_set>(a[1]), pointer<fd_set>(a[2]), pointer<fd_set>(a[3]), pointer<timeval>(a[4])));
      return true;
    case SYS_epoll_wait:
      *r = from_errno(epoll_wait(fd, pointer<epoll_event>(a[1]), n, static_cast<int>(a[3])));
      return true;
    case SYS_open:
      *r = from_errno(open(pointer<const char>(a[0]), static_cast<int>(a[1]), static_cast<mode_t>(a[2])));
      return true;
    case SYS_creat: *r = from_errno(creat(pointer<const char>(a[0]), static_cast<mode_t>(a[1]))); return true;
#endif
    case SYS_openat: *r = from_errno(openat(fd, pointer<const char>(a[1]), n, static_cast<mode_t>(a[3]))); return true;
    case SYS_ppoll:
      *r = io_poll(pointer<pollfd>(a[0]), static_cast<nfds_t>(a[1]), pointer<timespec>(a[2]),
                   pointer<const uint64_t>(a[4] == 8 ? a[3] : 0));
      return true;
    case SYS_pselect6:
      *r = io_select(fd, pointer<fd_set>(a[1]), pointer<fd_set>(a[2]), pointer<fd_set>(a[3]), pointer<timespec>(a[4]),
                     reinterpret_cast<const uint64_t*>(packed_signals(a[5])));
      return true;
    case SYS_epoll_pwait:
      *r = from_errno(epoll_pwait(fd, pointer<epoll_event>(a[1]), n, static_cast<int>(a[3]), signals(a[4], a[5])));
      return true;
    case SYS_epoll_pwait2:
      *r = from_errno(
          epoll_pwait2(fd, pointer<epoll_event>(a[1]), n, pointer<const timespec>(a[3]), signals(a[4], a[5])));
      return true;
    case SYS_close: *r = from_errno(close(fd)); return true;
    case SYS_read: *r = io_read(fd, pointer<void>(a[1]), static_cast<size_t>(a[2])); return true;
    case SYS_write: *r = io_write(fd, pointer<const void>(a[1]), static_cast<size_t>(a[2])); return true;
    case SYS_readv: *r = io_readv(fd, pointer<const iovec>(a[1]), n); return true;
    case SYS_writev: *r = io_writev(fd, pointer<const iovec>(a[1]), n); return true;
    case SYS_recvfrom:
      *r = io_recv(fd, pointer<void>(a[1]), static_cast<size_t>(a[2]), static_cast<int>(a[3]), pointer<sockaddr>(a[4]),
                   pointer<socklen_t>(a[5]));
      return true;
    case SYS_recvmsg: *r = io_recvmsg(fd, pointer<msghdr>(a[1]), n); return true;
    case SYS_recvmmsg:
      *r = io_recvmmsg(fd, pointer<mmsghdr>(a[1]), static_cast<unsigned>(n), static_cast<int>(a[3]),
                       pointer<timespec>(a[4]));
      return true;
    case SYS_sendto:
      *r = io_send(fd, pointer<const void>(a[1]), static_cast<size_t>(a[2]), static_cast<int>(a[3]),
                   pointer<const sockaddr>(a[4]), static_cast<socklen_t>(a[5]));
      return true;
    case SYS_sendmsg: *r = from_errno(sendmsg(fd, pointer<const msghdr>(a[1]), n)); return true;
    case SYS_sendmmsg:
      *r = from_errno(sendmmsg(fd, pointer<mmsghdr>(a[1]), static_cast<unsigned>(n), static_cast<int>(a[3])));
      return true;
    case SYS_accept: *r = io_accept(fd, pointer<sockaddr>(a[1]), pointer<socklen_t>(a[2]), 0); return true;
    case SYS_accept4:
      *r = io_accept(fd, pointer<sockaddr>(a[1]), pointer<socklen_t>(a[2]), static_cast<int>(a[3]));
      return true;
    case SYS_dup: *r = from_errno(dup(fd)); return true;
    case SYS_dup3: *r = from_errno(dup3(fd, static_cast<int>(a[1]), n)); return true;
    case SYS_close_range:
      *r = from_errno(close_range(static_cast<unsigned>(a[0]), static_cast<unsigned>(a[1]), n));
      return true;
    case SYS_fcntl: *r = from_errno(fcntl(fd, static_cast<int>(a[1]), a[2])); return true;
    case SYS_setsockopt:
      *r = from_errno(
          setsockopt(fd, static_cast<int>(a[1]), n, pointer<const void>(a[3]), static_cast<socklen_t>(a[4])));
      return true;
    case SYS_ioctl: *r = from_errno(ioctl(fd, static_cast<unsigned long>(a[1]), a[2])); return true;
    case SYS_prctl: *r = from_errno(prctl(fd, a[1], a[2], a[3], a[4])); return true;
    case SYS_tgkill: *r = from_errno(tgkill(fd, static_cast<pid_t>(a[1]), n)); return true;
    case SYS_tkill: *r = from_errno(tgkill(getpid(), fd, static_cast<int>(a[1]))); return true;
    case SYS_rt_sigprocmask:
      if (a[3] != 8) return false;
      if ((a[1] && !user_readable(pointer<void>(a[1]), 8)) || (a[2] && !user_writable(pointer<void>(a[2]), 8))) {
        *r = -EFAULT;
        return true;
      }
      *r = -pthread_sigmask(fd, pointer<const sigset_t>(a[1]), pointer<sigset_t>(a[2]));
      return true;
    case SYS_sched_setaffinity:
      *r = from_errno(sched_setaffinity(fd, static_cast<size_t>(a[1]), pointer<const cpu_set_t>(a[2])));
      return true;
    case SYS_sched_setscheduler:
      *r = from_errno(sched_setscheduler(fd, static_cast<int>(a[1]), pointer<const sched_param>(a[2])));
      return true;
    case SYS_sched_getscheduler: *r = from_errno(sched_getscheduler(fd)); return true;
    case SYS_sched_setattr: {
      G* g = other_g(fd);
      if (g) *r = set_sched_attr(g, pointer<const SchedAttr>(a[1]));
      return g != nullptr;
    }
    case SYS_sched_getattr: {
      G* g = other_g(fd);
      if (g) *r = get_sched_attr(g, pointer<SchedAttr>(a[1]), a[2], a[3]);
      return g != nullptr;
    }
    case SYS_sched_setparam: *r = from_errno(sched_setparam(fd, pointer<const sched_param>(a[1]))); return true;
    case SYS_sched_getparam: *r = from_errno(sched_getparam(fd, pointer<sched_param>(a[1]))); return true;
    case SYS_setpriority:
      *r = from_errno(setpriority(static_cast<__priority_which_t>(fd), static_cast<id_t>(a[1]), n));
      return true;
    case SYS_pidfd_open: *r = from_errno(pidfd_open(fd, static_cast<unsigned>(a[1]))); return true;
    case SYS_capget:
      *r = from_errno(capget(pointer<__user_cap_header_struct>(a[0]), pointer<__user_cap_data_struct>(a[1])));
      return true;
    case SYS_capset:
      *r = from_errno(capset(pointer<__user_cap_header_struct>(a[0]), pointer<__user_cap_data_struct>(a[1])));
      return true;
    case SYS_unshare: *r = from_errno(unshare(fd)); return true;
    case SYS_setns: *r = from_errno(setns(fd, static_cast<int>(a[1]))); return true;
    default: return false;
  }
}

// An argument by which a call names a thread or a process, and what the kernel is to see there. index -1: none.
struct IdArgument {
  int index;
  int (*translate)(int) = kernel_tid;
};

IdArgument id_argument(long nr, Args a) {
  switch (nr) {
    case SYS_sched_getaffinity:
    case SYS_sched_rr_get_interval:
    case SYS_sched_setattr:
    case SYS_sched_getattr: return {0};
    case SYS_getpriority: return {a[0] == PRIO_PROCESS ? 1 : -1};
    case SYS_ioprio_get:
    case SYS_ioprio_set: return {a[0] == 1 ? 1 : -1};  // IOPRIO_WHO_PROCESS
    case SYS_perf_event_open: return {1};
    case SYS_getpgid:
    case SYS_getsid:
    case SYS_prlimit64:
    case SYS_process_vm_readv:
    case SYS_process_vm_writev:
    case SYS_migrate_pages:
    case SYS_move_pages: return {0, process_of};
    case SYS_setpgid: return {0, not_a_process};
    default: return {-1};
  }
}

// Which argument is a path that may lead into /proc? -1: none.
int path_argument(long nr) {
  switch (nr) {
#ifdef SYS_stat
    case SYS_stat:
    case SYS_lstat:
    case SYS_access:
    case SYS_readlink: return 0;
#endif
    case SYS_newfstatat:
    case SYS_statx:
    case SYS_faccessat:
    case SYS_faccessat2:
    case SYS_readlinkat: return 1;
    default: return -1;
  }
}

// Calls that change what the kernel keeps by kernel thread (D13): whether new threads inherit that, or it is the
// kernel thread's alone.
enum class Changes { Nothing, Inherited, Own };
Changes changes_thread(long nr, Args a) {
  switch (nr) {
    case SYS_seccomp:
    case SYS_landlock_restrict_self:
    case SYS_set_mempolicy:
    case SYS_setfsuid:
    case SYS_setfsgid:
    case SYS_setuid:
    case SYS_setgid:
    case SYS_setreuid:
    case SYS_setregid:
    case SYS_setresuid:
    case SYS_setresgid:
    case SYS_setgroups:
    case SYS_keyctl:
    case SYS_personality: return Changes::Inherited;
    case SYS_add_key:
    case SYS_request_key:
    case SYS_perf_event_open:
    case SYS_ptrace:
    case SYS_set_robust_list:
    case SYS_io_uring_setup: return Changes::Own;  // rings of a single issuer know it by its kernel thread
    case SYS_sched_setattr: return a[0] == 0 || a[0] == goshim_tls.tid ? Changes::Own : Changes::Nothing;
    case SYS_ioprio_set:
      return a[0] == 1 && (a[1] == 0 || a[1] == goshim_tls.tid) ? Changes::Inherited : Changes::Nothing;
    default: return Changes::Nothing;
  }
}

long to_kernel(long nr, Args args) {
  long a[6] = {args[0], args[1], args[2], args[3], args[4], args[5]};
  Changes changes = changes_thread(nr, a);
  if (changes != Changes::Nothing) lock_os_thread();
  if (IdArgument id = id_argument(nr, a); id.index >= 0) a[id.index] = id.translate(static_cast<int>(a[id.index]));
  if (nr == SYS_kcmp) {
    for (int i : {0, 1}) a[i] = kernel_tid(static_cast<int>(a[i]));
  }
  int named = path_argument(nr);
  Path path(named >= 0 ? pointer<const char>(a[named]) : nullptr);
  if (named >= 0) a[named] = word(static_cast<const char*>(path));
  if (nr == SYS_exit) thread_vanish(static_cast<int>(a[0]));
  long r = sys::call(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (changes != Changes::Nothing && r < 0) unlock_os_thread();
  else if (changes == Changes::Inherited) getg()->own_state = true;
  return r;
}

// Calls of as_function() whose functions go on to libc's, or to those of a library that stands before libc.
bool goes_on_to_libc(long nr) {
  switch (nr) {
#ifdef SYS_poll
    case SYS_dup2:
    case SYS_open:
    case SYS_creat:
#endif
    case SYS_clock_gettime:
    case SYS_clock_getres:
    case SYS_getrusage:
    case SYS_openat:
    case SYS_dup:
    case SYS_dup3:
    case SYS_close_range:
    case SYS_fcntl:
    case SYS_setsockopt:
    case SYS_ioctl:
    case SYS_prctl:
    case SYS_sched_setaffinity:
    case SYS_sched_setscheduler:
    case SYS_sched_getscheduler:
    case SYS_sched_setparam:
    case SYS_sched_getparam:
    case SYS_setpriority:
    case SYS_capget:
    case SYS_unshare:
    case SYS_setns: return true;
    default: return false;
  }
}

// A library that stands before libc may make its functions of system calls by number. Such a call, coming back here
// from within our own, is for the kernel.
class Dispatch {
 public:
  explicit Dispatch(long nr) : outer_(goshim_tls.dispatched) {
    if (goes_on_to_libc(nr)) goshim_tls.dispatched = static_cast<int32_t>(nr) + 1;
  }
  ~Dispatch() { goshim_tls.dispatched = outer_; }
  Dispatch(const Dispatch&) = delete;
  Dispatch& operator=(const Dispatch&) = delete;
  static bool nested(long nr) { return goshim_tls.dispatched == nr + 1; }

 private:
  int32_t outer_;
};

long on_this_g(long nr, Args a) {
  long r;
  {
    Dispatch dispatch(nr);
    if (as_function(nr, a, &r)) return r;
  }
  if (signal_syscall(nr, a, &r)) return r;
  RegionClass c;
  OnHandler rule;
  if (is_blocking(nr, a, &c, &rule)) return blocking_call(c, rule, nr, a[0], a[1], a[2], a[3], a[4], a[5]);
  return to_kernel(nr, a);
}

}  // namespace

GOSHIM_EXPORT long syscall(long nr, ...) {
  // As libc's, takes six words whether the caller gave them or not.
  va_list args;
  va_start(args, nr);
  long a[6];
  for (long& x : a) x = va_arg(args, long);
  va_end(args);
  // The words may be waited on by Gs and by foreign threads, which must find each other.
  if (nr == SYS_futex) return answer(futex_call(a[0], a[1], a[2], a[3], a[4], a[5]));
  long r;
  if (process_syscall(nr, a, &r) || mapping_syscall(nr, a, &r)) return answer(r);
  if (nr == SYS_set_robust_list && !on_g()) note_robust_list(a);
  if (!on_g()) return REAL(syscall)(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (GOSHIM_UNLIKELY(Dispatch::nested(nr))) return answer(sys::call(nr, a[0], a[1], a[2], a[3], a[4], a[5]));
  NoCancelPoint not_one;
  return answer(on_this_g(nr, a));
}
