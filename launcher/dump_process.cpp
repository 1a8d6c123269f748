// Stops a process, copies what a dump needs, lets it go on (see dump_process.h).
//
// Every kernel thread is seized and interrupted, not stopped by a signal: neither the process nor its parent gets to
// see anything. While it stands, signals that would end the launcher wait; should the launcher be killed all the same,
// the kernel lets the process go on.
#include "launcher/dump_process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <thread>

using goshim::G;
using goshim::GStatus;
using goshim::M;
using goshim::Nanos;
using goshim::WaitReason;

namespace launcher {
namespace {

constexpr Address kPageSize = goshim::kPage;
constexpr size_t kBlock = 2 << 20;        // of the copy
constexpr size_t kAhead = 16;             // pages of a table read at once
constexpr size_t kOtherStack = 64 << 10;  // of one that is not the G's own
constexpr size_t kMostStack = 256 << 10;  // bytes of a stack that are looked at
// For kernel threads to stop: those that run or can be interrupted do so as soon as they get a processor, others (the
// parent of a vfork) nobody knows when.
constexpr Nanos kPatience = 10 * goshim::kSecond;
constexpr Nanos kPatienceWithOthers = goshim::kSecond / 5;
constexpr unsigned kIoWorker = 0x10;  // PF_IO_WORKER
constexpr long kMostGs = 50'000'000;  // a list that is longer is broken

Nanos now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * goshim::kSecond + t.tv_nsec;
}

}  // namespace

// ---- memory ----

Memory::~Memory() {
  stop_reading();
  for (unsigned char* block : blocks_) munmap(block, kBlock);
}

// In large blocks, and large pages if there are any: with a fault for each page the process would stand for long.
unsigned char* Memory::room(size_t size) {
  if (left_ < size) {
    void* block = mmap(nullptr, kBlock, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) return nullptr;
    madvise(block, kBlock, MADV_HUGEPAGE);
    blocks_.push_back(static_cast<unsigned char*>(block));
    left_ = kBlock;
  }
  return blocks_.back() + (kBlock - left_);
}

bool Memory::open(pid_t pid) {
  fd_ = ::open(("/proc/" + std::to_string(pid) + "/mem").c_str(), O_RDONLY | O_CLOEXEC);
  return fd_ >= 0;
}

void Memory::stop_reading() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

void Memory::keep(Address from, size_t size) {
  if (size == 0) return;
  Address first = from / kPageSize;
  Address end = (from + size - 1) / kPageSize + 1;
  while (first < end && fd_ >= 0) {
    if (pages_.contains(first)) {
      first++;
      continue;
    }
    Address last = first;
    while (last < end && last - first < kBlock / kPageSize && !pages_.contains(last)) last++;
    unsigned char* to = room((last - first) * kPageSize);
    if (!to) return;
    ssize_t n = pread(fd_, to, (last - first) * kPageSize, static_cast<off_t>(first * kPageSize));
    Address got = n > 0 ? static_cast<Address>(n) / kPageSize : 0;
    for (Address i = 0; i < got; i++) pages_[first + i] = to + i * kPageSize;
    left_ -= got * kPageSize;
    first += got;
    if (first < last) pages_[first++] = nullptr;
  }
}

const unsigned char* Memory::page(Address number) {
  auto found = pages_.find(number);
  if (found == pages_.end()) {
    keep(number * kPageSize, kPageSize);
    found = pages_.find(number);
  }
  return found == pages_.end() ? nullptr : found->second;
}

void Memory::keep_table(Address at) {
  if (!pages_.contains(at / kPageSize)) keep(at, kAhead * kPageSize);
}

bool Memory::read(Address from, void* to, size_t size) {
  auto* out = static_cast<unsigned char*>(to);
  while (size > 0) {
    const unsigned char* bytes = page(from / kPageSize);
    if (!bytes) return false;
    size_t at = from % kPageSize;
    size_t n = std::min(size, static_cast<size_t>(kPageSize) - at);
    memcpy(out, bytes + at, n);
    out += n;
    from += n;
    size -= n;
  }
  return true;
}

// ---- registers ----

namespace {

void set(Registers* r, int number, Address value) {
  r->value[number] = value;
  r->known |= uint64_t{1} << number;
}

void set_pc(Registers* r, Address pc) {
  r->pc = pc;
  if constexpr (goshim::arch::kDwarfPc >= 0) set(r, goshim::arch::kDwarfPc, pc);
}

Registers running(const goshim::arch::Outside& seen) {
  Registers r;
  for (int i = 0; i < Registers::kCount; i++) {
    if (i != goshim::arch::kDwarfPc) set(&r, i, outside_register(seen, i));
  }
  set_pc(&r, outside_pc(seen));
  return r;
}

// What goshim_switch leaves, as its return will have it.
bool suspended(Memory* memory, Address sp, Registers* r) {
  Address words[goshim::arch::kSwitchWords];
  if (!memory->read(sp, words, sizeof words)) return false;
  for (const goshim::arch::SwitchWord& w : goshim::arch::kSwitchFrame) set(r, w.number, words[w.word]);
  set(r, goshim::arch::kDwarfSp, sp + sizeof words);
  set_pc(r, words[goshim::arch::kSwitchPcWord]);
  return true;
}

Address stack_pointer(const Registers& r) { return r.value[goshim::arch::kDwarfSp]; }

// In the second half of goshim_switch. The stack is the new flow's, and so is the thread pointer at the end of it.
bool switching(const goshim::arch::Outside& seen, const goshim::DumpMap& map) {
  Address pc = outside_pc(seen);
  return pc >= address(map.switch_middle) && pc < address(map.switch_end);
}

// ---- stopping ----

// Those that would end the launcher come when the process runs again.
class SignalsWait {
 public:
  SignalsWait() {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsWait() { sigprocmask(SIG_SETMASK, &before_, nullptr); }
  SignalsWait(const SignalsWait&) = delete;
  SignalsWait& operator=(const SignalsWait&) = delete;

 private:
  sigset_t before_;
};

class Stopped {
 public:
  explicit Stopped(pid_t pid) : pid_(pid) {}
  ~Stopped();
  Stopped(const Stopped&) = delete;
  Stopped& operator=(const Stopped&) = delete;
  // All kernel threads stand on return; those that do not within kPatience are left out. Empty on success.
  std::string stop_all();
  std::vector<KernelThread> threads() const;

 private:
  struct State {
    bool stands = false;
    bool gone = false;
    int signal = 0;  // that it was about to get
  };
  std::string seize(pid_t tid);
  std::string refused(int error) const;
  bool look_at(pid_t tid, char* state, unsigned* flags) const;
  bool list(std::vector<pid_t>* out) const;
  bool uninterruptible(pid_t tid) const;
  bool wait_for(pid_t tid, State* state);
  pid_t pid_;
  std::map<pid_t, State> states_;
};

Stopped::~Stopped() {
  for (auto& [tid, state] : states_) {
    if (state.stands) ptrace(PTRACE_DETACH, tid, nullptr, state.signal);
  }
}

// A kernel thread's state and flags, as /proc has them; false if it is gone.
bool Stopped::look_at(pid_t tid, char* state, unsigned* flags) const {
  std::string path = "/proc/" + std::to_string(pid_) + "/task/" + std::to_string(tid) + "/stat";
  FILE* file = fopen(path.c_str(), "re");
  if (!file) return false;
  char text[256] = {};
  size_t n = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  const char* name_end = n ? strrchr(text, ')') : nullptr;  // the name may hold anything
  return name_end && sscanf(name_end, ") %c %*d %*d %*d %*d %*d %u", state, flags) == 2;
}

// But for the kernel's own that do the work of an io_uring: they run no code of the process, and have a copy of the
// thread pointer of who made them.
bool Stopped::list(std::vector<pid_t>* out) const {
  DIR* folder = opendir(("/proc/" + std::to_string(pid_) + "/task").c_str());
  if (!folder) return false;
  while (dirent* entry = readdir(folder)) {
    char state;
    unsigned flags;
    pid_t tid = atoi(entry->d_name);
    if (tid != 0 && !(look_at(tid, &state, &flags) && (flags & kIoWorker))) out->push_back(tid);
  }
  closedir(folder);
  return true;
}

std::string Stopped::refused(int error) const {
  std::string who = "process " + std::to_string(pid_);
  if (error == ESRCH) return "no " + who;
  int tracer = 0;
  if (FILE* status = fopen(("/proc/" + std::to_string(pid_) + "/status").c_str(), "re")) {
    char line[256];
    while (fgets(line, sizeof line, status)) sscanf(line, "TracerPid: %d", &tracer);
    fclose(status);
  }
  if (tracer) return who + " is being traced by process " + std::to_string(tracer);
  return who + " may not be traced: " + strerror(error);
}

std::string Stopped::seize(pid_t tid) {
  if (ptrace(PTRACE_SEIZE, tid, nullptr, nullptr) != 0) {
    if (errno == ESRCH) return {};  // it has just ended
    return refused(errno);
  }
  states_[tid];
  ptrace(PTRACE_INTERRUPT, tid, nullptr, nullptr);
  return {};
}

bool Stopped::uninterruptible(pid_t tid) const {
  char state;
  unsigned flags;
  return !look_at(tid, &state, &flags) || state == 'D';
}

bool Stopped::wait_for(pid_t tid, State* state) {
  Nanos began = now();
  for (;;) {
    int status;
    pid_t r = waitpid(tid, &status, __WALL | WNOHANG);
    if (r == tid) {
      if (WIFSTOPPED(status)) {
        state->stands = true;
        // A stop of ours carries no signal; else it is one on its way to the thread, which gets it at the end.
        if (status >> 16 == 0 && WSTOPSIG(status) != SIGTRAP) state->signal = WSTOPSIG(status);
      } else {
        state->gone = true;
      }
      return true;
    }
    if (r < 0 && errno != EINTR) {
      state->gone = true;
      return true;
    }
    Nanos waited = now() - began;
    if (waited > kPatience || (waited > kPatienceWithOthers && uninterruptible(tid))) return false;
    timespec moment{0, 20'000};
    nanosleep(&moment, nullptr);
  }
}

std::string Stopped::stop_all() {
  for (bool more = true; more;) {
    more = false;
    std::vector<pid_t> tids;
    if (!list(&tids)) return refused(ESRCH);
    for (pid_t tid : tids) {
      if (states_.contains(tid)) continue;
      if (std::string error = seize(tid); !error.empty()) return error;
      more = true;
    }
    for (auto& [tid, state] : states_) {
      if (!state.stands && !state.gone) wait_for(tid, &state);
    }
  }
  bool any = std::any_of(states_.begin(), states_.end(), [](const auto& s) { return s.second.stands; });
  return any ? std::string() : refused(ESRCH);
}

std::vector<KernelThread> Stopped::threads() const {
  std::vector<KernelThread> out;
  for (const auto& [tid, state] : states_) {
    KernelThread t{tid, {}, false};
    t.readable = state.stands && outside_read(tid, &t.seen);
    out.push_back(t);
  }
  return out;
}

// ---- copying ----

class Copying {
 public:
  Copying(Snapshot* out, long limit) : out_(out), memory_(out->memory), limit_(limit) {}
  std::string run();

 private:
  Address thread_pointer(const KernelThread& k);
  void index_kernel_threads();
  void take(Address at, const Copy<G>& g);
  void find_flow(Thread* t);
  void keep_stack(const G& g, Address sp);
  void take_wait(Thread* t);
  void take_onces(const Thread& t);
  int m_id(Address m);
  Snapshot* out_;
  Memory& memory_;
  long limit_;
  std::unordered_map<Address, const KernelThread*> by_tp_;
  std::unordered_map<int, const KernelThread*> by_tid_;
};

// Of the flow whose stack it is. The kernel may know a trap (arch.h).
Address Copying::thread_pointer(const KernelThread& k) {
  if (k.switching) return outside_switch_tp(k.seen);
  Address tp = outside_tp(k.seen);
  const goshim::arch::TrapMap& traps = out_->map.traps;
  Address trap = tp - address(traps.first);
  if (trap >= traps.size) return tp;
  Copy<goshim::arch::TpCell> cell;
  return memory_.read(address(traps.cells + trap / traps.each), &cell) ? address(cell->tp) : 0;
}

void Copying::index_kernel_threads() {
  for (KernelThread& k : out_->kernel_threads) {
    if (!k.readable) continue;
    k.switching = switching(k.seen, out_->map);
    by_tid_[k.tid] = &k;
    by_tp_[thread_pointer(k)] = &k;
  }
}

int Copying::m_id(Address m) {
  Copy<M> copy;
  return memory_.read(m, &copy) ? copy->id : -1;
}

// The registers of a G: of the kernel thread that runs it, known by the thread pointer, else as it was switched away.
void Copying::find_flow(Thread* t) {
  const G& g = *t->g;
  auto running_it = by_tp_.find(address(g.tp));
  if (running_it != by_tp_.end()) {
    t->on = running_it->second;
  } else if (g.busy.load() && (g.status.load() == GStatus::Running || g.status.load() == GStatus::Syscall)) {
    // A call as the kernel thread, which has its own thread pointer meanwhile.
    Copy<M> m;
    if (memory_.read(address(g.m.load()), &m) && by_tid_.contains(m->tid)) t->on = by_tid_[m->tid];
  }
  if (t->on) {
    t->m = m_id(address(g.m.load()));
    t->registers = running(t->on->seen);
    t->has_stack = true;
  }
  Address sp = t->on ? stack_pointer(t->registers) : address(g.ctx.sp);
  keep_stack(g, sp);
  if (!t->on) t->has_stack = suspended(&memory_, sp, &t->registers);
}

void Copying::keep_stack(const G& g, Address sp) {
  Address low = address(g.user_stack ? g.user_stack : g.stack.base);
  Address high = low + (g.user_stack ? g.stack_asked : g.stack.size);
  if (!g.user_stack && g.id != 1) high = std::min(high, address(g.tp));
  auto keep_from = [&](Address from) {
    bool own = from >= low && from < high;
    memory_.keep(from, own ? std::min<size_t>(kMostStack, high - from) : kOtherStack);
    return own;
  };
  // Elsewhere it may be in a handler, of the runtime or of the program: then this will be unwound too.
  if (!keep_from(sp)) memory_.keep(std::max(low, high - kOtherStack), std::min<size_t>(kOtherStack, high - low));
  // Registers of interrupted flows, which unwinding passes through.
  constexpr size_t kRegisters = 256;
  Address area = address(g.saved);
  for (int depth = 0; area && depth < 100; depth++) {
    memory_.keep(area, offsetof(goshim::SavedArea, registers) + kRegisters);
    Copy<goshim::SavedArea> saved;
    if (!memory_.read(area, &saved)) break;
    keep_from(saved->sp);
    area = address(saved->outer);
  }
}

void Copying::take_wait(Thread* t) {
  const G& g = *t->g;
  Address key = address(g.park_key.load());
  t->timed = g.timer.heap.load() != nullptr;
  t->first_key = key;
  if (!key) return;
  Address request;
  Copy<goshim::ParkRequest> copy;
  if (memory_.read(address(g.park_place) + out_->map.park_request, &request, sizeof request) &&
      memory_.read(request, &copy))
    t->first_key = address(copy->key);
  if (g.wait_reason == WaitReason::Io && !memory_.read(key, &t->io)) t->first_key = 0;
  if (g.wait_reason == WaitReason::Mutex || (g.wait_reason == WaitReason::Cond && key != t->first_key)) {
    Copy<goshim::Mutex> mutex;
    if (memory_.read(key, &mutex)) {
      int owner = mutex->owner.load();
      out_->locks[key] = {owner, 0, owner == 0 && (mutex->word.load() & goshim::kLocked) != 0};
    }
  } else if (g.wait_reason == WaitReason::RwLock) {
    Copy<goshim::RwLock> lock;
    uint32_t word = 0;
    if (memory_.read(key, &lock)) word = lock->word.load();
    if (word & goshim::RwLock::kWriter) out_->locks[key] = {lock->writer.load()};
    else out_->locks[key] = {0, word / goshim::RwLock::kReader};
  } else if (g.wait_reason == WaitReason::Once) {
    out_->locks[key];  // see take_onces()
  }
}

// Who runs the routines that others wait for.
void Copying::take_onces(const Thread& t) {
  Address at = 0;
  if (!memory_.read(address(t.g->tp) + static_cast<Address>(out_->map.once_frames), &at, sizeof at)) return;
  Copy<goshim::OnceFrame> frame;
  for (int depth = 0; at && depth < 100 && memory_.read(at, &frame); depth++) {
    auto lock = out_->locks.find(address(frame->once));
    if (lock != out_->locks.end()) lock->second.owner = t.tid;
    at = address(frame->outer);
  }
}

void Copying::take(Address at, const Copy<G>& g) {
  if (g->status.load() == GStatus::Dead || g->id == 0) return;
  auto t = std::make_unique<Thread>();
  t->g = g;
  t->at = at;
  Copy<goshim::Tls> tls;
  if (memory_.read(address(g->tp) + static_cast<Address>(out_->map.tls), &tls)) t->tid = tls->tid;
  out_->g_of_tid[t->tid] = g->id;
  out_->g_at[at] = g->id;
  if (g->locked_m) t->locked_m = m_id(address(g->locked_m));
  out_->threads.push_back(std::move(t));
}

std::string Copying::run() {
  Snapshot& s = *out_;
  Copy<goshim::Sched> sched;
  if (!memory_.read(address(s.map.sched), &sched)) return "the scheduler cannot be read";
  s.ps = sched->active.load(std::memory_order_relaxed);
  s.ms = sched->ms.load();
  s.helpers = sched->helpers.load();
  s.now = now();
  index_kernel_threads();
  long count = 0;
  for (Address at = address(sched->all_gs.load()); at; count++) {
    Copy<G> g;
    memory_.keep_table(at);
    if (count > kMostGs || !memory_.read(at, &g)) return "the list of threads is broken";
    take(at, g);
    at = address(g->all_link);
  }
  std::sort(s.threads.begin(), s.threads.end(), [](const auto& a, const auto& b) { return a->g->id < b->g->id; });
  for (auto& t : s.threads) {
    take_wait(t.get());
    if (limit_ && static_cast<long>(&t - s.threads.data()) >= limit_) {
      s.without_stack++;
      continue;
    }
    find_flow(t.get());
  }
  bool onces = std::any_of(s.threads.begin(), s.threads.end(), [](const auto& t) {
    return t->g->status.load() == GStatus::Waiting && t->g->wait_reason == WaitReason::Once;
  });
  for (auto& t : s.threads) {
    if (onces) take_onces(*t);
  }
  return {};
}

}  // namespace

namespace {

std::string stop_and_copy(Address debug, long limit, Snapshot* out) {
  std::string who = "process " + std::to_string(out->pid);
  if (!out->memory.open(out->pid)) {
    if (errno == ENOENT) return "no " + who;
    return who + " may not be read: " + strerror(errno);
  }
  Stopped stopped(out->pid);
  if (std::string error = stopped.stop_all(); !error.empty()) return error;
  if (!out->memory.read(debug, &out->map, sizeof out->map)) return who + ": goshim_debug cannot be read";
  if (out->map.magic[0] == 0) return who + " runs natively so far: it has made no thread";
  if (memcmp(out->map.magic, goshim::kDumpMagic, sizeof goshim::kDumpMagic) != 0 ||
      out->map.layout != goshim::kDumpLayout)
    return who + " has another build of goshim than this one";
  out->memory.read(address(out->map.started), &out->started, sizeof out->started);
  if (!out->started) return who + " runs natively so far: it has made no thread since it was forked";
  out->kernel_threads = stopped.threads();
  return Copying(out, limit).run();
}

}  // namespace

std::string take_snapshot(pid_t pid, Address debug, long limit, Snapshot* out) {
  out->pid = pid;
  std::string error;
  SignalsWait guard;
  // A kernel thread that has not stopped in time stops later, and cannot be let go before: that comes with the end of
  // the thread that traces it.
  std::thread tracer([&] { error = stop_and_copy(debug, limit, out); });
  tracer.join();
  out->memory.stop_reading();
  return error;
}

const char* syscall_name(long number, bool* fd) {
  *fd = true;
  switch (number) {
    case SYS_read: return "read";
    case SYS_write: return "write";
    case SYS_readv: return "readv";
    case SYS_writev: return "writev";
    case SYS_preadv2: return "preadv2";
    case SYS_pwritev2: return "pwritev2";
    case SYS_pread64: return "pread";
    case SYS_pwrite64: return "pwrite";
    case SYS_accept: return "accept";
    case SYS_accept4: return "accept4";
    case SYS_connect: return "connect";
    case SYS_recvfrom: return "recvfrom";
    case SYS_recvmsg: return "recvmsg";
    case SYS_recvmmsg: return "recvmmsg";
    case SYS_sendto: return "sendto";
    case SYS_sendmsg: return "sendmsg";
    case SYS_sendmmsg: return "sendmmsg";
    case SYS_sendfile: return "sendfile";
    case SYS_splice: return "splice";
    case SYS_flock: return "flock";
    case SYS_fcntl: return "fcntl";
    case SYS_fsync: return "fsync";
    case SYS_fdatasync: return "fdatasync";
    case SYS_ioctl: return "ioctl";
#ifdef SYS_epoll_wait
    case SYS_epoll_wait: return "epoll_wait";
#endif
    case SYS_epoll_pwait: return "epoll_pwait";
    case SYS_epoll_pwait2: return "epoll_pwait2";
    case SYS_io_uring_enter: return "io_uring_enter";
    default: break;
  }
  *fd = false;
  switch (number) {
#ifdef SYS_poll
    case SYS_poll: return "poll";
#endif
    case SYS_ppoll: return "ppoll";
#ifdef SYS_select
    case SYS_select: return "select";
#endif
    case SYS_pselect6: return "pselect6";
    case SYS_futex: return "futex";
    case SYS_wait4: return "wait4";
    case SYS_waitid: return "waitid";
    case SYS_nanosleep: return "nanosleep";
    case SYS_clock_nanosleep: return "clock_nanosleep";
#ifdef SYS_pause
    case SYS_pause: return "pause";
#endif
#ifdef SYS_open
    case SYS_open: return "open";
#endif
    case SYS_openat: return "openat";
    case SYS_semop: return "semop";
    case SYS_semtimedop: return "semtimedop";
    case SYS_msgsnd: return "msgsnd";
    case SYS_msgrcv: return "msgrcv";
    case SYS_mq_timedsend: return "mq_timedsend";
    case SYS_mq_timedreceive: return "mq_timedreceive";
    case SYS_rt_sigtimedwait: return "rt_sigtimedwait";
    case SYS_rt_sigsuspend: return "rt_sigsuspend";
#ifdef SYS_vfork
    case SYS_vfork: return "vfork";
#endif
    default: return nullptr;
  }
}

}  // namespace launcher
