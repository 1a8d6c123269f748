// Signals (see signal.h).
//
// Where signals come from. Ms block what is asynchronous; a kernel thread of its own, the receiver, blocks it too. It
// waits until the kernel has something for the process, by a signalfd which nobody reads, and takes it with
// rt_sigtimedwait, as does any G that wants to be sure of what was sent before (S7): all signals, apart from those
// that are ignored and that no G has ever blocked, from those that stop the process, and from those that every G
// blocks and a signalfd reads. What is ignored it leaves open for the kernel to discard. So it does with what stops,
// while some G leaves that open: only the kernel can stop all threads, and knows whether SIGCONT came before or
// after. What it neither takes nor leaves open stays pending in the kernel. So programs change their masks without a
// word to the kernel, mostly. Other default actions are taken by dispatch(), at once. Some signals come to the M that
// caused them (faults, SIGPIPE, see signal_open_on_m); the handler there, on_signal or on_fault, puts them where they
// belong.
//
// Where they wait. One list for the process (shared_list), taken from by any G that leaves the signal open; and one for
// each G of those sent to it. A G that is to look is kicked: bits in its Tls, and then by its state: taken off its wait
// queue, interrupted on its M, or left alone where it will look by itself. Handlers run in signals_run(), on the G.
//
//   S1  A signal is on a list before the kick; the G clears the bits before it looks at the lists.
//   S2  After the bits are set, a barrier on all processors (membarrier), then the state is read. So a G that the
//       sender sees Runnable or leaving a wait reads its bits afterwards, in preempt_on().
//   S3  A G that comes to block a signal, or ends, while the shared list holds one, kicks another G that takes it. A G
//       that ends has no full barrier between its mask and its look at the list: who puts a signal there issues a
//       membarrier before it chooses a G.
//   S4  G::sigmask may block more than `counted` says while a handler runs: only signalfd, and a signal that is ignored
//       and was never blocked otherwise, could tell.
//   S5  Gs that block nothing are not counted: they are the living ones less masked_gs. They matter only to a signalfd
//       and to signals that stop, once a G has blocked one: then each of them that begins or ends looks what that
//       changes, and who is the first to make them matter issues a membarrier before it counts. A G that blocks
//       something joins both counts under mask_lock: else it would for a moment seem to block nothing.
//   S6  What every G blocks and a signalfd reads is on no list. Who puts a signal on one looks at `take` afterwards;
//       who changes `take` looks at the lists afterwards; either hands it to the kernel.
//   S7  Signals for the process are taken from the kernel, and sent by the process itself, under fetch_lock, which is
//       kept until the signal is on its list: so nobody overtakes another, and who has the lock and finds nothing in
//       the kernel knows that all is on the lists.
//
// Everything that handlers of the kernel touch is lock-free: items and states come from SafePools, a G's incoming list
// takes pushes from anywhere. Locks: fetch_lock, then mask_lock, then shared_lock; only the first is held while
// kicking.
#include "thread/signal.h"

#include <errno.h>
#include <linux/close_range.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <ucontext.h>

#include <cstring>

#include "base/file.h"
#include "base/host.h"
#include "base/print.h"
#include "park/park.h"
#include "sched/inject.h"
#include "sched/internal.h"
#include "sched/safe_pool.h"
#include "sched/tids.h"
#include "thread/cancel.h"
#include "thread/life.h"
#include "thread/timer_target.h"
#include "trace/dump.h"

namespace goshim {

static int send_to(G* g, const siginfo_t& info);

namespace {

constexpr int kSignals = 64;
constexpr int kFirstRealTime = 32;  // kernel's: signals below are pending once or not at all
constexpr int kKick = 32;           // wakes the receiver
constexpr uint64_t kInternal = signal_bit(32) | signal_bit(33);  // glibc's own: no program gets at them
constexpr uint64_t kUnblockable = kInternal | signal_bit(SIGKILL) | signal_bit(SIGSTOP);
constexpr uint64_t kStandard = (UINT64_C(1) << (kFirstRealTime - 1)) - 1;
constexpr uint64_t kFaults = signal_bit(SIGSEGV) | signal_bit(SIGBUS) | signal_bit(SIGFPE) | signal_bit(SIGILL) |
                             signal_bit(SIGTRAP) | signal_bit(SIGSYS);
// Sent by the kernel to the thread whose call caused them.
constexpr uint64_t kByCaller = signal_bit(SIGPIPE) | signal_bit(SIGXFSZ);
// Faults that may be stack overflows: looked at even if the program has no handler.
constexpr uint64_t kWatched = signal_bit(SIGSEGV) | signal_bit(SIGBUS);
constexpr uint64_t kIgnoredByDefault =
    signal_bit(SIGCHLD) | signal_bit(SIGURG) | signal_bit(SIGWINCH) | signal_bit(SIGCONT);
constexpr uint64_t kStopping = signal_bit(SIGTSTP) | signal_bit(SIGTTIN) | signal_bit(SIGTTOU);
// The kernel drops other flags of an action; that is how programs find out what it knows.
constexpr uint64_t kActionFlags =
    uint64_t{SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER} | uint64_t{SA_RESETHAND} |
    0x800;  // SA_EXPOSE_TAGBITS

struct alignas(64) Item {
  SafePoolItem pool;
  Item* next;
  siginfo_t info;
};

// What a G has beyond its mask. Made when first needed, and kept for the Gs that come after in the same structure.
struct alignas(64) State {
  SafePoolItem pool;
  // seq_cst, as directed, waiting_for and G::sigmask: a sender writes the lists and reads the mask, a G writes the mask
  // and reads the lists (S3). Of each pair the accesses that are read-modify-writes are followed by seq_cst loads only.
  std::atomic<Item*> incoming;  // sent to this G, last first; pushed by anyone, taken with list_lock
  Lock list_lock;               // taken by the G, and by who discards or hands on what the G was sent
  Item* list;                   // the same, first first; list_lock
  // Signals on the two lists; set by senders, cleared with list_lock. May lack one that is on `incoming`.
  std::atomic<uint64_t> directed;
  std::atomic<uint64_t> waiting_for;  // sigwait's set while it waits; written by the G
  uint64_t counted;                   // the mask as the counters below know it; mask_lock
  stack_t altstack;                   // the G's
  stack_t disarmed;                   // the one that its innermost handler runs on and has lost meanwhile; the G's
  uint32_t ran, hard;                 // HandlerMark; the G's
  // The mask is lent to a call that waits, and no handler has run since: the first returns to lent_from. The G's.
  bool lent;
  uint64_t lent_from;
};

constexpr stack_t kNoStack = {.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
constexpr int kAutoDisarm = static_cast<int>(1U << 31);  // SS_AUTODISARM, which libc's headers do not have

SafePool items;
SafePool states;
bool pools_ready;

State* state_if_any(const G* g) { return static_cast<State*>(__atomic_load_n(&g->signal_state, __ATOMIC_ACQUIRE)); }

// Null when memory is exhausted.
State* state_of(G* g) {
  State* state = state_if_any(g);
  if (GOSHIM_LIKELY(state != nullptr)) return state;
  state = static_cast<State*>(states.take());
  if (!state) return nullptr;
  state->altstack.ss_flags = state->disarmed.ss_flags = SS_DISABLE;
  void* none = nullptr;
  if (__atomic_compare_exchange_n(&g->signal_state, &none, static_cast<void*>(state), false, __ATOMIC_ACQ_REL,
                                  __ATOMIC_ACQUIRE))
    return state;
  states.release(state);
  return static_cast<State*>(none);
}

// ---- actions ----

struct Action {
  void* handler;  // SIG_DFL, SIG_IGN or a function of one or three arguments
  uint64_t flags;
  uint64_t mask;
};

// Read by handlers of the kernel, so behind a sequence counter: odd while it is being written. Release fence behind the
// odd value, release with the even one; a reader loads it with acquire, and again behind an acquire fence.
struct ActionSlot {
  std::atomic<uint32_t> sequence{0};
  std::atomic<void*> handler{nullptr};
  std::atomic<uint64_t> flags{0};
  std::atomic<uint64_t> mask{0};
};

ActionSlot actions[kSignals + 1];
Lock action_lock;
// Both seq_cst: written, then the sets below are made from them.
std::atomic<uint64_t> handled{0};  // signals with a handler; action_lock
std::atomic<uint64_t> ignored{0};  // with SIG_IGN, or with SIG_DFL where that is to ignore; action_lock

void* as_pointer(void (*f)(int)) { return reinterpret_cast<void*>(f); }
auto as_kernel_handler(void* handler) { return reinterpret_cast<void (*)(int, void*, void*)>(handler); }
bool is_function(const void* handler) { return handler != as_pointer(SIG_DFL) && handler != as_pointer(SIG_IGN); }

Action read_action(int sig) {
  ActionSlot& slot = actions[sig];
  for (;;) {
    uint32_t before = slot.sequence.load(std::memory_order_acquire);
    Action a{slot.handler.load(std::memory_order_relaxed), slot.flags.load(std::memory_order_relaxed),
             slot.mask.load(std::memory_order_relaxed)};
    std::atomic_thread_fence(std::memory_order_acquire);
    if (!(before & 1) && slot.sequence.load(std::memory_order_relaxed) == before) return a;
    arch::pause();
  }
}

void on_signal(int sig, void* info, void* uc);
void on_fault(int sig, void* info, void* uc);

void tell_kernel(int sig, const Action& a) {
  unsigned long flags = a.flags & (SA_NOCLDSTOP | SA_NOCLDWAIT);
  bool function = is_function(a.handler);
  bool watched = function || a.handler == as_pointer(SIG_DFL);
  uint64_t bit = signal_bit(sig);
  if (((bit & kFaults) && function) || ((bit & kWatched) && watched) || !(arch::handler_mask() & bit)) {
    arch::install_fault_handler(sig, on_fault, SA_SIGINFO | SA_ONSTACK | SA_RESTART, arch::handler_mask());
  } else if (function || ((bit & kByCaller) && watched)) {
    // Who blocks SIGPIPE must not die of it: the default action is taken by the runtime.
    arch::install_handler(sig, on_signal, SA_SIGINFO | SA_ONSTACK | SA_RESTART | flags, arch::handler_mask());
  } else {
    arch::install_handler(sig, as_kernel_handler(a.handler), flags, 0);
  }
  if (sig == kSpareSignal) inject_spare_ignored(a.handler == as_pointer(SIG_IGN));
}

// action_lock held.
void write_action(int sig, const Action& a) {
  ActionSlot& slot = actions[sig];
  uint32_t sequence = slot.sequence.load(std::memory_order_relaxed);
  slot.sequence.store(sequence + 1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  slot.handler.store(a.handler, std::memory_order_relaxed);
  slot.flags.store(a.flags, std::memory_order_relaxed);
  slot.mask.store(a.mask, std::memory_order_relaxed);
  slot.sequence.store(sequence + 2, std::memory_order_release);
  uint64_t bit = signal_bit(sig);
  uint64_t now = handled.load(std::memory_order_relaxed) & ~bit;
  handled.store(is_function(a.handler) ? now | bit : now, std::memory_order_seq_cst);
  now = ignored.load(std::memory_order_relaxed) & ~bit;
  bool ignores = a.handler == as_pointer(SIG_IGN) || (a.handler == as_pointer(SIG_DFL) && (bit & kIgnoredByDefault));
  ignored.store(ignores ? now | bit : now, std::memory_order_seq_cst);
}

// ---- the receiver's sets ----

G* main_g;
Lock mask_lock;
int masked_gs;                 // mask_lock: Gs that block something
int blocked_by[kSignals + 1];  // mask_lock: how many of those block it
int waited_by[kSignals + 1];   // mask_lock: Gs in sigwait for it
uint64_t waited;               // mask_lock: the signals for which that is not 0
uint64_t wanted;               // mask_lock: signals that some G has blocked or waited for, ever
// Read relaxed where the writer's membarrier is behind it (S3, S5). The next three are seq_cst: S6.
std::atomic<uint64_t> by_descriptor{0};  // those that some signalfd reads
std::atomic<bool> stops_blocked{false};  // some G has blocked a signal that stops, ever
std::atomic<uint64_t> take{0};           // what the receiver waits for; written under mask_lock
std::atomic<uint64_t> kernels{0};        // what it leaves open, for the kernel to act upon; written under mask_lock
std::atomic<bool> observed{false};       // the program has handlers, or a G has blocked something; the same
std::atomic<uint32_t> sets_made{0};      // counts changes of the two; written under mask_lock
std::atomic<uint32_t> sets_known{0};     // the last that the receiver has put into effect; itself (release; acquire)
// Calls of signal_settle(), and how many of them have an answer: what the process was sent before is dispatched. Asked
// before the receiver is kicked, which looks after each kick; the answer is a release, read by acquire.
std::atomic<uint32_t> settle_asked{0};
std::atomic<uint32_t> settle_done{0};
// Callers of signals_to_kernel(), for whom the receiver leaves alone what comes; how often that number has changed, and
// the last of it that the receiver acts upon. Two words that it reads in the order in which they are written in
// reverse: seq_cst; the answer as above.
std::atomic<uint32_t> holders{0};
std::atomic<uint32_t> hold_changes{0};
std::atomic<uint32_t> hold_known{0};
int receiver_tid;

void kick_receiver() {
  if (receiver_tid) inject_send(receiver_tid, kKick);
}

// mask_lock held. Those of `set` that every G blocks. S5
uint64_t blocked_by_all(uint64_t set) {
  if (set && live() > masked_gs) return 0;
  for (uint64_t left = set; left; left &= left - 1) {
    int sig = __builtin_ctzll(left) + 1;
    if (blocked_by[sig] < masked_gs) set &= ~signal_bit(sig);
  }
  return set;
}

// Whether Gs that block nothing matter. S5
bool all_count() {
  return by_descriptor.load(std::memory_order_relaxed) != 0 || stops_blocked.load(std::memory_order_relaxed);
}

// mask_lock held. The number of a change that the receiver must know of before the caller goes on; 0 for none. The sets
// seldom change: what once is taken is taken for good, unless a signalfd wants it.
uint32_t update_sets() {
  uint64_t dump = dump_signal ? signal_bit(dump_signal) : 0;
  uint64_t to_descriptor = blocked_by_all(by_descriptor.load(std::memory_order_relaxed) & ~waited & ~dump);
  uint64_t stops = kStopping & ~handled.load(std::memory_order_seq_cst) & ~ignored.load(std::memory_order_seq_cst);
  stops &= ~waited & ~dump;
  uint64_t stops_later = blocked_by_all(stops & wanted);
  uint64_t now_kernels = ignored.load(std::memory_order_seq_cst) & ~wanted & ~kUnblockable & ~dump;
  now_kernels |= stops & ~stops_later;
  if (wanted & kStopping) now_kernels &= ~signal_bit(SIGCONT);  // it takes back what stops: drop_opposite()
  uint64_t now_taken = ~now_kernels & ~to_descriptor & ~stops_later & ~kUnblockable;
  bool now_observed = (wanted | (handled.load(std::memory_order_seq_cst) & ~kFaults & ~kByCaller)) != 0;
  if (now_taken == take.load(std::memory_order_relaxed) && now_kernels == kernels.load(std::memory_order_relaxed) &&
      now_observed == observed.load(std::memory_order_relaxed)) {
    return 0;
  }
  observed.store(now_observed, std::memory_order_seq_cst);
  take.store(now_taken, std::memory_order_seq_cst);
  kernels.store(now_kernels, std::memory_order_seq_cst);
  uint32_t made = sets_made.load(std::memory_order_relaxed) + 1;
  sets_made.store(made, std::memory_order_seq_cst);
  return made;
}

void blocked_to_kernel();

// Until the receiver, who has been kicked, has stored `wanted` or a later number in *number.
void await_receiver(std::atomic<uint32_t>* number, uint32_t wanted) {
  for (;;) {
    uint32_t known = number->load(std::memory_order_acquire);
    if (static_cast<int32_t>(known - wanted) >= 0) return;
    sys::futex_wait(number, known);
  }
}

// Without lock. A signal that comes after a program has blocked it must not be discarded, so this waits.
void publish_sets(uint32_t made) {
  if (made == 0 || !receiver_tid) return;
  kick_receiver();
  await_receiver(&sets_known, made);
  blocked_to_kernel();  // S6
}

void update_receiver() {
  uint32_t made;
  {
    LockGuard guard(mask_lock);
    made = update_sets();
  }
  publish_sets(made);
}

// g's mask counts as `mask` from here on; arrives: g itself does too; gone: it ends.
void recount(State* state, uint64_t mask, bool arrives, bool gone) {
  uint32_t made;
  {
    LockGuard guard(mask_lock);
    if (arrives && state != state_if_any(main_g)) g_counts();  // S5
    uint64_t old = arrives ? 0 : state->counted;
    if (old) masked_gs--;
    if (mask && !gone) masked_gs++;
    uint64_t now = gone ? 0 : mask;
    for (uint64_t differ = old ^ now; differ; differ &= differ - 1) {
      int sig = __builtin_ctzll(differ) + 1;
      blocked_by[sig] += now & signal_bit(sig) ? 1 : -1;
    }
    state->counted = now;
    wanted |= now;
    if (GOSHIM_UNLIKELY((now & kStopping) && !stops_blocked.load(std::memory_order_relaxed))) {
      stops_blocked.store(true, std::memory_order_seq_cst);
      sys::call(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);  // S5
    }
    made = update_sets();
  }
  publish_sets(made);
}

// ---- lists ----

Lock fetch_lock;  // S7
Lock shared_lock;
// For the process, by signal, first first; shared_lock. There may be very many.
struct Queue {
  Item* first;
  Item* last;
};
Queue shared[kSignals + 1];
std::atomic<uint64_t> shared_bits{0};   // signals in them; written under shared_lock; seq_cst: S3
std::atomic<Item*> forwarded{nullptr};  // taken by handlers on an M, for the receiver to put on the list
std::atomic<uint64_t> sent_to_gs{0};    // signals that some G has been sent, ever; seq_cst: S6
std::atomic<G*> last_chosen{nullptr};   // relaxed: a guess, and structures of Gs stay

void push(std::atomic<Item*>* stack, Item* item) {
  Item* head = stack->load(std::memory_order_relaxed);
  do item->next = head;
  while (!stack->compare_exchange_weak(head, item, std::memory_order_seq_cst, std::memory_order_relaxed));
}

void append(Item** list, Item* item) {
  while (*list) list = &(*list)->next;
  item->next = nullptr;
  *list = item;
}

// Takes all of a stack, first pushed first.
Item* take_all(std::atomic<Item*>* stack) {
  Item* reversed = nullptr;
  for (Item* item = stack->exchange(nullptr, std::memory_order_seq_cst); item;) {
    Item* next = item->next;
    item->next = reversed;
    reversed = item;
    item = next;
  }
  return reversed;
}

// Whether something may be on a G's lists. What comes later is as if it came after.
bool any_directed(const State* state) {
  return state->directed.load(std::memory_order_seq_cst) || state->incoming.load(std::memory_order_seq_cst);
}

void drop_all(State* state) {
  if (!any_directed(state)) return;
  LockGuard guard(state->list_lock);
  for (Item* list : {take_all(&state->incoming), state->list}) {
    while (list) {
      Item* next = list->next;
      items.release(list);
      list = next;
    }
  }
  state->list = nullptr;
  state->directed.store(0, std::memory_order_seq_cst);
}

// list_lock held.
void collect(State* state) {
  if (!state->incoming.load(std::memory_order_seq_cst)) return;
  uint64_t came = 0;
  for (Item* item = take_all(&state->incoming); item;) {
    Item* next = item->next;
    came |= signal_bit(item->info.si_signo);
    append(&state->list, item);
    item = next;
  }
  // Its bit may have gone meanwhile, with an earlier real-time signal of the same number.
  state->directed.fetch_or(came, std::memory_order_seq_cst);
}

// Of what is pending that comes first: faults sent by hand, then by number.
int rank(int sig) { return signal_bit(sig) & kFaults ? sig - kSignals : sig; }

Item* take_from(Item** list, uint64_t set) {
  Item** best = nullptr;
  for (Item** at = list; *at; at = &(*at)->next) {
    int sig = (*at)->info.si_signo;
    if (!(set & signal_bit(sig))) continue;
    if (!best || rank(sig) < rank((*best)->info.si_signo)) best = at;
  }
  if (!best) return nullptr;
  Item* item = *best;
  *best = item->next;
  return item;
}

// Preemption off, on the G.
uint64_t directed_to(State* state) {
  if (state->incoming.load(std::memory_order_seq_cst)) {
    LockGuard guard(state->list_lock);
    collect(state);
  }
  return state->directed.load(std::memory_order_seq_cst);
}

uint64_t signals_on(const Item* list) {
  uint64_t set = 0;
  for (; list; list = list->next) set |= signal_bit(list->info.si_signo);
  return set;
}

// The two kinds of list: a signal of `set`, which the caller then owns, or null. Preemption off.
Item* take_directed(State* state, uint64_t set) {
  if (!any_directed(state)) return nullptr;
  LockGuard guard(state->list_lock);
  collect(state);
  Item* item = take_from(&state->list, set);
  if (item && !(signals_on(state->list) & signal_bit(item->info.si_signo))) {
    state->directed.fetch_and(~signal_bit(item->info.si_signo), std::memory_order_seq_cst);
  }
  return item;
}

Item* take_shared(uint64_t set) {
  if (!(shared_bits.load(std::memory_order_seq_cst) & set)) return nullptr;
  LockGuard guard(shared_lock);
  uint64_t bits = shared_bits.load(std::memory_order_relaxed);
  uint64_t wanted = bits & set;
  if (wanted == 0) return nullptr;
  int sig = __builtin_ctzll(wanted & kFaults ? wanted & kFaults : wanted) + 1;
  Item* item = shared[sig].first;
  shared[sig].first = item->next;
  if (!item->next) shared_bits.store(bits & ~signal_bit(sig), std::memory_order_seq_cst);
  return item;
}

// One that the calling G was sent or may take from the process.
Item* take_pending(State* state, uint64_t set) {
  Item* item = state ? take_directed(state, set) : nullptr;
  if (!item) item = take_shared(set);
  if (item && item->info.si_code == SI_TIMER) timer_delivered(item->info);
  return item;
}

// A timer has one signal. While that is pending on the list, it counts how often the timer has expired since.
bool add_overrun(Item* list, const siginfo_t& info) {
  for (; list; list = list->next) {
    siginfo_t& pending = list->info;
    if (pending.si_code != SI_TIMER || pending.si_timerid != info.si_timerid) continue;
    if (pending.si_signo != info.si_signo) continue;
    int more;
    if (__builtin_add_overflow(info.si_overrun, 1, &more)) more = INT32_MAX;
    if (__builtin_add_overflow(pending.si_overrun, more, &pending.si_overrun)) pending.si_overrun = INT32_MAX;
    return true;
  }
  return false;
}

// A timer's signal: true if it counts for one that is pending, for the process or for this thread.
bool overruns(const siginfo_t& info) {
  if (!(shared_bits.load(std::memory_order_seq_cst) & signal_bit(info.si_signo))) return false;
  LockGuard guard(shared_lock);
  return add_overrun(shared[info.si_signo].first, info);
}
bool overruns(const siginfo_t& info, State* state) {
  if (!state || !any_directed(state)) return false;
  LockGuard guard(state->list_lock);
  collect(state);
  return add_overrun(state->list, info);
}

// Calls use(item) for every signal of `set` that is pending anywhere.
template <typename Use>
void take_everywhere(uint64_t set, Use use) {
  while (Item* item = take_shared(set)) use(item);
  if (!(sent_to_gs.load(std::memory_order_seq_cst) & set)) return;
  struct Everywhere {
    uint64_t set;
    Use* use;
  } all{set, &use};
  for_each_g(
      [](G* g, void* arg) {
        auto* a = static_cast<Everywhere*>(arg);
        State* state = state_if_any(g);
        while (Item* item = state ? take_directed(state, a->set) : nullptr) (*a->use)(item);
      },
      &all);
}

// A signal of this process's, or one that it has received, to the process in the kernel. Code and sender stay what
// they were as far as the kernel allows: it keeps to itself codes that are its own, and kill()'s to a process's first
// thread.
long queue_to_process(siginfo_t info) {
  long r = sys::call(SYS_rt_sigqueueinfo, sched.pid, info.si_signo, &info);
  if (r != -EPERM) return r;
  info.si_code = SI_QUEUE;
  return sys::call(SYS_rt_sigqueueinfo, sched.pid, info.si_signo, &info);
}

// After an attempt to queue sig: where no more can be queued it arrives all the same, once.
void queued_or_not(long r, int sig) {
  if (r == -EAGAIN) sys::call(SYS_kill, sched.pid, sig);
}

// S6. Preemption off, no lock held.
void blocked_to_kernel() {
  uint64_t theirs = by_descriptor.load(std::memory_order_seq_cst) & ~take.load(std::memory_order_seq_cst) &
                    ~kernels.load(std::memory_order_seq_cst);
  if (GOSHIM_LIKELY(theirs == 0)) return;
  take_everywhere(theirs, [](Item* item) {
    queued_or_not(queue_to_process(item->info), item->info.si_signo);
    items.release(item);
  });
}

// ---- kicks ----

uint64_t open_in(const G* g) {
  uint64_t blocked = g->sigmask.load(std::memory_order_seq_cst);
  if (State* state = state_if_any(g)) blocked &= ~state->waiting_for.load(std::memory_order_seq_cst);
  return ~blocked;
}

// Makes g look at its signals. Preemption off, no lock held, not in a handler of the kernel.
void kick(G* g) {
  Tls* tls = tls_of(g);
  tls->interrupt.fetch_or(kInterruptSignal, std::memory_order_seq_cst);  // first: run_pending clears it after the bits
  tls->pending.fetch_or(kPendingSignal, std::memory_order_seq_cst);
  if (g == getg()) return;
  sys::call(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);  // S2
  switch (g->status.load(std::memory_order_seq_cst)) {
    case GStatus::Waiting: unpark_interrupt(g); break;
    case GStatus::Running:
    case GStatus::Syscall:
      if (M* m = g->m.load(std::memory_order_acquire)) inject_poke(m);
      break;
    case GStatus::Runnable:
    case GStatus::Dead: break;
  }
}

bool takes(const G* g, int sig) {
  return g && g->status.load(std::memory_order_acquire) != GStatus::Dead && (open_in(g) & signal_bit(sig));
}

// A G for a signal to the process, as the kernel chooses: main if it takes it, then the caller, then any.
G* choose(int sig, const G* but) {
  if (main_g != but && takes(main_g, sig)) return main_g;
  G* self = getg();
  if (self && self != but && self->m.load(std::memory_order_relaxed)->g0 != self && takes(self, sig)) return self;
  G* last = last_chosen.load(std::memory_order_relaxed);
  if (last != but && takes(last, sig)) return last;
  struct Search {
    int sig;
    const G* but;
    G* found;
  } search{sig, but, nullptr};
  for_each_g(
      [](G* g, void* arg) {
        auto* s = static_cast<Search*>(arg);
        if (!s->found && g != s->but && takes(g, s->sig)) s->found = g;
      },
      &search);
  if (search.found) last_chosen.store(search.found, std::memory_order_relaxed);
  return search.found;
}

// Kicks Gs for what is on the shared list. Preemption off.
void kick_for_shared(uint64_t set, const G* but) {
  for (uint64_t left = shared_bits.load(std::memory_order_seq_cst) & set; left; left &= left - 1) {
    if (G* g = choose(__builtin_ctzll(left) + 1, but)) kick(g);
  }
}

// A signal for the process. Preemption off.
void put_shared(Item* item) {
  uint64_t bit = signal_bit(item->info.si_signo);
  bool twice;
  {
    LockGuard guard(shared_lock);
    uint64_t bits = shared_bits.load(std::memory_order_relaxed);
    twice = (bits & bit & kStandard) != 0 && item->info.si_code != SI_TIMER;
    if (!twice) {
      Queue& queue = shared[item->info.si_signo];
      item->next = nullptr;
      (bits & bit ? queue.last->next : queue.first) = item;
      queue.last = item;
      shared_bits.store(bits | bit, std::memory_order_seq_cst);
    }
  }
  if (twice) items.release(item);
  sys::call(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);                              // S3
  if (GOSHIM_UNLIKELY(by_descriptor.load(std::memory_order_relaxed) & bit)) blocked_to_kernel();  // S6
  kick_for_shared(bit, nullptr);
}

// Puts a signal on g's own list; false if one is there already. Lock-free.
bool put_directed(State* state, Item* item) {
  uint64_t bit = signal_bit(item->info.si_signo);
  if (GOSHIM_UNLIKELY(!(sent_to_gs.load(std::memory_order_seq_cst) & bit))) {
    sent_to_gs.fetch_or(bit, std::memory_order_seq_cst);
  }
  uint64_t before = state->directed.fetch_or(bit, std::memory_order_seq_cst);
  if ((before & bit & kStandard) && item->info.si_code != SI_TIMER) {
    items.release(item);
    return false;
  }
  push(&state->incoming, item);
  return true;
}

Item* new_item(const siginfo_t& info) {
  auto* item = static_cast<Item*>(items.take());
  if (item) item->info = info;
  return item;
}

// ---- default actions ----

// A debugger may keep a signal for itself, and the first process of a container does not end by one.
bool may_survive() { return sys::getpid() == 1 || traced_by_debugger(); }

// The kernel knows whether it stops or ends the process; the signal is blocked on this kernel thread. It does neither
// if a debugger keeps the signal for itself, or to the first process of a container.
void default_action(int sig) {
  uint64_t bit = signal_bit(sig);
  if (bit & kIgnoredByDefault) return;
  if (!(bit & kStopping) && !may_survive()) sys::die_by_signal(sig);
  arch::KernelAction standard{}, before{};
  uint64_t mask = 0;
  if (!(bit & kStopping)) sys::call(SYS_rt_sigaction, sig, &standard, &before, sizeof mask);
  sys::tgkill(sys::getpid(), sys::gettid(), sig);
  sys::call(SYS_rt_sigprocmask, SIG_UNBLOCK, &bit, &mask, sizeof bit);
  sys::call(SYS_rt_sigprocmask, SIG_SETMASK, &mask, nullptr, sizeof mask);
  if (!(bit & kStopping)) sys::call(SYS_rt_sigaction, sig, &before, nullptr, sizeof mask);
}

// What stops the process takes back what lets it go on, and the other way round, whatever becomes of the signal.
void drop_opposite(uint64_t bit) {
  uint64_t opposite = bit == signal_bit(SIGCONT) ? kStopping : bit & kStopping ? signal_bit(SIGCONT) : 0;
  if (opposite) take_everywhere(opposite, [](Item* item) { items.release(item); });
}

// A signal for the process: to the list, or its default action if that is due in the G that would take it.
void dispatch(Item* item) {
  int sig = item->info.si_signo;
  uint64_t bit = signal_bit(sig);
  if (GOSHIM_UNLIKELY(sig == dump_signal)) {
    items.release(item);
    dump_request();
    return;
  }
  drop_opposite(bit);
  if (!(handled.load(std::memory_order_seq_cst) & bit)) {
    // One chosen because it waits for the signal blocks it, and goes on doing so when it waits no more.
    G* g = choose(sig, nullptr);
    if (g && !(g->sigmask.load(std::memory_order_seq_cst) & bit)) {
      items.release(item);
      if (!(ignored.load(std::memory_order_seq_cst) & bit)) default_action(sig);
      return;
    }
  }
  put_shared(item);
}

// ---- the receiver ----

bool kicked = false;  // the receiver's: since it has last looked, by the spare signal (inject.h)

void received(siginfo_t info) {
  if (GOSHIM_UNLIKELY(inject_is_spare(info))) {
    if (sys::gettid() == receiver_tid) kicked = true;
    else inject_spare_taken();
    return;
  }
  // A SIGCONT that is pending has come after the signal that stops, and takes it back: the kernel has dropped others.
  uint64_t on = signal_bit(SIGCONT);
  timespec none{};
  if (signal_bit(info.si_signo) & kStopping) sys::call(SYS_rt_sigtimedwait, &on, &info, &none, sizeof on);
  G* target = nullptr;
  if (timer_target_of(info, main_g, &target)) {
    if (target && !overruns(info, state_if_any(target))) send_to(target, info);
  } else if (info.si_code == SI_TIMER && overruns(info)) {
    // counted
  } else if (Item* item = new_item(info)) {
    dispatch(item);
  }
}

// What is taken from the kernel: the runtime's spare signal too, which a signalfd gives up only when there may be some.
uint64_t to_take() {
  uint64_t spare = signal_bit(kSpareSignal);
  if (!inject_spare_used()) spare &= ~by_descriptor.load(std::memory_order_seq_cst);
  return take.load(std::memory_order_seq_cst) | spare;
}

// S7, with fetch_lock held: what the kernel has of `set` for the process, in order. On a kernel thread that blocks it.
void fetch_locked(uint64_t set) {
  set &= to_take();
  if (set == 0 || holders.load(std::memory_order_seq_cst) != 0) return;
  siginfo_t info;
  timespec none{};
  while (sys::call(SYS_rt_sigtimedwait, &set, &info, &none, sizeof set) > 0) received(info);
}

// Preemption off.
void fetch(uint64_t set) {
  if (set == 0) return;
  LockGuard guard(fetch_lock);
  fetch_locked(set);
}

// Waits until the kernel has one of `set` for the process or the receiver. news: a signalfd in the receiver's own table
// of descriptors, or negative: then what comes is taken at once, and may be overtaken. That is so where there cannot be
// one, and where nobody could tell, since every signal to any thread of the process wakes who polls a signalfd.
void await_news(int news, uint64_t set) {
  if (GOSHIM_UNLIKELY(kicked)) return;
  uint64_t kick = signal_bit(kKick);
  siginfo_t info;
  if (news >= 0) {
    pollfd wanted{news, POLLIN, 0};
    timespec none{};
    if (sys::call(SYS_ppoll, &wanted, 1, nullptr, nullptr, 0) < 0) return;
    while (sys::call(SYS_rt_sigtimedwait, &kick, &info, &none, sizeof kick) > 0) {
    }
    fetch(~UINT64_C(0));
    return;
  }
  long sig = sys::call(SYS_rt_sigtimedwait, &set, &info, nullptr, sizeof set);
  if (sig <= 0 || sig == kKick) return;
  LockGuard guard(fetch_lock);
  received(info);
}

void receiver_main(void*) {
  getg()->m.load(std::memory_order_relaxed)->urgent = true;  // signals do not wait for others' slices to end
  // Before it looks for the first time: a kick that a handler takes would be lost.
  uint64_t kicks = signal_bit(kKick) | signal_bit(kSpareSignal);
  sys::call(SYS_rt_sigprocmask, SIG_BLOCK, &kicks, nullptr, sizeof kicks);
  bool own_files = sys::call(SYS_close_range, 0, ~0U, CLOSE_RANGE_UNSHARE) == 0;
  int news = -1;
  for (;;) {
    kicked = false;
    uint32_t made = sets_made.load(std::memory_order_seq_cst);
    uint64_t set = to_take() | signal_bit(kKick);
    // 33 is libc's set*id(), which waits for every kernel thread (tcb/setxid.cpp).
    uint64_t mask = ~(kernels.load(std::memory_order_seq_cst) | signal_bit(33)) | kicks;
    sys::call(SYS_rt_sigprocmask, SIG_SETMASK, &mask, nullptr, sizeof mask);
    if (own_files && observed.load(std::memory_order_seq_cst)) {
      news = static_cast<int>(sys::call(SYS_signalfd4, news, &set, sizeof set, SFD_CLOEXEC));
    } else if (news >= 0) {
      sys::close(news);
      news = -1;
    }
    sets_known.store(made, std::memory_order_release);
    sys::futex_wake(&sets_known, INT32_MAX);
    for (Item* item = take_all(&forwarded); item;) {
      Item* next = item->next;
      LockGuard guard(fetch_lock);
      dispatch(item);
      item = next;
    }
    uint32_t changes = hold_changes.load(std::memory_order_seq_cst);
    if (holders.load(std::memory_order_seq_cst) != 0) {
      hold_known.store(changes, std::memory_order_release);
      sys::futex_wake(&hold_known, INT32_MAX);
      sys::futex_wait(&hold_changes, changes);
      continue;
    }
    uint32_t asked = settle_asked.load(std::memory_order_seq_cst);
    if (asked != settle_done.load(std::memory_order_relaxed)) {
      fetch(~UINT64_C(0));
      settle_done.store(asked, std::memory_order_release);
      sys::futex_wake(&settle_done, INT32_MAX);
    }
    await_news(news, set);
  }
}

// ---- handlers of the kernel ----

using Handler = void (*)(int, siginfo_t*, void*);

// A kernel thread that is none of goshim's: as natively, apart from the mask, which blocks all.
void run_on_foreign(int sig, siginfo_t* info, void* uc) {
  Action a = read_action(sig);
  if (is_function(a.handler)) {
    reinterpret_cast<Handler>(a.handler)(sig, info, uc);
  } else if (a.handler == as_pointer(SIG_DFL)) {
    default_action(sig);
  }
}

void on_signal(int sig, void* raw, void* uc) {
  auto* info = static_cast<siginfo_t*>(raw);
  G* g = getg();
  if (!g) {
    run_on_foreign(sig, info, uc);
    return;
  }
  // libc's abort(), perhaps by assert(): the program's own calls that send signals do not come by the kernel. It has
  // unblocked the signal, but for the kernel thread only. Inside a function of libc that must not be interrupted
  // (set*id() that has worked for some threads only) it does not wait.
  if (GOSHIM_UNLIKELY(sig == SIGABRT && info->si_code == SI_TKILL && info->si_pid == sched.pid)) {
    if (goshim_tls.nopreempt != 0) {
      run_on_foreign(sig, info, uc);
      return;
    }
    g->sigmask.fetch_and(~signal_bit(SIGABRT), std::memory_order_seq_cst);
  }
  auto* item = static_cast<Item*>(items.take());
  if (!item) return;
  item->info = *info;
  uint64_t bit = signal_bit(sig);
  bool program = g != g->m.load(std::memory_order_relaxed)->g0;
  // To this thread: what its call caused, what was sent to its kernel thread id (abort does that), and of the signals
  // for the process those that it may as well take.
  if (program &&
      ((bit & kByCaller) || info->si_code == SI_TKILL || !(g->sigmask.load(std::memory_order_relaxed) & bit))) {
    State* state = state_of(g);
    if (!state) return;
    put_directed(state, item);
    goshim_tls.interrupt.fetch_or(kInterruptSignal, std::memory_order_seq_cst);
    goshim_tls.pending.fetch_or(kPendingSignal, std::memory_order_seq_cst);
    inject_requests(uc);
    return;
  }
  push(&forwarded, item);
  kick_receiver();
}

void default_action_for_fault(int sig) {
  // The fault comes again and the kernel acts, with the true registers. A trap does not come again.
  if (signal_bit(sig) & (signal_bit(SIGTRAP) | signal_bit(SIGSYS))) sys::die_by_signal(sig);
  arch::install_handler(sig, as_kernel_handler(as_pointer(SIG_DFL)), 0, 0);
}

// True if a fault at addr means that g has used up its stack. Under main's, which the kernel lets grow up to a limit,
// is no guard but the gap that it keeps free below.
bool overflows(const G* g, const void* addr, const void* uc) {
  if (stack::in_guard(g->stack, addr)) return true;
  if (g != main_g || g->stack.guard != 0) return false;
  constexpr uintptr_t kGap = 1 << 20;
  auto at = reinterpret_cast<uintptr_t>(addr);
  auto base = reinterpret_cast<uintptr_t>(g->stack.base);
  uintptr_t sp = arch::sp_of(uc);
  return at - (base - kGap) < kGap + 2 * kPage && sp - (base - kGap) < 2 * kGap;
}

void on_fault(int sig, void* raw, void* uc) {
  auto* info = static_cast<siginfo_t*>(raw);
  if (info->si_code <= 0) {  // sent by hand
    if (inject_is_spare(*info)) inject_on_spare(info, uc);
    else on_signal(sig, raw, uc);
    return;
  }
  if (arch::skip_bad_word(uc)) return;
  G* g = getg();
  if (!g) {
    Action a = read_action(sig);
    if (is_function(a.handler)) run_on_foreign(sig, info, uc);
    else default_action_for_fault(sig);
    return;
  }
  if (g == g->m.load(std::memory_order_relaxed)->g0) {
    default_action_for_fault(sig);
    return;
  }
  // libc's abort() sends SIGABRT to the kernel thread that it asks for before, and then halts by a fault. A G that was
  // preempted between the two halts elsewhere, while the signal is still ending the process.
  if (constexpr uintptr_t kAbortSize = 1024; arch::pc_of(uc) - reinterpret_cast<uintptr_t>(host.abort) < kAbortSize)
    sys::die_by_signal(SIGABRT);
  Action a = read_action(sig);
  bool takes_it = is_function(a.handler) && !(g->sigmask.load(std::memory_order_relaxed) & signal_bit(sig));
  State* state = state_if_any(g);
  void* top = nullptr;
  if ((a.flags & SA_ONSTACK) && state && !(state->altstack.ss_flags & SS_DISABLE) &&
      !signal_on_altstack(g, arch::sp_of(uc))) {
    top = static_cast<char*>(state->altstack.ss_sp) + state->altstack.ss_size;
  }
  bool overflow = (signal_bit(sig) & kWatched) && overflows(g, info->si_addr, uc);
  if (overflow && !(takes_it && top)) {
    takes_it = false;
    char name[sizeof g->name] = {};
    if (g->name[0]) std::memcpy(name, g->name, sizeof name - 1);
    else sys::call(SYS_prctl, PR_GET_NAME, name, 0, 0, 0);
    message("stack overflow in thread \"%s\" (id %d): its stack of %lu bytes is used up", name, goshim_tls.tid,
            static_cast<unsigned long>(g->stack.size - g->stack.guard));
  }
  Item* fault = takes_it ? static_cast<Item*>(items.take()) : nullptr;
  if (fault) {
    fault->info = *info;
    if (inject_fault(uc, fault, top)) return;
  }
  default_action_for_fault(sig);
}

// ---- running the program's handlers ----

// Only the mask that handlers and tests of signals see; what the receiver should know is told by settle_mask().
void set_own_mask(G* g, uint64_t mask) {
  uint64_t old = g->sigmask.load(std::memory_order_relaxed);
  mask &= ~kUnblockable;
  if (old == mask) return;
  g->sigmask.store(mask, std::memory_order_seq_cst);
  if (shared_bits.load(std::memory_order_seq_cst) & mask & ~old) kick_for_shared(mask & ~old, g);  // S3
  uint64_t opened = old & ~mask;
  if (!opened) return;
  State* state = state_if_any(g);
  uint64_t waiting = shared_bits.load(std::memory_order_seq_cst);
  if (state) waiting |= directed_to(state);
  if (waiting & opened) kick(g);
}

void settle_mask(G* g) {
  uint64_t mask = g->sigmask.load(std::memory_order_relaxed);
  State* state = state_if_any(g);
  if (mask == (state ? state->counted : 0)) return;
  state = state_of(g);
  if (state) recount(state, mask, false, false);
}

struct Call {
  Handler handler;
  siginfo_t info;
  ucontext_t uc;
};

void call_handler(void* arg) {
  auto* c = static_cast<Call*>(arg);
  c->handler(c->info.si_signo, &c->info, &c->uc);
}

bool on_stack(const stack_t& stack, uintptr_t sp) {
  auto low = reinterpret_cast<uintptr_t>(stack.ss_sp);
  return !(stack.ss_flags & SS_DISABLE) && sp > low && sp <= low + stack.ss_size;
}

// An error number. The G does not stand on the one that it has.
int change_altstack(State* state, const stack_t& stack) {
  constexpr size_t kLeast = 2048;  // the kernel's MINSIGSTKSZ
  int mode = stack.ss_flags & ~kAutoDisarm;
  if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0) return EINVAL;
  if (mode != SS_DISABLE && stack.ss_size < kLeast) return ENOMEM;
  stack_t next{};
  if (mode == SS_DISABLE) next.ss_flags = SS_DISABLE;
  else next = {.ss_sp = stack.ss_sp, .ss_flags = stack.ss_flags & kAutoDisarm, .ss_size = stack.ss_size};
  state->altstack = next;
  return 0;
}

// The G, which has waited for signals, does so no longer. Preemption off, no lock held.
void end_wait(State* state) {
  uint64_t set = state->waiting_for.load(std::memory_order_relaxed);
  if (GOSHIM_LIKELY(set == 0)) return;
  state->waiting_for.store(0, std::memory_order_seq_cst);
  uint32_t made;
  {
    LockGuard hold(mask_lock);
    for (uint64_t left = set; left; left &= left - 1) {
      int sig = __builtin_ctzll(left) + 1;
      if (--waited_by[sig] == 0) waited &= ~signal_bit(sig);
    }
    made = update_sets();
  }
  publish_sets(made);
  kick_for_shared(set, nullptr);  // a second one of those it was chosen for
}

// One handler, on the G. Preemption off; on with the counter lowered once, while the handler runs.
GOSHIM_NOINLINE void run_handler(G* g, State* state, const Action& a, const siginfo_t& info, void* area) {
  Call call;
  end_wait(state);  // as natively, before the handler, which may jump out of the call that waits
  uint64_t mask_after = state->lent ? state->lent_from : g->sigmask.load(std::memory_order_relaxed);
  state->lent = false;
  call.handler = reinterpret_cast<Handler>(a.handler);
  call.info = info;
  state->ran++;
  if (!(a.flags & SA_RESTART)) {
    state->hard++;
    if (area) arch::fail_restarted_syscall(area);
  }
  std::memset(&call.uc, 0, offsetof(ucontext_t, uc_mcontext));
  if (area) arch::saved_to_ucontext(area, &call.uc);
  else arch::goshim_capture_ucontext(&call.uc);
  std::memset(&call.uc.uc_sigmask, 0, sizeof call.uc.uc_sigmask);
  std::memcpy(&call.uc.uc_sigmask, &mask_after, sizeof mask_after);
  auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  bool already = on_stack(state->altstack, here);
  stack_t altstack = state->altstack;
  call.uc.uc_stack = altstack;
  stack_t disarmed_before = state->disarmed;
  if (altstack.ss_flags & kAutoDisarm) {
    state->disarmed = altstack;
    state->altstack = kNoStack;
  }
  int sig = info.si_signo;
  set_own_mask(g, g->sigmask.load(std::memory_order_relaxed) | a.mask | (a.flags & SA_NODEFER ? 0 : signal_bit(sig)));
  // What else is open comes on top of this handler, as natively: preempt_on() runs it.
  if ((shared_bits.load(std::memory_order_seq_cst) | directed_to(state)) & open_in(g)) kick(g);
  CancelLimits limits = cancel_lift_limits(g);
  preempt_on();
  if ((a.flags & SA_ONSTACK) && !(altstack.ss_flags & SS_DISABLE) && !already) {
    arch::goshim_call_on_stack(static_cast<char*>(altstack.ss_sp) + altstack.ss_size, call_handler, &call);
  } else {
    call_handler(&call);
  }
  preempt_off();
  g->cancel_limits = limits;
  bool disarmed = (altstack.ss_flags & kAutoDisarm) != 0;
  if (disarmed) state->disarmed = disarmed_before;
  if (disarmed || !already) change_altstack(state, call.uc.uc_stack);  // what the handler has changed is undone
  std::memcpy(&mask_after, &call.uc.uc_sigmask, sizeof mask_after);
  if (GOSHIM_LIKELY(getg() != nullptr)) {
    set_own_mask(g, mask_after);
    settle_mask(g);
  } else {  // the handler has forked, and this is the child: its mask is the kernel's
    sys::call(SYS_rt_sigprocmask, SIG_SETMASK, &mask_after, nullptr, sizeof mask_after);
  }
  if (area) arch::ucontext_to_saved(&call.uc, area);
}

// What the action of a signal is now; takes SA_RESETHAND into account.
Action take_action(int sig) {
  auto resets = [](const Action& a) { return is_function(a.handler) && (a.flags & SA_RESETHAND); };
  Action a = read_action(sig);
  if (!resets(a)) return a;
  {
    LockGuard guard(action_lock);
    a = read_action(sig);  // another G may have had it
    if (!resets(a)) return a;
    Action reset{as_pointer(SIG_DFL), a.flags, a.mask};
    write_action(sig, reset);
    tell_kernel(sig, reset);
  }
  update_receiver();
  return a;
}

// Runs what is pending and open.
void run_open(G* g, void* area) {
  for (;;) {
    State* state = state_if_any(g);
    uint64_t open = ~g->sigmask.load(std::memory_order_relaxed);
    if (state) open &= ~state->waiting_for.load(std::memory_order_relaxed);
    Item* item = take_pending(state, open);
    if (!item) return;
    siginfo_t info = item->info;
    items.release(item);
    Action a = take_action(info.si_signo);
    if (a.handler == as_pointer(SIG_IGN)) continue;
    if (a.handler == as_pointer(SIG_DFL)) {
      default_action(info.si_signo);
      continue;
    }
    state = state_of(g);
    if (!state) fatal("signals: no memory");
    run_handler(g, state, a, info, area);
    if (!getg()) return;
  }
}

bool valid(int sig) { return sig >= 1 && sig <= kSignals && !(signal_bit(sig) & kInternal); }

}  // namespace

// ---- start, threads, fork ----

// What main blocks and was sent before there were Gs waits in the kernel for its kernel thread, on which others will
// run.
static void take_over_pending(G* main, uint64_t mask) {
  siginfo_t info{};
  timespec none{};
  for (long sig; (sig = sys::call(SYS_rt_sigtimedwait, &mask, &info, &none, sizeof mask)) > 0;) {
    info.si_signo = static_cast<int>(sig);
    Item* item = new_item(info);
    State* state = item ? state_of(main) : nullptr;
    if (!state) fatal("signals: no memory");
    if (info.si_code == SI_TKILL || (signal_bit(info.si_signo) & kByCaller)) put_directed(state, item);
    else dispatch(item);
  }
}

void signal_init(G* main) {
  if (!pools_ready) {
    items.init(sizeof(Item));
    states.init(sizeof(State));
    pools_ready = true;
  }
  main_g = main;
  last_chosen.store(nullptr, std::memory_order_relaxed);
  receiver_tid = 0;
  arch::KernelAction kernel{};
  for (int sig = 1; sig <= kSignals; sig++) {
    if (signal_bit(sig) & kUnblockable) continue;
    if (sys::call(SYS_rt_sigaction, sig, nullptr, &kernel, sizeof kernel.mask) != 0) continue;
    Action a{kernel.handler, kernel.flags, kernel.mask};
    LockGuard guard(action_lock);
    write_action(sig, a);
    if (is_function(a.handler) || (signal_bit(sig) & (kWatched | kByCaller))) tell_kernel(sig, a);
  }
  uint64_t mask = 0;
  sys::call(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, &mask, sizeof mask);
  signal_g_create(main, mask & ~kUnblockable);
  take_over_pending(main, mask & ~kUnblockable);
  stack_t stack{};
  sys::call(SYS_sigaltstack, nullptr, &stack);
  if (stack.ss_flags & SS_DISABLE) return;
  if (State* state = state_of(main)) {
    state->altstack = stack;
    state->altstack.ss_flags &= ~SS_ONSTACK;
  }
}

void signal_start() {
  update_receiver();
  if (!helper_thread_start(receiver_main, nullptr, &receiver_tid)) fatal("cannot start a kernel thread");
  NoPreempt guard;
  blocked_to_kernel();  // what main was sent before
}

void signal_g_create(G* g, uint64_t mask) {
  NoPreempt guard;
  mask &= ~kUnblockable;
  State* state = mask ? state_of(g) : state_if_any(g);
  if (state) {
    drop_all(state);  // sent to the G that was here before, when it had ended
    state->waiting_for.store(0, std::memory_order_relaxed);
    state->lent = false;
    state->altstack = state->disarmed = kNoStack;
  }
  g->sigmask.store(mask, std::memory_order_relaxed);  // published with the G's status
  if (mask && state) {
    recount(state, mask, true, false);
    return;
  }
  if (g != main_g) g_counts();  // main counts from the start
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (GOSHIM_UNLIKELY(all_count())) update_receiver();  // S5
}

void signal_g_exit(G* g) {
  NoPreempt guard;
  State* state = state_if_any(g);
  uint64_t mask = g->sigmask.load(std::memory_order_relaxed);
  g->sigmask.store(~UINT64_C(0), std::memory_order_release);  // S3
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (state && state->counted) recount(state, 0, false, true);
  else if (GOSHIM_UNLIKELY(all_count())) update_receiver();  // S5
  if (state) drop_all(state);
  kick_for_shared(~mask, g);  // S3
  inject_g_exit(g);
}

void signal_after_fork_child(G* survivor) {
  for (int sig = 1; sig <= kSignals; sig++) {
    if (signal_bit(sig) & kUnblockable) continue;
    Action a = {actions[sig].handler.load(), actions[sig].flags.load(), actions[sig].mask.load()};
    actions[sig].sequence.store(0, std::memory_order_relaxed);
    arch::install_handler(sig, as_kernel_handler(a.handler), a.flags, a.mask);
  }
  action_lock.reset();
  mask_lock.reset();
  shared_lock.reset();
  masked_gs = 0;
  std::memset(blocked_by, 0, sizeof blocked_by);
  std::memset(waited_by, 0, sizeof waited_by);
  waited = wanted = 0;
  stops_blocked.store(false, std::memory_order_relaxed);
  take.store(0, std::memory_order_relaxed);
  kernels.store(0, std::memory_order_relaxed);
  observed.store(false, std::memory_order_relaxed);
  fetch_lock.reset();
  std::memset(shared, 0, sizeof shared);  // a child has no pending signals
  shared_bits.store(0, std::memory_order_relaxed);
  forwarded.store(nullptr, std::memory_order_relaxed);
  holders.store(0, std::memory_order_relaxed);
  timer_target_after_fork_child();
  stack_t stack{};
  stack.ss_flags = SS_DISABLE;
  State* state = survivor ? state_if_any(survivor) : nullptr;
  if (state) {
    stack = state->altstack;
    state->incoming.store(nullptr, std::memory_order_relaxed);
    state->list_lock.reset();
    state->list = nullptr;
    state->directed.store(0, std::memory_order_relaxed);
    state->counted = 0;
  }
  if (survivor) sys::call(SYS_sigaltstack, &stack, nullptr);
}

// ---- running handlers ----

void signals_run(G* g, void* area) { run_open(g, area); }

void signals_run_fault(G* g, void* fault, void* area) {
  auto* item = static_cast<Item*>(fault);
  siginfo_t info = item->info;
  items.release(item);
  Action a = take_action(info.si_signo);
  State* state = state_of(g);
  if (!state) fatal("signals: no memory");
  if (is_function(a.handler)) run_handler(g, state, a, info, area);
}

bool signal_on_altstack(const G* g, uintptr_t sp) {
  State* state = state_if_any(g);
  return state && (on_stack(state->altstack, sp) || on_stack(state->disarmed, sp));
}

// ---- marks ----

HandlerMark handler_mark() {
  G* g = getg();
  if (!g && sched.survivor && sched.survivor->tp == arch::thread_pointer()) g = sched.survivor;
  State* state = g ? state_if_any(g) : nullptr;
  return state ? HandlerMark{state->ran + 1, state->hard} : HandlerMark{g ? 1U : 0U, 0};
}

bool handlers_ran(const HandlerMark& mark) { return handler_mark().ran != mark.ran; }
bool handlers_restart(const HandlerMark& mark) { return handler_mark().hard == mark.hard; }

// ---- the program's calls ----

int signal_action(int sig, const struct sigaction* action, struct sigaction* old) {
  if (!valid(sig)) return EINVAL;
  if (action && (signal_bit(sig) & kUnblockable)) return EINVAL;
  Action next{};
  if (action) {
    next.handler = as_pointer(action->sa_handler);
    next.flags = (static_cast<unsigned>(action->sa_flags) & kActionFlags) | arch::kActionFlags;
    std::memcpy(&next.mask, &action->sa_mask, sizeof next.mask);
    next.mask &= ~kUnblockable;
  }
  NoPreempt guard;
  Action before;
  {
    LockGuard hold(action_lock);
    before = read_action(sig);
    if (action) {
      // Installed first where a handler comes: the receiver must not find the signal gone by the default action.
      write_action(sig, next);
      tell_kernel(sig, next);
    }
  }
  if (action) {
    update_receiver();
    if (ignored.load(std::memory_order_relaxed) & signal_bit(sig)) {
      // A signal that is ignored is pending no more, for the process or any thread. What the receiver has taken from
      // the kernel is on the list first.
      signal_settle(sig);
      take_everywhere(signal_bit(sig), [](Item* item) { items.release(item); });
    }
  }
  if (old) {
    std::memset(old, 0, sizeof *old);
    old->sa_handler = reinterpret_cast<void (*)(int)>(before.handler);
    old->sa_flags = static_cast<int>(before.flags);
    std::memcpy(&old->sa_mask, &before.mask, sizeof before.mask);
  }
  return 0;
}

// By the program. Of what is pending and becomes open one is delivered before the call returns (POSIX). Preemption off.
static void change_mask(G* g, uint64_t mask) {
  uint64_t opened = g->sigmask.load(std::memory_order_relaxed) & ~mask;
  set_own_mask(g, mask);
  settle_mask(g);
  fetch(opened);
}

uint64_t signal_set_mask(uint64_t mask) {
  NoPreempt guard;
  G* g = getg();
  uint64_t old = g->sigmask.load(std::memory_order_relaxed);
  change_mask(g, mask);
  return old;
}

uint64_t signal_lend_mask(uint64_t mask) {
  NoPreempt guard;
  G* g = getg();
  State* state = state_of(g);
  if (!state) fatal("signals: no memory");
  uint64_t old = g->sigmask.load(std::memory_order_relaxed);
  state->lent = true;
  state->lent_from = old;
  change_mask(g, mask);
  return old;
}

void signal_return_mask() {
  NoPreempt guard;
  G* g = getg();
  State* state = g ? state_if_any(g) : nullptr;
  if (!state || !state->lent) return;
  state->lent = false;
  set_own_mask(g, state->lent_from);
  settle_mask(g);
}

siginfo_t signal_info(int sig, int code) {
  siginfo_t info;
  std::memset(&info, 0, sizeof info);
  info.si_signo = sig;
  info.si_code = code;
  info.si_pid = sys::getpid();
  info.si_uid = static_cast<uid_t>(sys::call(SYS_getuid));
  return info;
}

// A signalfd shows what is pending in the kernel for its reader's kernel thread or for the process; the former changes
// under a G, so a signal that the G will not take otherwise is left pending for the process.
static bool for_descriptor(const G* g, int sig) {
  uint64_t bit = signal_bit(sig);
  return (by_descriptor.load(std::memory_order_relaxed) & bit) && !(open_in(g) & bit) &&
         !(take.load(std::memory_order_seq_cst) & bit);
}

// fetch_lock is held, if the signal is one that stops or lets go on. Preemption off.
static int send_to(G* g, const siginfo_t& info) {
  int sig = info.si_signo;
  uint64_t bit = signal_bit(sig);
  if (g->life.load(std::memory_order_acquire) & kExited) return 0;
  drop_opposite(bit);
  // What is blocked is never ignored, nor is it while the G waits for it: the action may be another one later.
  if (ignored.load(std::memory_order_seq_cst) & ~g->sigmask.load(std::memory_order_seq_cst) & bit) return 0;
  // What ends or stops the process does so at once.
  if (!((handled.load(std::memory_order_seq_cst) | g->sigmask.load(std::memory_order_seq_cst)) & bit)) {
    State* state = state_if_any(g);
    if (!state || !(state->waiting_for.load(std::memory_order_seq_cst) & bit)) {
      default_action(sig);
      return 0;
    }
  }
  if (GOSHIM_UNLIKELY(for_descriptor(g, sig))) {
    return static_cast<int>(-queue_to_process(info));
  }
  State* state = state_of(g);
  Item* item = state ? new_item(info) : nullptr;
  if (!item) return EAGAIN;
  put_directed(state, item);
  if (open_in(g) & signal_bit(sig)) kick(g);
  else if (GOSHIM_UNLIKELY(for_descriptor(g, sig))) blocked_to_kernel();  // S6
  return 0;
}

int signal_send(G* g, const siginfo_t& info) {
  int sig = info.si_signo;
  if (sig == 0) return 0;
  if (!valid(sig)) return EINVAL;
  NoPreempt guard;
  uint64_t bit = signal_bit(sig);
  if (bit & kUnblockable) {
    if (g->life.load(std::memory_order_acquire) & kExited) return 0;
    return static_cast<int>(-sys::call(SYS_kill, sched.pid, sig));
  }
  if (GOSHIM_LIKELY(!(bit & (kStopping | signal_bit(SIGCONT))))) return send_to(g, info);
  LockGuard guard_order(fetch_lock);
  fetch_locked(kStopping | signal_bit(SIGCONT));
  return send_to(g, info);
}

long signal_send_process(const siginfo_t& info) {
  int sig = info.si_signo;
  uint64_t bit = sig >= 1 && sig <= kSignals ? signal_bit(sig) : 0;
  NoPreempt guard;
  // What the receiver would not take is the kernel's affair: no signal at all, SIGKILL, those that go to a signalfd.
  // But the caller does not go on before it is stopped.
  if (!(bit & (take.load(std::memory_order_seq_cst) | (kernels.load(std::memory_order_seq_cst) & kStopping)))) {
    siginfo_t copy = info;
    return info.si_code == SI_USER ? sys::call(SYS_kill, sched.pid, sig)
                                   : sys::call(SYS_rt_sigqueueinfo, sched.pid, sig, &copy);
  }
  Item* item = new_item(info);
  if (!item) return -EAGAIN;
  LockGuard guard_order(fetch_lock);
  fetch_locked(~UINT64_C(0));
  dispatch(item);
  return 0;
}

void signal_fetch() {
  if (!receiver_tid) return;
  NoPreempt guard;
  fetch(~UINT64_C(0));
}

void signal_settle(int sig) {
  if (sig < 0 || sig > kSignals || !receiver_tid) return;
  if (sig != 0 && !(take.load(std::memory_order_seq_cst) & signal_bit(sig))) return;
  NoPreempt guard;
  uint32_t asked = settle_asked.fetch_add(1, std::memory_order_seq_cst) + 1;
  kick_receiver();
  await_receiver(&settle_done, asked);
}

int signal_receiver() { return receiver_tid; }

void signal_by_descriptor(uint64_t set) {
  by_descriptor.fetch_or(set & ~kUnblockable, std::memory_order_seq_cst);
  if (!getg()) return;
  sys::call(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);  // S5
  NoPreempt guard;
  update_receiver();
}

int signal_wait(uint64_t set, siginfo_t* info, Nanos deadline) {
  G* g = getg();
  set &= ~kUnblockable;
  State* state = state_of(g);
  if (!state) return -EAGAIN;
  CancelScope scope;
  HandlerMark mark = handler_mark();
  uint32_t made;
  {
    NoPreempt guard;
    state->waiting_for.store(set, std::memory_order_seq_cst);
    LockGuard hold(mask_lock);
    for (uint64_t left = set; left; left &= left - 1) {
      int sig = __builtin_ctzll(left) + 1;
      if (waited_by[sig]++ == 0) waited |= signal_bit(sig);
    }
    wanted |= set;
    made = update_sets();
  }
  publish_sets(made);
  struct Wanted {
    State* state;
    uint64_t set;
  } wanted{state, set};
  siginfo_t got;
  int result = 0;
  while (result == 0) {
    {
      NoPreempt guard;
      LockGuard guard_order(fetch_lock);
      fetch_locked(set);
      if (Item* item = take_pending(state, set)) {
        got = item->info;
        items.release(item);
        result = got.si_signo;
        break;
      }
      // What every thread blocked until now waits in the kernel; on an M, which blocks it too, this takes it.
      timespec none{};
      long sig = sys::call(SYS_rt_sigtimedwait, &set, &got, &none, sizeof set);
      G* target = nullptr;
      if (sig > 0 && inject_is_spare(got)) {
        inject_spare_taken();
        continue;
      }
      if (sig > 0 && timer_target_of(got, main_g, &target) && target != g) {
        if (target && !overruns(got, state_if_any(target))) send_to(target, got);
        continue;
      }
      if (sig > 0) {
        result = static_cast<int>(sig);
        break;
      }
    }
    if (cancel_pending() || handlers_ran(mark)) {
      result = -EINTR;
    } else if (deadline == 0 || (deadline != kForever && sys::nanotime() >= deadline)) {
      result = -EAGAIN;
    } else {
      ParkRequest request{};
      request.key = state;
      request.validate = [](void* ctx) {
        auto* w = static_cast<Wanted*>(ctx);
        uint64_t pending = shared_bits.load(std::memory_order_seq_cst) | directed_to(w->state);
        return (pending & w->set) == 0;
      };
      request.ctx = &wanted;
      request.deadline = deadline;
      request.reason = WaitReason::Signal;
      request.interruptible = true;
      park(request);
    }
  }
  NoPreempt guard;
  end_wait(state);
  if (result > 0 && info) *info = got;
  return result;
}

void signal_suspend(uint64_t mask) {
  CancelScope scope;
  HandlerMark before = handler_mark();
  signal_lend_mask(mask);
  while (!handlers_ran(before) && !cancel_pending()) {
    ParkRequest request{};
    request.key = getg();
    request.validate = [](void*) { return true; };
    request.reason = WaitReason::Signal;
    request.interruptible = true;
    park(request);
  }
  signal_return_mask();
}

// One signal to the calling kernel thread, which blocks it: as it was, as far as the kernel allows
// (queue_to_process()).
static void queue_to_self(siginfo_t info) {
  int tid = sys::gettid();
  auto queue = [&] { return sys::call(SYS_rt_tgsigqueueinfo, sched.pid, tid, info.si_signo, &info); };
  long r = queue();
  if (r == -EPERM && !(info.si_code == SI_TKILL && info.si_pid == sched.pid)) {
    info.si_code = SI_QUEUE;
    r = queue();
  }
  if (r < 0) queued_or_not(sys::tgkill(sched.pid, tid, info.si_signo), info.si_signo);
}

HandedSignals signals_to_kernel() {
  NoPreempt guard;
  G* g = getg();
  {
    LockGuard hold(fetch_lock);
    holders.fetch_add(1, std::memory_order_seq_cst);
  }
  uint32_t change = hold_changes.fetch_add(1, std::memory_order_seq_cst) + 1;
  kick_receiver();
  sys::futex_wake(&hold_changes, 1);
  await_receiver(&hold_known, change);
  Item* own = nullptr;
  Item* shared = nullptr;
  uint64_t blocked = g->sigmask.load(std::memory_order_relaxed);
  State* state = state_if_any(g);
  while (Item* item = state ? take_directed(state, blocked) : nullptr) append(&own, item);
  while (Item* item = take_shared(blocked)) append(&shared, item);
  for (Item* list : {own, shared}) {
    for (; list; list = list->next) queue_to_self(list->info);
  }
  return {own, shared};
}

void signals_from_kernel(const HandedSignals& handed) {
  NoPreempt guard;
  State* state = state_if_any(getg());
  for (bool directed : {true, false}) {
    for (auto* item = static_cast<Item*>(directed ? handed.own : handed.shared); item;) {
      Item* next = item->next;
      // What the kernel thread was sent comes before what the process was: it is this one.
      uint64_t bit = signal_bit(item->info.si_signo);
      siginfo_t info;
      timespec none{};
      sys::call(SYS_rt_sigtimedwait, &bit, &info, &none, sizeof bit);
      if (directed) put_directed(state, item);
      else put_shared(item);
      item = next;
    }
  }
  holders.fetch_sub(1, std::memory_order_seq_cst);
  hold_changes.fetch_add(1, std::memory_order_seq_cst);
  sys::futex_wake(&hold_changes, 1);
}

// What is on the lists for the calling G. Preemption off.
static uint64_t on_lists(const G* g) {
  uint64_t set = shared_bits.load(std::memory_order_seq_cst);
  if (State* state = state_if_any(g)) set |= directed_to(state);
  return set;
}

uint64_t signal_pending() {
  NoPreempt guard;
  G* g = getg();
  fetch(~UINT64_C(0));
  uint64_t set = 0;
  sys::call(SYS_rt_sigpending, &set, sizeof set);
  return (set | on_lists(g)) & g->sigmask.load(std::memory_order_relaxed);
}

bool signal_waits_for_mask(uint64_t mask) {
  NoPreempt guard;
  return (on_lists(getg()) & ~mask) != 0;
}

TerminalCall::TerminalCall() {
  G* g = getg();
  if (!g) return;
  blocked_ = g->sigmask.load(std::memory_order_relaxed) & (signal_bit(SIGTTIN) | signal_bit(SIGTTOU));
  if (GOSHIM_LIKELY(blocked_ == 0)) return;
  lock_os_thread();
  sys::call(SYS_rt_sigprocmask, SIG_BLOCK, &blocked_, nullptr, sizeof blocked_);
}

TerminalCall::~TerminalCall() {
  if (GOSHIM_LIKELY(blocked_ == 0) || !getg()) return;
  sys::call(SYS_rt_sigprocmask, SIG_UNBLOCK, &blocked_, nullptr, sizeof blocked_);
  unlock_os_thread();
}

int signal_altstack(const stack_t* stack, stack_t* old) {
  State* state = state_of(getg());
  if (!state) return ENOMEM;
  bool on_it = !(state->altstack.ss_flags & kAutoDisarm) &&
               on_stack(state->altstack, reinterpret_cast<uintptr_t>(__builtin_frame_address(0)));
  stack_t before = state->altstack;
  before.ss_flags = (before.ss_flags & (SS_DISABLE | kAutoDisarm)) | (on_it ? SS_ONSTACK : 0);
  if (stack) {
    if (on_it) return EPERM;
    NoPreempt guard;
    if (int error = change_altstack(state, *stack)) return error;
  }
  if (old) *old = before;
  return 0;
}

G* signal_g_of_tid(int tid) {
  NoPreempt guard;
  if (main_g && tls_of(main_g)->tid == tid) {
    return main_g->status.load(std::memory_order_acquire) != GStatus::Dead ? main_g : nullptr;
  }
  return tid_find(tid);
}

}  // namespace goshim
