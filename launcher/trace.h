// goshim trace: from the file of a timeline (src/trace/timeline_file.h) to a trace-event JSON, a picture, a summary.
//
//   Recording   the file: checks it, and gives its events in order of time over all Ms
//   Model       follows every G, M and P through the events; tells its sinks what they mean
//   Sink        makes something of that: JSON (trace_json.cpp), picture (trace_picture.cpp); the summary is the Model's
//
// Times are nanoseconds since the start of the trace. A G is its id, cut to 32 bits; 0 is none.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "sched/runtime.h"
#include "trace/timeline_file.h"

namespace launcher::trace {

namespace file = goshim::timeline_file;
using file::Event;
using Time = int64_t;
using Gid = uint32_t;

constexpr int kReasons = static_cast<int>(goshim::WaitReason::Region) + 1;
const char* reason_name(int reason);  // "cond"
const char* call_name(long nr);       // "read"; "" if it has no name here
bool reason_has_object(int reason);   // whether the key of the wait is the address of something of the program's

struct Happening {
  Time time;
  uint32_t writer;  // the M
  Event event;      // None: a segment begins; argument is the M's G, p its P
  int p;            // -1: none
  bool estimated;   // the time is: between two that are known
  uint64_t argument;
};

class Recording {
 public:
  ~Recording();
  // What is wrong, as a phrase behind the file's name; empty if it can be read.
  std::string open(const std::string& path);

  int procs() const { return static_cast<int>(header_->procs); }
  std::string program() const;
  // Also of a file that cannot be read yet; 0 if there is none.
  int pid() const { return header_ ? static_cast<int>(header_->pid) : 0; }
  Time begin() const { return begin_; }  // of what is complete
  Time end() const { return end_; }
  uint64_t overwritten() const { return header_->overwritten.load(); }
  uint64_t dropped() const { return header_->dropped.load(); }
  bool stopped() const { return header_->stopped.load() != 0; }
  std::string name_of(Gid g) const;  // as the program named it; empty if it did not
  int tid_of(uint32_t writer) const;

  void each(const std::function<void(const Happening&)>& fn) const;

 private:
  class Stream;
  Time time_of(uint64_t cycles) const;
  std::string read_segments();

  void* at_ = nullptr;
  size_t size_ = 0;
  const file::Header* header_ = nullptr;
  double scale_ = 1;  // nanoseconds a cycle
  Time begin_ = 0;
  Time end_ = 0;
  std::map<uint32_t, std::vector<const file::Segment*>> streams_;  // by writer, in order
};

// Where a slice lies: on a P, or for a G that runs without one on its M.
struct Place {
  int p;            // -1: none
  uint32_t writer;  // then
};

struct Slice {
  Place place;
  Gid g;
  Time from, to;
  const char* why;  // it ended
  int reason;       // of the wait it ended in, 0: none
  uint64_t object;  // 0: none or unknown
  Time waited;      // runnable before; -1: it was not
  bool estimated;
};

struct Flow {
  bool creation;  // else a wake-up
  int from_p, to_p;
  Time from, to;
};

struct RegionSpan {
  Gid g;
  Time from, to;
  const char* call;  // "" if unknown
  long nr;           // -1: none
  bool taken;        // its P was taken meanwhile
};

struct Instant {
  Place place;
  Time time;
  const char* name;
  const char* key;  // of its number, null: none
  int64_t number;
};

class Sink {
 public:
  virtual ~Sink() = default;
  virtual void slice(const Slice&) {}
  virtual void flow(const Flow&) {}
  virtual void region(const RegionSpan&) {}
  virtual void instant(const Instant&) {}
  virtual void runnable(Time, long) {}
};

struct Times {
  Time running = 0;
  Time runnable = 0;
  Time kernel = 0;  // in regions, or asleep in a call that goshim does not know
  Time blocked = 0;
};

class Model {
 public:
  Model(const Recording& recording, std::vector<Sink*> sinks);
  void run();
  // The text at the end.
  void summary(FILE* to) const;
  // What a G is called: its name, if the program gave it one, and its id. Any bytes.
  std::string label(Gid g) const;

 private:
  enum class State : uint8_t { Unknown, Running, Runnable, Blocked, Kernel, Ended };
  struct Thread {
    State state = State::Unknown;
    bool readied = false;    // while it was about to wait
    bool unreadied = false;  // it runs though nobody was seen to wake it: the clocks of two cores differ a little
    bool in_region = false;
    bool region_taken = false;
    bool estimated = false;
    int p = -1;           // its slice is open here, or if -1 on the M `writer`
    bool open = false;    // a slice is
    uint32_t writer = 0;  // it runs on
    int reason = 0;
    Time since = 0;  // of the state
    Time slice_from = 0;
    Time region_from = 0;
    Time waited = -1;
    long call = -1;
    bool created = false;  // by_p and at tell who made it, not who woke it
    int by_p = -1;
    Time by_at = 0;
    Times times;
    uint64_t slices = 0;
  };
  struct Machine {
    Gid g = 0;
  };
  struct Reason {
    Time time = 0;
    uint64_t waits = 0;
  };

  void apply(const Happening& h);
  Thread& thread(Gid g) { return threads_[g]; }
  void enter(Thread& t, State s, Time at);
  void account(Thread& t, Time at);
  void starts(Gid g, const Happening& h);
  void stops(const Happening& h, State s, const char* why, int reason = 0, uint64_t object = 0);
  void open_slice(Gid g, Thread& t, int p, Time at);
  void close_slice(Gid g, Thread& t, Time at, const char* why, int reason = 0, uint64_t object = 0);
  void leave_region(Gid g, Thread& t, Time at);
  void retaken(int p, Time at, bool unknown);
  void readied(Gid g, const Happening& h, bool fresh);
  void instant(const Happening& h, const char* name, const char* key, int64_t number);

  const Recording& recording_;
  std::vector<Sink*> sinks_;
  std::unordered_map<Gid, Thread> threads_;
  std::map<uint32_t, Machine> machines_;
  std::vector<Gid> on_p_;
  long n_runnable_ = 0;
  Reason reasons_[kReasons];
  uint64_t events_ = 0, steals_ = 0, preempted_ = 0, retakes_ = 0, yields_ = 0;
};

// Writes a file while the Model runs. What ended before `from` is left out, what began before is cut.
class JsonWriter : public Sink {
 public:
  JsonWriter(const Recording& recording, const Model* const* model, Time from)
      : recording_(recording), model_(model), from_(from) {}
  // Takes the descriptor. These return false, errno set, if they fail.
  bool open(int fd);
  bool open_nowhere();  // only measures
  bool close();
  // Of what was measured: the time from which on the rest is of at most so many bytes.
  Time last_part(uint64_t bytes) const;
  void slice(const Slice&) override;
  void flow(const Flow&) override;
  void region(const RegionSpan&) override;
  void instant(const Instant&) override;
  void runnable(Time, long) override;

 private:
  bool begin_file();
  // Whether something with this end is to be written.
  bool holds(Time end);
  void begin(char phase, int pid, uint64_t tid, Time at);
  void name(const std::string& text);
  void track(int pid, uint64_t tid, const std::string& text, int order);
  void place(char phase, const Place& p, Time at);

  const Recording& recording_;
  const Model* const* model_;
  const Time from_;
  FILE* to_ = nullptr;
  struct Mark {
    Time time;
    uint64_t bytes;  // before
  };
  std::vector<Mark> marks_;
  uint64_t measured_ = 0;
  uint64_t flows_ = 0;
  uint64_t regions_ = 0;
  Time counted_ = -1;
  std::map<uint32_t, bool> machines_;  // that have a track
};

class Picture : public Sink {
 public:
  explicit Picture(const Recording& recording);
  void slice(const Slice&) override;
  void runnable(Time, long) override;
  // Takes the descriptor. False, errno set, if that fails.
  bool write(int fd, const Model& model) const;

 private:
  struct Cell {
    Gid g = 0;  // who had most of it, by majority vote
    Time weight = 0;
    Time busy = 0;
  };
  Time from_;
  double width_;  // nanoseconds a column
  int columns_;
  int procs_;
  std::vector<Cell> cells_;    // by P, then column
  std::vector<long> waiting_;  // the most that were runnable
};

std::string html_escaped(const std::string& text);
// "1.234 s", "56.7 ms", "890 us"
std::string duration(Time t);

}  // namespace launcher::trace
