// The file of a timeline (GOSHIM_TRACE): what the library writes and `goshim trace` reads, on one machine.
//
//   [header, one page] [names, a hash table by G] [segments ...]
//
// A segment holds records of one M, in the order in which they happened. Segments are handed out in a circle; when all
// are used the oldest is used again, so the file keeps what happened last. Everything is in place when it is written:
// a file whose program was killed is as good as any other.
#pragma once

#include <sys/types.h>

#include "base/base.h"

namespace goshim::timeline_file {

constexpr char kMagic[8] = {'g', 'o', 's', 'h', 'i', 'm', 'T', 'L'};
constexpr uint32_t kVersion = 2;
constexpr uint32_t kSegmentMagic = 0x5367534d;
constexpr size_t kSegmentSize = 16 << 10;
constexpr size_t kLeastSize = 256 << 10;

// What happened. "The G" is the one that the M runs, 0 its g0. The argument:
enum class Event : uint8_t {
  None,
  Start,       // the M runs this G from here on: its id
  Block,       // the G waits: WaitReason << 56 | address of the object (0: unknown)
  NotBlocked,  // the G was about to wait, and was made ready before
  Yield,       // the G gives way to another on this M: that one's id
  YieldRun,    // the same, and kRunRecords records follow with the ids of who ran next, each by a yield: see Run
  Stop,        // the G stops and is runnable: a StopReason
  End,         // the G ends
  Create,      // the G, or nobody, makes a G: its id
  Unblock,     // the G, or what the M does between two, makes a G runnable: its id
  Region,      // the G enters a blocking region: its RegionClass
  Call,        // the region that was just entered is around this system call: its number
  RegionExit,  // the G is out of it; its P is the record's, if none Stop follows
  Retake,      // this P is taken from the G in the kernel that held it: its id, kRetakeUnknown if goshim did not know
  ProcStart,   // the M has a P
  ProcStop,    // the M gives its P up
  Steal,       // Gs are taken from another P: its id << 32 | how many
  Preempt,     // a G is asked to stop: its id
  Timer,       // a timer fires
  Poll,        // the poller had events: how many
};
constexpr int kEvents = static_cast<int>(Event::Poll) + 1;
constexpr uint64_t kRetakeUnknown = uint64_t{1} << 32;
constexpr int kReasonShift = 56;

enum class StopReason : uint8_t {
  Preempted,  // its slice is over
  Yield,      // of its own accord
  NoP,        // it came back from the kernel, and its P is elsewhere
};

// Which G, in 32 bits: ids beyond that begin again.
constexpr uint32_t id_of(uint64_t g) { return static_cast<uint32_t>(g); }

// One event: cycles since the segment's base << 18 | P + 1 (0: none) << 6 | Event; 0 if there is no more.
struct Record {
  std::atomic<uint64_t> what;  // written last (release): a reader of the running program's file finds the argument
  uint64_t argument;
};
constexpr int kEventBits = 6;
constexpr int kPBits = 12;
constexpr int kTimeShift = kEventBits + kPBits;
constexpr uint64_t kTimeLimit = uint64_t{1} << (64 - kTimeShift);

// Reading the clock takes as long as a switch. So yields that follow each other closely share one reading: YieldRun is
// the first, what comes before the next record of this M lies between the two. Who ran is told by the distance of its
// id from run_base() of the first one, + 1, in an entry of one byte (width 1) or two; 0 ends the list. Pages of the
// file that are touched for the first time are what a trace costs most, so the narrow ones are used where they reach.
constexpr int kRunRecords = 7;
constexpr uint64_t kWideRun = uint64_t{1} << 32;  // in YieldRun's argument: entries of two bytes
constexpr uint32_t run_reach(int width) { return width == 1 ? 0xff : 0xffff; }  // distances are below
constexpr uint32_t run_base(uint32_t first, int width) { return first - run_reach(width) / 2; }
// Bytes of entries. An entry of one byte may be written as two: the next one follows, or a byte that is free.
constexpr size_t run_bytes(int width) { return kRunRecords * sizeof(Record) - (width == 1 ? 1 : 0); }

// The entries behind a record YieldRun, by their place from 0 on.
class Run {
 public:
  Run(const Record* yield_run, uint64_t argument)
      : at_(reinterpret_cast<const unsigned char*>(yield_run + 1)),
        width_(argument & kWideRun ? 2 : 1),
        base_(run_base(id_of(argument), width_)) {}
  // False behind the last one.
  bool id(size_t place, uint32_t* id) const {
    size_t at = place * static_cast<size_t>(width_);
    if (at + static_cast<size_t>(width_) > run_bytes(width_)) return false;
    uint32_t entry = at_[at] | (width_ == 2 ? uint32_t{at_[at + 1]} << 8 : 0);
    *id = base_ + entry - 1;
    return entry != 0;
  }

 private:
  const unsigned char* at_;
  int width_;
  uint32_t base_;
};

enum class SegmentState : uint32_t { Free, InUse, Full };

struct alignas(64) Segment {
  uint32_t magic;
  std::atomic<SegmentState> state;  // who makes it InUse, by CAS (acquire), owns it; Full is a release
  uint64_t sequence;                // order in which they were handed out
  uint64_t cycles;                  // base of its records
  Nanos time;                       // then, of CLOCK_MONOTONIC
  uint32_t writer;                  // of one M, from 1
  int32_t tid;                      // its kernel thread
  uint32_t g;                       // that it ran then; 0: none
  uint32_t p;                       // its P then, + 1; 0: none
  uint32_t used;                    // records; this and the next only in a full one
  uint64_t last;                    // cycles at its last record
};
static_assert(sizeof(Segment) == 64);
constexpr size_t kSegmentRecords = (kSegmentSize - sizeof(Segment)) / sizeof(Record);

struct ClockPair {
  uint64_t cycles;
  Nanos time;
};

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t pid;
  uint64_t file_size;
  uint32_t procs;
  uint32_t names;     // slots of the table behind the header
  uint64_t segments;  // offset of the first
  uint64_t n_segments;
  char program[16];  // its name
  ClockPair start;
  // The clocks at some later moment: clocks[which]. Written now and then, and at the end of the program.
  ClockPair clocks[2];
  // Release: the pair is complete. The counts are relaxed: each is a number on its own.
  std::atomic<uint32_t> which;
  std::atomic<uint32_t> stopped;         // the disk is full: nothing was recorded from then on
  std::atomic<uint64_t> overwritten;     // records of segments that were used again
  std::atomic<uint64_t> complete_after;  // cycles: when the last of them ended
  std::atomic<uint64_t> dropped;         // records for which there was no segment
};
static_assert(sizeof(Header) <= kPage);

// The name of G g is in slot g % names, unless a G with the same slot was named later.
struct Name {
  std::atomic<uint32_t> g;  // 0: none, also while it is being written; else stored with release
  char text[16];
};

}  // namespace goshim::timeline_file
