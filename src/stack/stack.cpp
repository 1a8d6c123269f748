// Stacks of Gs (see stack.h).
//
// Slots of one shape, a pair (size, guard), form a class. A class has a reservation at a time: a PROT_NONE mapping of
// many slots side by side, of which the first ones have been made writable ("committed", in batches), and the first of
// those have been handed out. When it is used up the class makes a larger one. Slots that come back are kept in a
// last-in first-out list of their class, never unmapped. Invariants, kept under `lock`:
//   S1  next <= committed <= end in each class: [next, committed) is writable and was never handed out, [committed,
//       end) is PROT_NONE.
//   S2  There are at least as many spare nodes as slots of classes in use, so release() need not allocate.
//   S3  A class, once made, stays, and the table does not lose places: release() finds the class of a slot by its
//       shape, or knows from its absence that the slot is a mapping of its own.
//
// Reservations are PROT_NONE at first for the sake of mlockall, which would fill writable memory with pages, and of
// overcommit_memory=2, which would charge it; batches stay a small part of what is in use for the same reason.
//
// A guard is MADV_GUARD_INSTALL (Linux 6.13): markers in the page table, no mapping. They stay over MADV_DONTNEED,
// MADV_FREE, mprotect and fork. Elsewhere, and in locked memory, it is a PROT_NONE page, which costs two mappings of
// the vm.max_map_count that the program has; a share of them is used, then stacks are without a guard. Slots are
// adjacent so that the guard of one and the top of the one below share a page of the page table: no memory for a guard.
// A guard of more than kMostMarked bytes has PROT_NONE too: markers for it would need page tables of their own.
#include "stack/stack.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/options.h"
#include "base/slab.h"
#include "base/sys.h"

namespace goshim::stack {
namespace {

constexpr int kGuardInstall = 102;  // MADV_GUARD_INSTALL, newer than the C library's headers
constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, Linux 5.14
// What every thread touches: its TCB and the frames of its start. One call is cheaper than their page faults.
constexpr size_t kTop = 2 * kPage;
constexpr size_t kHuge = 2 << 20;  // what one page of the page table maps
constexpr size_t kBelowEnd = 64 << 10;

constexpr size_t kMostMarked = 1 << 20;

constexpr size_t kUnlimitedDefault = 2 << 20;  // as glibc
constexpr size_t kLeast = 16384;               // PTHREAD_STACK_MIN

constexpr int kClasses = 32;
constexpr size_t kLargest = size_t{1} << 30;  // slots above it get a mapping of their own
constexpr size_t kFirstReservation = size_t{128} << 20;
constexpr size_t kLastReservation = size_t{64} << 30;
constexpr size_t kBatchSlots = 32;
constexpr size_t kBatchBytes = size_t{256} << 20;

// A slot in a class's list, or a spare.
struct Node {
  char* base;
  Node* next;
  Node* slab_next;
};

struct Class {
  size_t size = 0;  // of a slot, with its guard
  size_t guard = 0;
  Node* free = nullptr;
  char* next = nullptr;
  char* committed = nullptr;
  char* end = nullptr;
  size_t reservation = 0;  // bytes of the next one
  size_t handed_out = 0;   // slots ever taken fresh
};

Lock lock;  // guards everything below but what is constant after init()
Class classes[kClasses];
int n_classes;
Node* spares;
long split_guards_left;  // guards that may still cost mappings
Slab<Node> nodes;

// Constant after init().
size_t the_default_size;
std::atomic<size_t> programs_default_size{0};  // 0: not chosen; any thread, relaxed: a number on its own
int protection = PROT_READ | PROT_WRITE;
bool can_install_guards;

// Whether the page is guarded, found out by having the kernel read from it (an empty set of signals to block).
bool kernel_cannot_read(const void* page) { return sys::call(SYS_rt_sigprocmask, 0, page, nullptr, 8) == -EFAULT; }

bool probe_guard_install() {
  void* page = sys::map(kPage, PROT_READ | PROT_WRITE);
  if (!page) return false;
  sys::call(SYS_munlock, page, kPage);  // after mlockall(MCL_FUTURE)
  // Some kernels' stand-ins accept any advice and do nothing.
  bool works = sys::advise(page, kPage, kGuardInstall) == 0 && kernel_cannot_read(page);
  sys::unmap(page, kPage);
  return works;
}

// Programs that were linked with executable stacks have them in all threads.
bool main_stack_is_executable() {
  LineReader maps("/proc/self/maps");
  while (const char* line = maps.next()) {
    size_t n = strlen(line);
    constexpr char kName[] = "[stack]";
    if (n < sizeof kName - 1 || strcmp(line + n - (sizeof kName - 1), kName) != 0) continue;
    while (*line && *line != ' ') line++;
    return strlen(line) > 3 && line[3] == 'x';
  }
  return false;
}

// Marks the first bytes of a slot as its guard, if that can be done.
bool mark_guard(char* base, size_t guard) {
  return guard <= kMostMarked && can_install_guards && sys::advise(base, guard, kGuardInstall) == 0;
}

// Address space without memory behind it, no huge pages. flags: MAP_NORESERVE if it is not to be charged when it
// becomes writable (but under overcommit_memory=2).
char* reserve(size_t size, int flags) {
  void* p = sys::map(size, PROT_NONE, flags | MAP_STACK);
  if (p) sys::advise(p, size, MADV_NOHUGEPAGE);  // refused by a kernel without huge pages: as well
  return static_cast<char*>(p);
}

// Of what the process may have in all (RLIMIT_AS), a reservation must leave nearly all to others.
size_t most_to_reserve() {
  struct rlimit limit {};
  if (sys::call(SYS_prlimit64, 0, RLIMIT_AS, nullptr, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return kLastReservation;
  return limit.rlim_cur / 32;
}

// A new reservation for a class that has used up its own. Smaller ones are tried where the kernel refuses it.
bool grow(Class* c) {
  size_t most = most_to_reserve();
  size_t margin = c->size >= kHuge && most >= kFirstReservation ? kHuge : 0;
  size_t slots = (c->reservation < most ? c->reservation : most) / c->size;
  if (slots == 0) slots = 1;
  char* p;
  while (!(p = reserve(slots * c->size + margin, MAP_NORESERVE))) {
    if (slots == 1) return false;
    slots /= 2;
  }
  // Slots of a multiple of kHuge have their boundaries at this place in all page-table pages: a guard of up to
  // kBelowEnd still shares one with the slot below it.
  if (margin) p = reinterpret_cast<char*>(round_up(reinterpret_cast<uintptr_t>(p) + kBelowEnd, kHuge) - kBelowEnd);
  c->next = c->committed = p;
  c->end = p + slots * c->size;
  size_t twice = 2 * slots * c->size;
  if (twice <= kLastReservation) c->reservation = twice;
  return true;
}

// Makes up to `slots` PROT_NONE slots from base on writable, the first one guarded; returns how many it made, 0 when
// memory is exhausted. Guards that cost mappings are counted down in *splits.
size_t commit(char* base, size_t slots, size_t size, size_t guard, long* splits) {
  if (guard && !mark_guard(base, guard)) {
    // Locked memory comes here too: one slot at a time, since making it writable fills it.
    slots = 1;
    if (*splits > 0 && sys::protect(base + guard, size - guard, protection) == 0) {
      --*splits;
      return 1;
    }
  }
  while (sys::protect(base, slots * size, protection) != 0) {
    slots /= 2;
    if (slots == 0) return 0;
  }
  return slots;
}

// Guards a writable slot that was never in use, if that can be had.
void put_guard(char* base, size_t guard) {
  if (mark_guard(base, guard)) return;
  {
    LockGuard hold(lock);
    if (split_guards_left == 0) return;
    split_guards_left--;
  }
  sys::protect(base, guard, PROT_NONE);
}

// The class of slots of this shape, made if need be; null if such slots get a mapping of their own. `lock` is held.
Class* class_of(size_t size, size_t guard) {
  for (int i = 0; i < n_classes; i++) {
    if (classes[i].size == size && classes[i].guard == guard) return &classes[i];
  }
  if (n_classes == kClasses || size > kLargest) return nullptr;
  Class* c = &classes[n_classes];
  c->size = size;
  c->guard = guard;
  c->reservation = kFirstReservation;
  n_classes++;
  return c;
}

// A slot never used before. *guarded says that it needs no guard any more. `lock` is held.
char* take_fresh(Class* c, bool* guarded) {
  *guarded = c->guard == 0;
  if (c->next == c->committed) {
    if (c->committed == c->end && !grow(c)) return nullptr;
    size_t batch = c->handed_out / 4 + 1;
    size_t left = static_cast<size_t>(c->end - c->committed) / c->size;
    if (batch > kBatchSlots) batch = kBatchSlots;
    if (batch > kBatchBytes / c->size) batch = kBatchBytes / c->size + 1;
    if (batch > left) batch = left;
    size_t made = commit(c->committed, batch, c->size, c->guard, &split_guards_left);
    if (made == 0) return nullptr;
    c->committed += made * c->size;
    *guarded = true;
  }
  Node* spare = nodes.take();  // S2
  if (!spare) return nullptr;
  spare->next = spares;
  spares = spare;
  char* base = c->next;
  c->next += c->size;
  c->handed_out++;
  return base;
}

}  // namespace

void init() {
  struct rlimit limit {};
  size_t size = kUnlimitedDefault;
  if (sys::call(SYS_prlimit64, 0, RLIMIT_STACK, nullptr, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    size = limit.rlim_cur < kLeast ? kLeast : limit.rlim_cur;
  }
  the_default_size = round_up(options.stack_size ? options.stack_size : size, kPage);
  if (main_stack_is_executable()) protection |= PROT_EXEC;
  can_install_guards = probe_guard_install();
  char text[32];
  const char* end;
  long mappings;
  if (read_file("/proc/sys/vm/max_map_count", text, sizeof text) <= 0 || !parse_number(text, &mappings, &end)) {
    mappings = 65530;
  }
  split_guards_left = mappings / 4;
}

size_t default_size() {
  size_t chosen = programs_default_size.load(std::memory_order_relaxed);
  return chosen ? chosen : the_default_size;
}

void set_default_size(size_t size) { programs_default_size.store(round_up(size, kPage), std::memory_order_relaxed); }

bool take(size_t size, size_t guard, Stack* out) {
  if (size > SIZE_MAX / 4 || guard > SIZE_MAX / 4) return false;
  guard = round_up(guard, kPage);
  size = round_up(size, kPage) + guard;
  char* base = nullptr;
  bool guarded = true;
  bool own = false;
  {
    LockGuard hold(lock);
    Class* c = class_of(size, guard);
    if (!c) {
      own = true;
    } else if (Node* n = c->free) {
      c->free = n->next;
      base = n->base;
      n->next = spares;
      spares = n;
    } else {
      base = take_fresh(c, &guarded);
    }
  }
  if (own) {
    base = reserve(size, 0);  // as libc's: the kernel may say that it is too much
    long splits = 1;
    if (base && commit(base, 1, size, guard, &splits) == 0) {
      sys::unmap(base, size);
      base = nullptr;
    }
  }
  if (!base) return false;
  if (!guarded) put_guard(base, guard);
  if (size - guard >= kTop) sys::advise(base + size - kTop, kTop, kPopulateWrite);  // refused: they will be faults
  *out = {base, size, guard};
  return true;
}

void release(const Stack& s) {
  Class* c;
  {
    LockGuard hold(lock);
    c = class_of(s.size, s.guard);
  }
  if (!c) {
    sys::unmap(s.base, s.size);
    return;
  }
  char* bottom = s.base + s.guard;
  // Locked memory is not given back; the next user still wants it zero.
  if (sys::advise(bottom, s.size - s.guard, MADV_DONTNEED) != 0) memset(bottom, 0, s.size - s.guard);
  LockGuard hold(lock);
  Node* n = spares;
  if (n) {
    spares = n->next;
  } else if (!(n = nodes.take())) {  // S2 holds no more after a fork
    return;
  }
  n->base = s.base;
  n->next = c->free;
  c->free = n;
}

void trim(const Stack& s, size_t keep) {
  size_t most = s.size - s.guard;
  if (keep >= most) return;
  sys::advise(s.base + s.guard, most - round_up(keep, kPage), MADV_DONTNEED);  // not in locked memory: as well
}

bool in_guard(const Stack& s, const void* addr) {
  auto a = reinterpret_cast<uintptr_t>(addr);
  auto base = reinterpret_cast<uintptr_t>(s.base);
  return a >= base && a - base < s.guard;
}

void after_fork_child() {
  if (lock.held()) {
    // Another thread was at work at the fork: what it left half done is forgotten, address space is all that is lost.
    for (Class& c : classes) {
      c.free = nullptr;
      c.next = c.committed = c.end = nullptr;
    }
    spares = nullptr;
  }
  lock.reset();
  nodes.reset_lock();
}

}  // namespace goshim::stack
