// Looking at processes under goshim from outside: their page of counters, and what /proc tells of them.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "trace/page.h"

namespace launcher {

// The page of another process, mapped for reading. It stays readable, with its last values, when the process has ended.
class Watched {
 public:
  // Null if pid has none, and *why then says why, as the end of a sentence; that is empty for a process that goes on
  // and may have one later.
  static std::unique_ptr<Watched> open(pid_t pid, std::string* why);
  ~Watched();
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

  pid_t pid() const { return pid_; }
  const goshim::Page& page() const { return *static_cast<const goshim::Page*>(memory_); }
  goshim::Totals totals() const;
  // Whether the process still runs, with the same runtime.
  bool alive() const;

 private:
  Watched(pid_t pid, void* memory, size_t size) : pid_(pid), memory_(memory), size_(size) {}
  pid_t pid_;
  void* memory_;
  size_t size_;
  std::string link_;  // where it was found, under /proc
};

// False if it has none, as one that is ending.
bool has_descriptors(pid_t pid);

// Processes of the caller's user that have a page.
std::vector<std::unique_ptr<Watched>> watch_all();

// Of a process that has no page and may get one.
inline constexpr char kNoPage[] = "it does not run under goshim, or has made no thread yet";

// A number of a process, or -1.
pid_t parse_pid(const char* s);

// The command's name, as in /proc/PID/comm; "?" if it has ended.
std::string process_name(pid_t pid);
// A line "name: value" of /proc/PID/status as a number; -1 if there is none.
long process_status(pid_t pid, const char* name);
// CPU time used so far, in nanoseconds; -1 if it has ended.
int64_t process_cpu(pid_t pid);

// The latency that a share of the timed wake-ups does not exceed, in nanoseconds; 0 without any.
uint64_t latency_quantile(const uint64_t (&latency)[goshim::kLatencyBuckets], double share);
uint64_t latency_samples(const uint64_t (&latency)[goshim::kLatencyBuckets]);

// Three digits and a unit: "12.3us".
std::string duration(uint64_t ns);
// At most five columns: "9999", "12.3k", "3.0M".
std::string amount(double n);

}  // namespace launcher
