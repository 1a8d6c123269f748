// Another process under goshim, as `goshim dump` sees it: stopped for a moment, and copied as far as the dump needs it.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "arch/outside.h"
#include "trace/dump.h"

namespace launcher {

using Address = uint64_t;

// An object of the process, as bytes: never constructed, read in place.
template <typename T>
class Copy {
 public:
  const T& operator*() const { return *reinterpret_cast<const T*>(bytes_); }
  const T* operator->() const { return reinterpret_cast<const T*>(bytes_); }
  void* bytes() { return bytes_; }

 private:
  alignas(T) unsigned char bytes_[sizeof(T)];
};

inline Address address(const void* p) { return reinterpret_cast<Address>(p); }

// Pages of the process, kept when they are first read. After stop_reading() only those.
class Memory {
 public:
  Memory() = default;
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  bool open(pid_t pid);
  void stop_reading();
  // Copies what there is of the range.
  void keep(Address from, size_t size);
  // What begins at `at` is one of many alike, which mostly lie behind it.
  void keep_table(Address at);
  // False if a part of it is not there.
  bool read(Address from, void* to, size_t size);
  template <typename T>
  bool read(Address from, Copy<T>* to) {
    return from != 0 && read(from, to->bytes(), sizeof(T));
  }

 private:
  const unsigned char* page(Address number);
  unsigned char* room(size_t size);
  int fd_ = -1;
  std::unordered_map<Address, const unsigned char*> pages_;  // by number; null: not mapped
  std::vector<unsigned char*> blocks_;                       // where they lie, and what is left of the last
  size_t left_ = 0;
};

// Where a flow of control stands: the registers that an unwinder begins with, by their DWARF numbers.
struct Registers {
  static constexpr int kCount = goshim::arch::kDwarfRegisters;
  Address value[kCount] = {};
  uint64_t known = 0;  // bit n: value[n] is there
  Address pc = 0;      // also in value[] if it has a number
};

// A kernel thread of the process, stopped.
struct KernelThread {
  pid_t tid;
  goshim::arch::Outside seen;
  bool readable;
  bool switching = false;  // within goshim_switch, which may set the thread pointer by a system call
  // That it is in, -1 for none.
  long syscall() const { return switching ? -1 : goshim::arch::outside_syscall(seen); }
};

struct Thread {  // a living G
  Copy<goshim::G> g;
  Address at;
  int tid = 0;  // virtual
  const KernelThread* on = nullptr;
  Registers registers;
  bool has_stack = false;
  Copy<goshim::Wait> io;  // with WaitReason::Io
  Address first_key = 0;  // what it began to wait on
  bool timed = false;     // its timer is armed
  bool begun = true;      // false: it has never run
  int m = -1;             // id of the M it is on
  int locked_m = -1;      // of the one it is locked to
};

struct Lock {             // a mutex, rwlock or once that Gs wait for
  int owner = 0;          // thread id of who holds it, 0: nobody or unknown
  uint32_t readers = 0;   // that hold a rwlock
  bool nameless = false;  // a mutex that is held, and does not say by whom
};

struct Snapshot {
  pid_t pid = 0;
  goshim::DumpMap map;
  bool started = false;
  int ps = 0, ms = 0, helpers = 0;
  goshim::Nanos now = 0;  // CLOCK_MONOTONIC
  std::vector<KernelThread> kernel_threads;
  std::vector<std::unique_ptr<Thread>> threads;  // by id
  std::unordered_map<int, uint64_t> g_of_tid;    // thread id to G's
  std::unordered_map<Address, uint64_t> g_at;    // address to G's id
  std::unordered_map<Address, Lock> locks;       // by address
  long without_stack = 0;                        // Gs beyond the limit
  Memory memory;
};

// Stops process pid, fills *out, and lets it go on, also when it fails. debug: where goshim_debug is there. limit: for
// so many Gs at most stacks are read. Empty on success, else why not, for a message.
std::string take_snapshot(pid_t pid, Address debug, long limit, Snapshot* out);

// The name of a system call that may block, or null; *fd: its first argument is a descriptor.
const char* syscall_name(long number, bool* fd);

}  // namespace launcher
