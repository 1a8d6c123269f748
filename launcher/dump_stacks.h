// Stacks of a process that has been copied: unwound and named with the call frame and debug information of its files.
#pragma once

#include <elfutils/libdwfl.h>

#include <map>
#include <string>
#include <vector>

#include "launcher/dump_process.h"

namespace launcher {

// What a place in the code is called: a function, and those it was inlined into, innermost first.
using Place = std::vector<std::string>;

class Stacks {
 public:
  Stacks() = default;
  ~Stacks();
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;
  // Learns which files process pid has mapped. Empty on success, else why not.
  std::string open(pid_t pid);
  // Whether a file named like goshim's library is mapped. If it is, and has no symbols, it could not be read.
  bool has_library() const { return library_ != nullptr; }
  // The address of the library's symbol in the process, 0 if the library is not there.
  Address library_symbol(const char* name);
  // Return addresses, innermost first, each less one so that it lies in the call, but for the first.
  std::vector<Address> unwind(Snapshot* snapshot, const Thread& t);
  const Place& place(Address pc);
  // In libgoshim.
  bool runtime(Address pc);
  // In its code that continues an interrupted thread.
  bool interruption(Address pc);
  // A variable's name, with the distance from its beginning; empty if unknown.
  std::string datum(Address at);

 private:
  friend struct Callbacks;
  Place find(Address pc);
  int open_file(Address start, const char* name);
  struct Mapped {
    Address start, end;
    uint64_t inode;  // the device's number in maps is not that of stat(2) on every file system
  };
  pid_t pid_ = 0;
  std::map<Address, Mapped> mapped_;  // by start
  Dwfl* dwfl_ = nullptr;
  Dwfl_Module* library_ = nullptr;
  bool attached_ = false;
  Memory* memory_ = nullptr;
  const Thread* thread_ = nullptr;
  std::map<Address, Place> places_;
};

}  // namespace launcher
