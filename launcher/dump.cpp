// goshim dump: all Gs of a running process, in the style of Go's dump of goroutines.
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "launcher/dump_process.h"
#include "launcher/dump_stacks.h"
#include "launcher/launcher.h"
#include "launcher/text.h"
#include "trace/page.h"

namespace launcher {
namespace {

using goshim::GStatus;
using goshim::Nanos;
using goshim::WaitReason;

constexpr long kLimit = 10'000;

constexpr char kOptionsHelp[] =
    "  --limit N     read the stacks of N threads at most (default 10000, 0: of all)\n"
    "  --runtime     show goshim's own frames too\n"
    "\n"
    "The process is stopped for the moment that copying takes, and goes on undisturbed. Whoever may debug it\n"
    "(ptrace(2)) may dump it. Threads whose stacks are identical are shown once.\n";

std::string format_hex(Address x) {
  char text[32];
  snprintf(text, sizeof text, "0x%lx", x);
  return text;
}

std::string g_name(uint64_t id) { return "G " + std::to_string(id); }

// "3-5, 9"
std::string ranges(const std::vector<uint64_t>& ids) {
  std::string text;
  for (size_t i = 0; i < ids.size();) {
    size_t last = i;
    while (last + 1 < ids.size() && ids[last + 1] == ids[last] + 1) last++;
    if (!text.empty()) text += ", ";
    text += std::to_string(ids[i]);
    if (last > i) text += (last == i + 1 ? ", " : "-") + std::to_string(ids[last]);
    i = last + 1;
  }
  return text;
}

std::string duration(Nanos n) {
  constexpr struct {
    Nanos size;
    const char* name;
  } kUnits[] = {{86400 * goshim::kSecond, "day"},
                {3600 * goshim::kSecond, "hour"},
                {60 * goshim::kSecond, "minute"},
                {goshim::kSecond, "second"}};
  for (const auto& unit : kUnits) {
    Nanos count = n / unit.size;
    if (count > 0) return std::to_string(count) + " " + unit.name + (count > 1 ? "s" : "");
  }
  return {};
}

// A lock that a G waits for, or 0. With a cond it may be the mutex that a broadcast has moved the G to.
Address lock_of(const Thread& t) {
  if (t.g->status.load() != GStatus::Waiting) return 0;
  Address key = address(t.g->park_key.load());
  switch (t.g->wait_reason) {
    case WaitReason::Mutex:
    case WaitReason::RwLock:
    case WaitReason::Once: return key;
    case WaitReason::Cond: return key != t.first_key ? key : 0;
    default: return 0;
  }
}

const char* kind_of_lock(const Thread& t) {
  switch (t.g->wait_reason) {
    case WaitReason::RwLock: return "rwlock";
    case WaitReason::Once: return "once";
    default: return "mutex";
  }
}

class Dump {
 public:
  Dump(Snapshot* snapshot, Stacks* stacks, bool runtime) : s_(*snapshot), stacks_(*stacks), runtime_(runtime) {
    only_ours_ = s_.kernel_threads.size() <= static_cast<size_t>(s_.ms + s_.helpers);
    for (const auto& t : s_.threads) {
      GStatus status = t->g->status.load();
      quiet_ &= status == GStatus::Waiting || status == GStatus::Syscall;
    }
  }
  void print();

 private:
  struct Group {
    std::vector<const Thread*> members;
    std::vector<Address> frames;
  };
  void header();
  void cycles();
  void locks();
  void asleep();
  void groups();
  void group(const Group& g);
  void frames(const std::vector<Address>& pcs);
  std::string state(const Thread& t);
  std::string waiting(const Thread& t);
  std::string object(Address at);
  std::string holder(Address lock);
  const Thread* holding(Address lock) const;
  bool since_before(const Lock& lock) const;
  const Thread* blocker(const Thread& t) const;
  const Thread* find(uint64_t id) const;
  Snapshot& s_;
  Stacks& stacks_;
  bool runtime_;
  bool only_ours_;     // no kernel thread is of the program's own making
  bool quiet_ = true;  // no thread runs or could run: nobody is in the middle of taking a lock
};

const Thread* Dump::find(uint64_t id) const {
  auto at = std::lower_bound(s_.threads.begin(), s_.threads.end(), id,
                             [](const auto& t, uint64_t wanted) { return t->g->id < wanted; });
  return at != s_.threads.end() && (*at)->g->id == id ? at->get() : nullptr;
}

// Before the first thread is made nobody notes who takes a lock: it can only have been G 1.
bool Dump::since_before(const Lock& lock) const { return lock.nameless && quiet_ && only_ours_ && find(1); }

const Thread* Dump::holding(Address lock) const {
  auto found = s_.locks.find(lock);
  if (found == s_.locks.end()) return nullptr;
  if (since_before(found->second)) return find(1);
  auto g = found->second.owner != 0 ? s_.g_of_tid.find(found->second.owner) : s_.g_of_tid.end();
  return g != s_.g_of_tid.end() ? find(g->second) : nullptr;
}

// Whom t waits for, where that is known: the holder of a lock, a thread that it joins.
const Thread* Dump::blocker(const Thread& t) const {
  if (Address lock = lock_of(t)) return holding(lock);
  if (t.g->status.load() == GStatus::Waiting && t.g->wait_reason == WaitReason::Join) {
    auto g = s_.g_at.find(address(t.g->joining.load()));
    return g != s_.g_at.end() ? find(g->second) : nullptr;
  }
  return nullptr;
}

std::string Dump::object(Address at) {
  std::string name = stacks_.datum(at);
  return format_hex(at) + (name.empty() ? "" : " (" + name + ")");
}

std::string Dump::holder(Address lock) {
  const Lock& l = s_.locks[lock];
  if (const Thread* t = holding(lock))
    return "held by " + g_name(t->g->id) + (l.owner == 0 ? ", since before the first thread was made" : "");
  if (l.readers != 0)
    return "held by " + std::to_string(l.readers) + " reader" + (l.readers == 1 ? "" : "s") + ", which are not noted";
  int owner = l.owner;
  if (owner == 0) return {};
  if (owner >= goshim::kNotRecoverable) return "not recoverable";
  return "held by thread " + std::to_string(owner) + ", which has ended or is none of goshim's";
}

std::string Dump::waiting(const Thread& t) {
  const goshim::G& g = *t.g;
  WaitReason reason = g.wait_reason;
  std::string text = wait_reason_name(reason);
  switch (reason) {
    case WaitReason::Sleep:
      if (std::string left = duration(g.timer.when - s_.now); t.timed && !left.empty()) text += ", " + left + " left";
      return text;
    case WaitReason::Io:
      if (t.first_key && t.io->fd >= 0) text += " fd " + std::to_string(t.io->fd);
      if (t.first_key && t.io->others > 0) text += " and " + std::to_string(t.io->others) + " more";
      break;
    case WaitReason::Join:
      if (auto joined = s_.g_at.find(address(g.joining.load())); joined != s_.g_at.end())
        text += " " + g_name(joined->second);
      break;
    case WaitReason::Signal: break;
    default:
      if (t.first_key) text += " " + object(t.first_key);
  }
  if (Address lock = lock_of(t)) {
    if (lock != t.first_key) text += ", now mutex " + object(lock);
    if (std::string held = holder(lock); !held.empty()) text += ", " + held;
  }
  if (t.timed) text += ", with time-out";
  return text;
}

std::string Dump::state(const Thread& t) {
  const goshim::G& g = *t.g;
  std::string text;
  switch (g.status.load()) {
    case GStatus::Dead: break;
    case GStatus::Runnable:
      text = "runnable";
      if (g.saved && !t.on) text += ", preempted";
      break;
    case GStatus::Running: text = "running"; break;
    case GStatus::Syscall: text = "syscall"; break;
    case GStatus::Waiting:
      text = waiting(t);
      if (std::string age = duration(s_.now - g.wait_since); !age.empty()) text += ", " + age;
      break;
  }
  if (t.on && t.on->syscall() >= 0) {
    bool fd;
    const char* name = syscall_name(t.on->syscall(), &fd);
    if (g.status.load() != GStatus::Syscall) text += ", in a system call:";
    text += name ? std::string(" ") + name : " number " + std::to_string(t.on->syscall());
    uint64_t first;
    if (fd && goshim::arch::outside_first_argument(t.on->seen, &first))
      text += " fd " + std::to_string(static_cast<int>(first));
  }
  if (t.m >= 0) text += ", on M " + std::to_string(t.m);
  if (t.locked_m >= 0) text += ", locked to M " + std::to_string(t.locked_m);
  return text;
}

void Dump::header() {
  std::string program = "?";
  char path[4096];
  ssize_t n = readlink(("/proc/" + std::to_string(s_.pid) + "/exe").c_str(), path, sizeof path);
  if (n > 0) {
    program.assign(path, static_cast<size_t>(n));
    if (size_t slash = program.rfind('/'); slash != std::string::npos) program.erase(0, slash + 1);
    program = printable(program);
  }
  time_t when = time(nullptr);
  char date[64];
  strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", localtime(&when));
  printf("goshim dump of PID %d (%s), %s: %zu Gs, %d Ms, %d Ps\n", s_.pid, program.c_str(), date, s_.threads.size(),
         s_.ms, s_.ps);
  if (s_.without_stack) printf("without the stacks of the last %ld Gs (--limit)\n", s_.without_stack);
}

// Each G waits for one other at most, so a walk along them comes to an end or to a cycle.
void Dump::cycles() {
  std::map<const Thread*, size_t> seen;  // in which walk
  size_t walk = 0;
  for (const auto& start : s_.threads) {
    walk++;
    const Thread* t = start.get();
    while (t && !seen.contains(t)) {
      seen[t] = walk;
      t = blocker(*t);
    }
    if (!t || seen[t] != walk) continue;
    const Thread* first = t;
    std::string text = "deadlock: " + g_name(t->g->id);
    do {
      const Thread* next = blocker(*t);
      Address lock = lock_of(*t);
      text += t == first ? " waits for " : ", which waits for ";
      if (lock) {
        text += std::string(kind_of_lock(*t)) + " " + object(lock) + ", held by ";
      } else {
        text += "the end of ";
      }
      text += next == t ? "itself" : g_name(next->g->id);
      t = next;
    } while (t != first);
    printf("%s\n", text.c_str());
  }
}

void Dump::locks() {
  std::map<Address, std::pair<const char*, std::vector<uint64_t>>> waiters;
  for (const auto& t : s_.threads) {
    Address lock = lock_of(*t);
    if (!lock) continue;
    waiters[lock].first = kind_of_lock(*t);
    waiters[lock].second.push_back(t->g->id);
  }
  for (const auto& [lock, who] : waiters) {
    std::string held = holder(lock);
    size_t n = who.second.size();
    printf("%s %s: %s; %zu G%s for it: %s\n", who.first, object(lock).c_str(),
           held.empty() ? "holder unknown" : held.c_str(), n, n == 1 ? " waits" : "s wait", ranges(who.second).c_str());
  }
}

void Dump::asleep() {
  if (s_.threads.empty() || !only_ours_) return;
  for (const auto& t : s_.threads) {
    WaitReason reason = t->g->wait_reason;
    if (t->g->status.load() != GStatus::Waiting || t->timed || reason == WaitReason::Io || reason == WaitReason::Signal)
      return;
  }
  printf("all Gs are asleep: nothing in the process can wake one, unless a signal is to come\n");
}

void Dump::frames(const std::vector<Address>& pcs) {
  size_t first = 0, last = pcs.size();
  if (!runtime_) {
    while (first < last && stacks_.runtime(pcs[first])) first++;
    while (last > first && stacks_.runtime(pcs[last - 1])) last--;
  }
  for (size_t i = first; i < last; i++) {
    if (!runtime_ && stacks_.runtime(pcs[i])) {
      if (stacks_.interruption(pcs[i])) printf("  -- interrupted --\n");
      continue;
    }
    for (const std::string& line : stacks_.place(pcs[i])) printf("  %s\n", line.c_str());
  }
}

void Dump::group(const Group& group) {
  const Thread& t = *group.members.front();
  const goshim::G& g = *t.g;
  std::string name = printable(std::string(g.name, strnlen(g.name, sizeof g.name)));
  printf("\n%s%s [%s]:\n", g_name(g.id).c_str(), name.empty() ? "" : (" \"" + name + "\"").c_str(), state(t).c_str());
  frames(group.frames);
  if (g.start) printf("  entry: %s\n", stacks_.place(reinterpret_cast<Address>(g.start)).back().c_str());
  if (group.members.size() == 1) return;
  std::vector<uint64_t> others;
  for (size_t i = 1; i < group.members.size(); i++) others.push_back(group.members[i]->g->id);
  printf("%zu G%s like it: %s\n", others.size(), others.size() == 1 ? "" : "s", ranges(others).c_str());
}

void Dump::groups() {
  using Key = std::tuple<GStatus, WaitReason, Address, void* (*)(void*), std::vector<Address>>;
  std::map<Key, size_t> place;
  std::vector<Group> all;
  for (const auto& t : s_.threads) {
    std::vector<Address> pcs = stacks_.unwind(&s_, *t);
    GStatus status = t->g->status.load();
    WaitReason reason = status == GStatus::Waiting ? t->g->wait_reason : WaitReason::None;
    Key key{status, reason, lock_of(*t), t->g->start, pcs};
    auto [at, fresh] = place.emplace(std::move(key), all.size());
    if (fresh) all.push_back({{}, std::move(pcs)});
    all[at->second].members.push_back(t.get());
  }
  for (const Group& g : all) group(g);
}

void Dump::print() {
  header();
  asleep();
  cycles();
  locks();
  groups();
}

bool number(const char* text, long* out) {
  char* end;
  errno = 0;
  *out = strtol(text, &end, 10);
  return errno == 0 && *text >= '0' && *text <= '9' && !*end;
}

int run(int argc, char** argv) {
  constexpr option kLong[] = {{"help", no_argument, nullptr, 'h'},
                              {"limit", required_argument, nullptr, 'l'},
                              {"runtime", no_argument, nullptr, 'r'},
                              {}};
  long limit = kLimit;
  bool runtime = false;
  for (int c; (c = getopt_long(argc, argv, "h", kLong, nullptr)) != -1;) {
    switch (c) {
      case 'h': return print_help(kDump, kOptionsHelp);
      case 'l':
        if (!number(optarg, &limit)) return usage_error(kDump, "dump: --limit takes a number, not %s", optarg);
        break;
      case 'r': runtime = true; break;
      default: return kUsage;
    }
  }
  if (argc - optind != 1) return usage_error(kDump, "dump: one process id is wanted");
  long pid;
  if (!number(argv[optind], &pid) || pid <= 0 || pid > INT32_MAX)
    return usage_error(kDump, "dump: no process id: %s", argv[optind]);

  Stacks stacks;
  std::string error = stacks.open(static_cast<pid_t>(pid));
  Address debug = error.empty() ? stacks.library_symbol("goshim_debug") : 0;
  if (error.empty() && !debug) {
    error = "process " + std::to_string(pid) +
            (stacks.has_library() ? ": the file of its libgoshim cannot be read, or has been replaced since"
                                  : " does not run under goshim");
  }
  Snapshot snapshot;
  if (error.empty()) error = take_snapshot(static_cast<pid_t>(pid), debug, limit, &snapshot);
  if (!error.empty()) {
    complain("dump: %s", error.c_str());
    return kFailed;
  }
  Dump(&snapshot, &stacks, runtime).print();
  return 0;
}

}  // namespace

const Command kDump = {"dump", "[--limit N] [--runtime] PID",
                       "Shows all threads of a process: what they wait for, and their stacks", run};

}  // namespace launcher
