// Mappings: the program's calls go on to libc; what they share with other processes, or no longer share, is noted
// (sync/sharing.h). Calls by number go on to the kernel: a library may have functions of these names that are made of
// such calls (a malloc that counts mappings).
#include "interpose/memory.h"

#include <sys/syscall.h>

#include "interpose/real.h"
#include "sync/sharing.h"

using namespace goshim;

namespace {

constexpr size_t page_up(size_t n) { return round_up(n, kPage); }

void note_mmap(void* p, size_t length, int flags) {
  if (flags & MAP_FIXED) note_private(p, page_up(length));  // it replaces what was there
  if (flags & MAP_SHARED) note_shared(p, page_up(length));  // also of MAP_SHARED_VALIDATE
}

// Before the kernel gives the place to another thread's mapping, unless the call is going to fail.
void note_munmap(void* at, size_t length) {
  if (reinterpret_cast<uintptr_t>(at) % kPage == 0 && length) note_private(at, page_up(length));
}

// shared: what the old mapping was, before the call.
void note_mremap(void* p, void* at, size_t old_length, size_t length, int flags, bool shared) {
  // Of a length of 0 a second mapping of the same memory is made.
  if (old_length && !(flags & MREMAP_DONTUNMAP)) note_private(at, page_up(old_length));
  if (flags & MREMAP_FIXED) note_private(p, page_up(length));
  if (shared) note_shared(p, page_up(length));
}

void note_shmat(void* p, int id) {
  shmid_ds segment;
  if (shmctl(id, IPC_STAT, &segment) == 0) note_shared(p, page_up(segment.shm_segsz));
  else note_all_shared();  // not allowed to ask
}

bool is_error(long r) { return static_cast<unsigned long>(r) > -4096UL; }

}  // namespace

GOSHIM_EXPORT void* mmap(void* at, size_t length, int protection, int flags, int fd, off_t offset) noexcept {
  void* p = REAL(mmap)(at, length, protection, flags, fd, offset);
  if (p != MAP_FAILED) note_mmap(p, length, flags);
  return p;
}

GOSHIM_EXPORT void* mmap64(void* at, size_t length, int protection, int flags, int fd, off64_t offset) noexcept {
  return mmap(at, length, protection, flags, fd, offset);
}

GOSHIM_EXPORT int munmap(void* at, size_t length) noexcept {
  note_munmap(at, length);
  return REAL(munmap)(at, length);
}

GOSHIM_EXPORT void* mremap(void* at, size_t old_length, size_t length, int flags, ...) noexcept {
  va_list args;
  va_start(args, flags);
  void* wanted = va_arg(args, void*);  // there or not, as in libc
  va_end(args);
  bool shared = may_be_shared(at);
  void* p = REAL(mremap)(at, old_length, length, flags, wanted);
  if (p != MAP_FAILED) note_mremap(p, at, old_length, length, flags, shared);
  return p;
}

GOSHIM_EXPORT void* shmat(int id, const void* at, int flags) noexcept {
  void* p = REAL(shmat)(id, at, flags);
  if (reinterpret_cast<intptr_t>(p) != -1) note_shmat(p, id);
  return p;
}

GOSHIM_EXPORT int shmdt(const void* at) noexcept {
  note_detached(at);
  return REAL(shmdt)(at);
}

namespace goshim {

bool mapping_syscall(long nr, const long a[6], long* result) {
  if (nr != SYS_mmap && nr != SYS_munmap && nr != SYS_mremap && nr != SYS_shmat && nr != SYS_shmdt) return false;
  auto* at = reinterpret_cast<void*>(a[0]);
  auto length = static_cast<size_t>(a[1]);
  bool shared = nr == SYS_mremap && may_be_shared(at);
  if (nr == SYS_munmap) note_munmap(at, length);
  if (nr == SYS_shmdt) note_detached(at);
  long r = sys::call(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
  *result = r;
  if (is_error(r)) return true;
  auto* p = reinterpret_cast<void*>(r);
  if (nr == SYS_mmap) note_mmap(p, length, static_cast<int>(a[3]));
  if (nr == SYS_mremap) note_mremap(p, at, length, static_cast<size_t>(a[2]), static_cast<int>(a[3]), shared);
  if (nr == SYS_shmat) note_shmat(p, static_cast<int>(a[0]));
  return true;
}

}  // namespace goshim
