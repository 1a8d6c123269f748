// libs: rawcalls
// A library before libc whose functions are made of syscall(2), as the mmap of some mallocs: the program's calls come
// through to the kernel once and give what they should, before there are threads and on each of them.
#include "check.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

extern int rawcalls_made;

static void* all_calls(void* arg) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (int i = 0; i < 20; i++) {
    char* p = (char*)mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    p[0] = 7;
    p = (char*)mremap(p, page, 3 * page, MREMAP_MAYMOVE);
    CHECK(p != MAP_FAILED);
    CHECK_EQ(p[0], 7);
    CHECK_SYS(munmap(p, 3 * page));
    CHECK_EQ(munmap((void*)1, page), -1);
    CHECK_EQ(errno, EINVAL);

    int ends[2];
    CHECK_SYS(pipe(ends));
    const int copy = dup(ends[1]);
    CHECK_SYS(copy);
    CHECK_EQ(dup3(ends[0], copy, O_CLOEXEC), copy);
    CHECK_EQ(fcntl(copy, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(write(ends[1], "ab", 2), 2);
    int there = 0;
    CHECK_SYS(ioctl(copy, FIONREAD, &there));
    CHECK_EQ(there, 2);
    char bytes[4];
    CHECK_EQ(read(copy, bytes, sizeof bytes), 2);
    CHECK_EQ(syscall(SYS_write, ends[1], "c", 1), 1);
    CHECK_EQ(syscall(SYS_read, ends[0], bytes, sizeof bytes), 1);
    for (int fd = 0; fd < 2; fd++) CHECK_SYS(close(ends[fd]));
    CHECK_SYS(close(copy));
    const int dir = openat(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY);
    CHECK_SYS(dir);
    CHECK_SYS(syscall(SYS_fcntl, dir, F_SETFD, 0L));
    const int by_number = (int)syscall(SYS_dup, dir);
    CHECK_SYS(by_number);
    CHECK_SYS(close(by_number));
    CHECK_SYS((int)syscall(SYS_close, dir));
  }
  return arg;
}

int main(void) {
  all_calls(NULL);
  run_threads(8, all_calls);
  CHECK(rawcalls_made > 0);
  return 0;
}
