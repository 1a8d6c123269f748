// The epoll instance (see poller.h).
//
// It is made at the start of the runtime. Where that fails, the idle M sleeps on a futex, and the first waits for
// descriptors try again. A program may close the instance all the same: EBADF begins a new life, and every descriptor
// is added again when it is waited for next, or by poller_recheck().
#include "net/poller.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>

#include "base/own_fd.h"
#include "base/print.h"
#include "base/sys.h"
#include "net/descriptor.h"
#include "sched/inject.h"
#include "sched/internal.h"
#include "trace/page.h"
#include "trace/timeline.h"

namespace goshim {

std::atomic<int> poller_waiters{0};

namespace {

constexpr uint32_t kEverything = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLRDBAND | EPOLLET;
// For so long at most an M sleeps in an instance that the program has closed behind our back.
constexpr Nanos kLongest = 5 * kSecond;
constexpr uint64_t kBreakToken = ~UINT64_C(0);

// The M in poller_wait, while it waits in the kernel; written by it. seq_cst, with life: it writes this and reads life,
// make() writes life and reads this.
std::atomic<M*> sleeper{nullptr};
Lock making;                         // for life and what it stands for
std::atomic<uint32_t> life{0};       // making; read by anyone (acquire)
std::atomic<uint32_t> broken{0};     // 1: a break is due. Set by poller_break (release), taken by poller_wait (acquire)
std::atomic<bool> looking{false};    // an M is in poller_look; a lock that is only tried (acquire, release)
std::atomic<bool> no_pwait2{false};  // relaxed: found out by each anew, if need be
uint32_t served = 0;  // the life that the M in poller_wait has last slept in; it alone reads and writes it

// The numbers in sysmon's own table. Written and read by sysmon.
struct Copies {
  bool used;
  G* owner;  // sysmon's g0
  uint32_t life;
  int epoll;
  int event;
} copies;

// On sysmon, once it has a table of its own.
bool on_sysmon() { return copies.used && getg() == copies.owner; }

OwnFd& epoll_fd() { return own_fd_of(OwnFdName::Poller); }
OwnFd& break_fd() { return own_fd_of(OwnFdName::Break); }

int epoll_here() { return on_sysmon() ? copies.epoll : epoll_fd().get(); }
int break_here() { return on_sysmon() ? copies.event : break_fd().get(); }

bool is_open(int fd) { return sys::call(SYS_fcntl, fd, F_GETFD) >= 0; }

// Makes the instance, if what `seen` names is not there (any more). The new life, or -errno.
long make(uint32_t seen) {
  LockGuard guard(making);
  uint32_t now = life.load(std::memory_order_relaxed);
  if (now != seen) return now;
  epoll_fd().drop();
  break_fd().drop();
  int epoll = epoll_fd().keep(static_cast<int>(sys::call(SYS_epoll_create1, EPOLL_CLOEXEC)));
  if (epoll < 0) return epoll;
  int event = break_fd().keep(static_cast<int>(sys::call(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK)));
  long r = event;
  if (event >= 0) {
    epoll_event e{EPOLLIN, {.u64 = kBreakToken}};  // level-triggered: poller_look() leaves it standing
    r = sys::call(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, event, &e);
  }
  if (r < 0) {
    epoll_fd().drop();
    break_fd().drop();
    return r;
  }
  life.store(now + 1, std::memory_order_seq_cst);
  // Who sleeps on the lost instance hears nothing of this one.
  if (M* m = sleeper.load(std::memory_order_seq_cst); m && now != 0) inject_poke(m);
  return now + 1;
}

// The program has closed the instance.
bool lost() { return !is_open(epoll_fd().get()); }

void new_life(uint32_t seen) {
  // Not lost while another made it anew.
  if (life.load(std::memory_order_acquire) == seen && lost()) make(seen);
}

// One epoll_wait. timeout: 0 not at all, kForever for ever.
int wait_once(Nanos timeout, PollerEvents* out) {
  uint32_t seen = life.load(std::memory_order_acquire);
  long r;
  if (timeout > 0 && timeout != kForever && !no_pwait2.load(std::memory_order_relaxed)) {
    timespec ts{timeout / kSecond, timeout % kSecond};
    r = sys::sleep_in(SYS_epoll_pwait2, epoll_here(), out->events, kPollerBatch, &ts, nullptr, 8);
    if (sys::unknown_call(r)) {  // before Linux 5.11
      no_pwait2.store(true, std::memory_order_relaxed);
      return wait_once(timeout, out);
    }
  } else {
    Nanos ms = timeout == kForever ? -1 : (timeout + kMillisecond - 1) / kMillisecond;
    if (ms > INT32_MAX) ms = INT32_MAX;
    r = sys::sleep_in(SYS_epoll_pwait, epoll_here(), out->events, kPollerBatch, ms, nullptr, 8);
  }
  if (r == -EBADF && !on_sysmon()) new_life(seen);
  tally(Counter::polls);
  return r > 0 ? static_cast<int>(r) : 0;
}

// The break among the events is over; what it was for is told by broken.
void take_break(PollerEvents* out) {
  for (int i = 0; i < out->count; i++) {
    if (out->events[i].data.u64 != kBreakToken) continue;
    uint64_t times;
    sys::read(break_fd().get(), &times, sizeof times);
    out->events[i] = out->events[--out->count];
    return;
  }
}

}  // namespace

uint32_t poller_life() { return life.load(std::memory_order_acquire); }

void poller_start() { make(life.load(std::memory_order_relaxed)); }

long poller_add(int fd, uint64_t token) {
  long in = life.load(std::memory_order_acquire);
  bool first = in == 0;
  if (first && (in = make(0)) < 0) return in;
  for (bool again = false;; again = true) {
    epoll_event e{kEverything, {.u64 = token}};
    long r = sys::call(SYS_epoll_ctl, epoll_fd().get(), EPOLL_CTL_ADD, fd, &e);
    // It was there: from an earlier meaning of the number, or by poller_recheck().
    if (r == -EEXIST) r = sys::call(SYS_epoll_ctl, epoll_fd().get(), EPOLL_CTL_MOD, fd, &e);
    if (r == -EBADF && !again && lost()) {
      if ((in = make(static_cast<uint32_t>(in))) < 0) return in;
      first = true;
      continue;
    }
    if (first) poller_break();  // who sleeps on the futex, or on the lost instance, is to sleep on this one
    return r < 0 ? r : in;
  }
}

void poller_remove(int fd) {
  if (life.load(std::memory_order_acquire) == 0) return;
  sys::call(SYS_epoll_ctl, epoll_fd().get(), EPOLL_CTL_DEL, fd, nullptr);
}

int poller_look() {
  if (life.load(std::memory_order_acquire) == 0) return 0;
  if (looking.load(std::memory_order_relaxed) || looking.exchange(true, std::memory_order_acquire)) return 0;
  PollerEvents events;
  events.count = wait_once(0, &events);
  looking.store(false, std::memory_order_release);
  return poller_dispatch(events);
}

void poller_wait(Nanos until, PollerEvents* out) {
  out->count = 0;
  while (broken.exchange(0, std::memory_order_acquire) == 0) {
    if (life.load(std::memory_order_acquire) == 0) {
      if (sys::futex_wait(&broken, 0, until) == -ETIMEDOUT) return;
      continue;
    }
    Nanos left = kLongest;
    if (until != kForever) {
      left = until - sys::nanotime();
      if (left <= 0) return;
      if (left > kLongest) left = kLongest;
    }
    uint32_t now = life.load(std::memory_order_acquire);
    if (GOSHIM_UNLIKELY(now != served)) {
      if (served != 0) records_new_life();
      served = now;
    }
    sleeper.store(getg()->m.load(std::memory_order_relaxed), std::memory_order_seq_cst);
    if (life.load(std::memory_order_seq_cst) == now) out->count = wait_once(left, out);
    sleeper.store(nullptr, std::memory_order_relaxed);
    take_break(out);
    if (out->count) return;
  }
}

int poller_dispatch(const PollerEvents& in) {
  int woken = 0;
  if (in.count != 0) timeline(Event::Poll, static_cast<uint64_t>(in.count));
  for (int i = 0; i < in.count; i++) {
    const epoll_event& e = in.events[i];
    if (e.data.u64 == kBreakToken) continue;  // for who blocks
    if (Descriptor* d = record_find(static_cast<int>(static_cast<uint32_t>(e.data.u64))))
      woken += record_event(d, static_cast<uint32_t>(e.data.u64 >> 32), e.events);
  }
  if (in.count) tally(Counter::poll_events, static_cast<uint64_t>(in.count));
  if (woken) tally(Counter::poll_woken, static_cast<uint64_t>(woken));
  return woken;
}

void poller_break() {
  if (broken.exchange(1, std::memory_order_release) != 0) return;
  sys::futex_wake(&broken, 1);
  if (life.load(std::memory_order_acquire) != 0) {
    uint64_t one = 1;
    if (sys::write(break_here(), &one, sizeof one) >= 0) return;
    // The program has closed it. An M that sleeps looks at broken again, and at the instance.
    if (M* m = sleeper.load(std::memory_order_seq_cst)) inject_poke(m);
  }
}

void poller_fetch(int pidfd) {
  uint32_t now = life.load(std::memory_order_acquire);
  if (!copies.used) copies = {true, getg(), 0, -1, -1};
  if (copies.life == now && (copies.epoll >= 0 || now == 0)) return;
  if (copies.epoll >= 0) sys::close(copies.epoll);
  if (copies.event >= 0) sys::close(copies.event);
  copies.epoll = static_cast<int>(sys::call(SYS_pidfd_getfd, pidfd, epoll_fd().get(), 0));
  copies.event = static_cast<int>(sys::call(SYS_pidfd_getfd, pidfd, break_fd().get(), 0));
  copies.life = now;
}

void poller_after_fork_child() {
  copies.used = false;
  epoll_fd().drop();
  break_fd().drop();
  making.reset();
  life.store(0, std::memory_order_relaxed);
  broken.store(0, std::memory_order_relaxed);
  sleeper.store(nullptr, std::memory_order_relaxed);
  served = 0;
  looking.store(false, std::memory_order_relaxed);
  poller_waiters.store(0, std::memory_order_relaxed);
}

}  // namespace goshim
