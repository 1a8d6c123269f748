// The file of a timeline: checked, and its records in order of time (see trace.h). Nothing in it is trusted.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <queue>

#include "launcher/trace.h"

namespace launcher::trace {

using file::Record;
using file::Segment;

namespace {

const Record* records_of(const Segment* s) { return reinterpret_cast<const Record*>(s + 1); }
Event event_of(uint64_t what) { return static_cast<Event>(what & ((1 << file::kEventBits) - 1)); }
int p_of(uint64_t what) { return static_cast<int>(what >> file::kEventBits & ((1 << file::kPBits) - 1)) - 1; }

}  // namespace

// The records of one M.
class Recording::Stream {
 public:
  Stream(const Recording& recording, uint32_t writer, const std::vector<const Segment*>& segments)
      : recording_(recording), writer_(writer), segments_(segments) {
    advance();
  }
  bool done() const { return done_; }
  const Happening& now() const { return now_; }

  void advance() {
    if (run_left_ != 0) {
      run_left_--;
      now_.time += (run_end_ - now_.time) / (run_left_ + 2);
      now_.event = Event::Yield;
      Gid id = 0;
      run_->id(run_place_++, &id);
      now_.argument = id;
      now_.estimated = true;
      return;
    }
    for (;;) {
      if (segment_ == segments_.size()) {
        done_ = true;
        return;
      }
      const Segment* s = segments_[segment_];
      if (!begun_) {
        begun_ = true;
        set(s->cycles, Event::None, s->p <= static_cast<uint32_t>(recording_.procs()) ? static_cast<int>(s->p) - 1 : -1,
            s->g);
        return;
      }
      uint64_t what = index_ < file::kSegmentRecords ? records_of(s)[index_].what.load() : 0;
      if (what == 0) {
        segment_++;
        index_ = 0;
        begun_ = false;
        continue;
      }
      const Record& r = records_of(s)[index_++];
      Event e = event_of(what);
      int p = p_of(what);
      set(s->cycles + (what >> file::kTimeShift), e, p < recording_.procs() ? p : -1, r.argument);
      if (e == Event::YieldRun) {
        begin_run(s, r);
        now_.event = Event::Yield;
        now_.argument = file::id_of(r.argument);
      }
      return;
    }
  }

 private:
  void set(uint64_t cycles, Event e, int p, uint64_t argument) {
    Time time = recording_.time_of(cycles);
    now_ = {time > now_.time ? time : now_.time, writer_, e, p, false, argument};
  }

  void begin_run(const Segment* s, const Record& r) {
    if (index_ + file::kRunRecords > file::kSegmentRecords) return;
    run_.emplace(&r, r.argument);
    run_place_ = 0;
    index_ += file::kRunRecords;
    Gid id;
    while (run_->id(static_cast<size_t>(run_left_), &id)) run_left_++;
    uint64_t end = 0;
    uint64_t next = index_ < file::kSegmentRecords ? records_of(s)[index_].what.load() : 0;
    if (next != 0) end = s->cycles + (next >> file::kTimeShift);
    else if (segment_ + 1 < segments_.size()) end = segments_[segment_ + 1]->cycles;
    run_end_ = end ? recording_.time_of(end) : now_.time;
    if (run_end_ < now_.time) run_end_ = now_.time;
  }

  const Recording& recording_;
  uint32_t writer_;
  const std::vector<const Segment*>& segments_;
  size_t segment_ = 0;
  size_t index_ = 0;
  bool begun_ = false;
  bool done_ = false;
  std::optional<file::Run> run_;
  size_t run_place_ = 0;
  int run_left_ = 0;
  Time run_end_ = 0;
  Happening now_ = {};
};

Recording::~Recording() {
  if (at_) munmap(at_, size_);
}

std::string Recording::open(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return std::string("cannot be read: ") + strerror(errno);
  struct stat st {};
  fstat(fd, &st);
  size_ = static_cast<size_t>(st.st_size);
  bool regular = S_ISREG(st.st_mode);
  void* at = regular && size_ >= goshim::kPage ? mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
  ::close(fd);
  if (at == MAP_FAILED) return "is no timeline of goshim";
  at_ = at;
  header_ = static_cast<const file::Header*>(at);
  if (memcmp(header_->magic, file::kMagic, sizeof file::kMagic) != 0) return "is no timeline of goshim";
  if (header_->version != file::kVersion) return "is of another version of goshim";
  const file::Header& h = *header_;
  uint64_t names_end = goshim::kPage + uint64_t{h.names} * sizeof(file::Name);
  bool sound = h.file_size <= size_ && h.procs >= 1 && h.procs < 1 << file::kPBits && h.names != 0 &&
               h.segments >= names_end && h.segments % alignof(Segment) == 0 && h.segments <= size_ &&
               h.n_segments != 0 && h.n_segments <= (size_ - h.segments) / file::kSegmentSize;
  if (!sound) return "is damaged: it is shorter than it says, or not a whole";
  return read_segments();
}

std::string Recording::read_segments() {
  const char* first = static_cast<const char*>(at_) + header_->segments;
  file::ClockPair last = header_->clocks[header_->which.load() & 1];
  uint64_t latest = last.cycles;
  for (uint64_t i = 0; i < header_->n_segments; i++) {
    const auto* s = reinterpret_cast<const Segment*>(first + i * file::kSegmentSize);
    if (s->magic != file::kSegmentMagic) continue;
    streams_[s->writer].push_back(s);
    if (s->cycles > last.cycles) last = {s->cycles, s->time};
    latest = std::max(latest, s->cycles);
    for (size_t k = 0; k < file::kSegmentRecords; k++) {
      uint64_t what = records_of(s)[k].what.load();
      if (what == 0) break;
      latest = std::max(latest, s->cycles + (what >> file::kTimeShift));
      if (event_of(what) == Event::YieldRun) k += file::kRunRecords;
      else if (static_cast<int>(event_of(what)) >= file::kEvents) return "is damaged: an unknown event";
    }
  }
  if (streams_.empty()) return "is empty: the program was stopped before it did anything";
  if (last.cycles <= header_->start.cycles || last.time <= header_->start.time)
    return "is damaged: its clocks stand still";
  scale_ =
      static_cast<double>(last.time - header_->start.time) / static_cast<double>(last.cycles - header_->start.cycles);
  for (auto& [writer, segments] : streams_)
    std::sort(segments.begin(), segments.end(), [](auto* a, auto* b) { return a->sequence < b->sequence; });
  uint64_t complete = header_->complete_after.load();
  begin_ = complete ? time_of(complete) : 0;
  end_ = std::max(time_of(latest), begin_);
  return {};
}

Time Recording::time_of(uint64_t cycles) const {
  if (cycles <= header_->start.cycles) return 0;
  return static_cast<Time>(static_cast<double>(cycles - header_->start.cycles) * scale_);
}

std::string Recording::program() const {
  return {header_->program, strnlen(header_->program, sizeof header_->program)};
}

std::string Recording::name_of(Gid g) const {
  const auto* names = reinterpret_cast<const file::Name*>(static_cast<const char*>(at_) + goshim::kPage);
  const file::Name& n = names[g % header_->names];
  if (g == 0 || n.g.load() != g) return {};
  return {n.text, strnlen(n.text, sizeof n.text)};
}

int Recording::tid_of(uint32_t writer) const {
  auto i = streams_.find(writer);
  return i == streams_.end() ? 0 : i->second.back()->tid;
}

void Recording::each(const std::function<void(const Happening&)>& fn) const {
  std::vector<Stream> streams;
  streams.reserve(streams_.size());
  for (const auto& [writer, segments] : streams_) streams.emplace_back(*this, writer, segments);
  auto later = [&](size_t a, size_t b) {
    return streams[a].now().time != streams[b].now().time ? streams[a].now().time > streams[b].now().time : a > b;
  };
  std::priority_queue<size_t, std::vector<size_t>, decltype(later)> queue(later);
  for (size_t i = 0; i < streams.size(); i++) {
    if (!streams[i].done()) queue.push(i);
  }
  while (!queue.empty()) {
    size_t i = queue.top();
    queue.pop();
    fn(streams[i].now());
    streams[i].advance();
    if (!streams[i].done()) queue.push(i);
  }
}

}  // namespace launcher::trace
