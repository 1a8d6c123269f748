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
#include <map>

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

volatile sig_atomic_t ended;

void end(int) { ended = 1; }
void resized(int) {}  // poll() returns, and the screen is drawn anew

// The terminal while the screen is shown: its other buffer, no echo, keys at once.
class Screen {
 public:
  Screen() {
    tcgetattr(STDIN_FILENO, &before_);
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    fputs("\033[?1049h\033[?25l", stdout);
  }
  ~Screen() {
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  // False when the terminal is gone.
  bool draw(const std::vector<std::string>& lines) {
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) {
      size.ws_row = 24;
      size.ws_col = 80;
    }
    std::string all = "\033[H";
    for (size_t i = 0; i < lines.size() && i < size.ws_row; i++)
      all += (i ? "\r\n" : "") + lines[i].substr(0, size.ws_col) + "\033[K";
    all += "\033[J";
    fputs(all.c_str(), stdout);
    return fflush(stdout) == 0;
  }

  // Waits for the next screen to be due. False when the user wants no more.
  static bool wait(double seconds) {
    pollfd in{STDIN_FILENO, POLLIN, 0};
    int r = poll(&in, 1, static_cast<int>(seconds * 1000));
    if (ended) return false;
    if (r <= 0) return true;
    char keys[64];
    ssize_t n = read(STDIN_FILENO, keys, sizeof keys);
    return n > 0 && !memchr(keys, 'q', static_cast<size_t>(n)) && !memchr(keys, 'Q', static_cast<size_t>(n));
  }

 private:
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
      if (!screen.draw(lines) || !Screen::wait(delay)) return 0;
      before = now;
      now = Look(w);
      span = Span(w, &before, now);
    }
  }
  for (const std::string& l : last) puts(l.c_str());
  printf("\nprocess %d has ended\n", w.pid());
  return 0;
}

struct Line {
  uint64_t switches;
  std::string text;
};

int watch_many(double delay) {
  Screen screen;
  std::map<pid_t, Look> before;
  for (;;) {
    std::vector<Line> rows;
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
      rows.push_back(
          {span.switches,
           text("%7d %-15s %7s %5s %5s %5s %7s %4d %4d %5s %7s %7s %7s", w->pid(), process_name(w->pid()).c_str(),
                n(t.live).c_str(), n(t.running).c_str(), n(t.runnable).c_str(), n(t.in_calls).c_str(),
                n(t.waiting).c_str(), w->page().limit.load(std::memory_order_relaxed),
                w->page().ms.load(std::memory_order_relaxed),
                span.processors >= 0 ? text("%.0f", span.processors * 100).c_str() : "-",
                span.rate(span.switches).c_str(), span.rate(span.of(goshim::Counter::calls)).c_str(),
                latency_samples(span.latency) ? duration(latency_quantile(span.latency, 0.99)).c_str() : "-")});
      looks.emplace(w->pid(), now);
    }
    std::stable_sort(rows.begin(), rows.end(), [](const Line& a, const Line& b) { return a.switches > b.switches; });
    std::vector<std::string> lines;
    lines.push_back(
        text("%s  goshim top: %zu processes, %lu threads; q quits", clock_time().c_str(), rows.size(), threads));
    lines.emplace_back();
    lines.push_back(text("\033[7m%7s %-15s %7s %5s %5s %5s %7s %4s %4s %5s %7s %7s %7s\033[0m", "PID", "NAME",
                         "THREADS", "RUN", "QUEUE", "CALL", "WAIT", "PS", "MS", "CPU%", "SWITCH", "CALL/S", "99%"));
    for (const Line& row : rows) lines.push_back(row.text);
    if (!screen.draw(lines) || !Screen::wait(delay)) return 0;
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
  struct sigaction action {};
  action.sa_handler = end;
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  action.sa_handler = resized;
  sigaction(SIGWINCH, &action, nullptr);
  return one ? watch_one(*one, delay) : watch_many(delay);
}

}  // namespace

const Command kTop = {"top", "[-d SECONDS] [PID]", "Shows the processes under goshim, or one of them, live", run};

}  // namespace launcher
