// Processes: fork handlers, vfork, clone, exec, spawn. What these do to the runtime is told in src/thread/fork.cpp.
#include "interpose/process.h"

#include <linux/sched.h>

#include "base/host.h"
#include "base/sys.h"
#include "interpose/init.h"
#include "interpose/real.h"
#include "sched/user_memory.h"
#include "sync/sharing.h"
#include "thread/fork.h"
#include "thread/life.h"

using namespace goshim;

// ---- fork: libc calls our handlers, also for forks of its own (daemon, forkpty) ----

namespace {

using Handler = void (*)();

void after_fork_in_child() {
  if (fork_child()) runtime_forget();
}

}  // namespace

// Ours come first in libc's list, so that prepare runs last and the others first. Without a library they are never
// taken off: a fork may come from the last destructor.
void goshim::register_fork_handlers() {
  static std::atomic<bool> done{false};
  if (done.exchange(true)) return;
  REAL(__register_atfork)(fork_prepare, fork_parent, after_fork_in_child, nullptr);
}

GOSHIM_EXPORT int __register_atfork(Handler prepare, Handler parent, Handler child, void* library) {
  register_fork_handlers();
  return REAL(__register_atfork)(prepare, parent, child, library);
}

// Programs have this one from libc_nonshared.a; the symbol is for old ones.
GOSHIM_EXPORT int pthread_atfork(Handler prepare, Handler parent, Handler child) noexcept {
  return __register_atfork(prepare, parent, child, nullptr);
}

// Runs no handlers.
GOSHIM_EXPORT pid_t _Fork() {
  fork_prepare();
  pid_t pid = REAL(_Fork)();
  if (pid == 0) after_fork_in_child();
  else fork_parent();
  return pid;
}

// ---- vfork ----

GOSHIM_EXPORT_JUMP(vfork, goshim_vfork)
GOSHIM_EXPORT_JUMP(__vfork, goshim_vfork)

// ---- clone ----

namespace {

// At the top of the child's stack: the caller's frame may be gone before the child runs.
struct CloneStart {
  int (*fn)(void*);
  void* arg;
  uint64_t mask;
};

int clone_copy_main(void* arg) {
  auto* start = static_cast<CloneStart*>(arg);
  after_fork_in_child();
  int status = start->fn(start->arg);
  if (on_g()) thread_vanish(status);  // it has made threads
  return status;
}

int clone_hidden_main(void* arg) {
  auto* start = static_cast<CloneStart*>(arg);
  become_hidden_caller();
  return start->fn(start->arg);
}

// A kernel thread of the program's own: a foreign thread, with the mask of the G that made it.
int clone_thread_main(void* arg) {
  auto* start = static_cast<CloneStart*>(arg);
  sys::call(SYS_rt_sigprocmask, SIG_SETMASK, &start->mask, nullptr, sizeof start->mask);
  return start->fn(start->arg);
}

int clone_any(int (*fn)(void*), void* stack, int flags, void* arg, pid_t* parent_tid, void* tls, pid_t* child_tid) {
  bool copy = (flags & CLONE_VM) == 0;
  if (flags & CLONE_CHILD_CLEARTID) note_shared(child_tid, sizeof *child_tid);  // the kernel wakes its waiters
  if (!copy) host.single_threaded = &kNotAlone;
  if (!fn || !stack || (!on_g() && !copy)) return REAL(clone)(fn, stack, flags, arg, parent_tid, tls, child_tid);
  auto top = (reinterpret_cast<uintptr_t>(stack) & ~uintptr_t{15}) - round_up(sizeof(CloneStart), 16);
  auto* start = reinterpret_cast<CloneStart*>(top);
  *start = {fn, arg, on_g() ? getg()->sigmask.load(std::memory_order_relaxed) : 0};
  if (copy) {
    fork_prepare();
    int pid = REAL(clone)(clone_copy_main, start, flags, start, parent_tid, tls, child_tid);
    fork_parent();
    return pid;
  }
  if ((flags & (CLONE_VFORK | CLONE_SETTLS)) == CLONE_VFORK) {
    hide_caller();
    int pid = REAL(clone)(clone_hidden_main, start, flags, start, parent_tid, tls, child_tid);
    unhide_caller();
    return pid;
  }
  int* tid_word = nullptr;
  if (!(flags & CLONE_SETTLS)) {
    // Natively it would share its maker's thread control block. Ours is in use by the scheduler.
    tls = foreign_tcb(&tid_word);
    if (!tls) {
      errno = ENOMEM;
      return -1;
    }
    flags |= CLONE_SETTLS;
    if (!(flags & (CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID))) {
      flags |= CLONE_CHILD_CLEARTID;
      child_tid = tid_word;
    }
  }
  int tid = REAL(clone)(clone_thread_main, start, flags, start, parent_tid, tls, child_tid);
  if (tid < 0 && tid_word) __atomic_store_n(tid_word, 0, __ATOMIC_RELEASE);
  return tid;
}

}  // namespace

GOSHIM_EXPORT int clone(int (*fn)(void*), void* stack, int flags, void* arg, ...) noexcept {
  // Which of the three are there depends on the flags; the registers are there in any case.
  va_list args;
  va_start(args, arg);
  auto* parent_tid = va_arg(args, pid_t*);
  void* tls = va_arg(args, void*);
  auto* child_tid = va_arg(args, pid_t*);
  va_end(args);
  return clone_any(fn, stack, flags, arg, parent_tid, tls, child_tid);
}

GOSHIM_EXPORT int __clone(int (*fn)(void*), void* stack, int flags, void* arg, ...) noexcept {
  va_list args;
  va_start(args, arg);
  auto* parent_tid = va_arg(args, pid_t*);
  void* tls = va_arg(args, void*);
  auto* child_tid = va_arg(args, pid_t*);
  va_end(args);
  return clone_any(fn, stack, flags, arg, parent_tid, tls, child_tid);
}

bool goshim::process_syscall(long nr, const long args[6], long* result) {
  switch (nr) {
#ifdef SYS_fork
    case SYS_fork:
    case SYS_vfork:  // returns through a frame that its child would have destroyed, unless it is a fork
      nr = SYS_fork;
      break;
#endif
    case SYS_clone:
      if (args[0] & CLONE_CHILD_CLEARTID) note_all_shared();  // which argument names the word differs between ports
      if (args[0] & CLONE_VM) host.single_threaded = &kNotAlone;
      if ((args[0] & CLONE_VM) || args[1]) {
        leave_thread_pointer();
        return false;
      }
      break;
    case SYS_clone3: {
      auto* wanted = reinterpret_cast<const clone_args*>(args[0]);
      if (!user_readable(wanted, CLONE_ARGS_SIZE_VER0)) wanted = nullptr;
      if (wanted && (wanted->flags & CLONE_CHILD_CLEARTID)) {
        note_shared(reinterpret_cast<const void*>(wanted->child_tid), sizeof(pid_t));
      }
      if (wanted && (wanted->flags & CLONE_VM)) host.single_threaded = &kNotAlone;
      if (!wanted || (wanted->flags & CLONE_VM) || wanted->stack) {
        leave_thread_pointer();
        return false;
      }
      break;
    }
    case SYS_execve:
    case SYS_execveat: {
      ExecState native;
      *result = sys::call(nr, args[0], args[1], args[2], args[3], args[4]);
      return true;
    }
    default: return false;
  }
  fork_prepare();
  *result = sys::call(nr, args[0], args[1], args[2], args[3], args[4]);
  if (*result == 0) after_fork_in_child();
  else fork_parent();
  return true;
}

// ---- threads that libc makes for itself, with all signals blocked ----

#define MAKES_THREAD(name, parameters, arguments) \
  GOSHIM_EXPORT int name parameters {             \
    NativeState native;                           \
    return REAL(name) arguments;                  \
  }

MAKES_THREAD(getaddrinfo_a, (int mode, gaicb* list[], int n, sigevent* event), (mode, list, n, event))
MAKES_THREAD(mq_notify, (mqd_t queue, const sigevent* event), (queue, event))

// ---- exec ----

namespace {

// The arguments of the execl forms as an array, in the caller's frame: exec may follow vfork, so nothing is allocated.
size_t count_args(va_list* args) {
  size_t n = 2;  // the first and the null
  while (va_arg(*args, const char*)) n++;
  return n;
}

void collect_args(char** argv, const char* first, va_list* args) {
  *argv++ = const_cast<char*>(first);
  do *argv = va_arg(*args, char*);
  while (*argv++);
}

// Declares argv with the arguments from first on, and rest, which is left standing behind their null.
#define COLLECT_ARGS(argv, first, rest)                                                   \
  va_list rest;                                                                           \
  va_start(rest, first);                                                                  \
  auto** argv = static_cast<char**>(__builtin_alloca(count_args(&rest) * sizeof(char*))); \
  va_end(rest);                                                                           \
  va_start(rest, first);                                                                  \
  collect_args(argv, first, &rest)

}  // namespace

GOSHIM_EXPORT int execve(const char* path, char* const argv[], char* const envp[]) noexcept {
  ExecState native;
  return REAL(execve)(path, argv, envp);
}

GOSHIM_EXPORT int execveat(int dir, const char* path, char* const argv[], char* const envp[], int flags) noexcept {
  ExecState native;
  return REAL(execveat)(dir, path, argv, envp, flags);
}

GOSHIM_EXPORT int fexecve(int fd, char* const argv[], char* const envp[]) noexcept {
  ExecState native;
  return REAL(fexecve)(fd, argv, envp);
}

GOSHIM_EXPORT int execvpe(const char* file, char* const argv[], char* const envp[]) noexcept {
  ExecState native;
  return REAL(execvpe)(file, argv, envp);
}

GOSHIM_EXPORT int execv(const char* path, char* const argv[]) noexcept { return execve(path, argv, environ); }

GOSHIM_EXPORT int execvp(const char* file, char* const argv[]) noexcept { return execvpe(file, argv, environ); }

GOSHIM_EXPORT int execl(const char* path, const char* first, ...) noexcept {
  COLLECT_ARGS(argv, first, rest);
  va_end(rest);
  return execve(path, argv, environ);
}

GOSHIM_EXPORT int execlp(const char* file, const char* first, ...) noexcept {
  COLLECT_ARGS(argv, first, rest);
  va_end(rest);
  return execvpe(file, argv, environ);
}

GOSHIM_EXPORT int execle(const char* path, const char* first, ...) noexcept {
  COLLECT_ARGS(argv, first, rest);
  auto** envp = va_arg(rest, char**);
  va_end(rest);
  return execve(path, argv, envp);
}

// ---- spawn ----

GOSHIM_EXPORT int posix_spawn(pid_t* pid, const char* path, const posix_spawn_file_actions_t* actions,
                              const posix_spawnattr_t* attr, char* const argv[], char* const envp[]) {
  NativeState native;
  return REAL(posix_spawn)(pid, path, actions, attr, argv, envp);
}

GOSHIM_EXPORT int posix_spawnp(pid_t* pid, const char* file, const posix_spawn_file_actions_t* actions,
                               const posix_spawnattr_t* attr, char* const argv[], char* const envp[]) {
  NativeState native;
  return REAL(posix_spawnp)(pid, file, actions, attr, argv, envp);
}

GOSHIM_EXPORT FILE* popen(const char* command, const char* type) {
  NativeState native;
  return REAL(popen)(command, type);
}

GOSHIM_EXPORT FILE* _IO_popen(const char* command, const char* type) { return popen(command, type); }

GOSHIM_EXPORT int wordexp(const char* words, wordexp_t* out, int flags) {
  NativeState native;
  return REAL(wordexp)(words, out, flags);
}

// ---- system ----
//
// Made of goshim's own calls, and not libc's inside a region: a command may run for hours, and handlers run meanwhile.

namespace {

pthread_mutex_t ignoring_mutex = PTHREAD_MUTEX_INITIALIZER;
int ignoring;                       // callers in system(); ignoring_mutex
struct sigaction interrupt_before;  // what the first of them found; ignoring_mutex
struct sigaction quit_before;

void ignore_begin() {
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  pthread_mutex_lock(&ignoring_mutex);
  if (ignoring++ == 0) {
    sigaction(SIGINT, &ignore, &interrupt_before);
    sigaction(SIGQUIT, &ignore, &quit_before);
  }
  pthread_mutex_unlock(&ignoring_mutex);
}

void ignore_end() {
  pthread_mutex_lock(&ignoring_mutex);
  if (--ignoring == 0) {
    sigaction(SIGINT, &interrupt_before, nullptr);
    sigaction(SIGQUIT, &quit_before, nullptr);
  }
  pthread_mutex_unlock(&ignoring_mutex);
}

int spawn_shell(const char* command, pid_t* pid, const sigset_t* mask) {
  sigset_t defaults;
  sigemptyset(&defaults);
  if (interrupt_before.sa_handler != SIG_IGN) sigaddset(&defaults, SIGINT);
  if (quit_before.sa_handler != SIG_IGN) sigaddset(&defaults, SIGQUIT);
  posix_spawnattr_t attr;
  posix_spawnattr_init(&attr);
  posix_spawnattr_setsigmask(&attr, mask);
  posix_spawnattr_setsigdefault(&attr, &defaults);
  posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  char* const argv[] = {const_cast<char*>("sh"), const_cast<char*>("-c"), const_cast<char*>(command), nullptr};
  int error = posix_spawn(pid, "/bin/sh", nullptr, &attr, argv, environ);
  posix_spawnattr_destroy(&attr);
  return error;
}

bool wait_for_shell(pid_t pid, int* status) {
  pid_t r;
  do r = waitpid(pid, status, 0);
  while (r < 0 && errno == EINTR);
  return r == pid;
}

struct Shell {
  pid_t pid;
  const sigset_t* mask;  // the caller's
};

// The caller is cancelled while it waits.
void shell_cancelled(void* arg) {
  auto* shell = static_cast<Shell*>(arg);
  kill(shell->pid, SIGKILL);
  int status;
  wait_for_shell(shell->pid, &status);
  ignore_end();
  pthread_sigmask(SIG_SETMASK, shell->mask, nullptr);
}

int run_shell(const char* command) {
  sigset_t child_ends, mask;
  sigemptyset(&child_ends);
  sigaddset(&child_ends, SIGCHLD);
  ignore_begin();
  pthread_sigmask(SIG_BLOCK, &child_ends, &mask);
  pid_t pid;
  int status = 0x7f00;  // as of a shell that ended with 127
  int error = spawn_shell(command, &pid, &mask);
  if (!error) {
    Shell shell{pid, &mask};
    pthread_cleanup_push(shell_cancelled, &shell);
    if (!wait_for_shell(pid, &status)) status = -1;
    pthread_cleanup_pop(0);
  }
  int wait_errno = errno;
  ignore_end();
  pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  errno = error ? error : wait_errno;
  return status;
}

}  // namespace

GOSHIM_EXPORT int system(const char* command) {
  if (!on_g()) return REAL(system)(command);
  if (!command) return run_shell("exit 0") == 0;
  return run_shell(command);
}
