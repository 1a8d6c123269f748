// goshim trace: runs a program with GOSHIM_TRACE, or takes a file that one has left, and makes it readable.
#include "launcher/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <utility>

#include "base/options.h"
#include "launcher/launcher.h"
#include "launcher/preload.h"

namespace launcher {
namespace {

using trace::JsonWriter;
using trace::Model;
using trace::Picture;
using trace::Recording;

constexpr char kDefaultOutput[] = "trace.json";

struct Request {
  std::string json = kDefaultOutput;
  std::string html;            // empty: beside the JSON
  std::string size;            // empty: the library's default
  std::string convert;         // the file to convert; empty: run a program
  long json_size = 256 << 20;  // bytes; 0: no limit
  bool keep_raw = false;
};

constexpr char kOptionsHelp[] =
    "  -o, --output FILE      the JSON, for ui.perfetto.dev or chrome://tracing (trace.json)\n"
    "      --html FILE        the picture (FILE.html beside the JSON)\n"
    "      --size BYTES       room for events, with k, m or g behind the number (64m); when it is full the oldest go\n"
    "      --json-size BYTES  most of the JSON (256m; 0: no limit); of more than that it holds the last part in time\n"
    "      --keep-raw         keep the binary file (FILE.raw beside the JSON)\n"
    "      --convert RAW      convert the file of a program that was run with GOSHIM_TRACE=RAW; no program is run\n"
    "\n"
    "A summary is printed on stderr, and the status is the program's. Of a program that starts others the first "
    "process\n"
    "that makes a thread is traced; children of a fork are not.\n";

bool is_file(const std::string& path) {
  std::error_code error;
  auto status = std::filesystem::status(path, error);
  return !std::filesystem::exists(status) || std::filesystem::is_regular_file(status);
}

std::filesystem::path whole(const std::string& path) {
  std::error_code error;
  return std::filesystem::weakly_canonical(std::filesystem::absolute(path, error), error);
}

bool same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  if (std::filesystem::equivalent(a, b, error)) return is_file(a);
  return whole(a) == whole(b);
}

std::string beside(const std::string& file, const char* suffix) {
  std::filesystem::path path(file);
  path.replace_extension(suffix);
  return path.string();
}

// A file that will be written, opened before there is anything to write, so that nothing is done in vain. What was
// there stays until then; what was not is taken away again, unless it is kept.
class Output {
 public:
  ~Output() {
    if (fd_ >= 0) close(fd_);
    if (made_) unlink(path_.c_str());
  }
  // False after a complaint.
  bool open(const std::string& path) {
    path_ = path;
    fd_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd_ < 0 && errno == ENOENT) {
      fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
      made_ = fd_ >= 0;
    }
    if (fd_ < 0) unwritable();
    return fd_ >= 0;
  }
  // The descriptor, with nothing in the file; -1 with errno.
  int empty() {
    if (ftruncate(fd_, 0) != 0 && errno != EINVAL) return -1;  // EINVAL: a pipe or a device
    return std::exchange(fd_, -1);
  }
  void keep() { made_ = false; }
  void unwritable() const { complain("trace: %s cannot be written: %s", path_.c_str(), strerror(errno)); }

 private:
  std::string path_;
  int fd_ = -1;
  bool made_ = false;
};

struct Outputs {
  Output json, html;
};

// Whether the files of the request are files of their own and can be written; false after a complaint. raw is read or
// made.
bool open_outputs(const Request& request, const std::string& raw, Outputs* outputs) {
  const std::pair<const char*, const std::string*> files[] = {
      {"the JSON", &request.json}, {"the picture", &request.html}, {"the binary file", &raw}};
  for (const auto& [what, path] : files) {
    for (const auto& [other_what, other] : files) {
      if (what == other_what) break;
      if (!same_file(*path, *other)) continue;
      complain("trace: %s would be %s and %s: -o and --html name two files", path->c_str(), other_what, what);
      return false;
    }
  }
  return outputs->json.open(request.json) && outputs->html.open(request.html);
}

enum class Conversion { Done, NoTimeline, NotWritten };

Conversion convert(const Request& request, const std::string& raw, Outputs* outputs) {
  Recording recording;
  if (std::string why = recording.open(raw); !why.empty()) {
    complain("trace: %s %s", raw.c_str(), why.c_str());
    return Conversion::NoTimeline;
  }
  const Model* model_of_json = nullptr;
  trace::Time from = recording.begin();
  if (request.json_size) {
    JsonWriter measured(recording, &model_of_json, from);
    Model model(recording, {&measured});
    model_of_json = &model;
    if (!measured.open_nowhere()) {
      complain("trace: %s", strerror(errno));
      return Conversion::NotWritten;
    }
    model.run();
    measured.close();
    from = measured.last_part(static_cast<uint64_t>(request.json_size));
  }
  JsonWriter json(recording, &model_of_json, from);
  Picture picture(recording);
  Model model(recording, {&json, &picture});
  model_of_json = &model;
  if (!json.open(outputs->json.empty())) {
    outputs->json.unwritable();
    return Conversion::NotWritten;
  }
  model.run();
  if (!json.close()) {
    outputs->json.unwritable();
    return Conversion::NotWritten;
  }
  if (!picture.write(outputs->html.empty(), model)) {
    outputs->html.unwritable();
    return Conversion::NotWritten;
  }
  outputs->json.keep();
  outputs->html.keep();
  model.summary(stderr);
  if (from > recording.begin())
    fprintf(stderr, "\nThe JSON holds the last %s of %s only (--json-size).\n",
            trace::duration(recording.end() - from).c_str(),
            trace::duration(recording.end() - recording.begin()).c_str());
  fprintf(stderr, "\n%s (open it in ui.perfetto.dev), %s\n", request.json.c_str(), request.html.c_str());
  return Conversion::Done;
}

// Whether the process writes the file still. That it has ended, and not that another has its number, is told by what it
// maps.
bool writes(int pid, const std::string& raw) {
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  if (!maps) return kill(pid, 0) == 0 || errno == EPERM;
  for (std::string line; std::getline(maps, line);) {
    if (line.ends_with(raw)) return true;
  }
  return false;
}

int run_program(const Request& request, const Program& program, char** argv) {
  std::string name = is_file(request.json) ? request.json : is_file(request.html) ? request.html : kDefaultOutput;
  std::string raw = whole(beside(name, ".raw")).string();
  Outputs outputs;
  if (!open_outputs(request, raw, &outputs)) return kFailed;
  char accepted[128];
  if (!goshim::options_accept("GOSHIM_TRACE", raw.c_str(), accepted, sizeof accepted)) {
    complain("trace: %s: accepted is %s", raw.c_str(), accepted);
    return kFailed;
  }
  if (faccessat(AT_FDCWD, raw.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
    complain("trace: %s exists already", raw.c_str());
    return kFailed;
  }
  if (access(std::filesystem::path(raw).parent_path().c_str(), W_OK) != 0) {
    complain("trace: %s cannot be written: %s", raw.c_str(), strerror(errno));
    return kFailed;
  }
  setenv("GOSHIM_TRACE", raw.c_str(), 1);
  if (!request.size.empty()) setenv("GOSHIM_TRACE_SIZE", request.size.c_str(), 1);
  pid_t child = start(program, argv, [] { return true; });
  if (child < 0) {
    complain("trace: fork: %s", strerror(errno));
    return kFailed;
  }
  rusage used;
  int status = wait_for(child, &used);
  int result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (access(raw.c_str(), F_OK) != 0) {
    if (program.natively.empty() && result != kNotFound && result != kCannotExecute)
      complain("trace: no trace was made: the program has made no thread, or ran without goshim");
    return result ? result : kFailed;
  }
  Recording recording;
  recording.open(raw);
  if (recording.pid() && recording.pid() != child && writes(recording.pid(), raw)) {
    complain("trace: process %d goes on; when it has ended: goshim trace --convert %s -o %s", recording.pid(),
             raw.c_str(), request.json.c_str());
    return result ? result : kFailed;
  }
  Conversion conversion = convert(request, raw, &outputs);
  if (conversion == Conversion::NotWritten) complain("trace: the trace is in %s (--convert)", raw.c_str());
  else if (!request.keep_raw) unlink(raw.c_str());
  return result || conversion == Conversion::Done ? result : kFailed;
}

int run(int argc, char** argv) {
  enum { kHtml = 256, kSize, kJsonSize, kKeepRaw, kConvert };
  constexpr option kLong[] = {
      {"output", required_argument, nullptr, 'o'},  {"html", required_argument, nullptr, kHtml},
      {"size", required_argument, nullptr, kSize},  {"json-size", required_argument, nullptr, kJsonSize},
      {"keep-raw", no_argument, nullptr, kKeepRaw}, {"convert", required_argument, nullptr, kConvert},
      {"help", no_argument, nullptr, 'h'},          {}};
  Request request;
  for (int c; (c = getopt_long(argc, argv, "+o:h", kLong, nullptr)) != -1;) {
    switch (c) {
      case 'o': request.json = optarg; break;
      case kHtml: request.html = optarg; break;
      case kSize: request.size = optarg; break;
      case kJsonSize:
        if (!goshim::parse_bytes(optarg, &request.json_size))
          return usage_error(kTrace, "trace: --json-size \"%s\": accepted is a number, with k, m or g", optarg);
        break;
      case kKeepRaw: request.keep_raw = true; break;
      case kConvert: request.convert = optarg; break;
      case 'h': return print_help(kTrace, kOptionsHelp);
      default: return kUsage;
    }
  }
  if (request.html.empty() && is_file(request.json)) request.html = beside(request.json, ".html");
  if (request.html.empty())
    return usage_error(kTrace, "trace: %s is no ordinary file, beside which the picture would lie: --html names it",
                       request.json.c_str());
  for (const std::string& name : {request.json, request.html}) {
    if (name.empty() || name == "-") return usage_error(kTrace, "trace: \"%s\": a file is wanted", name.c_str());
  }
  if (!request.convert.empty()) {
    if (optind != argc) return usage_error(kTrace, "trace: with --convert no program is run");
    Outputs outputs;
    if (!open_outputs(request, request.convert, &outputs)) return kFailed;
    return convert(request, request.convert, &outputs) == Conversion::Done ? 0 : kFailed;
  }
  if (optind == argc) return usage_error(kTrace, "trace: which program?");
  if (!request.size.empty()) {
    std::string setting = "GOSHIM_TRACE_SIZE=" + request.size;
    char* environment[] = {setting.data(), nullptr};
    goshim::Options checked;
    if (goshim::options_parse(environment, &checked) != 0) return kUsage;
  }
  Program program = inspect(argv[optind]);
  if (!preload_into(program, "trace")) return kFailed;
  if (program.path.empty() || program.error) execute(program, argv + optind);
  return run_program(request, program, argv + optind);
}

}  // namespace

const Command kTrace = {"trace", "[OPTION]... [--] PROGRAM [ARGUMENT]...",
                        "Runs a program and records what its threads do: a timeline for Perfetto, a picture, a summary",
                        run};

}  // namespace launcher
