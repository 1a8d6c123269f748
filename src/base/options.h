// The options that a user sets in the environment. One table drives the names, types, defaults, ranges, checks and
// help.
#pragma once

#include "base/base.h"
#include "base/procs.h"

namespace goshim {

// OPTION(kind, field, environment name, default, least, most, help). The kinds:
//   Switch  bool      on, off, 1 or 0
//   Count   int       a number in the range
//   Signal  int       a number in the range, without 33, which glibc uses itself
//   Bytes   size_t    a number in the range or 0, with k, m or g for powers of 1024
//   Path    Path      a file's name, of up to 1023 bytes; none by default
// clang-format off
#define GOSHIM_OPTIONS(OPTION) \
  OPTION(Switch, enabled, "GOSHIM", true, 0, 1, "off: the program runs natively; help: prints this") \
  OPTION(Count, max_procs, "GOSHIM_MAXPROCS", 0, 0, kMaxProcs, "kernel threads that run threads of the program at a time (0: as many as processors; more while they compute beside other programs)") \
  OPTION(Bytes, stack_size, "GOSHIM_STACK_SIZE", 0, 16384, 1L << 40, "stack of a thread made without attributes (0: as natively, by ulimit -s)") \
  OPTION(Switch, preempt, "GOSHIM_PREEMPT", true, 0, 1, "interrupt threads that compute for 3 ms while others wait") \
  OPTION(Signal, preempt_signal, "GOSHIM_PREEMPT_SIGNAL", 32, 32, 64, "the signal that does it; programs cannot block or take 32") \
  OPTION(Switch, tp_trap, "GOSHIM_TP_TRAP", true, 0, 1, "set the thread pointer without the kernel where it does not know that programs can; off: by system calls") \
  OPTION(Count, chaos, "GOSHIM_CHAOS", 0, 0, 1000, "for tests: chance of a random yield at each call, per mille") \
  OPTION(Count, chaos_preempt, "GOSHIM_CHAOS_PREEMPT", 0, 0, 1000000, "for tests: interrupts what runs about every so many microseconds (0: never)") \
  OPTION(Count, schedtrace, "GOSHIM_SCHEDTRACE", 0, 0, 3600000, "a line on stderr about the scheduler every so many ms (0: none)") \
  OPTION(Switch, scheddetail, "GOSHIM_SCHEDDETAIL", false, 0, 1, "with GOSHIM_SCHEDTRACE: also a line about each P, kernel thread and thread") \
  OPTION(Signal, dump_signal, "GOSHIM_DUMP_SIGNAL", 0, 0, 64, "writes a dump of all threads to stderr when the process gets this signal, which the program then does not see (0: none)") \
  OPTION(Switch, deadlock, "GOSHIM_DEADLOCK", false, 0, 1, "a line and a dump on stderr when every thread waits and nothing in the process can wake one") \
  OPTION(Path, launcher, "GOSHIM_LAUNCHER", {}, 0, 0, "the program goshim, which reads stacks for dumps (where not beside the library)") \
  OPTION(Switch, stats, "GOSHIM_STATS", false, 0, 1, "a line on stderr at exit: what took part") \
  OPTION(Path, trace, "GOSHIM_TRACE", {}, 0, 0, "a new file for the timeline, which goshim trace --convert reads") \
  OPTION(Bytes, trace_size, "GOSHIM_TRACE_SIZE", 64 << 20, 256 << 10, 1L << 40, "its size, in which it keeps what happened last (0: 64m)") \
  OPTION(Switch, verbose, "GOSHIM_VERBOSE", false, 0, 1, "lines on stderr about decisions taken at start")
// clang-format on

struct Options {
  using Switch = bool;
  using Count = int;
  using Signal = int;
  using Bytes = size_t;
  struct Path {            // a copy: programs write over their environment
    char text[1024] = {};  // empty: none
    bool operator==(const Path&) const = default;
  };
#define OPTION(kind, field, name, value, least, most, help) kind field = value;
  GOSHIM_OPTIONS(OPTION)
#undef OPTION
};

// The defaults before options_read(); constant after the first one.
extern Options options;

// Fills options from envp, the first time only. A program with raised privileges (AT_SECURE) gets the defaults.
void options_read(char** envp);

// Sets what envp names in *out. A value that is not accepted, or a GOSHIM_ variable that is no option, gives one line
// on stderr and changes nothing. Returns the number of such lines.
int options_parse(char** envp, Options* out);

// True if the option called name (GOSHIM_...) may have that value; else accepted says what it may have, as a phrase.
bool options_accept(const char* name, const char* value, char* accepted, size_t size);

// A number of bytes, with k, m or g behind it for powers of 1024. False if s is none, or too large.
bool parse_bytes(const char* s, long* v);

// Prints the table.
void options_help(int fd);

}  // namespace goshim
