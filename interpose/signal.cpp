// Signals: actions, masks, waiting, sending; and the functions that carry a mask from one place to another (jumps,
// contexts). Before the runtime starts and on foreign threads all of it is libc's; afterwards see src/thread/signal.h.
#include "thread/signal.h"
#include "sched/user_memory.h"

#include <sys/syscall.h>

#include <cstring>

#include "base/clock.h"
#include "interpose/calls.h"
#include "interpose/signal.h"
#include "sched/inject.h"
#include "thread/fork.h"
#include "thread/ident.h"
#include "thread/life.h"
#include "thread/timer_target.h"

using namespace goshim;

namespace {

uint64_t word_of(const sigset_t* set) {
  uint64_t w;
  std::memcpy(&w, set, sizeof w);
  return w;
}

// Writes as much as the kernel would: a raw system call brings a set of one word.
void set_of(uint64_t w, sigset_t* set) { std::memcpy(set, &w, sizeof w); }

int failed(int error) {
  errno = error;
  return -1;
}
int zero_or_failed(int error) { return error ? failed(error) : 0; }

// Actions belong to the process: a foreign thread sets them in the same table. A child of vfork has actions of its own.
bool own_actions() { return on_g() || (runtime_started && !in_vfork_child()); }

int act(int sig, const struct sigaction* action, struct sigaction* old) {
  if (!own_actions()) return REAL(sigaction)(sig, action, old);
  return zero_or_failed(signal_action(sig, action, old));
}

// An error number.
int change_mask(int how, const sigset_t* set, sigset_t* old) {
  uint64_t before = getg()->sigmask.load(std::memory_order_relaxed);
  uint64_t given = set ? word_of(set) : 0;
  if (set) {
    switch (how) {
      case SIG_BLOCK: given |= before; break;
      case SIG_UNBLOCK: given = before & ~given; break;
      case SIG_SETMASK: break;
      default: return EINVAL;
    }
    signal_set_mask(given);
  }
  if (old) set_of(before, old);
  return 0;
}

// The same on any thread.
int change_mask_anywhere(int how, const sigset_t* set, sigset_t* old) {
  if (!on_g()) return REAL(sigprocmask)(how, set, old);
  return zero_or_failed(change_mask(how, set, old));
}

int suspend(const sigset_t* set) {
  if (!on_g()) return REAL(sigsuspend)(set);
  if (!user_readable(set, sizeof(uint64_t))) return failed(EFAULT);
  thread_test_cancel();
  signal_suspend(word_of(set));
  thread_test_cancel();
  return failed(EINTR);
}

// sigwait and relatives on a G: the signal's number or -errno.
int wait_for(const sigset_t* set, siginfo_t* info, Nanos deadline) {
  if (!user_readable(set, sizeof(uint64_t))) return -EFAULT;
  thread_test_cancel();
  int sig = signal_wait(word_of(set), info, deadline);
  if (sig == -EINTR) thread_test_cancel();
  return sig;
}

// Signals that siginterrupt() wants to interrupt system calls: signal() then installs without SA_RESTART. Relaxed: the
// program orders its own calls.
std::atomic<uint64_t> interrupting{0};

sighandler_t install(int sig, sighandler_t handler, int flags, bool masks_itself) {
  struct sigaction action {};
  struct sigaction old {};
  if (handler == SIG_ERR || sig < 1 || sig >= NSIG) {
    errno = EINVAL;
    return SIG_ERR;
  }
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  if (masks_itself) sigaddset(&action.sa_mask, sig);
  return act(sig, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

sighandler_t install_bsd(int sig, sighandler_t handler) {
  bool interrupts = sig >= 1 && sig < NSIG && (interrupting.load(std::memory_order_relaxed) & signal_bit(sig));
  return install(sig, handler, interrupts ? 0 : SA_RESTART, true);
}

constexpr int kOneShot = static_cast<int>(SA_RESETHAND | SA_NODEFER);

int block_one(int how, int sig) {
  sigset_t set;
  sigemptyset(&set);
  if (sigaddset(&set, sig) != 0) return -1;
  return change_mask_anywhere(how, &set, nullptr);
}

int suspend_without(int sig) {
  sigset_t set{};
  if (change_mask_anywhere(SIG_BLOCK, nullptr, &set) != 0 || sigdelset(&set, sig) != 0) return -1;
  return suspend(&set);
}

int suspend_with_word(int mask) {
  sigset_t set{};
  set_of(static_cast<unsigned>(mask), &set);
  return suspend(&set);
}

// The mask in a jump buffer or ucontext. libc saves and restores the M's there, which is the same always; the G's goes
// into words that the kernel, which knows 64 signals, leaves alone.
constexpr size_t kOurs = 1;
constexpr size_t kMark = 2;
constexpr uint64_t kMarked = 0x676f7368696d2173;

void note_mask(sigset_t* where) {
  auto* words = where->__val;
  words[kOurs] = getg()->sigmask.load(std::memory_order_relaxed);
  words[kMark] = kMarked;
}

uint64_t noted_mask(const sigset_t* where) {
  auto* words = where->__val;
  return words[kMark] == kMarked ? words[kOurs] : words[0];
}

[[noreturn]] void jump(struct __jmp_buf_tag* env, int value, void (*real_jump)(struct __jmp_buf_tag*, int)) {
  // A fault inside the runtime, over a bad pointer of the program, may have let its handler jump out with the counter
  // raised.
  if (on_g()) goshim_tls.nopreempt = 0;
  if (on_g() && env->__mask_was_saved) {
    __jmp_buf_tag copy = *env;
    copy.__mask_was_saved = 0;
    signal_set_mask(noted_mask(&env->__saved_mask));
    real_jump(&copy, value);
  }
  real_jump(env, value);
  __builtin_unreachable();
}

// The same in a context, where the program may have taken signals from the set since, or made a new one. It started
// from the M's mask, in which nearly all are blocked: what it has added to that does not show.
uint64_t context_mask(const sigset_t* where) {
  constexpr int kMostRemoved = 32;
  constexpr int kMostAdded = 8;
  auto* words = where->__val;
  uint64_t before = inject_m_mask();
  if (words[kMark] != kMarked) return words[0];
  uint64_t added = words[0] & ~before;
  uint64_t removed = before & ~words[0];
  bool is_new = __builtin_popcountl(added) > kMostAdded || __builtin_popcountl(removed) > kMostRemoved;
  return is_new ? words[0] : (words[kOurs] | added) & ~removed;
}

// Before libc resumes *uc: its mask becomes the G's, and what libc will tell the kernel is the M's.
void resume_mask(const ucontext_t* uc) {
  auto* words = const_cast<ucontext_t*>(uc)->uc_sigmask.__val;
  uint64_t mask = context_mask(&uc->uc_sigmask);
  words[kOurs] = mask;
  words[kMark] = kMarked;
  words[0] = inject_m_mask();
  signal_set_mask(mask);
}

}  // namespace

// ---- for exports/jumps.S of the port ----

#define GOSHIM_NOTE extern "C" __attribute__((visibility("hidden"))) void*

GOSHIM_NOTE goshim_note_sigsetjmp(struct __jmp_buf_tag* env, int save) {
  // Without save the buffer may be one of libc's own, which end before the mask.
  if (save) {
    env->__saved_mask.__val[kMark] = 0;
    if (on_g()) note_mask(&env->__saved_mask);
  }
  return reinterpret_cast<void*>(REAL(__sigsetjmp));
}

GOSHIM_NOTE goshim_note_getcontext(ucontext_t* uc) {
  uc->uc_sigmask.__val[kMark] = 0;
  if (on_g()) note_mask(&uc->uc_sigmask);
  return reinterpret_cast<void*>(REAL(getcontext));
}

GOSHIM_NOTE goshim_note_setcontext(const ucontext_t* uc) {
  if (on_g()) resume_mask(uc);
  return reinterpret_cast<void*>(REAL(setcontext));
}

GOSHIM_NOTE goshim_note_swapcontext(ucontext_t* save, const ucontext_t* resume) {
  save->uc_sigmask.__val[kMark] = 0;
  if (on_g()) {
    note_mask(&save->uc_sigmask);
    resume_mask(resume);
  }
  return reinterpret_cast<void*>(REAL(swapcontext));
}

// ---- actions ----

GOSHIM_EXPORT int sigaction(int sig, const struct sigaction* action, struct sigaction* old) noexcept {
  return act(sig, action, old);
}
GOSHIM_EXPORT int __sigaction(int sig, const struct sigaction* action, struct sigaction* old) {
  return act(sig, action, old);
}

GOSHIM_EXPORT sighandler_t signal(int sig, sighandler_t handler) noexcept { return install_bsd(sig, handler); }
GOSHIM_EXPORT sighandler_t bsd_signal(int sig, sighandler_t handler) { return install_bsd(sig, handler); }
GOSHIM_EXPORT sighandler_t ssignal(int sig, sighandler_t handler) noexcept { return install_bsd(sig, handler); }
GOSHIM_EXPORT sighandler_t sysv_signal(int sig, sighandler_t handler) noexcept {
  return install(sig, handler, kOneShot, false);
}
GOSHIM_EXPORT sighandler_t __sysv_signal(int sig, sighandler_t handler) noexcept {
  return install(sig, handler, kOneShot, false);
}

GOSHIM_EXPORT int siginterrupt(int sig, int on) noexcept {
  struct sigaction action {};
  if (act(sig, nullptr, &action) != 0) return -1;
  if (on) {
    interrupting.fetch_or(signal_bit(sig), std::memory_order_relaxed);
    action.sa_flags &= ~SA_RESTART;
  } else {
    interrupting.fetch_and(~signal_bit(sig), std::memory_order_relaxed);
    action.sa_flags |= SA_RESTART;
  }
  return act(sig, &action, nullptr);
}

GOSHIM_EXPORT sighandler_t sigset(int sig, sighandler_t handler) noexcept {
  sigset_t one;
  sigset_t before;
  struct sigaction old {};
  sigemptyset(&one);
  if (sigaddset(&one, sig) != 0) return SIG_ERR;
  if (handler == SIG_HOLD) {
    if (change_mask_anywhere(SIG_BLOCK, &one, &before) != 0) return SIG_ERR;
    if (sigismember(&before, sig)) return SIG_HOLD;
    return act(sig, nullptr, &old) == 0 ? old.sa_handler : SIG_ERR;
  }
  sighandler_t was = install(sig, handler, 0, false);
  if (was == SIG_ERR || change_mask_anywhere(SIG_UNBLOCK, &one, &before) != 0) return SIG_ERR;
  return sigismember(&before, sig) ? SIG_HOLD : was;
}

GOSHIM_EXPORT int sigignore(int sig) noexcept { return install(sig, SIG_IGN, 0, false) == SIG_ERR ? -1 : 0; }

// ---- masks ----

GOSHIM_EXPORT int sigprocmask(int how, const sigset_t* set, sigset_t* old) noexcept {
  return change_mask_anywhere(how, set, old);
}

GOSHIM_EXPORT int pthread_sigmask(int how, const sigset_t* set, sigset_t* old) noexcept {
  return on_g() ? change_mask(how, set, old) : REAL(pthread_sigmask)(how, set, old);
}

GOSHIM_EXPORT int sigblock(int mask) noexcept {
  sigset_t set{};
  set_of(static_cast<unsigned>(mask), &set);
  return change_mask_anywhere(SIG_BLOCK, &set, &set) == 0 ? static_cast<int>(word_of(&set)) : -1;
}
GOSHIM_EXPORT int sigsetmask(int mask) noexcept {
  sigset_t set{};
  set_of(static_cast<unsigned>(mask), &set);
  return change_mask_anywhere(SIG_SETMASK, &set, &set) == 0 ? static_cast<int>(word_of(&set)) : -1;
}
GOSHIM_EXPORT int siggetmask() noexcept {
  sigset_t set{};
  return change_mask_anywhere(SIG_BLOCK, nullptr, &set) == 0 ? static_cast<int>(word_of(&set)) : -1;
}
GOSHIM_EXPORT int sighold(int sig) noexcept { return block_one(SIG_BLOCK, sig); }
GOSHIM_EXPORT int sigrelse(int sig) noexcept { return block_one(SIG_UNBLOCK, sig); }

GOSHIM_EXPORT int sigpending(sigset_t* set) noexcept {
  if (!on_g()) return REAL(sigpending)(set);
  if (!user_writable(set, sizeof(uint64_t))) return failed(EFAULT);
  set_of(signal_pending(), set);
  return 0;
}

GOSHIM_EXPORT int sigaltstack(const stack_t* stack, stack_t* old) noexcept {
  if (!on_g()) return REAL(sigaltstack)(stack, old);
  if ((stack && !user_readable(stack, sizeof *stack)) || (old && !user_writable(old, sizeof *old)))
    return failed(EFAULT);
  return zero_or_failed(signal_altstack(stack, old));
}

// ---- waiting ----

GOSHIM_EXPORT int sigsuspend(const sigset_t* set) { return suspend(set); }
GOSHIM_EXPORT int __sigsuspend(const sigset_t* set) { return suspend(set); }

GOSHIM_EXPORT int pause() {
  if (!on_g()) return REAL(pause)();
  sigset_t set{};
  change_mask(SIG_BLOCK, nullptr, &set);
  return suspend(&set);
}

// The headers give the name sigpause to the X/Open function.
extern "C" __attribute__((visibility("default"))) int goshim_bsd_sigpause(int mask) asm("sigpause");
extern "C" int goshim_bsd_sigpause(int mask) { return suspend_with_word(mask); }
GOSHIM_EXPORT int __xpg_sigpause(int sig) { return suspend_without(sig); }
GOSHIM_EXPORT int __sigpause(int what, int is_signal) {
  return is_signal ? suspend_without(what) : suspend_with_word(what);
}

GOSHIM_EXPORT int sigwait(const sigset_t* set, int* sig) {
  if (!on_g()) return REAL(sigwait)(set, sig);
  int got;
  do got = wait_for(set, nullptr, kForever);
  while (got == -EINTR);
  if (got < 0) return -got;
  *sig = got;
  return 0;
}

// libc shows kill()'s code for its raise(), whose signals are sent to a thread.
static int as_libc(int sig, siginfo_t* info) {
  if (sig > 0 && info && info->si_code == SI_TKILL) info->si_code = SI_USER;
  return sig;
}

GOSHIM_EXPORT int sigwaitinfo(const sigset_t* set, siginfo_t* info) {
  if (!on_g()) return REAL(sigwaitinfo)(set, info);
  return as_libc(static_cast<int>(answer(wait_for(set, info, kForever))), info);
}

// As the kernel does it.
static int timed_wait(const sigset_t* set, siginfo_t* info, const timespec* timeout) {
  if (!timeout) return static_cast<int>(answer(wait_for(set, info, kForever)));
  if (!user_readable(timeout, sizeof *timeout)) return failed(EFAULT);
  if (!valid_nanoseconds(timeout) || timeout->tv_sec < 0) return failed(EINVAL);
  Nanos wait = nanos_of(timeout);
  Nanos now = sys::nanotime();
  Nanos deadline = wait == 0 ? 0 : wait < kForever - now ? now + wait : kForever;
  return static_cast<int>(answer(wait_for(set, info, deadline)));
}

GOSHIM_EXPORT int sigtimedwait(const sigset_t* set, siginfo_t* info, const timespec* timeout) {
  if (!on_g()) return REAL(sigtimedwait)(set, info, timeout);
  return as_libc(timed_wait(set, info, timeout), info);
}

GOSHIM_EXPORT int signalfd(int fd, const sigset_t* set, int flags) noexcept {
  if (user_readable(set, sizeof(uint64_t))) signal_by_descriptor(word_of(set));
  return REAL(signalfd)(fd, set, flags);
}

// ---- sending ----

// libc lets no program send its signals for cancellation and set*id().
static bool is_libcs(int sig) { return sig == 32 || sig == 33; }

GOSHIM_EXPORT int pthread_kill(pthread_t thread, int sig) noexcept {
  G* g = on_g() || runtime_started ? g_of(thread) : nullptr;
  if (!g) {
    KnownThreadPointer known;
    return REAL(pthread_kill)(thread, sig);
  }
  if (is_libcs(sig)) return EINVAL;
  if (thread_has_ended(g)) return 0;  // whatever the number
  return signal_send(g, signal_info(sig, SI_TKILL));
}

GOSHIM_EXPORT int pthread_sigqueue(pthread_t thread, int sig, const sigval value) noexcept {
  G* g = on_g() || runtime_started ? g_of(thread) : nullptr;
  if (!g) return REAL(pthread_sigqueue)(thread, sig, value);
  if (thread_has_ended(g)) return ESRCH;
  siginfo_t info = signal_info(sig, SI_QUEUE);
  info.si_value = value;
  return signal_send(g, info);
}

GOSHIM_EXPORT int raise(int sig) noexcept {
  if (!on_g()) return REAL(raise)(sig);
  return zero_or_failed(signal_send(getg(), signal_info(sig, SI_TKILL)));
}
GOSHIM_EXPORT int gsignal(int sig) noexcept { return raise(sig); }

GOSHIM_EXPORT int kill(pid_t pid, int sig) noexcept {
  pid = process_of(pid);
  if (!on_g() || sig == 0) return REAL(kill)(pid, sig);
  if (pid == sys::getpid()) return static_cast<int>(answer(signal_send_process(signal_info(sig, SI_USER))));
  int r = REAL(kill)(pid, sig);
  if (r == 0 && pid <= 0) signal_fetch();  // to a group, which may be the caller's
  return r;
}

GOSHIM_EXPORT int killpg(pid_t group, int sig) noexcept { return group < 0 ? failed(EINVAL) : kill(-group, sig); }

GOSHIM_EXPORT int pidfd_send_signal(int pidfd, int sig, siginfo_t* info, unsigned flags) noexcept {
  int r = REAL(pidfd_send_signal)(pidfd, sig, info, flags);
  if (r == 0 && on_g()) signal_fetch();  // it may be the caller's process
  return r;
}

GOSHIM_EXPORT int sigqueue(pid_t pid, int sig, const sigval value) noexcept {
  pid = process_of(pid);
  if (!on_g() || sig == 0 || pid != sys::getpid()) return REAL(sigqueue)(pid, sig, value);
  siginfo_t info = signal_info(sig, SI_QUEUE);
  info.si_value = value;
  return static_cast<int>(answer(signal_send_process(info)));
}

GOSHIM_EXPORT int tgkill(pid_t pid, pid_t tid, int sig) {
  G* g = on_g() && pid == sys::getpid() ? signal_g_of_tid(tid) : nullptr;
  return g ? zero_or_failed(signal_send(g, signal_info(sig, SI_TKILL))) : REAL(tgkill)(pid, tid, sig);
}

// ---- timers ----
//
// glibc's timer_t is the kernel's number, apart from timers with SIGEV_THREAD, which are its own affair.

namespace {

int timer_number(timer_t timer) { return static_cast<int>(reinterpret_cast<intptr_t>(timer)); }

// A timer whose signal is for one thread, made by create(event, &number).
template <typename Create, typename Delete>
int create_for_thread(sigevent* event, Create create, Delete remove) {
  int tid = event->_sigev_un._tid;
  G* g = on_g() ? signal_g_of_tid(tid) : nullptr;
  bool main_to_be = !runtime_started && tid == sys::getpid();
  int number = 0;
  if (!g && !main_to_be) return create(event, &number);
  sigevent sent = *event;
  if (g) sent._sigev_un._tid = signal_receiver();
  else sent.sigev_notify = SIGEV_SIGNAL;
  int r = create(&sent, &number);
  if (r != 0 || timer_target_set(number, g)) return r;
  remove(number);
  return failed(EAGAIN);
}

}  // namespace

GOSHIM_EXPORT int timer_create(clockid_t clock, sigevent* event, timer_t* timer) noexcept {
  clock = kernel_clock(clock);
  if (event && event->sigev_notify == SIGEV_THREAD) {
    NativeState native;  // the first one makes a thread of libc's, with all signals blocked
    return REAL(timer_create)(clock, event, timer);
  }
  if (!event || event->sigev_notify != SIGEV_THREAD_ID) return REAL(timer_create)(clock, event, timer);
  return create_for_thread(
      event,
      [=](sigevent* sent, int* number) {
        int r = REAL(timer_create)(clock, sent, timer);
        if (r == 0) *number = timer_number(*timer);
        return r;
      },
      [=](int) {
        REAL(timer_delete)
        (*timer);
      });
}

// remove() deletes the timer and returns 0 if that worked.
template <typename Delete>
static int delete_timer(int number, Delete remove) {
  int r = remove();
  if (r != 0 || !on_g()) return r;
  bool known = timer_target_known(number);
  signal_settle(0);
  if (known) timer_target_drop(number);
  return r;
}

// The kernel knows what the receiver has taken; the program asks for what it got.
static int overrun_of(int number, int kernels) {
  int overrun = kernels >= 0 && on_g() ? timer_overrun(number) : -1;
  return overrun >= 0 ? overrun : kernels;
}

GOSHIM_EXPORT int timer_getoverrun(timer_t timer) noexcept {
  return overrun_of(timer_number(timer), REAL(timer_getoverrun)(timer));
}

GOSHIM_EXPORT int timer_delete(timer_t timer) noexcept {
  return delete_timer(timer_number(timer), [=] { return REAL(timer_delete)(timer); });
}

GOSHIM_EXPORT int timer_settime(timer_t timer, int flags, const itimerspec* value, itimerspec* old) noexcept {
  int r = REAL(timer_settime)(timer, flags, value, old);
  if (r == 0 && on_g() && value->it_value.tv_sec == 0 && value->it_value.tv_nsec == 0) signal_settle(0);
  return r;
}

// The interval timers of the process, by `which`: may a signal be on its way when one is set anew? Relaxed: what is to
// be ordered is done by signal_fetch().
namespace {

enum Armed : uint8_t { kUnarmed, kOnce, kRepeats };
std::atomic<Armed> armed[3];

void timer_set(unsigned which, Armed now, bool ran) {
  Armed before = armed[which].exchange(now, std::memory_order_relaxed);
  if (on_g() && (before == kRepeats || (before == kOnce && !ran))) signal_fetch();
}

}  // namespace

GOSHIM_EXPORT int setitimer(int which, const itimerval* value, itimerval* old) noexcept {
  itimerval unasked;
  if (!old) old = &unasked;
  int r = REAL(setitimer)(which, value, old);
  if (r != 0) return r;
  bool on = value && (value->it_value.tv_sec || value->it_value.tv_usec);
  bool repeats = on && (value->it_interval.tv_sec || value->it_interval.tv_usec);
  timer_set(which, !on ? kUnarmed : repeats ? kRepeats : kOnce, old->it_value.tv_sec || old->it_value.tv_usec);
  return 0;
}

GOSHIM_EXPORT unsigned alarm(unsigned seconds) noexcept {
  unsigned left = REAL(alarm)(seconds);
  timer_set(ITIMER_REAL, seconds ? kOnce : kUnarmed, left != 0);
  return left;
}

// ---- system calls ----

bool goshim::signal_syscall(long nr, const long args[6], long* result) {
  constexpr long kSetSize = sizeof(uint64_t);
  auto* info = reinterpret_cast<siginfo_t*>(args[3]);
  long r;
  switch (nr) {
    case SYS_rt_sigaction: {
      // The kernel's structure: handler, flags, restorer, mask.
      if (args[3] != kSetSize) return false;
      auto* given = reinterpret_cast<const uint64_t*>(args[1]);
      auto* before = reinterpret_cast<uint64_t*>(args[2]);
      constexpr size_t kSize = 4 * sizeof(uint64_t);
      if ((given && !user_readable(given, kSize)) || (before && !user_writable(before, kSize))) {
        *result = -EFAULT;
        return true;
      }
      struct sigaction next {};
      struct sigaction old {};
      if (given) {
        next.sa_handler = reinterpret_cast<sighandler_t>(given[0]);
        next.sa_flags = static_cast<int>(given[1]);
        set_of(given[3], &next.sa_mask);
      }
      *result = -signal_action(static_cast<int>(args[0]), given ? &next : nullptr, &old);
      if (*result == 0 && before) {
        before[0] = reinterpret_cast<uint64_t>(old.sa_handler);
        before[1] = static_cast<unsigned>(old.sa_flags);
        before[2] = 0;
        before[3] = word_of(&old.sa_mask);
      }
      return true;
    }
    case SYS_rt_sigpending:
      if (args[1] != kSetSize) return false;
      r = sigpending(reinterpret_cast<sigset_t*>(args[0]));
      break;
    case SYS_rt_sigsuspend:
      if (args[1] != kSetSize) return false;
      r = suspend(reinterpret_cast<const sigset_t*>(args[0]));
      break;
    case SYS_rt_sigtimedwait:
      if (args[3] != kSetSize) return false;
      r = timed_wait(reinterpret_cast<const sigset_t*>(args[0]), reinterpret_cast<siginfo_t*>(args[1]),
                     reinterpret_cast<const timespec*>(args[2]));
      break;
    case SYS_sigaltstack:
      r = sigaltstack(reinterpret_cast<const stack_t*>(args[0]), reinterpret_cast<stack_t*>(args[1]));
      break;
    case SYS_rt_sigqueueinfo: {
      if (process_of(static_cast<int>(args[0])) != sys::getpid()) return false;
      if (!user_readable(reinterpret_cast<const void*>(args[2]), sizeof(siginfo_t))) return false;
      siginfo_t copy = *reinterpret_cast<const siginfo_t*>(args[2]);
      copy.si_signo = static_cast<int>(args[1]);
      *result = signal_send_process(copy);
      return true;
    }
    case SYS_kill: r = kill(static_cast<pid_t>(args[0]), static_cast<int>(args[1])); break;
    case SYS_pidfd_send_signal:
      *result = sys::call(nr, args[0], args[1], args[2], args[3]);
      if (*result == 0) signal_fetch();
      return true;
    case SYS_rt_tgsigqueueinfo: {
      G* g = args[0] == sys::getpid() ? signal_g_of_tid(static_cast<int>(args[1])) : nullptr;
      if (!g || !user_readable(info, sizeof *info)) return false;
      siginfo_t copy = *info;
      copy.si_signo = static_cast<int>(args[2]);
      *result = -signal_send(g, copy);
      return true;
    }
    case SYS_timer_create: {
      auto* event = reinterpret_cast<sigevent*>(args[1]);
      if (!event || !user_readable(event, sizeof *event) || event->sigev_notify != SIGEV_THREAD_ID) return false;
      r = create_for_thread(
          event,
          [=](sigevent* sent, int* number) {
            long made = sys::call(SYS_timer_create, args[0], sent, args[2]);
            if (made == 0) *number = *reinterpret_cast<const int*>(args[2]);
            return static_cast<int>(answer(made));
          },
          [](int number) { sys::call(SYS_timer_delete, number); });
      break;
    }
    case SYS_timer_getoverrun:
      *result = overrun_of(static_cast<int>(args[0]), static_cast<int>(sys::call(nr, args[0])));
      return true;
    case SYS_timer_delete:
      *result = delete_timer(static_cast<int>(args[0]), [=] { return static_cast<int>(sys::call(nr, args[0])); });
      return true;
    default: return false;
  }
  *result = r == -1 ? -errno : r;
  return true;
}

// ---- jumps ----

GOSHIM_EXPORT void siglongjmp(struct __jmp_buf_tag* env, int value) noexcept { jump(env, value, REAL(siglongjmp)); }
GOSHIM_EXPORT void longjmp(struct __jmp_buf_tag* env, int value) noexcept { jump(env, value, REAL(siglongjmp)); }
GOSHIM_EXPORT void _longjmp(struct __jmp_buf_tag* env, int value) noexcept { jump(env, value, REAL(siglongjmp)); }

GOSHIM_EXPORT void __longjmp_chk(struct __jmp_buf_tag* env, int value) {
  // libc's check takes a jump down the stack for an error, unless the kernel says that it leaves an alternate stack; it
  // does not know the G's.
  stack_t stack{};
  stack.ss_flags = SS_DISABLE;
  if (on_g()) signal_altstack(nullptr, &stack);
  jump(env, value, stack.ss_flags & SS_DISABLE ? REAL(__longjmp_chk) : REAL(siglongjmp));
}
