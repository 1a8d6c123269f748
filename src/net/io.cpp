// The calls that read, write and accept (see io.h): each is tried without blocking, by a form of the call that leaves
// the descriptor's flags alone, and waits in the poller when the kernel says EAGAIN.
//
// The kernel says EAGAIN as well when the program has made the descriptor non-blocking; record_status() tells which it
// is. What cannot be tried (a terminal, an opened FIFO, inotify) is asked by poll(2) first. What never waits for others
// (a regular file), and all that is odd, blocks in the kernel in a blocking region.
#include "net/io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "base/clock.h"
#include "net/blocking.h"
#include "net/descriptor.h"
#include "net/poller.h"
#include "net/streak.h"
#include "sched/user_memory.h"
#include "thread/cancel.h"
#include "thread/signal.h"

namespace goshim {
namespace {

// How a call is to be made this time.
enum class Mode : uint8_t {
  Try,     // without blocking
  Plain,   // as the program wrote it: it is non-blocking, and private
  Region,  // the same, in a blocking region
};

constexpr size_t kNotExact = 0;

// The kernel moves no more at once (MAX_RW_COUNT), and refuses what is negative as a signed number.
constexpr size_t kMostBytes = 0x7ffff000;
size_t at_most(size_t n) { return n > kMostBytes && n <= SIZE_MAX / 2 ? kMostBytes : n; }

long word(const void* p) { return reinterpret_cast<long>(p); }
long word(size_t n) { return static_cast<long>(n); }

// A look that does not wait. It too fails with EINTR when a signal of the runtime's is on its way, which is nobody's
// business: the program's handlers do not run in the kernel's way.
template <typename... Args>
long glance(long nr, Args... args) {
  for (;;) {
    long r = sys::call(nr, args...);
    if (GOSHIM_LIKELY(r != -EINTR)) return r;
  }
}

// The events of those asked for that are there now, 0 for none.
short poll_now(int fd, short events) {
  pollfd p{fd, events, 0};
  timespec none{};
  return glance(SYS_ppoll, &p, 1, &none, nullptr, 8) == 1 ? p.revents : short{0};
}

// Whether a call would not wait.
bool would_go(int fd, Direction direction) {
  return poll_now(fd, direction == kIn ? POLLIN | POLLRDHUP : POLLOUT) != 0;
}

// Event loops that block in the kernel at this moment. Each costs a kernel thread, as natively; more of them park.
constexpr int kMostLoops = 16;
std::atomic<int> loops_in_kernel{0};   // relaxed, as the next: a rule of thumb
std::atomic<int> lonely_in_kernel{0};  // the same of lonely waits

// Where a few threads each answer a client of their own, which answers at once, a wait in the poller is dear: the P
// runs out of work, its M sleeps in the poller, wakes, and finds that very thread. As soon as that is the rule with a
// descriptor, reads block in the kernel instead, as natively, and the P is anybody's meanwhile. It ends when somebody
// took it and kept it, or when a client takes its time. Not between the threads of one process, where the M need not
// sleep at all.
class LonelyWait {
 public:
  // Whether the wait is to block in the kernel.
  static bool blocks(int fd, Descriptor* d) {
    if (GOSHIM_LIKELY(d->lonely.load(std::memory_order_relaxed) < kRule)) return false;
    if (lonely_in_kernel.load(std::memory_order_relaxed) >= max_procs() || !sched_alone(true, true)) return false;
    record_retire(fd, d);
    return true;
  }

  explicit LonelyWait(Descriptor* d) : d_(d) {
    if (d_->peer.load(std::memory_order_relaxed) == 0) since_ = sys::nanotime();
  }
  // It was a wait in the poller, for what has come in.
  void parked() {
    if (since_ != 0) count(sched_slept(since_, kShort) ? 1 : -1);
  }
  // It is one in the kernel: this call.
  long in_kernel(long nr, long a, long b, long c, long d, long e, long f) {
    G* g = getg();
    uint32_t queued = g->region_queued;
    if (!g->lonely) lonely_in_kernel.fetch_add(1, std::memory_order_relaxed);
    g->lonely = true;  // also after a handler has jumped out of the wait
    long r = region_syscall(RegionClass::Long, nr, a, b, c, d, e, f);
    g = getg();
    if (GOSHIM_UNLIKELY(!g || !g->lonely)) return r;  // a handler has forked, and this is the child
    g->lonely = false;
    lonely_in_kernel.fetch_sub(1, std::memory_order_relaxed);
    if (g->region_queued != queued) count(-kRule);
    else count(sys::nanotime() - since_ > kLong ? -kMost : 1);
    return r;
  }

 private:
  static constexpr int kRule = 16;
  static constexpr int kMost = 4 * kRule;
  static constexpr Nanos kShort = kMillisecond;
  static constexpr Nanos kLong = 2 * kMillisecond;
  void count(int more) {
    int now = d_->lonely.load(std::memory_order_relaxed) + more;
    d_->lonely.store(now < 0 ? 0 : now > kMost ? kMost : now, std::memory_order_relaxed);
  }

  Descriptor* d_;
  Nanos since_ = 0;
};

// One call that may wait for fd: where it stands.
class Waiting {
 public:
  enum class On : uint8_t { Any, Sockets };  // what the call is for
  Waiting(int fd, Direction direction, On on) : fd_(fd), direction_(direction), on_(on), mark_(handler_mark()) {}

  int fd() const { return fd_; }

  // One system call of an attempt, on the call's file (N6).
  template <typename... Args>
  long call(long nr, Args... args) {
    if (GOSHIM_LIKELY(!single_.held() && !partial_)) return sys::call(nr, fd_, args...);
    if (!keep_hold()) return -EBADF;
    if (kept_ < 0) {
      if (GOSHIM_LIKELY(single_.begin_attempt())) {
        long r = sys::call(nr, fd_, args...);
        single_.finish_attempt();
        return r;
      }
      move();
      locate();
    }
    return sys::call(nr, fd_, args...);
  }

  // A read or write without waiting: the plain call where that does not wait, else the vectored one.
  long pipe_call(long plain, long vectored, void* buf, size_t n) {
    bool in_order = pipe() && !single_.held() && !partial_;
    if (in_order && streak_covers(d_, direction_, n)) {
      long r = plain_syscall(plain, fd_, word(buf), word(n));
      if (GOSHIM_LIKELY(r == static_cast<long>(n))) return r;
      streak_ends(d_);
      if (r != -EINTR && r != -EAGAIN) return r;
      if (GOSHIM_UNLIKELY(!getg()))
        return sys::call(plain, fd_, buf, n);  // a handler has forked, and this is the child
    }
    iovec v{buf, n};
    long r = call(vectored, &v, 1, -1, -1, RWF_NOWAIT);
    if (in_order && r == static_cast<long>(n)) streak_goes_on(fd_, d_, direction_, n);
    return r;
  }

  // The next attempt. False: there is none to be made, the call waits first.
  bool look(Mode* mode) {
    if (single_.moved()) move();
    locate();
    *mode = Mode::Region;
    if (GOSHIM_UNLIKELY(!d_)) return true;
    // What the record says may be of another file, unless the call holds its own: an attempt would find out.
    if (GOSHIM_UNLIKELY(!keep_hold())) {
      *mode = Mode::Try;
      return true;
    }
    if (GOSHIM_UNLIKELY(native_)) return true;
    uint32_t traits = record_traits(fd_, d_);
    if ((traits & kFile) || !(traits & kLearned)) return true;
    if (on_ == On::Sockets && !(traits & kSocket)) return true;
    uint32_t known = record_known_status(d_);
    if (known & kLowWater) return true;
    if (known & kNonblocking) {
      *mode = Mode::Plain;
      return true;
    }
    if (d_->status.load(std::memory_order_relaxed) & kNonblocking) return true;
    if (direction_ == kIn && may_be_lonely_ && !single_.held() && !partial_ && LonelyWait::blocks(fd_, d_))
      return lonely_ = true;
    if (direction_ == kIn && drained()) return false;
    if (traits & kAsks) return would_go(fd_, direction_);
    *mode = Mode::Try;
    return true;
  }

  // A call that never waits, made once.
  template <typename Call>
  long once(Call call) {
    locate();
    long r = call();
    if (r == -EAGAIN && d_) note_empty();
    return r;
  }

  // After an attempt that gave r. want: what a read asked for, if less means that there was no more; else kNotExact.
  // True if the call waits and is then to be tried again; else *r is its result.
  bool again(Mode mode, size_t want, long* r) {
    if (GOSHIM_LIKELY(*r >= 0)) {
      if (direction_ == kIn && static_cast<size_t>(*r) < want && *r > 0 && d_) note_drained();
      if (!goes_on_) finish();
      return false;
    }
    // RWF_NOWAIT is not for this file, or unknown (emulators).
    if (mode == Mode::Try && ((*r == -EOPNOTSUPP && !socket()) || sys::unknown_call(*r))) {
      record_note(d_, generation_, kAsks);
      return true;
    }
    if (*r == -EAGAIN && d_) {
      if (mode == Mode::Try) {
        note_empty();
        return wait(r);
      }
      if (mode == Mode::Plain) note_empty();
    }
    finish();
    return false;
  }

  // Waits for an event. True: try again. False: *r is the call's result.
  bool wait(long* r) {
    uint32_t status = record_status(fd_, d_);
    if (single_.moved()) return true;  // that may have been another file's
    *r = -EAGAIN;
    if (status & kNonblocking) return finish();
    if ((status & kLowWater) || shut_down()) return native_ = true;
    if (!timed_) {
      timed_ = true;
      Nanos limit = d_->timeouts[direction_].load(std::memory_order_relaxed);
      if (limit) deadline_ = sys::nanotime() + limit;
    }
    if (interrupted(r)) return false;
    LonelyWait lonely(d_);
    switch (single_.wait(fd_, d_, generation_, direction_, seen_, deadline_)) {
      case Waited::Event:
        if (direction_ == kIn) lonely.parked();
        return true;
      case Waited::Changed:
      case Waited::Stale:
      case Waited::Moved: return true;
      case Waited::TimedOut: return finish();
      case Waited::Unable: return native_ = true;
      case Waited::Interrupted: break;
    }
    if (GOSHIM_UNLIKELY(!getg())) {  // a handler has forked, and this is the child
      *r = -EINTR;
      if (partial_) return finish();
      return native_ = true;
    }
    test_cancel();
    return !interrupted(r);
  }

  // A terminal read in the background: who blocks SIGTTIN gets an error, and does not stop the process.
  bool may_stop() const {
    uint64_t blocked = getg()->sigmask.load(std::memory_order_relaxed);
    if (GOSHIM_LIKELY(!(blocked & signal_bit(SIGTTIN))) || direction_ != kIn || !(traits() & kFile)) return false;
    char settings[128];  // more than the kernel's termios
    return sys::call(SYS_ioctl, fd_, TCGETS, settings) == 0;
  }
  static long region_on_terminal(long nr, long fd, long a, long b, long c, long d, long e) {
    TerminalCall on_terminal;
    return region_syscall(RegionClass::Short, nr, fd, a, b, c, d, e);
  }

  // The call goes on in the kernel.
  long in_region(long nr, long a, long b, long c, long d, long e) {
    if (long no = give_up_hold(); GOSHIM_UNLIKELY(no != 0)) return no;
    if (GOSHIM_UNLIKELY(!getg())) return sys::call(nr, fd_, a, b, c, d, e);
    for (;;) {
      test_cancel();
      HandlerMark mark = handler_mark();
      uint32_t requests = getg()->requests;
      long r;
      if (GOSHIM_UNLIKELY(lonely_)) {
        r = LonelyWait(d_).in_kernel(nr, fd_, a, b, c, d, e);
      } else if (GOSHIM_UNLIKELY(may_stop())) {
        r = region_on_terminal(nr, fd_, a, b, c, d, e);
      } else {
        r = region_syscall(RegionClass::Short, nr, fd_, a, b, c, d, e);
      }
      cut_short_ = getg() && getg()->requests != requests && !handlers_ran(mark_);
      if (GOSHIM_LIKELY(r != -EINTR)) return r;
      OnHandler rule = direction_ == kIn ? OnHandler::RestartIn : OnHandler::RestartOut;
      test_cancel();
      if (handlers_ran(mark) && (partial_ || !call_restarts(mark, rule, fd_))) return r;
    }
  }

  // Whether the last one may have ended early, with a part done, for no reason of the program's.
  bool cut_short() const { return cut_short_; }

  // What was written here can be read there, and the other way round.
  void hint(long r, Direction direction) {
    if (r <= 0 || !d_) return;
    if (uint64_t peer = d_->peer.load(std::memory_order_relaxed)) record_hint(peer, direction);
  }

  bool exact() const { return (traits() & kExact) != 0 && d_->ended.load(std::memory_order_relaxed) == 0; }
  // Earlier attempts have moved some bytes: a handler ends the call, with their count.
  void progress() { partial_ = true; }
  // In the kernel a request of the runtime's may cut it short: not for a call that is to return all, and does not go
  // on by itself.
  void always_parks() { may_be_lonely_ = false; }
  // Whether more is to be done on this file after a success.
  void goes_on(bool more) { goes_on_ = more; }

  uint32_t traits() const { return d_ ? d_->traits.load(std::memory_order_relaxed) : 0; }
  bool listens() {
    if (traits() & kListens) return true;
    if (!stream() || !socket()) return false;
    int answer = 0;
    socklen_t size = sizeof answer;
    if (sys::call(SYS_getsockopt, fd_, SOL_SOCKET, SO_ACCEPTCONN, &answer, &size) != 0 || !answer) return false;
    record_note(d_, generation_, kListens);
    return true;
  }
  bool socket() const { return (traits() & kSocket) != 0; }
  // Whether a socket's call has found out that the number is none any more: that is for read and write to see to.
  bool is_none(long r) {
    if (GOSHIM_LIKELY(r != -ENOTSOCK)) return false;
    if (d_) record_mistaken(d_, generation_);
    return true;
  }
  bool stream() const { return (traits() & kStream) != 0; }
  bool pipe() const { return exact() && stream() && !socket(); }

 private:
  bool registered() const { return life_ != 0 && life_ == poller_life(); }

  // A datagram socket that is shut down for reading: the end is seen only by those who are ready to wait.
  bool shut_down() const {
    if (direction_ != kIn || stream() || d_->ended.load(std::memory_order_relaxed) == 0) return false;
    return (poll_now(fd_, POLLRDHUP) & (POLLRDHUP | POLLHUP)) != 0;
  }

  // N5. Not if another process may have made it non-blocking meanwhile: only the kernel knows then.
  bool drained() const {
    return d_->drained.load(std::memory_order_relaxed) == seen_ + 1 && registered() && record_private(d_);
  }
  void note_empty() {
    if (direction_ == kIn && registered()) d_->drained.store(seen_ + 1, std::memory_order_relaxed);
  }
  void note_drained() {
    if (exact() && registered()) d_->drained.store(seen_ + 1, std::memory_order_relaxed);
  }

  // What the record says before the kernel is asked. The generation is that of the first attempt, as long as there is
  // something to be done with the rest.
  void locate() {
    d_ = record_of(fd_);
    if (GOSHIM_UNLIKELY(!d_)) return;
    if (GOSHIM_LIKELY(!partial_ || !located_ || kept_ >= 0))
      generation_ = d_->generation.load(std::memory_order_acquire);
    located_ = true;
    life_ = d_->registered.load(std::memory_order_relaxed);
    seen_ = d_->edges[direction_].load(std::memory_order_acquire);
  }

  // Before an attempt of a holder or with the rest of something: lets in what waits for preemption, between the parts
  // of a long transfer. False if the call ends with what it has done: a handler has run, or the file was closed at a
  // moment when it was held by nobody.
  bool keep_hold() {
    if (kept_ >= 0 || !partial_) return true;
    if (single_.held() && GOSHIM_UNLIKELY(goshim_tls.pending.load(std::memory_order_relaxed) != 0)) {
      single_.end(false);
      if (single_.moved()) move();
      if (handlers_ran(mark_)) return false;
      if (kept_ >= 0) locate();
    }
    return kept_ >= 0 || single_.held() || single_.hold(d_, generation_, direction_);
  }

  // Before a call that may sleep in the kernel, where it is no holder. 0, or why there is nothing to be done with the
  // rest: a handler has run, or the file was closed at a moment when it was held by nobody.
  long give_up_hold() {
    bool file = !d_ || keep_hold();
    single_.end(true);
    if (single_.moved()) move();
    if (GOSHIM_LIKELY(!partial_)) return 0;
    if (handlers_ran(mark_)) return -EINTR;
    bool same = kept_ >= 0 || !d_ || d_->generation.load(std::memory_order_acquire) == generation_;
    return file && same ? 0 : -EBADF;
  }

  // The number was closed under the call: it goes on at the copy. A lost file is at number -1: not open.
  void move() {
    int before = kept_;
    fd_ = kept_ = single_.take_kept();
    if (kept_ >= 0) getg()->cancel_limits.scopes++;
    single_.end(false);
    drop(before);
  }

  // Whether a handler has run that ends the call, which has found nothing.
  bool interrupted(long* r) {
    if (GOSHIM_LIKELY(!handlers_ran(mark_))) return false;
    if (!partial_ && handlers_restart(mark_) && deadline_ == kForever) return false;
    *r = -EINTR;
    finish();
    return true;
  }

  // The call is over.
  bool finish() {
    single_.end(true);
    leave();
    return false;
  }
  // Gives up the copy, and the one that was made meanwhile. From move() to here no cancellation comes in between.
  void leave() {
    if (single_.moved()) {
      int kept = single_.take_kept();
      if (kept >= 0) record_leave(kept);
    }
    int kept = kept_;
    kept_ = -1;
    drop(kept);
  }
  static void drop(int kept) {
    if (GOSHIM_LIKELY(kept < 0)) return;
    record_leave(kept);
    if (G* g = getg()) g->cancel_limits.scopes--;
  }
  void test_cancel() {
    if (GOSHIM_UNLIKELY(cancel_pending())) {
      leave();
      thread_test_cancel();
    }
  }

  int fd_;
  int kept_ = -1;  // fd_, if record_closing() made it for us
  Direction direction_;
  On on_;
  SingleWait single_;
  bool partial_ = false;
  bool goes_on_ = false;
  bool cut_short_ = false;
  bool located_ = false;  // generation_ is known
  bool native_ = false;   // from now on in the kernel
  bool lonely_ = false;   // this time: see LonelyWait
  bool may_be_lonely_ = true;
  bool timed_ = false;  // deadline_ is set
  HandlerMark mark_;
  Nanos deadline_ = kForever;
  Descriptor* d_ = nullptr;
  uint32_t generation_ = 0;
  uint32_t life_ = 0;
  uint32_t seen_ = 0;
};

// The loop of all calls: attempt(w, mode) makes the call once.
template <typename Attempt>
long waiting_call(Waiting& w, size_t want, Attempt attempt) {
  for (;;) {
    Mode mode;
    long r = -EAGAIN;
    if (!w.look(&mode)) {
      if (!w.wait(&r)) return r;
      continue;
    }
    r = attempt(mode);
    if (!w.again(mode, want, &r)) return r;
  }
}

// ---- time-outs as programs give them; what is left is written back ----

Nanos deadline_in(Nanos wait) {
  if (wait == kForever) return kForever;
  Nanos now = sys::nanotime();
  return wait < kForever - now ? now + wait : kForever;
}

Nanos deadline_after(const timespec* left) { return left ? deadline_in(nanos_of(left)) : kForever; }

void write_back(timespec* left, Nanos deadline) {
  if (!left || deadline == kForever) return;
  Nanos rest = deadline - sys::nanotime();
  *left = rest > 0 ? timespec{rest / kSecond, rest % kSecond} : timespec{};
}

bool valid_timeout(const timespec* left) { return !left || (left->tv_sec >= 0 && valid_nanoseconds(left)); }

// A result after `done` bytes of earlier attempts.
long more(size_t done, long r) {
  if (r < 0) return done ? static_cast<long>(done) : r;
  return static_cast<long>(done) + r;
}

constexpr int kNeverWaits = MSG_DONTWAIT | MSG_ERRQUEUE | MSG_OOB;
// Their rules about how much to wait for are the kernel's own.
bool odd_receive(int flags) { return (flags & MSG_WAITALL) && (flags & MSG_PEEK); }
size_t exact_want(size_t n, int flags) { return flags & (MSG_PEEK | MSG_TRUNC | MSG_WAITALL) ? kNotExact : n; }
constexpr int kOddSend = MSG_OOB | MSG_ZEROCOPY | MSG_FASTOPEN;

void enter() {
  thread_test_cancel();
  give_way();
  chaos();
}

// ---- pieces of iovecs ----

size_t total(const iovec* v, size_t n) {
  size_t sum = 0;
  for (size_t i = 0; i < n; i++) sum += v[i].iov_len;
  return at_most(sum);
}

// What is left of an iovec of `all` bytes after `done` of them: the rest of one element, or whole ones.
class Rest {
 public:
  Rest(const iovec* v, size_t n, size_t done, size_t all) : v_(v), n_(n) {
    size_t left = all - done;
    while (n_ && done >= v_->iov_len) {
      done -= v_->iov_len;
      v_++;
      n_--;
    }
    if (!n_ || (!done && total(v_, n_) <= left)) return;
    piece_ = {static_cast<char*>(v_->iov_base) + done, v_->iov_len - done < left ? v_->iov_len - done : left};
    cut_ = true;
  }
  // The first of the rest, as one element.
  iovec first() const { return cut_ ? piece_ : *v_; }
  const iovec* next() const { return cut_ ? &piece_ : v_; }
  size_t count() const { return cut_ ? 1 : n_; }

 private:
  const iovec* v_;
  size_t n_;
  iovec piece_{};
  bool cut_ = false;
};

// The loop of what moves the rest of a vector, after a first part: move(rest) makes a system call. The bytes moved in
// all, or the failure.
template <typename Move>
long move_rest(Waiting& w, const iovec* v, size_t n, size_t* done, Move move) {
  size_t all = total(v, n);
  while (*done < all) {
    Rest rest(v, n, *done, all);
    long moved = move(rest);
    if (moved < 0) return moved;
    if (moved == 0) break;
    w.progress();
    *done += static_cast<size_t>(moved);
  }
  return static_cast<long>(*done);
}

}  // namespace

// ---- read and write ----

long io_read(int fd, void* buf, size_t n) {
  enter();
  Waiting w(fd, kIn, Waiting::On::Any);
  long r = waiting_call(w, n, [&](Mode mode) {
    if (mode == Mode::Try && GOSHIM_LIKELY(n != 0)) {
      // The same of a socket, and 100 to 200 ns less in the kernel.
      if (w.socket() && n <= kMostBytes) {
        long got = w.call(SYS_recvfrom, buf, n, MSG_DONTWAIT, nullptr, nullptr);
        if (GOSHIM_LIKELY(!w.is_none(got))) return got;
      }
      return w.pipe_call(SYS_read, SYS_preadv2, buf, n);
    }
    if (mode == Mode::Region) return w.in_region(SYS_read, word(buf), word(n), 0, 0, 0);
    return w.call(SYS_read, buf, n);
  });
  w.hint(r, kOut);
  return r;
}

long io_readv(int fd, const iovec* v, int n) {
  enter();
  Waiting w(fd, kIn, Waiting::On::Any);
  // The kernel is the first to look at the vector: it may be invalid.
  long r = waiting_call(w, kNotExact, [&](Mode mode) {
    if (mode == Mode::Try) return w.call(SYS_preadv2, v, n, -1, -1, RWF_NOWAIT);
    if (mode == Mode::Region) return w.in_region(SYS_readv, word(v), n, 0, 0, 0);
    return w.call(SYS_readv, v, n);
  });
  w.hint(r, kOut);
  return r;
}

// Blocking writes to a stream write everything. `done` counts what earlier attempts have written; a failure after that
// shows at the next call, and without a second SIGPIPE.
long io_write(int fd, const void* buf, size_t n) {
  enter();
  n = at_most(n);
  Waiting w(fd, kOut, Waiting::On::Any);
  size_t done = 0;
  auto* at = static_cast<const char*>(buf);
  long r = waiting_call(w, kNotExact, [&](Mode mode) {
    if (mode == Mode::Plain || (mode == Mode::Try && n == 0)) return w.call(SYS_write, at, n);
    if (mode == Mode::Region) {
      for (;;) {
        long wrote = w.in_region(SYS_write, word(at + done), word(n - done), 0, 0, 0);
        if (wrote <= 0 || static_cast<size_t>(wrote) == n - done || !w.cut_short()) return more(done, wrote);
        w.progress();
        done += static_cast<size_t>(wrote);
      }
    }
    for (;;) {
      long wrote;
      // The same of a byte stream (a message of SOCK_SEQPACKET would lack its end), and less in the kernel.
      bool sends = w.stream() && w.socket() && n <= kMostBytes;
      if (sends) {
        int quiet = done ? MSG_NOSIGNAL : 0;
        wrote = w.call(SYS_sendto, at + done, n - done, MSG_DONTWAIT | quiet, nullptr, 0);
      }
      if (!sends || GOSHIM_UNLIKELY(w.is_none(wrote)))
        wrote = w.pipe_call(SYS_write, SYS_pwritev2, const_cast<char*>(at) + done, n - done);
      if (wrote <= 0) return wrote;
      w.hint(wrote, kIn);
      w.progress();
      done += static_cast<size_t>(wrote);
      if (done >= n || !w.stream()) return static_cast<long>(done);
    }
  });
  return r < 0 && done ? static_cast<long>(done) : r;
}

long io_writev(int fd, const iovec* v, int n) {
  enter();
  Waiting w(fd, kOut, Waiting::On::Any);
  size_t done = 0;
  auto count = static_cast<size_t>(n);
  long r = waiting_call(w, kNotExact, [&](Mode mode) {
    if (mode == Mode::Plain) return w.call(SYS_writev, v, n);
    if (mode == Mode::Region) {
      long wrote = done ? 0 : w.in_region(SYS_writev, word(v), n, 0, 0, 0);
      if (!done && (wrote <= 0 || !w.cut_short())) return wrote;
      size_t all = total(v, count);  // the kernel has found the vector valid
      for (;;) {
        done += static_cast<size_t>(wrote);
        if (done >= all) return static_cast<long>(done);
        w.progress();
        Rest rest(v, count, done, all);
        wrote = w.in_region(SYS_writev, word(rest.next()), word(rest.count()), 0, 0, 0);
        if (wrote <= 0 || !w.cut_short()) return more(done, wrote);
      }
    }
    if (!done) {
      long wrote = w.call(SYS_pwritev2, v, n, -1, -1, RWF_NOWAIT);
      if (wrote <= 0) return wrote;
      w.hint(wrote, kIn);
      w.progress();
      done = static_cast<size_t>(wrote);  // the kernel has found the vector valid
    }
    if (!w.stream()) return static_cast<long>(done);
    return move_rest(w, v, count, &done, [&](const Rest& rest) {
      long wrote = w.call(SYS_pwritev2, rest.next(), rest.count(), -1, -1, RWF_NOWAIT);
      w.hint(wrote, kIn);
      return wrote;
    });
  });
  return r < 0 && done ? static_cast<long>(done) : r;
}

// ---- receive and send ----

long io_recv(int fd, void* buf, size_t n, int flags, sockaddr* from, socklen_t* from_size) {
  enter();
  n = at_most(n);
  Waiting w(fd, kIn, Waiting::On::Sockets);
  if (flags & kNeverWaits) {
    auto call = [&] { return sys::call(SYS_recvfrom, fd, buf, n, flags, from, from_size); };
    return flags & (MSG_ERRQUEUE | MSG_OOB) ? call() : w.once(call);
  }
  bool all = (flags & MSG_WAITALL) && !(flags & MSG_PEEK);
  size_t done = 0;
  auto* at = static_cast<char*>(buf);
  long r = waiting_call(w, exact_want(n, flags), [&](Mode mode) {
    if (mode == Mode::Plain) return w.call(SYS_recvfrom, buf, n, flags, from, from_size);
    if (mode == Mode::Region || odd_receive(flags)) {
      for (;;) {
        sockaddr* who = done ? nullptr : from;
        long got = w.in_region(SYS_recvfrom, word(at + done), word(n - done), flags, word(who), word(from_size));
        bool part = got > 0 && static_cast<size_t>(got) < n - done && (flags & MSG_WAITALL) && w.stream();
        if (!part || !w.cut_short()) return more(done, got);
        if (flags & MSG_PEEK) continue;
        w.progress();
        done += static_cast<size_t>(got);
      }
    }
    for (;;) {
      long got = w.call(SYS_recvfrom, at + done, n - done, flags | MSG_DONTWAIT, done ? nullptr : from,
                        done ? nullptr : from_size);
      if (!all || !w.stream()) return got;
      if (got == 0) return static_cast<long>(done);
      if (got < 0) return got;
      w.progress();
      done += static_cast<size_t>(got);
      if (done >= n) return static_cast<long>(done);
    }
  });
  return r < 0 && done ? static_cast<long>(done) : r;
}

long io_recvmsg(int fd, msghdr* message, int flags) {
  enter();
  Waiting w(fd, kIn, Waiting::On::Sockets);
  if (flags & kNeverWaits) return sys::call(SYS_recvmsg, fd, message, flags);
  bool all = (flags & MSG_WAITALL) && !(flags & MSG_PEEK);
  if (all) w.always_parks();
  size_t done = 0;
  // Only the kernel knows whether the header may be read, until it has said so.
  long r = waiting_call(w, kNotExact, [&](Mode mode) {
    if (mode == Mode::Plain) return w.call(SYS_recvmsg, message, flags);
    if (!done) {
      // What comes with the bytes may come with any of them: only the kernel sees to that.
      bool odd = odd_receive(flags) || (all && user_readable(message, sizeof *message) && message->msg_controllen);
      if (mode == Mode::Region || odd) {
        return w.in_region(SYS_recvmsg, word(message), flags, 0, 0, 0);
      }
      long got = w.call(SYS_recvmsg, message, flags | MSG_DONTWAIT);
      if (got <= 0 || !all || !w.stream() || (message->msg_flags & MSG_CTRUNC)) return got;
      if (message->msg_controllen) return got;  // a message with descriptors ends a read
      w.progress();
      done = static_cast<size_t>(got);
    }
    return move_rest(w, message->msg_iov, message->msg_iovlen, &done, [&](const Rest& rest) {
      iovec at = rest.first();
      if (mode == Mode::Region) return w.in_region(SYS_recvfrom, word(at.iov_base), word(at.iov_len), 0, 0, 0);
      return w.call(SYS_recvfrom, at.iov_base, at.iov_len, MSG_DONTWAIT, nullptr, 0);
    });
  });
  return r < 0 && done ? static_cast<long>(done) : r;
}

// Waits for all n, unless MSG_WAITFORONE. The time-out is looked at after each message only, as in the kernel.
long io_recvmmsg(int fd, mmsghdr* messages, unsigned n, int flags, timespec* timeout) {
  enter();
  if (flags & kNeverWaits) return sys::call(SYS_recvmmsg, fd, messages, n, flags, timeout);
  if (!valid_timeout(timeout)) return -EINVAL;
  Nanos end = deadline_after(timeout);
  Waiting w(fd, kIn, Waiting::On::Sockets);
  w.always_parks();
  unsigned done = 0;
  long r = waiting_call(w, kNotExact, [&](Mode mode) {
    if (mode == Mode::Plain) return w.call(SYS_recvmmsg, messages, n, flags, timeout);
    if (mode == Mode::Region || odd_receive(flags))
      return more(done, w.in_region(SYS_recvmmsg, word(messages + done), n - done, flags, word(timeout), 0));
    for (;;) {
      long got = w.call(SYS_recvmmsg, messages + done, n - done, flags | MSG_DONTWAIT, nullptr);
      if (got < 0) return got;
      w.progress();
      done += static_cast<unsigned>(got);
      if (done >= n || (flags & MSG_WAITFORONE) || got == 0) return static_cast<long>(done);
      if (messages[done - 1].msg_hdr.msg_flags & MSG_OOB) return static_cast<long>(done);
      if (end != kForever && sys::nanotime() >= end) return static_cast<long>(done);
    }
  });
  write_back(timeout, end);
  return r < 0 && done ? static_cast<long>(done) : r;
}

long io_send(int fd, const void* buf, size_t n, int flags, const sockaddr* to, socklen_t to_size) {
  enter();
  n = at_most(n);
  Waiting w(fd, kOut, Waiting::On::Sockets);
  if (flags & MSG_DONTWAIT) return sys::call(SYS_sendto, fd, buf, n, flags, to, to_size);
  size_t done = 0;
  auto* at = static_cast<const char*>(buf);
  long r = waiting_call(w, kNotExact, [&](Mode mode) {
    if (mode == Mode::Plain) return w.call(SYS_sendto, buf, n, flags, to, to_size);
    if (mode == Mode::Region || (flags & kOddSend))
      return more(done, w.in_region(SYS_sendto, word(at + done), word(n - done), flags, word(to), to_size));
    for (;;) {
      long sent =
          w.call(SYS_sendto, at + done, n - done, flags | MSG_DONTWAIT | (done ? MSG_NOSIGNAL : 0), to, to_size);
      // A message that finds no room waits for its receiver, of which our end gives no event.
      if (sent == -EAGAIN && !w.stream()) return w.in_region(SYS_sendto, word(buf), word(n), flags, word(to), to_size);
      if (sent < 0) return sent;
      w.hint(sent, kIn);
      w.progress();
      done += static_cast<size_t>(sent);
      if (done >= n || !w.stream() || sent == 0) return static_cast<long>(done);
    }
  });
  return r < 0 && done ? static_cast<long>(done) : r;
}

void io_sharing(const msghdr* message) {
  if (user_readable(message, sizeof *message) && message->msg_controllen) records_shared();
}

static long send_message(Waiting& w, const msghdr* message, int flags) {
  size_t done = 0;
  long r = waiting_call(w, kNotExact, [&](Mode mode) {
    if (mode == Mode::Plain) return w.call(SYS_sendmsg, message, flags);
    if (!done) {
      if (mode == Mode::Region || (flags & kOddSend)) return w.in_region(SYS_sendmsg, word(message), flags, 0, 0, 0);
      long sent = w.call(SYS_sendmsg, message, flags | MSG_DONTWAIT);
      if (sent == -EAGAIN && !w.stream()) return w.in_region(SYS_sendmsg, word(message), flags, 0, 0, 0);
      if (sent <= 0) return sent;
      w.hint(sent, kIn);
      w.progress();
      done = static_cast<size_t>(sent);
    }
    if (!w.stream()) return static_cast<long>(done);
    return move_rest(w, message->msg_iov, message->msg_iovlen, &done, [&](const Rest& rest) {
      msghdr next{};
      next.msg_iov = const_cast<iovec*>(rest.next());
      next.msg_iovlen = rest.count();
      if (mode == Mode::Region) return w.in_region(SYS_sendmsg, word(&next), flags, 0, 0, 0);
      long sent = w.call(SYS_sendmsg, &next, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
      w.hint(sent, kIn);
      return sent;
    });
  });
  return r < 0 && done ? static_cast<long>(done) : r;
}

long io_sendmsg(int fd, const msghdr* message, int flags) {
  enter();
  if (flags & MSG_DONTWAIT) return sys::call(SYS_sendmsg, fd, message, flags);
  Waiting w(fd, kOut, Waiting::On::Sockets);
  return send_message(w, message, flags);
}

long io_sendmmsg(int fd, mmsghdr* messages, unsigned n, int flags) {
  enter();
  Waiting w(fd, kOut, Waiting::On::Sockets);
  Descriptor* d = record_of(fd);
  unsigned done = 0;
  if ((flags & MSG_DONTWAIT) || n == 0 || !d || !(record_traits(fd, d) & kStream)) {
    long sent = w.once([&] { return sys::call(SYS_sendmmsg, fd, messages, n, flags | MSG_DONTWAIT); });
    if (sent < 0 && (sent != -EAGAIN || (flags & MSG_DONTWAIT))) return sent;
    if (sent > 0) done = static_cast<unsigned>(sent);
    if (flags & MSG_DONTWAIT) return done;
  }
  constexpr unsigned kMost = 1024;  // UIO_MAXIOV
  if (n > kMost) n = kMost;
  for (; done < n; done++) {
    if (done) w.progress();
    w.goes_on(done + 1 < n);
    long sent = send_message(w, &messages[done].msg_hdr, flags);
    if (sent < 0) return done ? static_cast<long>(done) : sent;
    messages[done].msg_len = static_cast<unsigned>(sent);
  }
  return done;
}

// There is no form of accept that does not block: poll first. It may block all the same if another process is faster,
// in a region.
long io_accept(int fd, sockaddr* from, socklen_t* from_size, int flags) {
  enter();
  Waiting w(fd, kIn, Waiting::On::Sockets);
  uint32_t traits = 0;
  bool waits = (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == 0;
  long r = waiting_call(w, kNotExact, [&](Mode mode) {
    // What does not listen is refused at once.
    if (mode == Mode::Try && waits && w.listens() && !would_go(w.fd(), kIn)) return static_cast<long>(-EAGAIN);
    if (mode == Mode::Plain) return w.call(SYS_accept4, from, from_size, flags);
    traits = w.traits() & ~kListens;
    return w.in_region(SYS_accept4, word(from), word(from_size), flags, 0, 0);
  });
  if (r >= 0) record_opened(static_cast<int>(r), traits, (flags & SOCK_NONBLOCK) != 0);
  return r;
}

// ---- poll, select, epoll_wait ----

namespace {

// More than that block in the kernel: the nodes lie on the stack, and that many are an event loop of its own.
constexpr int kMostWatched = 16;

// The caller's signal mask during a wait. Signals that it opens are delivered under it; those that it blocks, not.
class TemporaryMask {
 public:
  explicit TemporaryMask(const uint64_t* mask) : in_(mask != nullptr) {
    if (in_) signal_lend_mask(*mask);
  }
  ~TemporaryMask() { end(); }
  void end() {
    if (in_) signal_return_mask();
  }
  TemporaryMask(const TemporaryMask&) = delete;
  TemporaryMask& operator=(const TemporaryMask&) = delete;

 private:
  bool in_;
};

class InKernel {
 public:
  explicit InKernel(bool loop) : counts_(loop) {
    if (counts_) loops_in_kernel.fetch_add(1, std::memory_order_relaxed);
  }
  ~InKernel() {
    // 0 in the child that a handler has forked.
    if (counts_ && loops_in_kernel.load(std::memory_order_relaxed) > 0)
      loops_in_kernel.fetch_sub(1, std::memory_order_relaxed);
  }
  InKernel(const InKernel&) = delete;
  InKernel& operator=(const InKernel&) = delete;

 private:
  bool counts_;
};

bool alone(bool loop, bool may_wake) {
  return sched_alone(loop && loops_in_kernel.load(std::memory_order_relaxed) < kMostLoops, may_wake);
}

bool waits(Nanos deadline) { return deadline == kForever || deadline > sys::nanotime(); }

// Several descriptors to be watched. loop: the caller is likely to ask again and again, for all that it does. look()
// asks the kernel what is ready, block(left) waits there for the given time (null: for ever) and says what became
// ready; wait() parks. lonely() says whether it need not.
template <typename Look, typename Wait, typename Block, typename Lonely = bool (*)()>
long wait_for_ready(
    bool loop, Nanos deadline, const uint64_t* new_mask, Look look, Wait wait, Block block,
    Lonely lonely = [] { return false; }) {
  enter();
  sched_turn();
  HandlerMark mark = handler_mark();
  // What is ready at once comes before the signals that the mask lets in.
  if (new_mask && signal_waits_for_mask(*new_mask)) {
    long r = look();
    if (r != 0) return r;
  }
  TemporaryMask masked(new_mask);
  if (handlers_ran(mark)) return -EINTR;
  for (bool first = true;; first = false) {
    long r = 0;
    // Where it would block in the kernel anyway, the look beforehand is a call too many.
    bool blocks = first && waits(deadline) && (alone(loop, false) || lonely());
    if (!blocks) {
      r = look();
      if (r != 0) return r;
      if (handlers_ran(mark)) return -EINTR;
      if (!waits(deadline)) return 0;
      blocks = alone(loop, true);
    }
    Waited why = blocks ? Waited::Unable : wait(deadline);
    if (why == Waited::Unable) {
      InKernel counted(loop);
      timespec left{};
      if (deadline != kForever) {
        Nanos rest = deadline - sys::nanotime();
        if (rest > 0) left = {rest / kSecond, rest % kSecond};
      }
      r = block(deadline == kForever ? nullptr : &left);
      if (r != -EINTR) return r;
    } else if (why == Waited::TimedOut) {
      return look();
    } else if (why != Waited::Interrupted) {
      continue;
    }
    if (GOSHIM_UNLIKELY(!getg())) return -EINTR;  // a handler has forked, and this is the child
    if (GOSHIM_UNLIKELY(cancel_pending())) {
      masked.end();
      thread_test_cancel();
    }
    if (handlers_ran(mark)) return -EINTR;
  }
}

// What poll waits for, in epoll's words: the bits are the same. The poller does not ask for the variants of IN and OUT.
uint32_t events_of(short wanted) {
  uint32_t events = static_cast<unsigned short>(wanted) & ~uint32_t{POLLNVAL};
  if (events & (EPOLLRDNORM | EPOLLMSG)) events |= EPOLLIN;
  if (events & (EPOLLWRNORM | EPOLLWRBAND)) events |= EPOLLOUT;
  return events;
}

// One descriptor that is known to be drained and was not written to since (N5): the kernel need not be asked.
bool known_to_wait(const Watch& w) {
  constexpr uint32_t kReads = EPOLLIN | EPOLLRDNORM | EPOLLPRI | EPOLLRDBAND | EPOLLRDHUP;
  return w.d && w.events && !(w.events & ~kReads) && record_private(w.d) &&
         w.d->drained.load(std::memory_order_relaxed) == w.seen[kIn] + 1 &&
         w.d->registered.load(std::memory_order_relaxed) == poller_life() &&
         w.d->ended.load(std::memory_order_relaxed) == 0;
}

}  // namespace

long io_poll(pollfd* fds, nfds_t n, timespec* left, const uint64_t* mask) {
  if (!valid_timeout(left)) return -EINVAL;
  if (mask && !user_readable(mask, sizeof *mask)) return -EFAULT;
  Nanos deadline = deadline_after(left);
  bool can = n <= kMostWatched && (n == 0 || user_readable(fds, n * sizeof *fds));
  // A call that only looks must ask the kernel: of what has come no event may have been fetched yet.
  bool asked = left && left->tv_sec == 0 && left->tv_nsec == 0;
  auto count = static_cast<int>(n);
  Watch watches[kMostWatched];
  Descriptor* one = nullptr;  // if it is a wait for input of one descriptor, of which we know
  bool lonely = false;
  if (can && n == 1 && (fds[0].events & POLLIN) && !(fds[0].events & POLLOUT)) one = record_find(fds[0].fd);
  long r = wait_for_ready(
      n > 1, deadline, mask,
      [&]() -> long {
        for (int i = 0; can && i < count; i++) {
          watches[i].fd = fds[i].fd;
          watches[i].events = events_of(fds[i].events);
        }
        can = can && watch_look(watches, count);
        if (can && n == 1 && !asked && known_to_wait(watches[0])) {
          asked = true;  // the kernel has been, by an earlier call; from now on we do
          fds[0].revents = 0;
          return 0;
        }
        asked = true;
        timespec none{};
        return glance(SYS_ppoll, fds, n, &none, nullptr, 8);
      },
      [&](Nanos until) {
        // What woke us is not the answer: the event may have been fetched from the kernel before we asked it last.
        if (!can) return Waited::Unable;
        if (!one) return watch_wait(watches, count, until);
        LonelyWait wait(one);
        Waited why = watch_wait(watches, count, until);
        if (why == Waited::Event) wait.parked();
        return why;
      },
      [&](timespec* rest) {
        if (!lonely) return region_syscall(RegionClass::Long, SYS_ppoll, word(fds), word(n), word(rest), 0, 8);
        return LonelyWait(one).in_kernel(SYS_ppoll, word(fds), word(n), word(rest), 0, 8, 0);
      },
      [&] { return lonely = one && LonelyWait::blocks(fds[0].fd, one); });
  write_back(left, deadline);
  return r;
}

namespace {

constexpr size_t kSetWords = FD_SETSIZE / 64;

struct Sets {
  fd_set* given[3];
  uint64_t wanted[3][kSetWords];
  size_t words;

  static uint64_t* bits(fd_set* set) { return reinterpret_cast<uint64_t*>(set); }

  void save() {
    for (int i = 0; i < 3; i++) {
      for (size_t k = 0; k < words; k++) wanted[i][k] = given[i] ? bits(given[i])[k] : 0;
    }
  }
  void restore() const {
    for (int i = 0; i < 3; i++) {
      for (size_t k = 0; given[i] && k < words; k++) bits(given[i])[k] = wanted[i][k];
    }
  }
  // Descriptors that were closed while the call waited count as ready, for whatever was asked.
  long closed_meanwhile() const {
    long ready = 0;
    for (int i = 0; i < 3; i++) {
      for (size_t k = 0; given[i] && k < words; k++) {
        uint64_t closed = 0;
        for (uint64_t left = wanted[i][k]; left; left &= left - 1) {
          int fd = static_cast<int>(k * 64) + __builtin_ctzll(left);
          if (sys::call(SYS_fcntl, fd, F_GETFD) != -EBADF) continue;
          closed |= left & -left;
          ready++;
        }
        bits(given[i])[k] = closed;
      }
    }
    return ready;
  }
  // The descriptors wanted; -1 if they are too many.
  int watches(Watch* out, int most) const {
    constexpr uint32_t kEvents[3] = {EPOLLIN | EPOLLRDHUP | EPOLLRDBAND, EPOLLOUT, EPOLLPRI};
    int n = 0;
    for (size_t k = 0; k < words; k++) {
      for (uint64_t any = wanted[0][k] | wanted[1][k] | wanted[2][k]; any; any &= any - 1) {
        if (n == most) return -1;
        uint64_t bit = any & -any;
        out[n].fd = static_cast<int>(k * 64) + __builtin_ctzll(any);
        out[n].events = 0;
        for (int i = 0; i < 3; i++) {
          if (wanted[i][k] & bit) out[n].events |= kEvents[i];
        }
        n++;
      }
    }
    return n;
  }
};

}  // namespace

long io_select(int n, fd_set* in, fd_set* out, fd_set* except, timespec* left, const uint64_t* mask) {
  if (!valid_timeout(left)) return -EINVAL;
  if (mask && !user_readable(mask, sizeof *mask)) return -EFAULT;
  Nanos deadline = deadline_after(left);
  Sets sets;
  sets.given[0] = in;
  sets.given[1] = out;
  sets.given[2] = except;
  sets.words = n > 0 ? (static_cast<size_t>(n) + 63) / 64 : 0;
  bool can = n >= 0 && n <= FD_SETSIZE;
  for (fd_set* set : sets.given) can = can && (!set || user_readable(set, sets.words * sizeof(uint64_t)));
  if (!can) {  // more than a set has room for, or a mistake: the kernel can do that
    return wait_for_ready(
        true, deadline, mask,
        [&]() -> long {
          if (n >= 0 && (deadline == kForever || deadline > sys::nanotime())) return 0;
          timespec none{};
          return glance(SYS_pselect6, n, in, out, except, &none, nullptr);
        },
        [](Nanos) { return Waited::Unable; },
        [&](timespec* rest) {
          return region_syscall(RegionClass::Long, SYS_pselect6, n, word(in), word(out), word(except), word(rest), 0);
        });
  }
  sets.save();
  Watch watches[kMostWatched];
  int count = sets.watches(watches, kMostWatched);
  bool asked = false;
  bool written = false;  // by the kernel; they may be read-only as long as it fails
  long r = wait_for_ready(
      count != 1, deadline, mask,
      [&] {
        if (written) sets.restore();
        if (count >= 0 && !watch_look(watches, count)) count = -1;
        timespec none{};
        long ready = glance(SYS_pselect6, n, in, out, except, &none, nullptr);
        if (ready == -EBADF && asked) ready = sets.closed_meanwhile();
        asked = true;
        written = written || ready == 0;
        return ready;
      },
      [&](Nanos until) { return count < 0 ? Waited::Unable : watch_wait(watches, count, until); },
      [&](timespec* rest) {
        if (written) sets.restore();
        asked = true;
        return region_syscall(RegionClass::Long, SYS_pselect6, n, word(in), word(out), word(except), word(rest), 0);
      });
  if (r < 0 && r != -EFAULT && written) sets.restore();  // a failed select leaves them alone
  write_back(left, deadline);
  return r;
}

// One of the Gs that wait for the same instance is woken for an event, and wakes the next: what it leaves behind, or
// what stays ready, is for them.
long io_epoll_wait(int epoll, epoll_event* events, int max, Nanos timeout, const uint64_t* mask) {
  Nanos deadline = deadline_in(timeout);
  if (mask && !user_readable(mask, sizeof *mask)) return -EFAULT;
  if (timeout == 0) mask = nullptr;  // a call that only looks lets no signal in
  Descriptor* d = nullptr;
  uint32_t generation = 0;
  uint32_t seen = 0;
  int kept = -1;
  SingleWait single;
  long r = wait_for_ready(
      true, deadline, mask,
      [&] {
        bool held = single.held() && single.begin_attempt();
        if (!held && single.moved()) {
          int before = kept;
          epoll = kept = single.take_kept();
          single.end(false);
          if (before >= 0) record_leave(before);
        }
        d = record_of(epoll);
        if (d) {
          generation = d->generation.load(std::memory_order_acquire);
          seen = d->edges[kIn].load(std::memory_order_acquire);
        }
        long n = glance(SYS_epoll_pwait, epoll, word(events), max, 0, nullptr, 8);
        if (held) {
          single.finish_attempt();
          single.end(n != 0);
        } else if (n > 0 && d) {
          wait_pass_on(d, kIn);
        }
        return n;
      },
      [&](Nanos until) { return d ? single.wait(epoll, d, generation, kIn, seen, until) : Waited::Unable; },
      [&](timespec* rest) {
        if (!d) d = record_of(epoll);
        if (d) record_retire(epoll, d);
        if (!rest) return region_syscall(RegionClass::Long, SYS_epoll_pwait, epoll, word(events), max, -1, 0, 8);
        if (rest->tv_nsec % kMillisecond == 0 && rest->tv_sec < INT32_MAX / 1000) {
          long ms = rest->tv_sec * 1000 + rest->tv_nsec / kMillisecond;
          return region_syscall(RegionClass::Long, SYS_epoll_pwait, epoll, word(events), max, ms, 0, 8);
        }
        long n = region_syscall(RegionClass::Long, SYS_epoll_pwait2, epoll, word(events), max, word(rest), 0, 8);
        if (!sys::unknown_call(n)) return n;  // Linux has it since 5.11
        long ms =
            rest->tv_sec < INT32_MAX / 1000 ? rest->tv_sec * 1000 + (rest->tv_nsec + 999999) / kMillisecond : INT32_MAX;
        return region_syscall(RegionClass::Long, SYS_epoll_pwait, epoll, word(events), max, ms, 0, 8);
      });
  for (int left : {single.take_kept(), kept}) {
    if (left >= 0) record_leave(left);
  }
  return r;
}

void io_after_fork_child(G* survivor) {
  loops_in_kernel.store(0, std::memory_order_relaxed);
  lonely_in_kernel.store(0, std::memory_order_relaxed);
  if (survivor) survivor->lonely = false;
}

void io_thread_exit(G* g) {
  if (GOSHIM_LIKELY(!g->lonely)) return;
  g->lonely = false;
  lonely_in_kernel.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace goshim
