// Records of descriptors and waits for them (see descriptor.h).
#include "net/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <cstring>

#include "net/poller.h"
#include "park/park.h"
#include "sched/section.h"

namespace goshim {
namespace {

// A directory of chunks: numbers up to 4 million, of which only the chunks in use take memory.
constexpr int kChunkBits = 8;
constexpr int kChunk = 1 << kChunkBits;
constexpr int kChunks = 1 << 14;
std::atomic<Descriptor*> chunks[kChunks];  // written once each (release; acquire); [0] is not used
std::atomic<int> n_chunks{1};              // those below may be there (relaxed: grows before the first wait in one)
// The first one needs no system call: what a program makes before its first thread is noted in it.
alignas(kPage) Descriptor first_chunk[kChunk];

// Changes of what a number means to other threads are the program's to order: it makes a descriptor known, or sets it
// up, before others use it so. Hence relaxed where nothing else is to be seen with the value.
std::atomic<uint32_t> share_epoch{1};
std::atomic<uint32_t> status_epoch{1};
std::atomic<bool> timeouts_used{false};
std::atomic<int> copies_made{0};  // by record_closing(), and open; those about to be made too

constexpr uint32_t kFailing = EPOLLERR | EPOLLHUP;
constexpr uint32_t kWakesIn = EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLRDBAND | kFailing;
constexpr uint32_t kWakesOut = EPOLLOUT | kFailing;
constexpr uint32_t kEnds = EPOLLRDHUP | EPOLLPRI | kFailing;

constexpr Nanos kFirstGap = kSecond;
constexpr Nanos kLastGap = 64 * kSecond;

uint64_t token_of(int fd, uint32_t generation) {
  return static_cast<uint64_t>(generation) << 32 | static_cast<uint32_t>(fd);
}

long socket_option(int fd, int option, void* value, socklen_t size) {
  return sys::call(SYS_getsockopt, fd, SOL_SOCKET, option, value, &size);
}

int socket_number(int fd, int option) {
  int value = 0;
  return socket_option(fd, option, &value, sizeof value) == 0 ? value : -1;
}

Nanos socket_timeout(int fd, int option) {
  timeval limit{};
  if (socket_option(fd, option, &limit, sizeof limit) != 0) return 0;
  return limit.tv_sec >= kForever / kSecond - 1 ? 0 : limit.tv_sec * kSecond + limit.tv_usec * kMicrosecond;
}

// ---- queues; the record's lock is held ----

void fire(Descriptor* d, WaitList* list, WaitNode* n, int moved = -1) {
  list->remove(n);
  if (moved >= 0) n->kept.store(moved, std::memory_order_relaxed);
  else if (n->single) d->holders.push(n);
  // N4: the owner leaves under this lock too, unless it was unparked by this.
  if (n->wait->fired.exchange(1, std::memory_order_seq_cst) == 0) unpark_one(&n->wait->fired);
}

int fire_all(Descriptor* d, WaitList* list, int moved = -1) {
  int fired = 0;
  for (; WaitNode* n = list->first; fired++) fire(d, list, n, moved);
  return fired;
}

int fire_watching(Descriptor* d, uint32_t events) {
  int fired = 0;
  for (WaitNode* n = d->watching.first; n;) {
    WaitNode* next = n->next;
    if (events & (n->events | kFailing)) {
      fire(d, &d->watching, n);
      fired++;
    }
    n = next;
  }
  return fired;
}

// N3. An end is for everybody.
int fire_waiting(Descriptor* d, WaitList* list, uint32_t events, uint32_t ends) {
  if (events & ends) return fire_all(d, list);
  WaitNode* n = list->first;
  if (!n) return 0;
  fire(d, list, n);
  return 1;
}

void count_edge(Descriptor* d, Direction direction) {
  std::atomic<uint32_t>& edges = d->edges[direction];
  edges.store(edges.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

// The number has another meaning from here on. Who waits looks again.
void forget(Descriptor* d) {
  fire_all(d, &d->waiting[kIn]);
  fire_all(d, &d->waiting[kOut]);
  fire_all(d, &d->watching);
  d->generation.store(d->generation.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  d->traits.store(0, std::memory_order_relaxed);
  d->registered.store(0, std::memory_order_relaxed);
  d->drained.store(0, std::memory_order_relaxed);
  d->ended.store(0, std::memory_order_relaxed);
  d->lonely.store(0, std::memory_order_relaxed);
  d->private_since.store(0, std::memory_order_relaxed);
  d->dupped.store(0, std::memory_order_relaxed);
  d->status_epoch.store(0, std::memory_order_relaxed);
  d->peer.store(0, std::memory_order_relaxed);
  d->streak_of.store(nullptr, std::memory_order_relaxed);
  d->streak.store(0, std::memory_order_relaxed);
  d->sure.store(0, std::memory_order_relaxed);
  d->largest.store(0, std::memory_order_relaxed);
  count_edge(d, kIn);
  count_edge(d, kOut);
}

bool anything_known(const Descriptor* d) {
  return d->traits.load(std::memory_order_relaxed) != 0 || d->registered.load(std::memory_order_relaxed) != 0 ||
         d->status_epoch.load(std::memory_order_relaxed) != 0 || d->private_since.load(std::memory_order_relaxed) != 0;
}

// Makes sure that events come. 0, or -errno.
long enlist(int fd, Descriptor* d) {
  uint32_t in = d->registered.load(std::memory_order_relaxed);
  if (GOSHIM_LIKELY(in != 0 && in == poller_life())) return 0;
  long life = poller_add(fd, token_of(fd, d->generation.load(std::memory_order_relaxed)));
  if (life < 0) {
    if (life == -EPERM) d->traits.fetch_or(kFile | kLearned, std::memory_order_relaxed);
    return life;
  }
  d->registered.store(static_cast<uint32_t>(life), std::memory_order_relaxed);
  return 0;
}

bool not_fired(void* ctx) { return static_cast<Wait*>(ctx)->fired.load(std::memory_order_seq_cst) == 0; }

ParkResult park_on(Wait* wait, Nanos deadline) {
  poller_waiters.fetch_add(1, std::memory_order_relaxed);
  ParkRequest r{
      .key = &wait->fired,
      .validate = not_fired,
      .before_sleep = nullptr,
      .timed_out = nullptr,
      .ctx = wait,
      .deadline = deadline,
      .reason = WaitReason::Io,
      .interruptible = true,
      .raised = 1,
  };
  ParkResult result = park(r);
  poller_waiters.fetch_sub(1, std::memory_order_relaxed);
  return result;
}

}  // namespace

// ---- records ----

bool record_private(const Descriptor* d) {
  return d->private_since.load(std::memory_order_relaxed) == share_epoch.load(std::memory_order_relaxed);
}

Descriptor* record_find(int fd) {
  G* g = getg();
  if (GOSHIM_UNLIKELY(g && g->own_files)) return nullptr;
  if (static_cast<unsigned>(fd) >= static_cast<unsigned>(kChunks) << kChunkBits) return nullptr;
  if (GOSHIM_LIKELY(fd < kChunk)) return first_chunk + fd;
  Descriptor* chunk = chunks[fd >> kChunkBits].load(std::memory_order_acquire);
  return GOSHIM_LIKELY(chunk != nullptr) ? chunk + (fd & (kChunk - 1)) : nullptr;
}

GOSHIM_COLD static Descriptor* record_make(int fd) {
  G* g = getg();
  if (static_cast<unsigned>(fd) >= static_cast<unsigned>(kChunks) << kChunkBits || (g && g->own_files)) return nullptr;
  // Zeroed memory is an array of records of which nothing is known.
  void* made = sys::map(kChunk * sizeof(Descriptor), PROT_READ | PROT_WRITE);
  if (!made) return nullptr;
  Descriptor* none = nullptr;
  int at = fd >> kChunkBits;
  if (!chunks[at].compare_exchange_strong(none, static_cast<Descriptor*>(made), std::memory_order_acq_rel))
    sys::unmap(made, kChunk * sizeof(Descriptor));
  int known = n_chunks.load(std::memory_order_relaxed);
  while (known <= at && !n_chunks.compare_exchange_weak(known, at + 1, std::memory_order_relaxed)) {
  }
  return record_find(fd);
}

Descriptor* record_of(int fd) {
  Descriptor* d = record_find(fd);
  return GOSHIM_LIKELY(d != nullptr) ? d : record_make(fd);
}

// Of what the number was at this generation: keeps those of `kept`, and adds some.
static void change_traits(Descriptor* d, uint32_t generation, uint32_t kept, uint32_t added) {
  NoPreempt off;
  LockGuard guard(d->lock);
  if (d->generation.load(std::memory_order_relaxed) != generation) return;
  d->traits.store((d->traits.load(std::memory_order_relaxed) & kept) | added, std::memory_order_relaxed);
}

uint32_t record_learn(int fd, Descriptor* d) {
  uint32_t generation = d->generation.load(std::memory_order_acquire);
  struct stat st {};
  if (sys::call(SYS_fstat, fd, &st) != 0) return 0;  // not open: the call itself will tell
  uint32_t traits = kLearned;
  switch (st.st_mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFCHR:  // a terminal's settings (VMIN, VTIME) decide when a read is over: poll does not know
    case S_IFBLK: traits |= kFile; break;
    case S_IFIFO: traits |= kStream | kExact; break;
    case S_IFSOCK: {
      traits |= kSocket;
      if (socket_number(fd, SO_TYPE) != SOCK_STREAM) break;
      traits |= kStream;
      int domain = socket_number(fd, SO_DOMAIN);
      if ((domain == AF_INET || domain == AF_INET6) && socket_number(fd, SO_PROTOCOL) == IPPROTO_TCP) traits |= kExact;
      break;
    }
    default: break;
  }
  change_traits(d, generation, 0, traits);
  return traits;
}

void record_mistaken(Descriptor* d, uint32_t generation) { change_traits(d, generation, 0, 0); }

void record_note(Descriptor* d, uint32_t generation, uint32_t trait) { change_traits(d, generation, ~0U, trait); }

uint32_t record_known_status(const Descriptor* d) {
  if (d->status_epoch.load(std::memory_order_acquire) != status_epoch.load(std::memory_order_relaxed) ||
      !record_private(d))
    return 0;
  return d->status.load(std::memory_order_relaxed);
}

uint32_t record_status(int fd, Descriptor* d) {
  uint32_t epoch = status_epoch.load(std::memory_order_acquire);
  uint32_t changes = d->status_changes.load(std::memory_order_acquire);
  uint32_t generation = d->generation.load(std::memory_order_acquire);
  bool ours = record_private(d);
  if (ours && d->status_epoch.load(std::memory_order_acquire) == epoch)
    return d->status.load(std::memory_order_relaxed);
  uint32_t status = 0;
  long flags = sys::call(SYS_fcntl, fd, F_GETFL);
  if (flags > 0 && (flags & O_NONBLOCK)) status |= kNonblocking;
  Nanos limits[2] = {0, 0};
  if ((record_traits(fd, d) & kSocket) && (!ours || timeouts_used.load(std::memory_order_relaxed))) {
    limits[kIn] = socket_timeout(fd, SO_RCVTIMEO);
    limits[kOut] = socket_timeout(fd, SO_SNDTIMEO);
    if (socket_number(fd, SO_RCVLOWAT) > 1) status |= kLowWater;
  }
  NoPreempt off;
  LockGuard guard(d->lock);
  if (d->generation.load(std::memory_order_relaxed) != generation) return status;  // another file's
  d->timeouts[kIn].store(limits[kIn], std::memory_order_relaxed);
  d->timeouts[kOut].store(limits[kOut], std::memory_order_relaxed);
  d->status.store(status, std::memory_order_relaxed);
  // Not if the program has changed it since: then the next call asks again.
  bool current = changes == d->status_changes.load(std::memory_order_relaxed);
  d->status_epoch.store(current ? epoch : 0, std::memory_order_release);
  return status;
}

// ---- the life of a number ----

namespace {

// N6: n finds its file at `kept` from now on. An attempt under way is over soon, unless it sleeps in the kernel: then
// it has its file.
void move_holder(Descriptor* d, WaitNode* n, int kept) {
  d->holders.remove(n);
  n->kept.store(kept, std::memory_order_seq_cst);
  constexpr Nanos kSurelyInKernel = 50 * kMillisecond;
  Nanos until = 0;
  while (n->trying.load(std::memory_order_seq_cst) != 0) {
    if (until == 0) until = sys::nanotime() + kSurelyInKernel;
    else if (sys::nanotime() > until) return;
    sys::sched_yield();
  }
}

// Somebody waits for the file of fd, which is about to be closed, or holds it: it stays open at a number of the
// runtime's, where they go on. Natively the kernel keeps the file for them. Lock held.
void keep_for_waiters(int fd, Descriptor* d) {
  copies_made.fetch_add(1, std::memory_order_relaxed);
  constexpr int kLeast = 512;  // out of the way of programs that count on low numbers
  long copy = sys::call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, kLeast);
  if (copy == -EINVAL || copy == -EMFILE) copy = sys::call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 3);
  Descriptor* c = copy >= 0 ? record_of(static_cast<int>(copy)) : nullptr;
  if (!c || c == d) {
    if (copy >= 0) sys::close(static_cast<int>(copy));
    copies_made.fetch_sub(1, std::memory_order_relaxed);
    fire_all(d, &d->waiting[kIn]);  // they find the number closed
    fire_all(d, &d->waiting[kOut]);
    fire_all(d, &d->watching);
    while (WaitNode* n = d->holders.first) move_holder(d, n, WaitNode::kLost);
    return;
  }
  c->users.store(1, std::memory_order_release);  // at once, for the child of a fork
  if (d->registered.load(std::memory_order_relaxed)) poller_remove(fd);
  d->registered.store(0, std::memory_order_relaxed);
  auto kept = static_cast<int>(copy);
  LockGuard guard(c->lock);  // the new number is nobody's yet: no other order of the two locks is possible
  forget(c);
  c->traits.store(d->traits.load(std::memory_order_relaxed), std::memory_order_relaxed);
  uint32_t users = 0;
  for (WaitList& list : d->waiting) {
    for (WaitNode* n = list.first; n; n = n->next) users++;
  }
  while (WaitNode* n = d->holders.first) {
    move_holder(d, n, kept);
    users++;
  }
  // Who polls sleeps on until the file has news, and then looks at the number again.
  while (WaitNode* n = d->watching.first) {
    d->watching.remove(n);
    n->kept.store(kept, std::memory_order_relaxed);
    n->home.store(c, std::memory_order_relaxed);
    c->watching.push(n);
    users++;
  }
  c->users.store(users, std::memory_order_release);
  if (c->watching.first && enlist(kept, c) < 0) fire_all(c, &c->watching);
  fire_all(d, &d->waiting[kIn], kept);
  fire_all(d, &d->waiting[kOut], kept);
}

uintptr_t closer() { return reinterpret_cast<uintptr_t>(arch::thread_pointer()); }

void closing(int fd, Descriptor* d) {
  d->being_closed.store(closer(), std::memory_order_relaxed);
  LockGuard guard(d->lock);
  if (!anything_known(d)) return;
  if (d->waiting[kIn].first || d->waiting[kOut].first || d->watching.first || d->holders.first) keep_for_waiters(fd, d);
  // A file that lives on under another number or in another process would go on sending events.
  uint32_t in = d->registered.load(std::memory_order_relaxed);
  if (in && (d->dupped.load(std::memory_order_relaxed) || !record_private(d))) poller_remove(fd);
  forget(d);
}

}  // namespace

void record_closing(int fd) {
  Descriptor* d = record_find(fd);
  if (!d || in_vfork_child()) return;
  if (!runtime_started) {  // nobody waits
    if (anything_known(d)) forget(d);
    return;
  }
  if (!anything_known(d)) {
    d->being_closed.store(closer(), std::memory_order_relaxed);
    return;
  }
  Section section;
  closing(fd, d);
}

void record_closed(int fd) {
  Descriptor* d = runtime_started && !in_vfork_child() ? record_find(fd) : nullptr;
  if (!d) return;
  // If it is not set to this, another file has the number already, or somebody else closes that one.
  uintptr_t self = closer();
  if (GOSHIM_LIKELY(d->registered.load(std::memory_order_relaxed) == 0)) {
    d->being_closed.compare_exchange_strong(self, 0, std::memory_order_relaxed);
    return;
  }
  if (d->being_closed.load(std::memory_order_relaxed) != self) return;
  Section section;
  LockGuard guard(d->lock);
  if (d->being_closed.compare_exchange_strong(self, 0, std::memory_order_relaxed)) forget(d);
}

static void for_range(unsigned first, unsigned last, void (*each)(int fd)) {
  unsigned end = static_cast<unsigned>(n_chunks.load(std::memory_order_relaxed)) << kChunkBits;
  for (unsigned fd = first; fd < end && fd <= last; fd++) {
    if (!record_find(static_cast<int>(fd))) fd |= kChunk - 1;
    else each(static_cast<int>(fd));
  }
}

void record_closing_range(unsigned first, unsigned last) { for_range(first, last, record_closing); }

void record_closed_range(unsigned first, unsigned last) { for_range(first, last, record_closed); }

namespace {
void opened(Descriptor* d, uint32_t traits, bool nonblocking) {
  if (anything_known(d)) forget(d);  // it was closed behind our back
  d->being_closed.store(0, std::memory_order_relaxed);
  d->traits.store(traits, std::memory_order_relaxed);
  d->private_since.store(share_epoch.load(std::memory_order_relaxed), std::memory_order_relaxed);
  if (!traits || timeouts_used.load(std::memory_order_relaxed)) return;
  d->status.store(nonblocking ? uint32_t{kNonblocking} : 0, std::memory_order_relaxed);
  d->timeouts[kIn].store(0, std::memory_order_relaxed);
  d->timeouts[kOut].store(0, std::memory_order_relaxed);
  d->status_epoch.store(status_epoch.load(std::memory_order_relaxed), std::memory_order_release);
}
}  // namespace

void record_opened(int fd, uint32_t traits, bool nonblocking) {
  if (fd < 0 || in_vfork_child()) return;
  Descriptor* d = traits && runtime_started ? record_of(fd) : record_find(fd);
  if (!d) return;
  if (!runtime_started) {
    opened(d, traits, nonblocking);
    return;
  }
  Section section;
  LockGuard guard(d->lock);
  opened(d, traits, nonblocking);
}

void record_peers(int a, int b) {
  if (in_vfork_child()) return;
  Descriptor* da = record_find(a);
  Descriptor* db = record_find(b);
  if (!da || !db) return;
  da->peer.store(token_of(b, db->generation.load(std::memory_order_relaxed)) + 1, std::memory_order_relaxed);
  db->peer.store(token_of(a, da->generation.load(std::memory_order_relaxed)) + 1, std::memory_order_relaxed);
}

void record_dupped(int fd, int copy) {
  if (copy < 0 || in_vfork_child()) return;
  if (Descriptor* d = record_find(fd)) d->dupped.store(1, std::memory_order_relaxed);
  record_opened(copy, 0, false);
  if (Descriptor* d = record_find(copy)) {
    d->dupped.store(1, std::memory_order_relaxed);
    d->private_since.store(0, std::memory_order_relaxed);  // as private as the first, which we do not follow
  }
}

void record_status_changed(int fd) {
  Descriptor* d = record_find(fd);
  if (d && record_private(d) && !d->dupped.load(std::memory_order_relaxed)) {
    if (!runtime_started) {  // nobody asks at this moment
      d->status_epoch.store(0, std::memory_order_relaxed);
      return;
    }
    Section section;
    LockGuard guard(d->lock);
    d->status_changes.store(d->status_changes.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    d->status_epoch.store(0, std::memory_order_release);
    return;
  }
  status_epoch.fetch_add(1, std::memory_order_acq_rel);
}

void record_inexact(int fd) {
  if (in_vfork_child()) return;
  Descriptor* d = runtime_started ? record_of(fd) : record_find(fd);
  if (!d) return;
  d->ended.store(1, std::memory_order_relaxed);
  uint64_t peer = d->peer.load(std::memory_order_relaxed);
  Descriptor* other = peer ? record_find(static_cast<int>(static_cast<uint32_t>(peer - 1))) : nullptr;
  if (other) other->ended.store(1, std::memory_order_relaxed);
}

void records_shared() { share_epoch.fetch_add(1, std::memory_order_acq_rel); }

void records_have_timeouts() { timeouts_used.store(true, std::memory_order_relaxed); }

void records_after_fork_child() {
  int n = n_chunks.load(std::memory_order_relaxed);
  // Nobody here waits any more: the child has the descriptors that the program has left open.
  if (copies_made.exchange(0, std::memory_order_relaxed) != 0) {
    for_range(0, ~0U, [](int fd) {
      if (record_find(fd)->users.load(std::memory_order_acquire) != 0) sys::close(fd);
    });
  }
  for (int i = 0; i < n; i++) {
    Descriptor* chunk = i == 0 ? first_chunk : chunks[i].load(std::memory_order_relaxed);
    if (!chunk) continue;
    // Stays mapped: a handler may have forked in the middle of a call that knows a record. Zero is a record of nothing.
    constexpr size_t kSize = kChunk * sizeof(Descriptor);
    if (sys::advise(chunk, kSize, MADV_DONTNEED) != 0) std::memset(static_cast<void*>(chunk), 0, kSize);
  }
  records_shared();
}

void record_leave(int fd) {
  Descriptor* d = record_find(fd);
  if (!d || d->users.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  Section section;
  closing(fd, d);
  sys::close(fd);
  copies_made.fetch_sub(1, std::memory_order_relaxed);
  record_closed(fd);
}

void records_new_life() {
  if (poller_waiters.load(std::memory_order_relaxed) == 0) return;
  for_range(0, ~0U, [](int fd) {
    Descriptor* d = record_find(fd);
    if (d->registered.load(std::memory_order_relaxed) == 0) return;
    LockGuard guard(d->lock);
    bool waits = d->waiting[kIn].first || d->waiting[kOut].first || d->watching.first;
    if (waits && enlist(fd, d) < 0) forget(d);
  });
}

Nanos records_recheck(Nanos now) {
  Nanos next = kForever;
  if (poller_waiters.load(std::memory_order_relaxed) == 0) return next;
  int n = n_chunks.load(std::memory_order_relaxed) << kChunkBits;
  for (int fd = 0; fd < n; fd++) {
    Descriptor* d = record_find(fd);
    if (!d) {
      fd |= kChunk - 1;
      continue;
    }
    if (d->registered.load(std::memory_order_relaxed) == 0) continue;
    LockGuard guard(d->lock);
    uint32_t edges = d->edges[kIn].load(std::memory_order_relaxed) + d->edges[kOut].load(std::memory_order_relaxed);
    bool waits = d->waiting[kIn].first || d->waiting[kOut].first || d->watching.first;
    if (!waits || edges != d->check_edges || d->check_at == 0) {
      d->check_edges = edges;
      d->check_gap = kFirstGap;
      d->check_at = waits ? now + kFirstGap : 0;
    } else if (d->check_at <= now) {
      d->registered.store(0, std::memory_order_relaxed);
      if (enlist(fd, d) < 0) forget(d);
      if (d->check_gap < kLastGap) d->check_gap *= 2;
      d->check_at = now + d->check_gap;
    }
    if (d->check_at && d->check_at < next) next = d->check_at;
  }
  return next;
}

// ---- waiting ----

int record_event(Descriptor* d, uint32_t generation, uint32_t events) {
  LockGuard guard(d->lock);
  if (d->generation.load(std::memory_order_relaxed) != generation) return 0;
  if (events & kEnds) d->ended.store(1, std::memory_order_relaxed);
  int fired = 0;
  if (events & kWakesIn) {
    count_edge(d, kIn);  // N1
    fired += fire_waiting(d, &d->waiting[kIn], events, kFailing | EPOLLRDHUP);
  }
  if (events & kWakesOut) {
    count_edge(d, kOut);
    fired += fire_waiting(d, &d->waiting[kOut], events, kFailing);
  }
  if (d->watching.first) fired += fire_watching(d, events);
  return fired;
}

void record_hint(uint64_t peer, Direction direction) {
  peer--;
  Descriptor* d = record_find(static_cast<int>(static_cast<uint32_t>(peer)));
  if (!d) return;
  // A glance: who is missed here gets the event from the kernel.
  bool waited_for = __atomic_load_n(&d->waiting[direction].first, __ATOMIC_RELAXED) != nullptr ||
                    __atomic_load_n(&d->watching.first, __ATOMIC_RELAXED) != nullptr;
  bool thought_empty = direction == kIn &&
                       d->drained.load(std::memory_order_relaxed) == d->edges[kIn].load(std::memory_order_relaxed) + 1;
  if (!waited_for && !thought_empty) return;
  NoPreempt off;
  record_event(d, static_cast<uint32_t>(peer >> 32), direction == kIn ? EPOLLIN : EPOLLOUT);
}

void wait_pass_on(Descriptor* d, Direction direction) {
  // A glance without the lock: who queues itself after that has looked at the edges and asked the kernel.
  if (GOSHIM_LIKELY(__atomic_load_n(&d->waiting[direction].first, __ATOMIC_RELAXED) == nullptr)) return;
  NoPreempt off;
  LockGuard guard(d->lock);
  count_edge(d, direction);
  if (WaitNode* n = d->waiting[direction].first) fire(d, &d->waiting[direction], n);
}

Waited SingleWait::wait(int fd, Descriptor* d, uint32_t generation, Direction direction, uint32_t seen,
                        Nanos deadline) {
  WaitList* list = &d->waiting[direction];
  NoPreempt off;
  {
    LockGuard guard(d->lock);
    if (moved()) return Waited::Moved;
    if (d->generation.load(std::memory_order_relaxed) != generation) return Waited::Stale;
    if (enlist(fd, d) < 0) return Waited::Unable;
    if (d->edges[direction].load(std::memory_order_relaxed) != seen) return Waited::Changed;
    if (node_.linked) d->holders.remove(&node_);  // and waits: the file is its own all the time
    d_ = d;
    direction_ = direction;
    wait_.fired.store(0, std::memory_order_relaxed);
    wait_.fd = fd;
    node_.wait = &wait_;
    node_.single = true;
    list->push(&node_);
  }
  if (held_) {
    held_ = false;
    preempt_on();
  }
  ParkResult result = park_on(&wait_, deadline);
  if (GOSHIM_LIKELY(result == ParkResult::Unparked && !moved())) {
    preempt_off();  // until end()
    held_ = true;
    return Waited::Event;
  }
  bool fired;
  {
    LockGuard guard(d->lock);  // N4
    fired = wait_.fired.load(std::memory_order_relaxed) != 0;
    if (node_.linked) (fired ? &d->holders : list)->remove(&node_);
  }
  if (!moved() && fired) wait_pass_on(d, direction);
  if (result == ParkResult::Interrupted) return Waited::Interrupted;
  if (moved()) return Waited::Moved;
  return fired ? Waited::Changed : Waited::TimedOut;
}

bool SingleWait::hold(Descriptor* d, uint32_t generation, Direction direction) {
  preempt_off();
  {
    LockGuard guard(d->lock);
    if (d->generation.load(std::memory_order_relaxed) == generation &&
        d->being_closed.load(std::memory_order_relaxed) == 0) {
      d_ = d;
      direction_ = direction;
      node_.single = true;
      d->holders.push(&node_);
      held_ = true;
    }
  }
  if (!held_) preempt_on();
  return held_;
}

void SingleWait::end(bool pass_on) {
  if (!held_) return;
  held_ = false;
  {
    LockGuard guard(d_->lock);
    if (node_.linked) d_->holders.remove(&node_);
  }
  if (pass_on) wait_pass_on(d_, direction_);
  preempt_on();
}

bool SingleWait::begin_attempt() {
  region_enter(RegionClass::Short);
  node_.trying.store(1, std::memory_order_seq_cst);
  if (GOSHIM_LIKELY(node_.kept.load(std::memory_order_seq_cst) == WaitNode::kNone)) return true;
  finish_attempt();
  return false;
}

void SingleWait::finish_attempt() {
  node_.trying.store(0, std::memory_order_release);
  region_exit();
}

int SingleWait::take_kept() {
  int kept = node_.kept.exchange(WaitNode::kNone, std::memory_order_relaxed);
  return kept >= 0 ? kept : -1;
}

void record_retire(int fd, Descriptor* d) {
  if (d->registered.load(std::memory_order_relaxed) == 0) return;
  NoPreempt off;
  LockGuard guard(d->lock);
  if (d->waiting[kIn].first || d->waiting[kOut].first || d->watching.first) return;
  poller_remove(fd);
  d->registered.store(0, std::memory_order_relaxed);
}

// N4
static void unwatch(WaitNode* n) {
  for (;;) {
    Descriptor* home = n->home.load(std::memory_order_relaxed);
    LockGuard guard(home->lock);
    if (home != n->home.load(std::memory_order_relaxed)) continue;
    if (n->linked) home->watching.remove(n);
    break;
  }
  int kept = n->kept.load(std::memory_order_relaxed);
  if (GOSHIM_UNLIKELY(kept >= 0)) record_leave(kept);
}

bool watch_look(Watch* watches, int n) {
  for (int i = 0; i < n; i++) {
    Watch& w = watches[i];
    w.d = nullptr;
    if (w.fd < 0) continue;
    w.d = record_of(w.fd);
    if (!w.d) return false;
    w.generation = w.d->generation.load(std::memory_order_acquire);
    w.seen[kIn] = w.d->edges[kIn].load(std::memory_order_acquire);
    w.seen[kOut] = w.d->edges[kOut].load(std::memory_order_acquire);
  }
  return true;
}

Waited watch_wait(Watch* watches, int n, Nanos deadline) {
  Wait wait;
  wait.fd = n > 0 ? watches[0].fd : -1;
  wait.others = n - 1;
  NoPreempt off;
  Waited why = Waited::TimedOut;
  int linked = 0;
  for (; linked < n; linked++) {
    Watch& w = watches[linked];
    if (!w.d) continue;
    w.node.kept.store(WaitNode::kNone, std::memory_order_relaxed);
    w.node.linked = false;
    w.node.wait = &wait;
    w.node.events = w.events;
    w.node.home.store(w.d, std::memory_order_relaxed);
    LockGuard guard(w.d->lock);
    bool same = w.d->generation.load(std::memory_order_relaxed) == w.generation;
    if (same && enlist(w.fd, w.d) < 0) why = Waited::Unable;
    else if (!same || w.d->edges[kIn].load(std::memory_order_relaxed) != w.seen[kIn] ||
             w.d->edges[kOut].load(std::memory_order_relaxed) != w.seen[kOut])
      why = Waited::Changed;
    if (why != Waited::TimedOut) break;
    w.d->watching.push(&w.node);
  }
  ParkResult result = ParkResult::Invalid;
  if (why == Waited::TimedOut) result = park_on(&wait, deadline);
  for (int i = 0; i < linked; i++) {
    if (watches[i].d) unwatch(&watches[i].node);
  }
  if (why != Waited::TimedOut) return why;
  if (result == ParkResult::Interrupted) return Waited::Interrupted;
  return wait.fired.load(std::memory_order_relaxed) ? Waited::Event : Waited::TimedOut;
}

}  // namespace goshim
