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

#include "base/options.h"
#include "launcher/launcher.h"

namespace launcher {
namespace {

using trace::JsonWriter;
using trace::Model;
using trace::Picture;
using trace::Recording;

constexpr int kCannotRun = 127;

struct Request {
  std::string json = "trace.json";
  std::string html;     // empty: beside the JSON
  std::string size;     // empty: the library's default
  std::string convert;  // the file to convert; empty: run a program
  bool keep_raw = false;
};

constexpr char kOptionsHelp[] =
    "  -o, --output FILE    the JSON, for ui.perfetto.dev or chrome://tracing (trace.json)\n"
    "      --html FILE      the picture (FILE.html beside the JSON)\n"
    "      --size BYTES     room for events, with k, m or g behind the number (64m); when it is full the oldest go\n"
    "      --keep-raw       keep the binary file (FILE.raw beside the JSON)\n"
    "      --convert RAW    convert the file of a program that was run with GOSHIM_TRACE=RAW; no program is run\n"
    "\n"
    "A summary is printed on stderr, and the status is the program's. Of a program that starts others the first "
    "process\n"
    "that makes a thread is traced; children of a fork are not.\n";

std::string beside(const std::string& json, const char* suffix) {
  std::filesystem::path path(json);
  path.replace_extension(suffix);
  return path.string();
}

bool convert(const Request& request, const std::string& raw) {
  Recording recording;
  if (std::string why = recording.open(raw); !why.empty()) {
    complain("trace: %s %s", raw.c_str(), why.c_str());
    return false;
  }
  const Model* model_of_json = nullptr;
  JsonWriter json(recording, &model_of_json);
  Picture picture(recording);
  Model model(recording, {&json, &picture});
  model_of_json = &model;
  if (!json.open(request.json)) {
    complain("trace: %s cannot be written: %s", request.json.c_str(), strerror(errno));
    return false;
  }
  model.run();
  if (!json.close()) {
    complain("trace: %s cannot be written: %s", request.json.c_str(), strerror(errno));
    return false;
  }
  if (!picture.write(request.html, model)) {
    complain("trace: %s cannot be written: %s", request.html.c_str(), strerror(errno));
    return false;
  }
  model.summary(stderr);
  fprintf(stderr, "\n%s (open it in ui.perfetto.dev), %s\n", request.json.c_str(), request.html.c_str());
  return true;
}

// The program, with the library and the trace in its environment. Does not return.
[[noreturn]] void become(char** argv, const std::string& library, const std::string& raw, const std::string& size) {
  const char* before = getenv("LD_PRELOAD");
  std::string preload = before && *before ? library + ":" + before : library;
  setenv("LD_PRELOAD", preload.c_str(), 1);
  setenv("GOSHIM_TRACE", raw.c_str(), 1);
  if (!size.empty()) setenv("GOSHIM_TRACE_SIZE", size.c_str(), 1);
  execvp(argv[0], argv);
  complain("trace: %s: %s", argv[0], strerror(errno));
  _exit(kCannotRun);
}

int run_program(const Request& request, char** argv) {
  std::string library = library_path();
  if (library.empty()) {
    complain("trace: libgoshim.so is not where this program is");
    return kFailed;
  }
  std::error_code error;
  std::string raw = std::filesystem::absolute(beside(request.json, ".raw"), error).string();
  if (access(raw.c_str(), F_OK) == 0) {
    complain("trace: %s exists already", raw.c_str());
    return kFailed;
  }
  // Before the program runs, not after it has in vain. What was there stays until then.
  FILE* writable = fopen(request.json.c_str(), "ae");
  if (!writable) {
    complain("trace: %s cannot be written: %s", request.json.c_str(), strerror(errno));
    return kFailed;
  }
  fclose(writable);
  pid_t child = fork();
  if (child < 0) {
    complain("trace: fork: %s", strerror(errno));
    return kFailed;
  }
  if (child == 0) become(argv, library, raw, request.size);
  // What the terminal sends is for the program.
  signal(SIGINT, SIG_IGN);
  signal(SIGQUIT, SIG_IGN);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  int result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (access(raw.c_str(), F_OK) != 0) {
    if (result != kCannotRun)
      complain("trace: no trace was made: the program has made no thread, or ran without goshim");
    return result ? result : kFailed;
  }
  bool converted = convert(request, raw);
  if (converted && !request.keep_raw) unlink(raw.c_str());
  return result || converted ? result : kFailed;
}

int run(int argc, char** argv) {
  enum { kHtml = 256, kSize, kKeepRaw, kConvert };
  constexpr option kLong[] = {{"output", required_argument, nullptr, 'o'},
                              {"html", required_argument, nullptr, kHtml},
                              {"size", required_argument, nullptr, kSize},
                              {"keep-raw", no_argument, nullptr, kKeepRaw},
                              {"convert", required_argument, nullptr, kConvert},
                              {"help", no_argument, nullptr, 'h'},
                              {}};
  Request request;
  for (int c; (c = getopt_long(argc, argv, "+o:h", kLong, nullptr)) != -1;) {
    switch (c) {
      case 'o': request.json = optarg; break;
      case kHtml: request.html = optarg; break;
      case kSize: request.size = optarg; break;
      case kKeepRaw: request.keep_raw = true; break;
      case kConvert: request.convert = optarg; break;
      case 'h': return print_help(kTrace, kOptionsHelp);
      default: return kUsage;
    }
  }
  if (request.json.empty()) return usage_error(kTrace, "trace: -o wants a file");
  if (request.html.empty()) request.html = beside(request.json, ".html");
  if (!request.convert.empty()) {
    if (optind != argc) return usage_error(kTrace, "trace: with --convert no program is run");
    return convert(request, request.convert) ? 0 : kFailed;
  }
  if (optind == argc) return usage_error(kTrace, "trace: which program?");
  if (!request.size.empty()) {
    std::string setting = "GOSHIM_TRACE_SIZE=" + request.size;
    char* environment[] = {setting.data(), nullptr};
    goshim::Options checked;
    if (goshim::options_parse(environment, &checked) != 0) return kUsage;
  }
  return run_program(request, argv + optind);
}

}  // namespace

const Command kTrace = {"trace", "[OPTION]... [--] PROGRAM [ARGUMENT]...",
                        "Runs a program and records what its threads do: a timeline for Perfetto, a picture, a summary",
                        run};

}  // namespace launcher
