// The timeline's recording side (see timeline.h).
#include "trace/timeline.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <sys/mman.h>

#include <cstring>

#include "base/file.h"
#include "base/options.h"
#include "base/print.h"
#include "base/sys.h"
#include "sched/internal.h"

namespace goshim {

using namespace timeline_file;

TimelineSwitch timeline_switch;

namespace {

constexpr size_t kStandardSize = 64 << 20;
constexpr size_t kNamesShare = 64;  // of the file is for names
constexpr int kTries = 64;          // segments that are looked at when one is needed
constexpr uint64_t kProvide = 16;   // segments get their pages together: half the work of one by one
constexpr Nanos kRush = 250;        // yields that follow each other faster share a reading of the clock
constexpr int kWideRuns = 64;       // after an id that a narrow one does not reach
constexpr Nanos kMeasure = 20 * kMicrosecond;
constexpr Nanos kSync = 100 * kMillisecond;

// Constant after timeline_start(), but for the atomic ones.
constinit struct {
  Header* header = nullptr;
  Name* names = nullptr;
  char* segments = nullptr;
  uint64_t n_segments = 0;
  uint64_t rush = 0;  // kRush and kSync in cycles
  uint64_t sync = 0;
  // Relaxed: numbers that are given out once; what a segment holds is ordered by its state.
  std::atomic<uint64_t> cursor{0};    // segments handed out so far
  std::atomic<uint64_t> provided{0};  // segments that have pages, from the first on
  std::atomic<uint64_t> synced{0};    // cycles: when the header's clocks were written
  std::atomic<uint32_t> writers{0};   // ids given
} file;

void count(std::atomic<uint64_t>& n, uint64_t more) { n.fetch_add(more, std::memory_order_relaxed); }

Segment* segment_at(uint64_t i) { return reinterpret_cast<Segment*>(file.segments + i * kSegmentSize); }
Record* records_of(Segment* s) { return reinterpret_cast<Record*>(s + 1); }

void raise(std::atomic<uint64_t>& to, uint64_t value) {
  uint64_t now = to.load(std::memory_order_relaxed);
  while (now < value && !to.compare_exchange_weak(now, value, std::memory_order_relaxed)) {
  }
}

// Pages for segment n, now: the disk may be full, and a later store would be a SIGBUS. Who comes meanwhile does the
// same work, so that nobody is ahead of it.
bool provide(uint64_t n) {
  for (uint64_t have; (have = file.provided.load(std::memory_order_acquire)) <= n;) {
    uint64_t end = have + kProvide < file.n_segments ? have + kProvide : file.n_segments;
    long r = sys::advise(segment_at(have), (end - have) * kSegmentSize, MADV_POPULATE_WRITE);
    if (r != 0 && r != -EINVAL) return false;  // EINVAL: before Linux 5.14
    file.provided.compare_exchange_strong(have, end, std::memory_order_release, std::memory_order_relaxed);
  }
  return true;
}

void stop_recording() {
  timeline_switch.on.store(false, std::memory_order_relaxed);
  if (file.header->stopped.exchange(1, std::memory_order_relaxed) == 0)
    message("GOSHIM_TRACE: no room on the disk; the trace ends here");
}

// A segment that nobody uses, the oldest if possible; null if there is none.
Segment* take_segment(uint64_t* sequence) {
  for (int i = 0; i < kTries; i++) {
    uint64_t n = file.cursor.fetch_add(1, std::memory_order_relaxed);
    Segment* s = segment_at(n % file.n_segments);
    if (n < file.n_segments && !provide(n)) {
      stop_recording();
      return nullptr;
    }
    SegmentState state = s->state.load(std::memory_order_relaxed);
    if (state == SegmentState::InUse) continue;
    if (!s->state.compare_exchange_strong(state, SegmentState::InUse, std::memory_order_acquire)) continue;
    *sequence = n;
    return s;
  }
  return nullptr;
}

void leave_segment(TimelineWriter* w) {
  Segment* s = w->segment;
  if (!s) return;
  s->used = static_cast<uint32_t>(w->next - records_of(s));
  s->last = w->last;
  w->segment = nullptr;
  w->next = w->end = nullptr;
  s->state.store(SegmentState::Full, std::memory_order_release);
}

GOSHIM_COLD bool new_segment(M* m) {
  TimelineWriter* w = &m->timeline;
  leave_segment(w);
  uint64_t sequence;
  Segment* s = take_segment(&sequence);
  if (!s) return false;
  if (s->magic == kSegmentMagic) {
    s->magic = 0;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    count(file.header->overwritten, s->used);
    raise(file.header->complete_after, s->last);
  }
  std::memset(static_cast<void*>(records_of(s)), 0, kSegmentRecords * sizeof(Record));
  if (w->id == 0) w->id = file.writers.fetch_add(1, std::memory_order_relaxed) + 1;
  G* g = m->curg.load(std::memory_order_relaxed);
  P* p = m_p(m);
  s->sequence = sequence;
  s->cycles = arch::cycles();
  s->time = sys::nanotime();
  s->writer = w->id;
  s->tid = m->tid;
  s->g = g == m->g0 ? 0 : id_of(g->id);
  s->p = p ? static_cast<uint32_t>(p->id) + 1 : 0;
  s->used = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  s->magic = kSegmentMagic;
  w->segment = s;
  w->base = s->cycles;
  w->next = records_of(s);
  w->end = w->next + kSegmentRecords;
  return true;
}

bool fits(const TimelineWriter* w, uint32_t n) { return static_cast<size_t>(w->end - w->next) >= n; }

GOSHIM_COLD bool room_slow(M* m, uint32_t n, uint64_t now, uint64_t* time) {
  TimelineWriter* w = &m->timeline;
  *time = 0;
  if (w->segment && now < w->base && fits(w, n)) return true;  // the clocks of two cores differ a little
  if (!new_segment(m)) {
    count(file.header->dropped, n);
    return false;
  }
  w->last = w->base;
  return true;
}

// Room for n records, and the time; false if there is none. Ends a rush of yields.
inline bool room(M* m, uint32_t n, uint64_t* time) {
  TimelineWriter* w = &m->timeline;
  uint64_t now = arch::cycles();
  w->run = w->run_end = nullptr;
  if (GOSHIM_UNLIKELY(!fits(w, n) || now - w->base >= kTimeLimit)) return room_slow(m, n, now, time);
  w->last = now;
  *time = now - w->base;
  return true;
}

inline uint64_t p_bits(M* m) {
  P* p = m_p(m);
  return p ? static_cast<uint64_t>(p->id) + 1 : 0;
}

inline void put(TimelineWriter* w, uint64_t time, uint64_t p, Event event, uint64_t argument) {
  Record* r = w->next++;
  r->argument = argument;
  r->what.store(time << kTimeShift | p << kEventBits | static_cast<uint64_t>(event), std::memory_order_release);
}

inline void note(M* m, Event event, uint64_t argument) {
  uint64_t time;
  if (room(m, 1, &time)) put(&m->timeline, time, p_bits(m), event, argument);
}

M* this_m() {
  G* self = getg();
  return self ? self->m.load(std::memory_order_relaxed) : nullptr;
}

// The clocks run on while nothing else tells how fast.
void write_clocks() {
  Header* h = file.header;
  uint32_t other = h->which.load(std::memory_order_relaxed) ^ 1;
  h->clocks[other] = {arch::cycles(), sys::nanotime()};
  h->which.store(other, std::memory_order_release);
}

void sync_clocks(uint64_t now) {
  uint64_t before = file.synced.load(std::memory_order_relaxed);
  if (now - before < file.sync || now < before) return;
  if (file.synced.compare_exchange_strong(before, now, std::memory_order_relaxed)) write_clocks();
}

void measure_clock() {
  Nanos begin = sys::nanotime();
  uint64_t cycles = arch::cycles();
  Nanos now;
  while ((now = sys::nanotime()) - begin < kMeasure) arch::pause();
  cycles = arch::cycles() - cycles;
  auto scaled = [&](Nanos t) {
    return static_cast<uint64_t>(static_cast<double>(cycles) * static_cast<double>(t) /
                                 static_cast<double>(now - begin));
  };
  file.rush = scaled(kRush);
  file.sync = scaled(kSync);
}

// The mapping, of `size` bytes; null after a line on stderr.
void* make_file(const char* path, size_t size) {
  long fd = sys::call(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd == -EEXIST) {
    message("GOSHIM_TRACE: %s exists already; process %d is not traced", path, sched.pid);
    return nullptr;
  }
  if (fd < 0) {
    message("GOSHIM_TRACE: cannot make %s (error %ld); not tracing", path, -fd);
    return nullptr;
  }
  long r = sys::call(SYS_ftruncate, fd, size);
  if (r == 0) r = sys::call(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  sys::close(static_cast<int>(fd));
  if (r < 0 && r > -static_cast<long>(kPage)) {
    message("GOSHIM_TRACE: no room for %ld bytes at %s (error %ld); not tracing", static_cast<long>(size), path, -r);
    return nullptr;
  }
  return reinterpret_cast<void*>(r);
}

}  // namespace

void timeline_start() {
  static bool done;
  if (done || !options.trace.text[0]) return;
  done = true;
  size_t size = round_up(options.trace_size ? options.trace_size : kStandardSize, kSegmentSize);
  void* at = make_file(options.trace.text, size);
  if (!at) return;
  size_t names = round_up(size / kNamesShare, kPage);
  long r = sys::advise(&timeline_switch, sizeof timeline_switch, MADV_WIPEONFORK);  // T2
  if (r == 0) r = sys::advise(at, size, MADV_DONTFORK);
  // Names are few and spread: what is not written to takes no room.
  if (r == 0) r = sys::advise(at, kPage + names, MADV_POPULATE_WRITE);
  if (r != 0 && r != -EINVAL) {
    message("GOSHIM_TRACE: no room on the disk (error %ld); not tracing", -r);
    return;
  }
  file.header = static_cast<Header*>(at);
  file.names = reinterpret_cast<Name*>(static_cast<char*>(at) + kPage);
  file.segments = static_cast<char*>(at) + kPage + names;
  file.n_segments = (size - kPage - names) / kSegmentSize;
  measure_clock();
  Header* h = file.header;
  h->version = kVersion;
  h->pid = static_cast<uint32_t>(sched.pid);
  h->file_size = size;
  h->procs = static_cast<uint32_t>(sched.procs);
  h->names = static_cast<uint32_t>(names / sizeof(Name));
  h->segments = kPage + names;
  h->n_segments = file.n_segments;
  long length = read_file("/proc/self/comm", h->program, sizeof h->program);
  if (length > 0 && h->program[length - 1] == '\n') h->program[length - 1] = 0;
  h->start = h->clocks[0] = {arch::cycles(), sys::nanotime()};
  std::memcpy(h->magic, kMagic, sizeof kMagic);
  timeline_switch.on.store(true, std::memory_order_relaxed);
  timeline(Event::ProcStart);
  timeline(Event::Start, id_of(getg()->id));
}

void timeline_end() {
  if (timeline_on()) write_clocks();
}

void timeline_note(Event event, uint64_t argument) {
  M* m = this_m();
  if (!m) return;  // T3
  note(m, event, argument);
  if (event == Event::ProcStart) sync_clocks(m->timeline.last);
}

void timeline_note_block(M* m, G* g, const G* next) {
  uint64_t time;
  if (!room(m, 2, &time)) return;
  TimelineWriter* w = &m->timeline;
  uint64_t p = p_bits(m);
  if (g->status.load(std::memory_order_relaxed) == GStatus::Dead) {
    put(w, time, p, Event::End, 0);
  } else {
    auto object = reinterpret_cast<uintptr_t>(g->park_key.load(std::memory_order_relaxed));
    put(w, time, p, Event::Block,
        static_cast<uint64_t>(g->wait_reason) << kReasonShift | (object & ((uint64_t{1} << kReasonShift) - 1)));
  }
  if (next) put(w, time, p, Event::Start, id_of(next->id));
}

void timeline_note_yield(M* m, const G* next) {
  TimelineWriter* w = &m->timeline;
  uint32_t id = id_of(next->id);
  uint64_t last = w->last;
  uint64_t shared = 1;
  if (w->run_end) {
    auto left = static_cast<size_t>(w->run_end - w->run);
    shared += (run_bytes(w->run_width) - left) / static_cast<size_t>(w->run_width);
    bool far = left != 0 && w->run_width == 1;
    if (far) w->wide_runs = kWideRuns;
    else if (w->wide_runs != 0) w->wide_runs--;
  }
  int width = w->wide_runs != 0 ? 2 : 1;
  uint64_t time;
  if (!room(m, 1 + kRunRecords, &time)) return;
  bool rush = w->last - last < shared * file.rush;
  if (!rush) {
    put(w, time, p_bits(m), Event::Yield, id);
    return;
  }
  put(w, time, p_bits(m), Event::YieldRun, width == 2 ? id | kWideRun : id);
  // The segment was cleared: the list ends wherever it is left.
  w->run = reinterpret_cast<char*>(w->next);
  w->run_end = w->run + run_bytes(width);
  w->run_base = run_base(id, width);
  w->run_reach = run_reach(width);
  w->run_width = width;
  w->next += kRunRecords;
}

void timeline_note_ready(const G* g) {
  M* m = this_m();
  if (!m) return;
  bool fresh = g->status.load(std::memory_order_relaxed) == GStatus::Dead;
  if (fresh && g->name[0]) timeline_note_name(g);
  note(m, fresh ? Event::Create : Event::Unblock, id_of(g->id));
}

// Preemption may be on: the G is in a region, where it keeps its M, but for handlers.
void timeline_note_call(long nr) {
  NoPreempt off;
  M* m = this_m();
  TimelineWriter* w = &m->timeline;
  if (w->next == w->end || w->run != w->run_end) return;
  put(w, w->last - w->base, 0, Event::Call, static_cast<uint64_t>(nr));
}

void timeline_note_name(const G* g) {
  uint32_t id = id_of(g->id);
  Name* name = &file.names[id % file.header->names];
  name->g.store(0, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::memcpy(name->text, g->name, sizeof name->text);
  name->g.store(id, std::memory_order_release);
}

void timeline_note_m_end(M* m) { leave_segment(&m->timeline); }

}  // namespace goshim
