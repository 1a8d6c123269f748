// Pages of counters of other processes (see watch.h).
#include "launcher/watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "launcher/text.h"

namespace launcher {
namespace {

std::string proc(pid_t pid, const char* name) { return "/proc/" + std::to_string(pid) + "/" + name; }

bool is_number(const char* s) { return *s && strspn(s, "0123456789") == strlen(s); }

// Names of a folder's entries that are numbers, the highest first: the runtime's descriptors lie high.
bool numbers_in(const std::string& folder, std::vector<int>* out) {
  DIR* d = opendir(folder.c_str());
  if (!d) return false;
  while (const dirent* e = readdir(d)) {
    if (is_number(e->d_name)) out->push_back(atoi(e->d_name));
  }
  closedir(d);
  std::sort(out->rbegin(), out->rend());
  return true;
}

bool is_page(const std::string& link) {
  static const std::string kTarget = std::string("/memfd:") + goshim::kPageName;
  char target[64];
  ssize_t n = readlink(link.c_str(), target, sizeof target);
  return n >= 0 && static_cast<size_t>(n) >= kTarget.size() &&
         kTarget.compare(0, kTarget.size(), target, kTarget.size()) == 0;
}

std::string read_text(const std::string& path) {
  std::string text;
  if (FILE* f = fopen(path.c_str(), "re")) {
    char buf[4096];
    for (size_t n; (n = fread(buf, 1, sizeof buf, f)) > 0;) text.append(buf, n);
    fclose(f);
  }
  return text;
}

}  // namespace

std::unique_ptr<Watched> Watched::open(pid_t pid, std::string* why) {
  why->clear();
  std::vector<int> fds;
  std::string folder = proc(pid, "fd");
  if (!numbers_in(folder, &fds)) {
    *why = errno == ENOENT ? "there is no such process" : std::string("it cannot be looked at: ") + strerror(errno);
    return nullptr;
  }
  for (int number : fds) {
    std::string link = folder + "/" + std::to_string(number);
    if (!is_page(link)) continue;
    int fd = ::open(link.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      if (errno == ENOENT) continue;
      *why = std::string("its counters cannot be read: ") + strerror(errno);
      return nullptr;
    }
    struct stat st;
    void* memory = MAP_FAILED;
    size_t size = 0;
    if (fstat(fd, &st) == 0 && st.st_size > 0) {
      size = static_cast<size_t>(st.st_size);
      memory = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    }
    close(fd);
    if (memory == MAP_FAILED) continue;
    auto* page = static_cast<const goshim::Page*>(memory);
    if (!goshim::page_valid(memory, size)) {
      *why = size >= sizeof *page && page->magic.load(std::memory_order_acquire) == goshim::kPageMagic
                 ? "its library has another layout of counters than this launcher (" GOSHIM_VERSION ")"
                 : "its runtime is just starting";
      munmap(memory, size);
      return nullptr;
    }
    std::unique_ptr<Watched> w(new Watched(pid, memory, size));
    w->link_ = link;
    // A child that a fork has just made still has its parent's.
    if (page->pid != process_status(pid, "NSpid")) continue;
    return w;
  }
  return nullptr;
}

bool has_descriptors(pid_t pid) {
  std::vector<int> fds;
  return numbers_in(proc(pid, "fd"), &fds) && !fds.empty();
}

Watched::~Watched() { munmap(memory_, size_); }

goshim::Totals Watched::totals() const {
  goshim::Totals t;
  goshim::page_totals(&page(), &t);
  return t;
}

bool Watched::alive() const { return is_page(link_); }

std::vector<std::unique_ptr<Watched>> watch_all() {
  std::vector<std::unique_ptr<Watched>> all;
  std::vector<int> pids;
  numbers_in("/proc", &pids);
  for (int pid : pids) {
    struct stat st;
    if (stat(proc(pid, "").c_str(), &st) != 0 || st.st_uid != geteuid()) continue;
    std::string why;
    if (auto w = Watched::open(pid, &why)) all.push_back(std::move(w));
  }
  std::reverse(all.begin(), all.end());
  return all;
}

pid_t parse_pid(const char* s) {
  if (!is_number(s) || strlen(s) > 9) return -1;
  return atoi(s) ? atoi(s) : -1;
}

std::string process_name(pid_t pid) {
  std::string name = read_text(proc(pid, "comm"));
  if (!name.empty() && name.back() == '\n') name.pop_back();
  return name.empty() ? "?" : printable(name);
}

long process_status(pid_t pid, const char* name) {
  std::string text = read_text(proc(pid, "status"));
  size_t at = text.find(std::string("\n") + name + ":");
  if (at == std::string::npos) return -1;
  // NSpid has one for each namespace: the last is the innermost, and what the process calls itself.
  size_t end = text.find('\n', at + 1);
  return strcmp(name, "NSpid") == 0 ? atol(text.c_str() + text.find_last_of("\t ", end) + 1)
                                    : atol(text.c_str() + at + strlen(name) + 2);
}

int64_t process_cpu(pid_t pid) {
  std::string text = read_text(proc(pid, "stat"));
  size_t at = text.rfind(')');
  long user, system;
  if (at == std::string::npos ||
      sscanf(text.c_str() + at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user, &system) != 2)
    return -1;
  return (user + system) * (1000000000 / sysconf(_SC_CLK_TCK));
}

uint64_t latency_samples(const uint64_t (&latency)[goshim::kLatencyBuckets]) {
  uint64_t n = 0;
  for (uint64_t count : latency) n += count;
  return n;
}

uint64_t latency_quantile(const uint64_t (&latency)[goshim::kLatencyBuckets], double share) {
  uint64_t all = latency_samples(latency);
  if (all == 0) return 0;
  auto rank = static_cast<uint64_t>(std::ceil(share * static_cast<double>(all)));
  size_t bucket = 0;
  for (uint64_t seen = latency[0]; seen < rank && bucket + 1 < goshim::kLatencyBuckets;) seen += latency[++bucket];
  return goshim::latency_from(std::min(bucket + 1, goshim::kLatencyBuckets - 1));
}

std::string duration(uint64_t ns) {
  const char* units[] = {"ns", "us", "ms", "s"};
  auto n = static_cast<double>(ns);
  int u = 0;
  while (n >= 999.5 && u < 3) {
    n /= 1000;
    u++;
  }
  char text[32];
  snprintf(text, sizeof text, n < 9.995 && u ? "%.2f%s" : n < 99.95 && u ? "%.1f%s" : "%.0f%s", n, units[u]);
  return text;
}

std::string amount(double n) {
  const char* units[] = {"", "k", "M", "G", "T"};
  int u = 0;
  while (n >= (u ? 999.5 : 9999.5) && u < 4) {
    n /= 1000;
    u++;
  }
  char text[32];
  snprintf(text, sizeof text, u && n < 99.95 ? "%.1f%s" : "%.0f%s", n, units[u]);
  return text;
}

}  // namespace launcher
