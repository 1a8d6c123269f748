// The default number of Ps: processor affinity and control group quotas (see procs.h).
//
// A quota is "so many microseconds of processor time in each period". Version 2 keeps both in cpu.max ("max 100000" or
// "150000 100000"), version 1 in two files (-1 for no quota). The strictest of a group and all above it holds. A
// container may show a path of the host's tree, of which only the root is mounted: folders that are not there are
// passed over.
#include "base/procs.h"

#include <string.h>

#include "base/file.h"
#include "base/print.h"
#include "base/sys.h"

namespace goshim {
namespace {

constexpr size_t kPath = 1400;

// Processors of one group, 0 for no limit.
int rounded_up(long quota, long period) {
  if (quota <= 0 || period <= 0) return 0;
  long n = quota / period + (quota % period != 0);
  return n > kMaxProcs ? kMaxProcs : static_cast<int>(n);
}

int stricter(int a, int b) {
  if (a == 0) return b;
  return b == 0 || a < b ? a : b;
}

// False if there is no such file or it holds no number ("max", "-1").
bool read_number(const char* dir, const char* file, long* value, long* second) {
  char path[kPath + 32];
  char text[64];
  format(path, sizeof path, "%s/%s", dir, file);
  const char* p;
  if (read_file(path, text, sizeof text) <= 0 || !parse_number(text, value, &p)) return false;
  return !second || (*p == ' ' && parse_number(p + 1, second, &p));
}

int limit_v2(const char* dir) {
  long quota, period;
  return read_number(dir, "cpu.max", &quota, &period) ? rounded_up(quota, period) : 0;
}

int limit_v1(const char* dir) {
  long quota, period;
  if (!read_number(dir, "cpu.cfs_quota_us", &quota, nullptr)) return 0;
  return read_number(dir, "cpu.cfs_period_us", &period, nullptr) ? rounded_up(quota, period) : 0;
}

// The strictest limit from the group up to the root of its hierarchy.
int walk_up(const char* mount, const char* group, int (*limit)(const char* dir)) {
  char dir[kPath];
  size_t root = format(dir, sizeof dir, "%s", mount);
  size_t len = format(dir, sizeof dir, "%s%s", mount, group);
  int found = 0;
  for (;;) {
    while (len > root && dir[len - 1] == '/') dir[--len] = 0;
    found = stricter(found, limit(dir));
    if (len <= root) return found;
    while (len > root && dir[len - 1] != '/') dir[--len] = 0;
  }
}

// True if the comma-separated list that ends at end names controller.
bool names(const char* list, const char* end, const char* controller) {
  size_t n = strlen(controller);
  while (list < end) {
    const char* item_end = list;
    while (item_end < end && *item_end != ',') item_end++;
    if (static_cast<size_t>(item_end - list) == n && strncmp(list, controller, n) == 0) return true;
    list = item_end + 1;
  }
  return false;
}

}  // namespace

int cgroup_max_procs(const char* cgroups, const char* mounts) {
  char mount[256];
  int found = 0;
  LineReader lines(cgroups);
  while (const char* line = lines.next()) {
    // "hierarchy:controllers:path"; version 2 is hierarchy 0 and names no controllers.
    const char* list = line;
    while (*list && *list != ':') list++;
    if (!*list) continue;
    const char* end = ++list;
    while (*end && *end != ':') end++;
    if (!*end) continue;
    const char* group = end + 1;
    if (list == end) {
      for (const char* place : {"", "/unified"}) {
        format(mount, sizeof mount, "%s%s", mounts, place);
        found = stricter(found, walk_up(mount, group, limit_v2));
      }
    } else if (names(list, end, "cpu")) {
      for (const char* place : {"/cpu", "/cpu,cpuacct"}) {
        format(mount, sizeof mount, "%s%s", mounts, place);
        int limit = walk_up(mount, group, limit_v1);
        found = stricter(found, limit);
        if (limit) break;  // one is a link to the other
      }
    }
  }
  return found;
}

int default_max_procs() {
  uint64_t mask[128]{};  // 8192 processors, the most that Linux can be built for
  long bytes = sys::call(SYS_sched_getaffinity, 0, sizeof mask, mask);
  int n = 0;
  for (long bit = 0; bit < bytes * 8; bit++) n += mask[bit / 64] >> (bit % 64) & 1;
  if (n < 1) n = 1;
  n = stricter(n, cgroup_max_procs("/proc/self/cgroup", "/sys/fs/cgroup"));
  return n > kMaxProcs ? kMaxProcs : n;
}

}  // namespace goshim
