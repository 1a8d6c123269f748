// The JSON of trace events that ui.perfetto.dev and chrome://tracing open: Ps are threads of process 1, Gs that run
// without a P lie on their Ms, threads of process 2, and regions are asynchronous spans of process 3.
#include <string.h>

#include <algorithm>

#include "launcher/text.h"
#include "launcher/trace.h"

namespace launcher::trace {

namespace {

constexpr int kPs = 1;
constexpr int kMs = 2;
constexpr int kRegions = 3;
constexpr Time kCounterStep = 1000;   // least distance of two values of the counter
constexpr uint64_t kMark = 64 << 10;  // bytes between two marks

}  // namespace

bool JsonWriter::open(int fd) {
  to_ = fd >= 0 ? fdopen(fd, "w") : nullptr;
  return begin_file();
}

bool JsonWriter::open_nowhere() {
  cookie_io_functions_t counts_only{};
  counts_only.write = [](void* written, const char*, size_t n) {
    *static_cast<uint64_t*>(written) += n;
    return static_cast<ssize_t>(n);
  };
  to_ = fopencookie(&measured_, "w", counts_only);
  return begin_file();
}

bool JsonWriter::begin_file() {
  if (!to_) return false;
  fprintf(to_,
          "{\"displayTimeUnit\":\"ns\",\"otherData\":{\"program\":%s,\"overwritten\":%llu,\"dropped\":%llu},"
          "\n\"traceEvents\":[\n",
          json_quoted(recording_.program()).c_str(), static_cast<unsigned long long>(recording_.overwritten()),
          static_cast<unsigned long long>(recording_.dropped()));
  std::string of = recording_.program() + " (" + std::to_string(recording_.pid()) + ")";
  const char* const kNames[] = {"Ps of ", "Without a P, by kernel thread: ", "In the kernel: "};
  for (int pid = kPs; pid <= kRegions; pid++) {
    fprintf(to_, "{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":%d,\"args\":{\"name\":%s}},\n", pid,
            json_quoted(kNames[pid - 1] + of).c_str());
    fprintf(to_, "{\"ph\":\"M\",\"name\":\"process_sort_index\",\"pid\":%d,\"args\":{\"sort_index\":%d}},\n", pid, pid);
  }
  for (int p = 0; p < recording_.procs(); p++) track(kPs, static_cast<uint64_t>(p) + 1, "P" + std::to_string(p), p);
  return true;
}

bool JsonWriter::close() {
  // Viewers want the last one without a comma.
  fprintf(to_, "{\"ph\":\"M\",\"name\":\"process_labels\",\"pid\":%d,\"args\":{\"labels\":\"goshim\"}}\n]}\n", kPs);
  bool failed = ferror(to_) != 0;
  return fclose(to_) == 0 && !failed;
}

bool JsonWriter::holds(Time end) {
  if (measured_ >= (marks_.empty() ? 0 : marks_.back().bytes) + kMark) marks_.push_back({end, measured_});
  return end >= from_;
}

Time JsonWriter::last_part(uint64_t bytes) const {
  if (measured_ <= bytes) return from_;
  auto fits = std::find_if(marks_.begin(), marks_.end(), [&](const Mark& m) { return measured_ - m.bytes <= bytes; });
  return fits == marks_.end() ? recording_.end() : fits->time;
}

void JsonWriter::track(int pid, uint64_t tid, const std::string& text, int order) {
  fprintf(to_, "{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":%d,\"tid\":%llu,\"args\":{\"name\":%s}},\n", pid,
          static_cast<unsigned long long>(tid), json_quoted(text).c_str());
  fprintf(to_, "{\"ph\":\"M\",\"name\":\"thread_sort_index\",\"pid\":%d,\"tid\":%llu,\"args\":{\"sort_index\":%d}},\n",
          pid, static_cast<unsigned long long>(tid), order);
}

void JsonWriter::begin(char phase, int pid, uint64_t tid, Time at) {
  fprintf(to_, "{\"ph\":\"%c\",\"pid\":%d,\"tid\":%llu,\"ts\":%lld.%03d", phase, pid,
          static_cast<unsigned long long>(tid), static_cast<long long>(at / 1000), static_cast<int>(at % 1000));
}

void JsonWriter::name(const std::string& text) { fprintf(to_, ",\"name\":%s", json_quoted(text).c_str()); }

void JsonWriter::place(char phase, const Place& p, Time at) {
  if (p.p >= 0) {
    begin(phase, kPs, static_cast<uint64_t>(p.p) + 1, at);
    return;
  }
  if (!machines_[p.writer]) {
    machines_[p.writer] = true;
    track(kMs, p.writer, "kernel thread " + std::to_string(recording_.tid_of(p.writer)), static_cast<int>(p.writer));
  }
  begin(phase, kMs, p.writer, at);
}

void JsonWriter::slice(const Slice& s) {
  if (!holds(s.to)) return;
  Time from = std::max(s.from, from_);
  place('X', s.place, from);
  name((*model_)->label(s.g));
  // A tenth of a nanosecond less: a viewer that adds up in floating point must not come out behind the beginning of the
  // next slice, or it takes that for one nested in this.
  Time length = s.to > from ? (s.to - from) * 10 - 1 : 0;
  fprintf(to_, ",\"cat\":\"run\",\"dur\":%lld.%04d,\"args\":{\"g\":%u,\"until\":\"%s\"",
          static_cast<long long>(length / 10000), static_cast<int>(length % 10000), s.g, s.why);
  if (s.object && reason_has_object(s.reason))
    fprintf(to_, ",\"object\":\"0x%llx\"", static_cast<unsigned long long>(s.object));
  if (s.waited >= 0) fprintf(to_, ",\"runnable before (ns)\":%lld", static_cast<long long>(s.waited));
  if (s.estimated) fprintf(to_, ",\"times\":\"estimated\"");
  fprintf(to_, "}},\n");
}

void JsonWriter::flow(const Flow& f) {
  if (!holds(f.to) || f.from < from_) return;
  const char* what = f.creation ? "creates" : "wakes";
  flows_++;
  begin('s', kPs, static_cast<uint64_t>(f.from_p) + 1, f.from);
  fprintf(to_, ",\"name\":\"%s\",\"cat\":\"%s\",\"id\":%llu},\n", what, what, static_cast<unsigned long long>(flows_));
  begin('f', kPs, static_cast<uint64_t>(f.to_p) + 1, f.to);
  fprintf(to_, ",\"name\":\"%s\",\"cat\":\"%s\",\"id\":%llu,\"bp\":\"e\"},\n", what, what,
          static_cast<unsigned long long>(flows_));
}

void JsonWriter::region(const RegionSpan& r) {
  if (!holds(r.to)) return;
  std::string call = *r.call ? r.call : r.nr >= 0 ? "system call " + std::to_string(r.nr) : "call";
  regions_++;
  for (char phase : {'b', 'e'}) {
    begin(phase, kRegions, 0, phase == 'b' ? std::max(r.from, from_) : r.to);
    name(call);
    fprintf(to_, ",\"cat\":\"region\",\"id\":%llu", static_cast<unsigned long long>(regions_));
    if (phase == 'b') {
      fprintf(to_, ",\"args\":{\"g\":%u,\"thread\":%s,\"P\":\"%s\"}", r.g, json_quoted((*model_)->label(r.g)).c_str(),
              r.taken ? "taken" : "kept");
    }
    fprintf(to_, "},\n");
  }
}

void JsonWriter::instant(const Instant& i) {
  if (!holds(i.time)) return;
  place('i', i.place, i.time);
  fprintf(to_, ",\"name\":\"%s\",\"cat\":\"scheduler\",\"s\":\"t\"", i.name);
  if (i.key) fprintf(to_, ",\"args\":{\"%s\":%lld}", i.key, static_cast<long long>(i.number));
  fprintf(to_, "},\n");
}

void JsonWriter::runnable(Time at, long n) {
  if (!holds(at) || (counted_ >= 0 && at < counted_ + kCounterStep)) return;
  counted_ = at;
  begin('C', kPs, 0, at);
  fprintf(to_, ",\"name\":\"runnable threads\",\"args\":{\"runnable\":%ld}},\n", std::max(n, 0L));
}

}  // namespace launcher::trace
