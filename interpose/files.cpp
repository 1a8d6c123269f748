// Calls that go to a disk, a device or another process, and functions of libc that ask name services: each blocks its
// kernel thread, in a blocking region.
#include "base/own_fd.h"
#include "interpose/calls.h"
#include "thread/ident.h"
#include "thread/signal.h"

using namespace goshim;

namespace {

bool has_mode(int flags) { return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE; }

mode_t mode_of(int flags, va_list args) { return has_mode(flags) ? va_arg(args, mode_t) : 0; }

int open_on_g(int dir, const char* path, int flags, mode_t mode) {
  auto fd = static_cast<int>(
      short_call(OnHandler::Restart, SYS_openat, dir, static_cast<const char*>(Path(path)), flags, mode));
  record_opened(fd, 0, false);
  return fd;
}

#define MODE_OF(flags)                \
  va_list args;                       \
  va_start(args, flags);              \
  mode_t mode = mode_of(flags, args); \
  va_end(args)

}  // namespace

// ---- opening: a FIFO waits for its other end, a device for its medium ----

GOSHIM_EXPORT int open(const char* path, int flags, ...) {
  MODE_OF(flags);
  if (!on_g()) return REAL(open)(path, flags, mode);
  return open_on_g(AT_FDCWD, path, flags, mode);
}

GOSHIM_EXPORT int open64(const char* path, int flags, ...) {
  MODE_OF(flags);
  if (!on_g()) return REAL(open64)(path, flags, mode);
  return open_on_g(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

GOSHIM_EXPORT int __open(const char* path, int flags, ...) {
  MODE_OF(flags);
  return open(path, flags, mode);
}

GOSHIM_EXPORT int __open64(const char* path, int flags, ...) {
  MODE_OF(flags);
  return open64(path, flags, mode);
}

GOSHIM_EXPORT int openat(int dir, const char* path, int flags, ...) {
  MODE_OF(flags);
  if (!on_g()) return REAL(openat)(dir, path, flags, mode);
  return open_on_g(dir, path, flags, mode);
}

GOSHIM_EXPORT int openat64(int dir, const char* path, int flags, ...) {
  MODE_OF(flags);
  if (!on_g()) return REAL(openat64)(dir, path, flags, mode);
  return open_on_g(dir, path, flags | O_LARGEFILE, mode);
}

// Fortified programs call these without a mode: one that needs it is ended by libc's.
GOSHIM_EXPORT int __open_2(const char* path, int flags) {
  if (!on_g() || has_mode(flags)) return REAL(__open_2)(path, flags);
  return open_on_g(AT_FDCWD, path, flags, 0);
}

GOSHIM_EXPORT int __open64_2(const char* path, int flags) {
  if (!on_g() || has_mode(flags)) return REAL(__open64_2)(path, flags);
  return open_on_g(AT_FDCWD, path, flags | O_LARGEFILE, 0);
}

GOSHIM_EXPORT int __openat_2(int dir, const char* path, int flags) {
  if (!on_g() || has_mode(flags)) return REAL(__openat_2)(dir, path, flags);
  return open_on_g(dir, path, flags, 0);
}

GOSHIM_EXPORT int __openat64_2(int dir, const char* path, int flags) {
  if (!on_g() || has_mode(flags)) return REAL(__openat64_2)(dir, path, flags);
  return open_on_g(dir, path, flags | O_LARGEFILE, 0);
}

GOSHIM_EXPORT int creat(const char* path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

GOSHIM_EXPORT int creat64(const char* path, mode_t mode) { return open64(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

GOSHIM_EXPORT FILE* fopen(const char* path, const char* mode) {
  if (!on_g()) return REAL(fopen)(path, mode);
  return in_region(REAL(fopen), static_cast<const char*>(Path(path)), mode);
}

GOSHIM_EXPORT FILE* fopen64(const char* path, const char* mode) {
  if (!on_g()) return REAL(fopen64)(path, mode);
  return in_region(REAL(fopen64), static_cast<const char*>(Path(path)), mode);
}

GOSHIM_EXPORT DIR* opendir(const char* path) {
  if (!on_g()) return REAL(opendir)(path);
  return in_region(REAL(opendir), static_cast<const char*>(Path(path)));
}

// ---- what a path leads to: mostly cached, and sysmon takes the P from a call that sleeps (D8) ----

GOSHIM_EXPORT int stat(const char* path, struct stat* out) noexcept {
  return on_g() ? REAL(stat)(Path(path), out) : REAL(stat)(path, out);
}

GOSHIM_EXPORT int stat64(const char* path, struct stat64* out) noexcept {
  return on_g() ? REAL(stat64)(Path(path), out) : REAL(stat64)(path, out);
}

GOSHIM_EXPORT int lstat(const char* path, struct stat* out) noexcept {
  return on_g() ? REAL(lstat)(Path(path), out) : REAL(lstat)(path, out);
}

GOSHIM_EXPORT int lstat64(const char* path, struct stat64* out) noexcept {
  return on_g() ? REAL(lstat64)(Path(path), out) : REAL(lstat64)(path, out);
}

GOSHIM_EXPORT int fstatat(int dir, const char* path, struct stat* out, int flags) noexcept {
  return on_g() ? REAL(fstatat)(dir, Path(path), out, flags) : REAL(fstatat)(dir, path, out, flags);
}

GOSHIM_EXPORT int fstatat64(int dir, const char* path, struct stat64* out, int flags) noexcept {
  return on_g() ? REAL(fstatat64)(dir, Path(path), out, flags) : REAL(fstatat64)(dir, path, out, flags);
}

GOSHIM_EXPORT int statx(int dir, const char* path, int flags, unsigned mask, struct statx* out) noexcept {
  return on_g() ? REAL(statx)(dir, Path(path), flags, mask, out) : REAL(statx)(dir, path, flags, mask, out);
}

GOSHIM_EXPORT int access(const char* path, int mode) noexcept {
  return on_g() ? REAL(access)(Path(path), mode) : REAL(access)(path, mode);
}

GOSHIM_EXPORT int euidaccess(const char* path, int mode) noexcept {
  return on_g() ? REAL(euidaccess)(Path(path), mode) : REAL(euidaccess)(path, mode);
}

GOSHIM_EXPORT int eaccess(const char* path, int mode) noexcept { return euidaccess(path, mode); }

GOSHIM_EXPORT int faccessat(int dir, const char* path, int mode, int flags) noexcept {
  return on_g() ? REAL(faccessat)(dir, Path(path), mode, flags) : REAL(faccessat)(dir, path, mode, flags);
}

GOSHIM_EXPORT ssize_t readlink(const char* path, char* buf, size_t n) noexcept {
  return on_g() ? REAL(readlink)(Path(path), buf, n) : REAL(readlink)(path, buf, n);
}

GOSHIM_EXPORT ssize_t readlinkat(int dir, const char* path, char* buf, size_t n) noexcept {
  return on_g() ? REAL(readlinkat)(dir, Path(path), buf, n) : REAL(readlinkat)(dir, path, buf, n);
}

// Fortified: size is that of buf, and libc ends a program that gives more.
GOSHIM_EXPORT ssize_t __readlink_chk(const char* path, char* buf, size_t n, size_t size) {
  return n > size ? REAL(__readlink_chk)(path, buf, n, size) : readlink(path, buf, n);
}

GOSHIM_EXPORT ssize_t __readlinkat_chk(int dir, const char* path, char* buf, size_t n, size_t size) {
  return n > size ? REAL(__readlinkat_chk)(dir, path, buf, n, size) : readlinkat(dir, path, buf, n);
}

// ---- the disk ----

GOSHIM_EXPORT ssize_t sendfile64(int to, int from, off64_t* at, size_t n) {
  if (!on_g()) return REAL(sendfile64)(to, from, at, n);
  NoCancelPoint not_one;
  return short_call(OnHandler::RestartOut, SYS_sendfile, to, from, at, n);
}

GOSHIM_EXPORT ssize_t sendfile(int to, int from, off_t* at, size_t n) { return sendfile64(to, from, at, n); }

GOSHIM_EXPORT ssize_t splice(int from, off64_t* from_at, int to, off64_t* to_at, size_t n, unsigned flags) {
  if (!on_g()) return REAL(splice)(from, from_at, to, to_at, n, flags);
  return short_call(OnHandler::RestartSplice, SYS_splice, from, from_at, to, to_at, n, flags);
}

GOSHIM_EXPORT ssize_t tee(int from, int to, size_t n, unsigned flags) {
  if (!on_g()) return REAL(tee)(from, to, n, flags);
  return short_call(OnHandler::Restart, SYS_tee, from, to, n, flags);
}

GOSHIM_EXPORT ssize_t vmsplice(int fd, const iovec* v, size_t n, unsigned flags) {
  if (!on_g()) return REAL(vmsplice)(fd, v, n, flags);
  return short_call(OnHandler::Restart, SYS_vmsplice, fd, v, n, flags);
}

GOSHIM_EXPORT ssize_t copy_file_range(int from, off64_t* from_at, int to, off64_t* to_at, size_t n, unsigned flags) {
  if (!on_g()) return REAL(copy_file_range)(from, from_at, to, to_at, n, flags);
  return long_call(OnHandler::Restart, SYS_copy_file_range, from, from_at, to, to_at, n, flags);
}

GOSHIM_EXPORT int fsync(int fd) {
  if (!on_g()) return REAL(fsync)(fd);
  return static_cast<int>(long_call(OnHandler::Restart, SYS_fsync, fd));
}

GOSHIM_EXPORT int fdatasync(int fd) {
  if (!on_g()) return REAL(fdatasync)(fd);
  return static_cast<int>(long_call(OnHandler::Restart, SYS_fdatasync, fd));
}

GOSHIM_EXPORT int sync_file_range(int fd, off64_t at, off64_t n, unsigned flags) {
  return in_region(REAL(sync_file_range), fd, at, n, flags);
}

GOSHIM_EXPORT int syncfs(int fd) { return in_region(REAL(syncfs), fd); }

GOSHIM_EXPORT void sync() { in_region(REAL(sync)); }

GOSHIM_EXPORT int msync(void* at, size_t n, int flags) {
  if (!on_g()) return REAL(msync)(at, n, flags);
  return static_cast<int>(long_call(OnHandler::Restart, SYS_msync, at, n, flags));
}

GOSHIM_EXPORT int fallocate64(int fd, int mode, off64_t at, off64_t n) {
  if (!on_g()) return REAL(fallocate64)(fd, mode, at, n);
  return static_cast<int>(long_call(OnHandler::Restart, SYS_fallocate, fd, mode, at, n));
}

GOSHIM_EXPORT int fallocate(int fd, int mode, off_t at, off_t n) { return fallocate64(fd, mode, at, n); }

GOSHIM_EXPORT int posix_fallocate(int fd, off_t at, off_t n) { return in_region(REAL(posix_fallocate), fd, at, n); }

GOSHIM_EXPORT int posix_fallocate64(int fd, off64_t at, off64_t n) {
  return in_region(REAL(posix_fallocate64), fd, at, n);
}

// Of the calls by path those that free or move a file's blocks. The others read what is mostly cached; sysmon takes the
// P from one that sleeps (D8).
GOSHIM_EXPORT int unlink(const char* path) { return in_region(REAL(unlink), path); }

GOSHIM_EXPORT int unlinkat(int dir, const char* path, int flags) { return in_region(REAL(unlinkat), dir, path, flags); }

GOSHIM_EXPORT int rename(const char* from, const char* to) { return in_region(REAL(rename), from, to); }

GOSHIM_EXPORT int renameat(int from_dir, const char* from, int to_dir, const char* to) {
  return in_region(REAL(renameat), from_dir, from, to_dir, to);
}

GOSHIM_EXPORT int renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) {
  return in_region(REAL(renameat2), from_dir, from, to_dir, to, flags);
}

GOSHIM_EXPORT int truncate(const char* path, off_t n) { return in_region(REAL(truncate), path, n); }

GOSHIM_EXPORT int truncate64(const char* path, off64_t n) { return in_region(REAL(truncate64), path, n); }

GOSHIM_EXPORT int ftruncate(int fd, off_t n) { return in_region(REAL(ftruncate), fd, n); }

GOSHIM_EXPORT int ftruncate64(int fd, off64_t n) { return in_region(REAL(ftruncate64), fd, n); }

// ---- locks on files ----

GOSHIM_EXPORT int flock(int fd, int operation) {
  if (!on_g() || (operation & LOCK_NB)) return REAL(flock)(fd, operation);
  NoCancelPoint not_one;
  return static_cast<int>(long_call(OnHandler::Restart, SYS_flock, fd, operation));
}

// The thread that was named last to get the signals of a descriptor. The kernel does not know it: they go to the signal
// receiver, and from there to the process.
static std::atomic<pid_t> async_thread{0};

static int thread_as_owner(int fd, int command, f_owner_ex* owner) {
  if (command == F_GETOWN_EX) {
    int r = REAL(fcntl)(fd, command, owner);
    if (r == 0 && owner->type == F_OWNER_TID && owner->pid == signal_receiver()) owner->pid = async_thread.load();
    return r;
  }
  int saved = errno;
  int r = REAL(fcntl)(fd, command, owner);
  if (r < 0 && errno != ESRCH) return r;
  bool to_thread = owner->type == F_OWNER_TID;
  if ((!to_thread && r == 0) || !signal_g_of_tid(owner->pid)) return r;
  errno = saved;
  if (!to_thread) {  // natively that works, and nobody gets the signals
    f_owner_ex nobody{owner->type, not_a_process(owner->pid)};
    return REAL(fcntl)(fd, command, &nobody);
  }
  async_thread.store(owner->pid);
  f_owner_ex receiver{F_OWNER_TID, signal_receiver()};
  return REAL(fcntl)(fd, command, &receiver);
}

static int any_fcntl(int fd, int command, void* arg) {
  if (GOSHIM_UNLIKELY(own_fd(fd))) return static_cast<int>(answer(-EBADF));
  if (on_g() && (command == F_SETOWN_EX || command == F_GETOWN_EX)) {
    return thread_as_owner(fd, command, static_cast<f_owner_ex*>(arg));
  }
  if (command == F_SETOWN) {
    auto id = static_cast<int>(reinterpret_cast<intptr_t>(arg));
    return REAL(fcntl)(fd, command, not_a_process(id));
  }
  if (on_g() && (command == F_SETLKW || command == F_OFD_SETLKW))
    return static_cast<int>(long_call(OnHandler::Restart, SYS_fcntl, fd, command, arg));
  int r = REAL(fcntl)(fd, command, arg);
  if (r < 0) return r;
  if (command == F_SETFL) {
    record_status_changed(fd);
    if (reinterpret_cast<uintptr_t>(arg) & O_DIRECT) record_inexact(fd);  // a pipe in packets
  } else if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) record_dupped(fd, r);
  return r;
}

#define FCNTL(name)                                  \
  GOSHIM_EXPORT int name(int fd, int command, ...) { \
    va_list args;                                    \
    va_start(args, command);                         \
    void* arg = va_arg(args, void*);                 \
    va_end(args);                                    \
    return any_fcntl(fd, command, arg);              \
  }
FCNTL(fcntl)
FCNTL(fcntl64)
FCNTL(__fcntl)

GOSHIM_EXPORT int lockf64(int fd, int command, off64_t n) {
  if (!on_g() || command != F_LOCK) return REAL(lockf64)(fd, command, n);
  flock64 lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_CUR;
  lock.l_len = n;
  return any_fcntl(fd, F_SETLKW, &lock);
}

GOSHIM_EXPORT int lockf(int fd, int command, off_t n) { return lockf64(fd, command, n); }

// ---- devices ----

GOSHIM_EXPORT int ioctl(int fd, unsigned long request, ...) {
  va_list args;
  va_start(args, request);
  void* arg = va_arg(args, void*);
  va_end(args);
  int r;
  if (on_g()) {
    constexpr unsigned long kTerminals = 'T';
    NoCancelPoint not_one;
    auto call = [&] { r = static_cast<int>(short_call(OnHandler::Restart, SYS_ioctl, fd, request, arg)); };
    if (request >> 8 == kTerminals) {
      TerminalCall on_terminal;
      call();
    } else {
      call();
    }
  } else {
    r = REAL(ioctl)(fd, request, arg);
  }
  if (request == FIONBIO && r >= 0) record_status_changed(fd);
  return r;
}

GOSHIM_EXPORT int tcdrain(int fd) {
  if (!on_g()) return REAL(tcdrain)(fd);
  TerminalCall on_terminal;
  return static_cast<int>(long_call(OnHandler::Restart, SYS_ioctl, fd, TCSBRK, 1));
}

GOSHIM_EXPORT int tcsetpgrp(int fd, pid_t group) noexcept {
  TerminalCall on_terminal;
  return REAL(tcsetpgrp)(fd, group);
}
GOSHIM_EXPORT int tcsetattr(int fd, int when, const termios* settings) noexcept {
  TerminalCall on_terminal;
  return REAL(tcsetattr)(fd, when, settings);
}
GOSHIM_EXPORT int tcflush(int fd, int queue) noexcept {
  TerminalCall on_terminal;
  return REAL(tcflush)(fd, queue);
}
GOSHIM_EXPORT int tcflow(int fd, int action) noexcept {
  TerminalCall on_terminal;
  return REAL(tcflow)(fd, action);
}
GOSHIM_EXPORT int tcsendbreak(int fd, int duration) noexcept {
  TerminalCall on_terminal;
  return REAL(tcsendbreak)(fd, duration);
}

GOSHIM_EXPORT ssize_t getrandom(void* buf, size_t n, unsigned flags) {
  if (!on_g() || (flags & GRND_NONBLOCK)) return REAL(getrandom)(buf, n, flags);
  return short_call(OnHandler::Restart, SYS_getrandom, buf, n, flags);
}

// ---- System V and POSIX IPC ----

GOSHIM_EXPORT ssize_t msgrcv(int queue, void* message, size_t n, long type, int flags) {
  if (!on_g() || (flags & IPC_NOWAIT)) return REAL(msgrcv)(queue, message, n, type, flags);
  return long_call(OnHandler::Fail, SYS_msgrcv, queue, message, n, type, flags);
}

GOSHIM_EXPORT int msgsnd(int queue, const void* message, size_t n, int flags) {
  if (!on_g() || (flags & IPC_NOWAIT)) return REAL(msgsnd)(queue, message, n, flags);
  return static_cast<int>(long_call(OnHandler::Fail, SYS_msgsnd, queue, message, n, flags));
}

GOSHIM_EXPORT int semop(int set, sembuf* operations, size_t n) {
  if (!on_g()) return REAL(semop)(set, operations, n);
  NoCancelPoint not_one;
  return static_cast<int>(long_call(OnHandler::Fail, SYS_semtimedop, set, operations, n, 0));
}

GOSHIM_EXPORT int semtimedop(int set, sembuf* operations, size_t n, const timespec* timeout) {
  if (!on_g()) return REAL(semtimedop)(set, operations, n, timeout);
  NoCancelPoint not_one;
  return static_cast<int>(long_call(OnHandler::Fail, SYS_semtimedop, set, operations, n, timeout));
}

GOSHIM_EXPORT int mq_timedsend(mqd_t queue, const char* message, size_t n, unsigned priority, const timespec* until) {
  if (!on_g()) return REAL(mq_timedsend)(queue, message, n, priority, until);
  return static_cast<int>(long_call(OnHandler::Restart, SYS_mq_timedsend, queue, message, n, priority, until));
}

GOSHIM_EXPORT int mq_send(mqd_t queue, const char* message, size_t n, unsigned priority) {
  if (!on_g()) return REAL(mq_send)(queue, message, n, priority);
  return static_cast<int>(long_call(OnHandler::Restart, SYS_mq_timedsend, queue, message, n, priority, 0));
}

GOSHIM_EXPORT ssize_t mq_timedreceive(mqd_t queue, char* message, size_t n, unsigned* priority, const timespec* until) {
  if (!on_g()) return REAL(mq_timedreceive)(queue, message, n, priority, until);
  return long_call(OnHandler::Restart, SYS_mq_timedreceive, queue, message, n, priority, until);
}

GOSHIM_EXPORT ssize_t mq_receive(mqd_t queue, char* message, size_t n, unsigned* priority) {
  if (!on_g()) return REAL(mq_receive)(queue, message, n, priority);
  return long_call(OnHandler::Restart, SYS_mq_timedreceive, queue, message, n, priority, 0);
}

// ---- children ----

GOSHIM_EXPORT pid_t wait4(pid_t pid, int* status, int options, rusage* usage) {
  if (!on_g()) return REAL(wait4)(pid, status, options, usage);
  auto r =
      static_cast<pid_t>((options & WNOHANG) ? short_call(OnHandler::Restart, SYS_wait4, pid, status, options, usage)
                                             : long_call(OnHandler::Restart, SYS_wait4, pid, status, options, usage));
  if (r > 0) signal_fetch();  // the child's end has sent SIGCHLD, and the child perhaps others before
  return r;
}

GOSHIM_EXPORT pid_t wait3(int* status, int options, rusage* usage) { return wait4(-1, status, options, usage); }

GOSHIM_EXPORT pid_t waitpid(pid_t pid, int* status, int options) { return wait4(pid, status, options, nullptr); }

GOSHIM_EXPORT pid_t __waitpid(pid_t pid, int* status, int options) { return wait4(pid, status, options, nullptr); }

GOSHIM_EXPORT pid_t wait(int* status) { return wait4(-1, status, 0, nullptr); }

GOSHIM_EXPORT pid_t __wait(int* status) { return wait4(-1, status, 0, nullptr); }

GOSHIM_EXPORT int waitid(idtype_t type, id_t id, siginfo_t* info, int options) {
  if (!on_g()) return REAL(waitid)(type, id, info, options);
  auto r =
      static_cast<int>((options & WNOHANG) ? short_call(OnHandler::Restart, SYS_waitid, type, id, info, options, 0)
                                           : long_call(OnHandler::Restart, SYS_waitid, type, id, info, options, 0));
  if (r == 0) signal_fetch();
  return r;
}

// ---- name services and the log ----

GOSHIM_EXPORT int getaddrinfo(const char* node, const char* service, const addrinfo* hints, addrinfo** found) {
  return in_region(REAL(getaddrinfo), node, service, hints, found);
}

GOSHIM_EXPORT int getnameinfo(const sockaddr* address, socklen_t size, char* host, socklen_t host_size, char* service,
                              socklen_t service_size, int flags) {
  return in_region(REAL(getnameinfo), address, size, host, host_size, service, service_size, flags);
}

GOSHIM_EXPORT hostent* gethostbyname(const char* name) { return in_region(REAL(gethostbyname), name); }

GOSHIM_EXPORT hostent* gethostbyname2(const char* name, int family) {
  return in_region(REAL(gethostbyname2), name, family);
}

GOSHIM_EXPORT hostent* gethostbyaddr(const void* address, socklen_t size, int family) {
  return in_region(REAL(gethostbyaddr), address, size, family);
}

GOSHIM_EXPORT int gethostbyname_r(const char* name, hostent* out, char* buf, size_t size, hostent** found, int* error) {
  return in_region(REAL(gethostbyname_r), name, out, buf, size, found, error);
}

GOSHIM_EXPORT int gethostbyname2_r(const char* name, int family, hostent* out, char* buf, size_t size, hostent** found,
                                   int* error) {
  return in_region(REAL(gethostbyname2_r), name, family, out, buf, size, found, error);
}

GOSHIM_EXPORT int gethostbyaddr_r(const void* address, socklen_t address_size, int family, hostent* out, char* buf,
                                  size_t size, hostent** found, int* error) {
  return in_region(REAL(gethostbyaddr_r), address, address_size, family, out, buf, size, found, error);
}

GOSHIM_EXPORT passwd* getpwnam(const char* name) { return in_region(REAL(getpwnam), name); }

GOSHIM_EXPORT passwd* getpwuid(uid_t id) { return in_region(REAL(getpwuid), id); }

GOSHIM_EXPORT passwd* getpwent() { return in_region(REAL(getpwent)); }

GOSHIM_EXPORT int getpwnam_r(const char* name, passwd* out, char* buf, size_t size, passwd** found) {
  return in_region(REAL(getpwnam_r), name, out, buf, size, found);
}

GOSHIM_EXPORT int getpwuid_r(uid_t id, passwd* out, char* buf, size_t size, passwd** found) {
  return in_region(REAL(getpwuid_r), id, out, buf, size, found);
}

GOSHIM_EXPORT int getpwent_r(passwd* out, char* buf, size_t size, passwd** found) {
  return in_region(REAL(getpwent_r), out, buf, size, found);
}

GOSHIM_EXPORT group* getgrnam(const char* name) { return in_region(REAL(getgrnam), name); }

GOSHIM_EXPORT group* getgrgid(gid_t id) { return in_region(REAL(getgrgid), id); }

GOSHIM_EXPORT group* getgrent() { return in_region(REAL(getgrent)); }

GOSHIM_EXPORT int getgrnam_r(const char* name, group* out, char* buf, size_t size, group** found) {
  return in_region(REAL(getgrnam_r), name, out, buf, size, found);
}

GOSHIM_EXPORT int getgrgid_r(gid_t id, group* out, char* buf, size_t size, group** found) {
  return in_region(REAL(getgrgid_r), id, out, buf, size, found);
}

GOSHIM_EXPORT int getgrent_r(group* out, char* buf, size_t size, group** found) {
  return in_region(REAL(getgrent_r), out, buf, size, found);
}

GOSHIM_EXPORT int getgrouplist(const char* user, gid_t main_group, gid_t* groups, int* n) {
  return in_region(REAL(getgrouplist), user, main_group, groups, n);
}

GOSHIM_EXPORT int initgroups(const char* user, gid_t main_group) {
  return in_region(REAL(initgroups), user, main_group);
}

// Not <resolv.h>: it makes macros of common words.
GOSHIM_EXPORT int res_query(const char* name, int cls, int type, unsigned char* out, int size) {
  return in_region(REAL(res_query), name, cls, type, out, size);
}

GOSHIM_EXPORT int res_search(const char* name, int cls, int type, unsigned char* out, int size) {
  return in_region(REAL(res_search), name, cls, type, out, size);
}

GOSHIM_EXPORT int res_querydomain(const char* name, const char* domain, int cls, int type, unsigned char* out,
                                  int size) {
  return in_region(REAL(res_querydomain), name, domain, cls, type, out, size);
}

GOSHIM_EXPORT int res_send(const unsigned char* message, int n, unsigned char* out, int size) {
  return in_region(REAL(res_send), message, n, out, size);
}

GOSHIM_EXPORT int res_nquery(void* state, const char* name, int cls, int type, unsigned char* out, int size) {
  return in_region(REAL(res_nquery), state, name, cls, type, out, size);
}

GOSHIM_EXPORT int res_nsearch(void* state, const char* name, int cls, int type, unsigned char* out, int size) {
  return in_region(REAL(res_nsearch), state, name, cls, type, out, size);
}

GOSHIM_EXPORT int res_nquerydomain(void* state, const char* name, const char* domain, int cls, int type,
                                   unsigned char* out, int size) {
  return in_region(REAL(res_nquerydomain), state, name, domain, cls, type, out, size);
}

GOSHIM_EXPORT int res_nsend(void* state, const unsigned char* message, int n, unsigned char* out, int size) {
  return in_region(REAL(res_nsend), state, message, n, out, size);
}

GOSHIM_EXPORT void vsyslog(int priority, const char* format, va_list args) {
  Region region(RegionClass::Long);
  REAL(vsyslog)(priority, format, args);
}

GOSHIM_EXPORT void syslog(int priority, const char* format, ...) {
  va_list args;
  va_start(args, format);
  vsyslog(priority, format, args);
  va_end(args);
}

GOSHIM_EXPORT void __vsyslog_chk(int priority, int flag, const char* format, va_list args) {
  Region region(RegionClass::Long);
  REAL(__vsyslog_chk)(priority, flag, format, args);
}

GOSHIM_EXPORT void __syslog_chk(int priority, int flag, const char* format, ...) {
  va_list args;
  va_start(args, format);
  __vsyslog_chk(priority, flag, format, args);
  va_end(args);
}

// Waits for the child.
GOSHIM_EXPORT int pclose(FILE* stream) {
  Closing closing(fileno(stream));
  int status = in_region(REAL(pclose), stream);
  if (status != -1 && on_g()) signal_fetch();
  return status;
}
