// The table of descriptors: what the runtime knows of each number, and who waits for it.
//
// A record is a cache and a queue. As a cache it may be stale (the program can close and open behind our back by inline
// system calls), and any surprise corrects it; as a queue it is exact. Records are made when a number is first read,
// written or waited for, and are never unmapped.
//
//   N1  An event is seen by every wait that it concerns: who waits reads edges[d], then asks the kernel, and is queued
//       under the lock only if edges[d] is still the same. Who brings an event raises edges[d] under the lock, then
//       looks for waiters.
//   N2  A registered descriptor gives an event for everything that arrives after the registration, and the registration
//       itself gives one for what is there already (edge-triggered epoll). So N1 holds for what arrives in the kernel.
//   N3  One event may stand for many messages, and wakes one caller of read, accept or the like. It holds the baton:
//       whatever becomes of its call, unless it finds nothing, it wakes the next one (wait_pass_on).
//   N4  A WaitNode that is linked is reached only under the record's lock, and leaves it before its owner does.
//   N5  drained == edges[In] + 1 says: the kernel had nothing left when edges[In] had this value, and what came later
//       gives an event by N2. So the next read may wait without asking.
//   N6  A call that an event has woken, or that has moved a part of its bytes, is a holder of the file to its end.
//       Who closes the number under it first leaves it a copy, and waits for an attempt under way: its attempts reach
//       this file or none, whatever has the number by then. Nobody becomes a holder while the number is being closed.
#pragma once

#include "base/lock.h"
#include "sched/sched.h"

namespace goshim {

enum Direction : uint8_t { kIn = 0, kOut = 1 };

// ---- waits; they lie on the waiter's stack ----

struct Descriptor;

// A call that waits. The address of fired, its first member, is the key that it parks on.
struct Wait {
  // Set once, under the lock of the record that brought the event. Parking looks at it under the bucket's lock, which
  // unpark_one() takes afterwards.
  std::atomic<uint32_t> fired{0};
  int fd = -1;  // the descriptor, and how many more there are: for the dump
  int others = 0;
};

// Its interest in one descriptor. Owner: the waiter; while linked, the lock of the record.
struct WaitNode {
  static constexpr int kNone = -1;
  static constexpr int kLost = -2;  // there was no number left to keep the file at
  WaitNode* next = nullptr;
  WaitNode* prev = nullptr;
  Wait* wait = nullptr;
  uint32_t events = 0;  // those it waits for (EPOLLIN...)
  // The number was closed meanwhile: the file is found at this one, see record_closing(); or kLost. Set under the
  // record's lock before the number is closed, taken by the owner. kept and trying are a pair: the closer writes kept
  // and reads trying, the owner writes trying and reads kept, all seq_cst. Else relaxed: under the lock, or after a
  // wake-up.
  std::atomic<int> kept{kNone};
  std::atomic<uint32_t> trying{0};  // of a holder: 1 during an attempt (N6); owner
  // Of one that watches: whose lock; changed under that lock (relaxed: read, locked, and read again).
  std::atomic<Descriptor*> home{nullptr};
  bool linked = false;
  bool single = false;  // of a SingleWait
};

struct WaitList {
  WaitNode* first = nullptr;
  WaitNode* last = nullptr;
  void push(WaitNode* n) {
    n->next = nullptr;
    n->prev = last;
    if (last) last->next = n;
    else first = n;
    last = n;
    n->linked = true;
  }
  void remove(WaitNode* n) {
    if (n->prev) n->prev->next = n->next;
    else first = n->next;
    if (n->next) n->next->prev = n->prev;
    else last = n->prev;
    n->linked = false;
  }
};

// ---- records ----

// What kind of file it is, as far as waiting goes.
enum Trait : uint32_t {
  kLearned = 1,   // the others are known
  kFile = 2,      // never waits in the poller: regular file, directory, what epoll does not take
  kAsks = 4,      // does not know RWF_NOWAIT: poll(2) tells whether a call would block
  kSocket = 8,    // has send and recv
  kStream = 16,   // a byte stream: reads and writes may be partial
  kExact = 32,    // a read that is short has drained it, as long as it is private: pipe, plain TCP, socketpair
  kListens = 64,  // takes connections
};

// What the program has set on the description.
enum Status : uint32_t {
  kNonblocking = 1,
  kLowWater = 2,  // SO_RCVLOWAT is above 1
};

struct alignas(kCacheLine) Descriptor {
  Lock lock;
  // Raised whenever the number gets another meaning. Written under lock (release); an event or a wait of an earlier one
  // is void.
  std::atomic<uint32_t> generation{0};
  std::atomic<uint32_t> traits{0};  // anyone, relaxed: a guess
  // The life of the poller it was added in, 0 for none; lock. Read without (relaxed): a guess, enlist() looks again.
  std::atomic<uint32_t> registered{0};
  std::atomic<uint32_t> edges[2]{};  // events so far, by Direction; raised under lock (release), read without (acquire)
  std::atomic<uint32_t> drained{0};  // N5; anyone (relaxed)
  // Set at the first RDHUP, HUP, ERR or PRI: from then on a short read says nothing. lock; read without (relaxed).
  std::atomic<uint32_t> ended{0};
  // Waits in a row that would have been cheaper in the kernel, see LonelyWait in io.cpp; who waits (relaxed).
  std::atomic<int> lonely{0};
  // share_epoch when this process made it, 0 if it came from elsewhere: while equal, nobody else has the description.
  // Relaxed, as dupped: the thread that shares it or makes a second number does so before others can know of that.
  std::atomic<uint32_t> private_since{0};
  std::atomic<uint32_t> dupped{0};        // another number may name the same description
  std::atomic<uint32_t> status_epoch{0};  // status and timeouts are of this status_epoch, 0: unknown (release, acquire)
  std::atomic<uint32_t> status{0};        // Status bits; anyone who has asked the kernel (relaxed)
  std::atomic<Nanos> timeouts[2]{};       // SO_RCVTIMEO, SO_SNDTIMEO; 0: none (relaxed)
  // The other end, if the same call made both (pipe, socketpair): number + 1 and generation, one word. A hint: what is
  // written here can be read there.
  std::atomic<uint64_t> peer{0};
  // Of a pipe's end, see streak.h. All relaxed: hints.
  std::atomic<const G*> streak_of{nullptr};  // who has used it last
  std::atomic<int> streak{0};                // its calls in a row; below 0: not worth a look for so many
  std::atomic<size_t> sure{0};               // bytes to be read, or writes, that do not wait
  std::atomic<size_t> largest{0};            // the largest write there was since the pipe was empty
  WaitList waiting[2];                       // lock: calls of which one is woken for an event
  WaitList holders;                          // N6; lock
  std::atomic<uint32_t> status_changes{0};   // by the program; raised under lock, compared there (read before: acquire)
  WaitList watching;                         // lock: calls that are all woken (poll, select)
  // Of a copy made by record_closing(): calls that still use it; the last one closes it (acq_rel: the others are done).
  std::atomic<uint32_t> users{0};
  // N6: between record_closing() and record_closed(), the thread that closes it (its thread pointer). The closer sets
  // it and clears it, if nobody has made another file with the number meanwhile, who clears it under lock. Relaxed:
  // the number's next file is made after the system call.
  std::atomic<uintptr_t> being_closed{0};
  // See records_recheck(); lock.
  Nanos check_at = 0;   // when it is to be registered again, 0: nobody waits
  Nanos check_gap = 0;  // how long after that the next time
  uint32_t check_edges = 0;
};

// The record of fd; makes it. Null if there is none for such a number, or no memory.
Descriptor* record_of(int fd);
// The same, null if it was never made.
Descriptor* record_find(int fd);
// What has been waited for in vain for a second, two, four ... 64, is registered again, in case that the
// program has closed and opened it behind our back. When to come back, kForever if nobody waits.
Nanos records_recheck(Nanos now);
// The poller has begun a new life: what is waited for is registered in it. Preemption off.
void records_new_life();

// Finds out what kind fd is, by system calls. Returns its traits.
uint32_t record_learn(int fd, Descriptor* d);
// What fd was at this generation is not what the record says: it was closed and opened behind our back, or by another
// thread at this moment.
void record_mistaken(Descriptor* d, uint32_t generation);
// One more trait is known of what fd was at this generation.
void record_note(Descriptor* d, uint32_t generation, uint32_t trait);
inline uint32_t record_traits(int fd, Descriptor* d) {
  uint32_t traits = d->traits.load(std::memory_order_relaxed);
  return GOSHIM_LIKELY(traits & kLearned) ? traits : record_learn(fd, d);
}

// The status as it is now; asks the kernel if the record may be out of date. The time-outs with it.
uint32_t record_status(int fd, Descriptor* d);
// The status if it is known for certain without asking; else 0.
uint32_t record_known_status(const Descriptor* d);

// True while no other process can have the description.
bool record_private(const Descriptor* d);

// ---- the life of a number; on any thread. Before the runtime's start low numbers are noted, without a system call
// ----

// fd is about to be closed or overwritten by the program. Calls that wait for it go on as natively: they keep the file,
// on a number of the runtime's.
void record_closing(int fd);
void record_closing_range(unsigned first, unsigned last);
// It has been closed, or could not be; after each record_closing(). Who has begun to wait for it in between looks
// again.
void record_closed(int fd);
void record_closed_range(unsigned first, unsigned last);
// The process has just made fd; traits if the caller knows them, nonblocking if so made.
void record_opened(int fd, uint32_t traits, bool nonblocking);
// Both were made by one call, and are each other's ends.
void record_peers(int a, int b);
// copy is now a second number for fd's file.
void record_dupped(int fd, int copy);
// The program has changed what record_status() tells, on fd's description.
void record_status_changed(int fd);
// The program has changed how fd's stream works: a short read says nothing any more, here and at its other end.
void record_inexact(int fd);
// Descriptors may now be known to other processes: a fork, or a message that carries some.
void records_shared();
// From now on time-outs of sockets must be asked for.
void records_have_timeouts();
void records_after_fork_child();

// A copy that record_closing() made: one call less uses it.
void record_leave(int fd);

// ---- waiting; on a G ----

// What the kernel tells of d: wakes those that wait for it, and says how many. Preemption off.
int record_event(Descriptor* d, uint32_t generation, uint32_t events);
// The same from a writer to its peer's record: what it wrote can be read there.
void record_hint(uint64_t peer, Direction direction);
// N3: wakes one more. Preemption on or off.
void wait_pass_on(Descriptor* d, Direction direction);

enum class Waited : uint8_t {
  Event,    // something came: ask the kernel again. Of a single wait: with the baton
  Changed,  // something came before it waited
  TimedOut,
  Interrupted,  // handlers have run
  Stale,        // the number has another meaning by now: look it up again
  Moved,        // the number was closed: take_kept()
  Unable,       // the poller cannot take it: block in the kernel
};

// A single wait, and what comes after it. From an event on, or from hold() on, until end() the call is a holder (N6),
// and preemption is off, so that no handler can jump out.
class SingleWait {
 public:
  // Waits in a queue of which one is woken. seen: edges[direction] before the kernel was asked. A holder or not; after
  // Event it is one, after Changed if it was before.
  Waited wait(int fd, Descriptor* d, uint32_t generation, Direction direction, uint32_t seen, Nanos deadline);
  // Becomes a holder of the file that the number had at this generation. False if it is closed. Preemption on; off
  // from here until end().
  bool hold(Descriptor* d, uint32_t generation, Direction direction);
  // No holder any more. pass_on: the attempt after an Event found something, or was not made: the next one is woken.
  void end(bool pass_on);
  bool held() const { return held_; }
  // Around an attempt of a holder, which may last (a pipe has a lock): in a region. False: the number is closed,
  // see moved(); there is nothing to finish.
  bool begin_attempt();
  void finish_attempt();
  // Whether the number was closed under a holder, or under one that waited.
  bool moved() const { return GOSHIM_UNLIKELY(node_.kept.load(std::memory_order_relaxed) != WaitNode::kNone); }
  // The number that the file was left at, -1 if it is lost; the caller gives it up by record_leave().
  int take_kept();

 private:
  Wait wait_;
  WaitNode node_;
  Descriptor* d_ = nullptr;
  Direction direction_ = kIn;
  bool held_ = false;
};

// fd will be waited for in the kernel: its events would wake the poller's M for nothing. Preemption on.
void record_retire(int fd, Descriptor* d);

// A wait for several descriptors at once.
struct Watch {
  int fd;
  uint32_t events;  // EPOLLIN...; ERR and HUP always count
  // Kept between watch_look() and watch_wait():
  Descriptor* d;
  uint32_t generation;
  uint32_t seen[2];
  WaitNode node;
};
// Before the kernel is asked. False if the poller cannot wait for one of them.
bool watch_look(Watch* watches, int n);
// Waits for any. All that watch a descriptor are woken by an event.
Waited watch_wait(Watch* watches, int n, Nanos deadline);

}  // namespace goshim
