// Making the page of counters (see page.h).
#include "trace/page.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <cstring>

#include "base/own_fd.h"
#include "base/procs.h"
#include "base/sys.h"

namespace goshim {
namespace {

constexpr int kSeals = 1033;         // F_ADD_SEALS
constexpr long kSealSize = 2 | 4;    // F_SEAL_SHRINK, F_SEAL_GROW
constexpr int kPopulateWrite = 23;   // MADV_POPULATE_WRITE
constexpr unsigned kNoExecSeal = 8;  // MFD_NOEXEC_SEAL, since Linux 6.3

constexpr size_t kFirstArea = round_up(sizeof(Page), alignof(Counts));
constexpr size_t kSize = round_up(kFirstArea + (kMaxProcs + 1) * sizeof(Counts), kPage);

Page* the_page;  // written at the start of the runtime; constant address afterwards
Counts nowhere;  // before the page is there, without memory for it, and in tests of parts of the runtime

OwnFd& page_fd() { return own_fd_of(OwnFdName::Page); }

// A file of that size, which stays as large, or -errno.
long make_file(size_t size) {
  // A file larger than the limit is not made: the kernel would send SIGXFSZ.
  rlimit limit{};
  if (sys::call(SYS_prlimit64, 0, RLIMIT_FSIZE, nullptr, &limit) != 0 || limit.rlim_cur < size) return -EFBIG;
  long fd = sys::call(SYS_memfd_create, kPageName, MFD_CLOEXEC | MFD_ALLOW_SEALING | kNoExecSeal);
  if (fd == -EINVAL) fd = sys::call(SYS_memfd_create, kPageName, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return fd;
  long r = sys::call(SYS_fchmod, fd, 0600);
  if (r == 0) r = sys::call(SYS_ftruncate, fd, size);
  if (r == 0) r = sys::call(SYS_fcntl, fd, kSeals, kSealSize);
  if (r == 0) return fd;
  sys::close(static_cast<int>(fd));
  return r;
}

// Memory for that part of the page: a store to what cannot be had would be a SIGBUS. False if there is none.
bool take_memory(void* part, size_t size) {
  auto at = reinterpret_cast<uintptr_t>(part);
  uintptr_t first = at & ~(kPage - 1);
  long r = sys::call(SYS_madvise, first, at + size - first, kPopulateWrite);
  return r == 0 || r == -EINVAL;  // before Linux 5.14 one can only hope
}

// Maps fd, or private memory if that is below 0; at the given place if there is one. Null when the kernel refuses.
void* map(void* at, size_t size, long fd) {
  int flags = (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED) | (at ? MAP_FIXED : 0);
  long r = sys::call(SYS_mmap, at, size, PROT_READ | PROT_WRITE, flags, fd < 0 ? -1 : fd, 0);
  return r < 0 && r > -4096 ? nullptr : reinterpret_cast<void*>(r);
}

}  // namespace

Counts* counts_outside = &nowhere;

bool page_open() {
  long fd = make_file(kSize);
  void* at = map(the_page, kSize, fd);
  while (!at || !take_memory(at, kFirstArea + sizeof(Counts))) {
    if (fd < 0) return false;
    sys::close(static_cast<int>(fd));
    fd = -1;
    at = map(at ? at : the_page, kSize, fd);
  }
  the_page = static_cast<Page*>(at);
  the_page->layout = kPageLayout;
  the_page->size = kSize;
  the_page->first_area = kFirstArea;
  the_page->area_size = sizeof(Counts);
  std::memcpy(the_page->version, GOSHIM_VERSION, sizeof GOSHIM_VERSION);
  static_assert(sizeof GOSHIM_VERSION <= sizeof the_page->version);
  counts_outside = const_cast<Counts*>(the_page->area(Page::kNoP));
  tally(nullptr, Counter::gs_made);  // the calling thread
  if (fd >= 0) page_fd().keep(static_cast<int>(fd));
  return true;
}

void page_show(int pid, Nanos started_at) {
  the_page->pid = pid;
  the_page->started_at = started_at;
  the_page->magic.store(kPageMagic, std::memory_order_release);
}

void page_close() {
  page_fd().drop();
  counts_outside = &nowhere;
  sys::unmap(the_page, kSize);
  the_page = nullptr;
}

Page* page() { return the_page; }

Counts* page_counts(int i) {
  int procs = the_page->procs.load(std::memory_order_relaxed);
  if (i > procs) return &nowhere;
  auto* area = const_cast<Counts*>(the_page->area(i));
  if (!take_memory(area, sizeof *area)) return &nowhere;
  if (i == procs) the_page->procs.store(i + 1, std::memory_order_release);
  return area;
}

void page_after_fork_child() {
  page_fd().drop();
  // Where memory lacks even for this, the child goes on counting in its parent's.
  if (the_page) map(the_page, kSize, -1);
}

}  // namespace goshim
