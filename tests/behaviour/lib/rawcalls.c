// Functions of libc's names that are made of system calls by number, as in a malloc that counts mappings or a sandbox
// that looks at paths. They count how often they are called.
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int rawcalls_made;

static long made(long result) {
  __atomic_fetch_add(&rawcalls_made, 1, __ATOMIC_RELAXED);
  return result;
}

void* mmap(void* at, size_t length, int protection, int flags, int fd, off_t offset) {
  return (void*)made(syscall(SYS_mmap, at, length, protection, flags, fd, offset));
}

int munmap(void* at, size_t length) { return (int)made(syscall(SYS_munmap, at, length)); }

void* mremap(void* at, size_t old_length, size_t length, int flags, ...) {
  return (void*)made(syscall(SYS_mremap, at, old_length, length, flags, NULL));
}

int dup(int fd) { return (int)made(syscall(SYS_dup, fd)); }

int dup3(int fd, int copy, int flags) { return (int)made(syscall(SYS_dup3, fd, copy, flags)); }

int close(int fd) { return (int)made(syscall(SYS_close, fd)); }

int fcntl(int fd, int command, ...) {
  va_list args;
  va_start(args, command);
  const long argument = va_arg(args, long);
  va_end(args);
  return (int)made(syscall(SYS_fcntl, fd, command, argument));
}

int openat(int dir, const char* path, int flags, ...) {
  return (int)made(syscall(SYS_openat, dir, path, flags & ~O_CREAT, 0));
}

int ioctl(int fd, unsigned long request, ...) {
  va_list args;
  va_start(args, request);
  const long argument = va_arg(args, long);
  va_end(args);
  return (int)made(syscall(SYS_ioctl, fd, request, argument));
}

ssize_t read(int fd, void* bytes, size_t size) { return made(syscall(SYS_read, fd, bytes, size)); }

ssize_t write(int fd, const void* bytes, size_t size) { return made(syscall(SYS_write, fd, bytes, size)); }
