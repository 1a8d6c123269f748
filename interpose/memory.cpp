// Mappings: the program's calls go on to libc; what they share with other processes, or no longer share, is noted
// (sync/sharing.h).
#include "interpose/real.h"
#include "sync/sharing.h"

using namespace goshim;

namespace {

constexpr size_t page_up(size_t n) { return round_up(n, kPage); }

}  // namespace

GOSHIM_EXPORT void* mmap(void* at, size_t length, int protection, int flags, int fd, off_t offset) noexcept {
  void* p = REAL(mmap)(at, length, protection, flags, fd, offset);
  if (p == MAP_FAILED) return p;
  if (flags & MAP_FIXED) note_private(p, page_up(length));  // it replaces what was there
  if (flags & MAP_SHARED) note_shared(p, page_up(length));  // also of MAP_SHARED_VALIDATE
  return p;
}

GOSHIM_EXPORT void* mmap64(void* at, size_t length, int protection, int flags, int fd, off64_t offset) noexcept {
  return mmap(at, length, protection, flags, fd, offset);
}

GOSHIM_EXPORT int munmap(void* at, size_t length) noexcept {
  // Noted before the kernel gives the place to another thread's mapping, unless the call is going to fail.
  if (reinterpret_cast<uintptr_t>(at) % kPage == 0 && length) note_private(at, page_up(length));
  return REAL(munmap)(at, length);
}

GOSHIM_EXPORT void* mremap(void* at, size_t old_length, size_t length, int flags, ...) noexcept {
  va_list args;
  va_start(args, flags);
  void* wanted = va_arg(args, void*);  // there or not, as in libc
  va_end(args);
  bool shared = may_be_shared(at);
  void* p = REAL(mremap)(at, old_length, length, flags, wanted);
  if (p == MAP_FAILED) return p;
  // Of a length of 0 a second mapping of the same memory is made.
  if (old_length && !(flags & MREMAP_DONTUNMAP)) note_private(at, page_up(old_length));
  if (flags & MREMAP_FIXED) note_private(p, page_up(length));
  if (shared) note_shared(p, page_up(length));
  return p;
}

GOSHIM_EXPORT void* shmat(int id, const void* at, int flags) noexcept {
  void* p = REAL(shmat)(id, at, flags);
  if (reinterpret_cast<intptr_t>(p) == -1) return p;
  shmid_ds segment;
  if (shmctl(id, IPC_STAT, &segment) == 0) note_shared(p, page_up(segment.shm_segsz));
  else note_all_shared();  // not allowed to ask
  return p;
}

GOSHIM_EXPORT int shmdt(const void* at) noexcept {
  note_detached(at);
  return REAL(shmdt)(at);
}
