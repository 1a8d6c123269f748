// goshim compare: the same program natively and under goshim, in turn, and what it took.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "launcher/launcher.h"
#include "launcher/preload.h"
#include "launcher/report.h"

namespace launcher {
namespace {

constexpr char kHelp[] =
    "  -n, --runs=N   runs of each kind; 3 if not given\n"
    "      --json     one object\n"
    "\n"
    "The two kinds take turns, natively first. The program's standard output is kept and compared, its standard error "
    "is\n"
    "shown, its standard input is the launcher's from where that stands if it is a file, else empty. Shown are "
    "medians\n"
    "over the runs, and how many times what it took natively it took under goshim. Time on processors, memory and "
    "context\n"
    "switches are those of the program and of the children that it has waited for; threads and kernel threads are the "
    "most\n"
    "that were seen in the program itself, by looking often.\n"
    "\n"
    "The exit status is 0 if in all runs exit status and output were the same, else 1.\n";

constexpr int kLookMs = 5;  // between looks at the running program

struct Result {
  double wall = 0;      // seconds
  double cpu = 0;       // user's and system's
  double memory = 0;    // bytes
  double switches = 0;  // context switches of the kernel, voluntary or not
  double kernel_threads = 0;
  std::optional<double> threads;       // under goshim: the most alive
  std::optional<double> threads_made;  // and in all
  bool missed = false;                 // it made threads without goshim, though the library was preloaded
  int status = 0;                      // of wait(2)
  FILE* output = nullptr;
};

double seconds(const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; }

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

bool prepare(bool goshim, off_t input, int output) {
  if (input >= 0) {
    lseek(STDIN_FILENO, input, SEEK_SET);
  } else {
    int null = open("/dev/null", O_RDONLY);
    dup2(null, STDIN_FILENO);
    close(null);
  }
  dup2(output, STDOUT_FILENO);
  // A program that is linked with the library has it natively, too.
  if (goshim) unsetenv("GOSHIM");
  else setenv("GOSHIM", "off", 1);
  return set_preload(goshim);
}

// One run, to its end. False if it could not be started.
bool run_once(const Program& program, char** argv, bool goshim, off_t input, Result* r) {
  r->output = tmpfile();
  if (!r->output) {
    complain("compare: no file for the output: %s", strerror(errno));
    return false;
  }
  fcntl(fileno(r->output), F_SETFD, FD_CLOEXEC);
  double began = now();
  pid_t pid = start(program, argv, [&] { return prepare(goshim, input, fileno(r->output)); });
  if (pid < 0) {
    complain("compare: %s", strerror(errno));
    return false;
  }
  int process = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  std::unique_ptr<Watched> watched;
  pollfd end{process, POLLIN, 0};
  do {
    long kernel_threads = process_status(pid, "Threads");
    r->kernel_threads = std::max(r->kernel_threads, static_cast<double>(kernel_threads));
    if (goshim && !watched) {
      std::string why;
      watched = Watched::open(pid, &why);
      // Looked at twice, since it may execute another program meanwhile, or end.
      r->missed |=
          !watched && why.empty() && kernel_threads > 1 && process_status(pid, "Threads") > 1 && has_descriptors(pid);
    }
    if (watched) r->threads = std::max(r->threads.value_or(0), static_cast<double>(watched->totals().live));
  } while (process >= 0 && (poll(&end, 1, kLookMs) == 0 || !end.revents));
  if (watched) r->missed = false;
  rusage used{};
  r->status = wait_for(pid, &used);
  r->wall = now() - began;
  if (process >= 0) close(process);
  if (watched) {
    goshim::Totals t = watched->totals();
    r->threads_made = static_cast<double>(t.counts[static_cast<size_t>(goshim::Counter::gs_made)]);
  }
  r->cpu = seconds(used.ru_utime) + seconds(used.ru_stime);
  r->memory = static_cast<double>(used.ru_maxrss) * 1024;
  r->switches = static_cast<double>(used.ru_nvcsw + used.ru_nivcsw);
  return true;
}

bool same_output(FILE* a, FILE* b) {
  char x[1 << 16], y[1 << 16];
  rewind(a);
  rewind(b);
  for (;;) {
    size_t n = fread(x, 1, sizeof x, a), m = fread(y, 1, sizeof y, b);
    if (n != m || memcmp(x, y, n) != 0) return false;
    if (n == 0) return true;
  }
}

std::string ending(int status) {
  if (WIFSIGNALED(status)) return text("signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
  return text("status %d", WEXITSTATUS(status));
}

using Value = std::optional<double> (*)(const Result&);

std::optional<double> median(const std::vector<Result>& runs, Value value) {
  std::vector<double> all;
  for (const Result& r : runs) {
    if (auto v = value(r)) all.push_back(*v);
  }
  if (all.empty()) return {};
  std::sort(all.begin(), all.end());
  size_t half = all.size() / 2;
  return all.size() % 2 ? all[half] : (all[half - 1] + all[half]) / 2;
}

std::string show_seconds(double s) { return duration(static_cast<uint64_t>(s * 1e9)); }
std::string show_bytes(double n) { return text("%.1fMB", n / 1e6); }
std::string show_number(double n) { return amount(n); }

struct Row {
  const char* name;
  const char* key;  // in JSON
  Value value;
  std::string (*show)(double);
};
constexpr Row kRows[] = {
    {"elapsed time", "wall_seconds", [](const Result& r) { return std::optional(r.wall); }, show_seconds},
    {"time on processors", "cpu_seconds", [](const Result& r) { return std::optional(r.cpu); }, show_seconds},
    {"memory, at most", "max_rss_bytes", [](const Result& r) { return std::optional(r.memory); }, show_bytes},
    {"context switches", "context_switches", [](const Result& r) { return std::optional(r.switches); }, show_number},
    {"kernel threads, at most", "kernel_threads", [](const Result& r) { return std::optional(r.kernel_threads); },
     show_number},
    {"threads, at most", "threads", [](const Result& r) { return r.threads; }, show_number},
    {"threads made", "threads_made", [](const Result& r) { return r.threads_made; }, show_number},
};

// What differs from the first run, which is native.
std::vector<std::string> differences(const std::vector<Result>& native, const std::vector<Result>& goshim) {
  std::vector<std::string> all;
  const Result& first = native[0];
  auto compare = [&](const Result& r, const char* kind, size_t i) {
    if (r.status != first.status)
      all.push_back(text("%s run %zu ended with %s, the first native one with %s", kind, i + 1,
                         ending(r.status).c_str(), ending(first.status).c_str()));
    if (!same_output(first.output, r.output))
      all.push_back(text("%s run %zu wrote something else to standard output than the first native one", kind, i + 1));
  };
  for (size_t i = 1; i < native.size(); i++) compare(native[i], "native", i);
  for (size_t i = 0; i < goshim.size(); i++) compare(goshim[i], "goshim", i);
  return all;
}

void print_text(const std::vector<Result>& native, const std::vector<Result>& goshim,
                const std::vector<std::string>& differ) {
  printf("%-24s %12s %12s %8s\n", text("median of %zu", native.size()).c_str(), "native", "goshim", "ratio");
  for (const Row& row : kRows) {
    auto a = median(native, row.value), b = median(goshim, row.value);
    if (!a && !b) continue;
    printf("%-24s %12s %12s %8s\n", row.name, a ? row.show(*a).c_str() : "-", b ? row.show(*b).c_str() : "-",
           a && b && *a > 0 ? text("%.2f", *b / *a).c_str() : "-");
  }
  for (const std::string& d : differ) printf("different: %s\n", d.c_str());
  if (differ.empty()) printf("same exit status (%s) and output in all runs\n", ending(native[0].status).c_str());
}

void print_json(const std::vector<Result>& native, const std::vector<Result>& goshim,
                const std::vector<std::string>& differ, char** argv) {
  nlohmann::ordered_json j;
  auto& command = j["command"] = nlohmann::ordered_json::array();
  for (char** a = argv; *a; a++) command.push_back(*a);
  for (const auto& [name, runs] : {std::pair{"native", &native}, {"goshim", &goshim}}) {
    auto& kind = j[name];
    for (const Row& row : kRows) {
      if (auto m = median(*runs, row.value)) kind["median"][row.key] = *m;
    }
    for (const Result& r : *runs) {
      nlohmann::ordered_json one;
      for (const Row& row : kRows) {
        if (auto v = row.value(r)) one[row.key] = *v;
      }
      if (WIFSIGNALED(r.status)) one["signal"] = WTERMSIG(r.status);
      else one["exit_status"] = WEXITSTATUS(r.status);
      kind["runs"].push_back(one);
    }
  }
  for (const Row& row : kRows) {
    auto a = median(native, row.value), b = median(goshim, row.value);
    if (a && b && *a > 0) j["ratio"][row.key] = *b / *a;
  }
  j["differences"] = differ;
  puts(j.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
}

int run(int argc, char** argv) {
  constexpr option kLong[] = {{"runs", required_argument, nullptr, 'n'},
                              {"json", no_argument, nullptr, 'j'},
                              {"help", no_argument, nullptr, 'h'},
                              {}};
  constexpr long kMostRuns = 1000;
  long runs = 3;
  bool json = false;
  for (int c; (c = getopt_long(argc, argv, "+n:h", kLong, nullptr)) != -1;) {
    char* end = nullptr;
    switch (c) {
      case 'n':
        runs = strtol(optarg, &end, 10);
        if (end == optarg || *end || runs < 1 || runs > kMostRuns)
          return usage_error(kCompare, "compare: -n \"%s\": from 1 to %ld", optarg, kMostRuns);
        break;
      case 'j': json = true; break;
      case 'h': return print_help(kCompare, kHelp);
      default: return kUsage;
    }
  }
  if (optind == argc) return usage_error(kCompare, "compare: which program?");
  char** program_argv = argv + optind;
  Program program = inspect(program_argv[0]);
  if (program.path.empty() || program.error) execute(program, program_argv);
  if (!program.natively.empty()) {
    complain("compare: %s: there is nothing to compare", program.natively.c_str());
    return kFailed;
  }
  if (!set_preload(true)) return kFailed;
  bool progress = isatty(STDERR_FILENO);
  off_t input = lseek(STDIN_FILENO, 0, SEEK_CUR);  // where each run begins to read; -1: it is no file
  std::vector<Result> native, goshim;
  for (long i = 0; i < 2 * runs; i++) {
    bool is_goshim = i % 2;
    if (progress) fprintf(stderr, "\r\033[Krun %ld of %ld: %s ... ", i + 1, 2 * runs, is_goshim ? "goshim" : "native");
    Result r;
    if (!run_once(program, program_argv, is_goshim, input, &r)) return kFailed;
    (is_goshim ? goshim : native).push_back(r);
    if (r.missed || passed_on()) break;
  }
  if (progress) fputs("\r\033[K", stderr);
  if (passed_on()) return 128 + passed_on();
  if (goshim.back().missed) {
    complain(
        "compare: %s made its threads without goshim though the library was preloaded: there is nothing to compare",
        program_argv[0]);
    return kFailed;
  }
  std::vector<std::string> differ = differences(native, goshim);
  if (json) print_json(native, goshim, differ, program_argv);
  else print_text(native, goshim, differ);
  return differ.empty() ? 0 : kFailed;
}

}  // namespace

const Command kCompare = {"compare", "[-n N] [--json] [--] PROGRAM [ARGUMENT]...",
                          "Runs a program natively and under goshim, and compares", run};

}  // namespace launcher
