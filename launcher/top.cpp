// goshim top: a live screen of one process under goshim, or of all that the user has.
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <utility>

#include "launcher/launcher.h"
#include "launcher/report.h"

namespace launcher {
namespace {

constexpr char kHelp[] =
    "  -d, --delay=SECONDS   between two screens; 1 if not given\n"
    "\n"
    "Without PID: all processes of the user that run under goshim and have made a thread, those that switch most "
    "first.\n"
    "The key q ends it; any other shows the next screen at once.\n";

volatile sig_atomic_t ended, stopped, continued;

void end(int) { ended = 1; }
void stop(int) { stopped = 1; }
void go_on(int) { continued = 1; }
void resized(int) {}  // ppoll() returns, and the screen is drawn anew

// Signals are taken while the screen waits, and at no other time.
constexpr std::pair<int, void (*)(int)> kHandlers[] = {{SIGINT, end},       {SIGTERM, end},  {SIGHUP, end},
                                                       {SIGWINCH, resized}, {SIGTSTP, stop}, {SIGCONT, go_on}};

void handle(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  sigaction(signal, &action, nullptr);
}

// What fits of a line that may hold escape sequences, which take no place; with attributes ended.
std::string cut(const std::string& line, size_t width) {
  std::string out;
  size_t seen = 0;
  for (size_t i = 0; i < line.size();) {
    size_t from = i++;
    if (line[from] == '\033') {
      i = std::min(line.find_first_of("ABCDHJKmhl", i), line.size() - 1) + 1;
    } else {
      while (i < line.size() && (line[i] & 0xc0) == 0x80) i++;  // UTF-8
      if (++seen > width) break;
    }
    out.append(line, from, i - from);
  }
  return out + "\033[0m";
}

// The terminal while the screen is shown: its other buffer, no echo, keys at once.
class Screen {
 public:
  Screen() {
    tcgetattr(STDIN_FILENO, &before_);
    enter();
  }
  ~Screen() { leave(); }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  static winsize size() {
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) {
      size.ws_row = 24;
      size.ws_col = 80;
    }
    return size;
  }

  // False when the terminal is gone.
  bool draw(const std::vector<std::string>& lines) {
    winsize room = size();
    std::string all = "\033[H";
    for (size_t i = 0; i < lines.size() && i < room.ws_row; i++)
      all += (i ? "\r\n" : "") + cut(lines[i], room.ws_col) + "\033[K";
    all += "\033[J";
    fputs(all.c_str(), stdout);
    return fflush(stdout) == 0;
  }

  // Waits for the next screen to be due. False when the user wants no more.
  bool wait(double seconds) {
    pollfd in{STDIN_FILENO, POLLIN, 0};
    timespec due;
    due.tv_sec = static_cast<time_t>(seconds);
    due.tv_nsec = static_cast<long>((seconds - static_cast<double>(due.tv_sec)) * 1e9);
    sigset_t none;
    sigemptyset(&none);
    int r = ppoll(&in, 1, &due, &none);
    if (ended) return false;
    if (stopped) stop_here();
    if (continued) enter();
    stopped = 0;
    continued = 0;
    if (r <= 0) return true;
    char keys[64];
    ssize_t n = read(STDIN_FILENO, keys, sizeof keys);
    return n > 0 && !memchr(keys, 'q', static_cast<size_t>(n)) && !memchr(keys, 'Q', static_cast<size_t>(n));
  }

 private:
  void enter() {
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    fputs("\033[?1049h\033[?25l", stdout);
  }
  void leave() {
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  // As if nobody took SIGTSTP, until SIGCONT.
  void stop_here() {
    leave();
    sigset_t stops;
    sigemptyset(&stops);
    sigaddset(&stops, SIGTSTP);
    handle(SIGTSTP, SIG_DFL);
    raise(SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &stops, nullptr);
    sigprocmask(SIG_BLOCK, &stops, nullptr);
    handle(SIGTSTP, stop);
    continued = 1;
  }

  termios before_;
};

std::string clock_time() {
  time_t now = time(nullptr);
  char s[16];
  strftime(s, sizeof s, "%H:%M:%S", localtime(&now));
  return s;
}

int watch_one(const Watched& w, double delay) {
  std::vector<std::string> last;
  {
    Screen screen;
    Look before(w);
    Look now = before;
    Span span(w, nullptr, now);
    while (w.alive()) {
      last = report(w, now, span);
      std::vector<std::string> lines = last;
      lines.insert(lines.begin(), clock_time() + "  goshim top, q quits");
      if (!screen.draw(lines) || !screen.wait(delay)) return 0;
      before = now;
      now = Look(w);
      span = Span(w, &before, now);
    }
  }
  for (const std::string& l : last) puts(l.c_str());
  printf("\nprocess %d has ended\n", w.pid());
  return 0;
}

struct Column {
  const char* name;
  int width;      // below 0: to the left
  int sacrifice;  // the highest go first where not all have room
};

constexpr Column kColumns[] = {{"PID", 7, 0},    {"NAME", -15, 0}, {"THREADS", 7, 0}, {"RUN", 5, 1}, {"QUEUE", 5, 4},
                               {"CALL", 5, 8},   {"WAIT", 7, 5},   {"PS", 4, 9},      {"MS", 4, 10}, {"CPU%", 5, 2},
                               {"SWITCH", 7, 3}, {"CALL/S", 7, 7}, {"99%", 7, 6}};
constexpr size_t kNumColumns = std::size(kColumns);

using Cells = std::array<std::string, kNumColumns>;  // as kColumns

struct Row {
  uint64_t switches;
  Cells cells;
};

// How far columns may be spared to have room in the width.
int sacrifice_for(int width) {
  for (int most = 10;; most--) {
    int taken = -1;
    for (const Column& c : kColumns) taken += c.sacrifice <= most ? abs(c.width) + 1 : 0;
    if (taken <= width || most == 0) return most;
  }
}

std::string aligned(const Cells& cells, int most) {
  std::string line;
  for (size_t i = 0; i < kNumColumns; i++) {
    if (kColumns[i].sacrifice > most) continue;
    line += text("%s%*s", line.empty() ? "" : " ", kColumns[i].width, cells[i].c_str());
  }
  return line;
}

int watch_many(double delay) {
  Screen screen;
  std::map<pid_t, Look> before;
  for (;;) {
    std::vector<Row> rows;
    std::map<pid_t, Look> looks;
    uint64_t threads = 0;
    for (const auto& w : watch_all()) {
      Look now(*w);
      auto known = before.find(w->pid());
      // A number that has come to another process since counts from its start.
      bool same = known != before.end() && known->second.at > w->page().started_at;
      Span span(*w, same ? &known->second : nullptr, now);
      const goshim::Totals& t = now.totals;
      threads += t.live;
      auto n = [](uint64_t count) { return amount(static_cast<double>(count)); };
      rows.push_back({span.switches,
                      {text("%d", w->pid()), process_name(w->pid()), n(t.live), n(t.running), n(t.runnable),
                       n(t.in_calls), n(t.waiting), text("%d", w->page().limit.load(std::memory_order_relaxed)),
                       text("%d", w->page().ms.load(std::memory_order_relaxed)),
                       span.processors >= 0 ? text("%.0f", span.processors * 100) : "-", span.rate(span.switches),
                       span.rate(span.of(goshim::Counter::calls)),
                       latency_samples(span.latency) ? duration(latency_quantile(span.latency, 0.99)) : "-"}});
      looks.emplace(w->pid(), now);
    }
    std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.switches > b.switches; });
    std::vector<std::string> lines;
    lines.push_back(
        text("%s  goshim top: %zu processes, %lu threads; q quits", clock_time().c_str(), rows.size(), threads));
    lines.emplace_back();
    int most = sacrifice_for(Screen::size().ws_col);
    Cells names;
    for (size_t i = 0; i < kNumColumns; i++) names[i] = kColumns[i].name;
    lines.push_back("\033[7m" + aligned(names, most));
    for (const Row& row : rows) lines.push_back(aligned(row.cells, most));
    if (!screen.draw(lines) || !screen.wait(delay)) return 0;
    before = std::move(looks);
  }
}

int run(int argc, char** argv) {
  constexpr option kLong[] = {{"delay", required_argument, nullptr, 'd'}, {"help", no_argument, nullptr, 'h'}, {}};
  double delay = 1;
  for (int c; (c = getopt_long(argc, argv, "d:h", kLong, nullptr)) != -1;) {
    char* rest = nullptr;
    switch (c) {
      case 'd':
        delay = strtod(optarg, &rest);
        if (rest == optarg || *rest || !(delay >= 0.1 && delay <= 3600))
          return usage_error(kTop, "top: a delay is of 0.1 to 3600 seconds, not \"%s\"", optarg);
        break;
      case 'h': return print_help(kTop, kHelp);
      default: return kUsage;
    }
  }
  if (argc - optind > 1) return usage_error(kTop, "top: one process at most");
  pid_t pid = optind < argc ? parse_pid(argv[optind]) : 0;
  if (pid < 0) return usage_error(kTop, "top: %s: no number of a process", argv[optind]);
  if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
    complain("top: this needs a terminal; goshim stat -i 1 PID does without");
    return kFailed;
  }
  std::unique_ptr<Watched> one;
  if (pid) {
    std::string why;
    one = Watched::open(pid, &why);
    if (!one) {
      complain("top: %d: %s", pid, why.empty() ? kNoPage : why.c_str());
      return kFailed;
    }
  }
  sigset_t taken;
  sigemptyset(&taken);
  for (auto [signal, handler] : kHandlers) {
    handle(signal, handler);
    sigaddset(&taken, signal);
  }
  sigprocmask(SIG_BLOCK, &taken, nullptr);
  return one ? watch_one(*one, delay) : watch_many(delay);
}

}  // namespace

const Command kTop = {"top", "[-d SECONDS] [PID]", "Shows the processes under goshim, or one of them, live", run};

}  // namespace launcher
