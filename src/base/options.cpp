// Reading and checking of options (see options.h).
#include "base/options.h"

#include <elf.h>
#include <string.h>

#include "base/file.h"
#include "base/print.h"
#include "base/sys.h"

namespace goshim {

Options options;

namespace {

enum class Kind : uint8_t { Switch, Count, Signal, Bytes, Path };

struct Entry {
  const char* name;
  Kind kind;
  size_t offset;  // of the field in Options
  long standard;  // the default
  long least;
  long most;
  const char* help;
};

#define OPTION(kind, field, name, value, least, most, help) \
  {name, Kind::kind, offsetof(Options, field), value, least, most, help},
constexpr Entry kTable[] = {GOSHIM_OPTIONS(OPTION)};
#undef OPTION
static_assert(sizeof kTable / sizeof *kTable <= 32, "options_parse() keeps a bit for each");

constexpr char kPrefix[] = "GOSHIM";
constexpr long kSetxidSignal = 33;
constexpr size_t kPathMax = sizeof(Options::Path::text) - 1;

void describe_number(char* buf, size_t size, Kind kind, long v) {
  const char* unit = "";
  if (kind == Kind::Bytes && v) {
    for (const char* u : {"k", "m", "g"}) {
      if (v % 1024) break;
      v /= 1024;
      unit = u;
    }
  }
  format(buf, size, "%ld%s", v, unit);
}

void describe_default(char* buf, size_t size, const Entry& e) {
  if (e.kind == Kind::Switch) {
    format(buf, size, "%s", e.standard ? "on" : "off");
  } else if (e.kind == Kind::Path) {
    format(buf, size, "none");
  } else {
    describe_number(buf, size, e.kind, e.standard);
  }
}

// What a user may write, as a phrase.
void describe_accepted(char* buf, size_t size, const Entry& e) {
  char least[24], most[24];
  describe_number(least, sizeof least, e.kind, e.least);
  describe_number(most, sizeof most, e.kind, e.most);
  switch (e.kind) {
    case Kind::Switch: format(buf, size, "on or off"); break;
    case Kind::Count: format(buf, size, "a number from %s to %s", least, most); break;
    case Kind::Signal:
      format(buf, size, "a signal number from %s to %s without %ld", least, most, kSetxidSignal);
      break;
    case Kind::Bytes:
      format(buf, size, "0, or bytes from %s to %s with k, m or g behind the number", least, most);
      break;
    case Kind::Path: format(buf, size, "a path of 1 to %d bytes", static_cast<int>(kPathMax)); break;
  }
}

bool parse_switch(const char* s, long* v) {
  if (strcmp(s, "on") == 0 || strcmp(s, "1") == 0) {
    *v = 1;
    return true;
  }
  *v = 0;
  return strcmp(s, "off") == 0 || strcmp(s, "0") == 0;
}

bool parse(const Entry& e, const char* s, long* v) {
  const char* end;
  switch (e.kind) {
    case Kind::Switch: return parse_switch(s, v);
    case Kind::Count: return parse_number(s, v, &end) && !*end && *v >= e.least && *v <= e.most;
    case Kind::Signal: return parse_number(s, v, &end) && !*end && *v >= e.least && *v <= e.most && *v != kSetxidSignal;
    case Kind::Bytes: return parse_bytes(s, v) && (*v == 0 || (*v >= e.least && *v <= e.most));
    case Kind::Path: return *s && strlen(s) <= kPathMax;
  }
  return false;
}

void store(const Entry& e, const char* text, long v, Options* out) {
  char* field = reinterpret_cast<char*>(out) + e.offset;
  switch (e.kind) {
    case Kind::Switch: *reinterpret_cast<bool*>(field) = v != 0; break;
    case Kind::Count:
    case Kind::Signal: *reinterpret_cast<int*>(field) = static_cast<int>(v); break;
    case Kind::Bytes: *reinterpret_cast<size_t*>(field) = static_cast<size_t>(v); break;
    case Kind::Path: memcpy(field, text, strlen(text) + 1); break;
  }
}

// True if the program has privileges that its user lacks: the environment is not to be trusted then.
bool secure() {
  Elf64_auxv_t entries[64] = {};
  long size = read_file("/proc/self/auxv", reinterpret_cast<char*>(entries), sizeof entries);
  for (long i = 0; i < size / static_cast<long>(sizeof *entries); i++) {
    if (entries[i].a_type == AT_SECURE) return entries[i].a_un.a_val != 0;
  }
  return sys::call(SYS_getuid) != sys::call(SYS_geteuid) || sys::call(SYS_getgid) != sys::call(SYS_getegid);
}

}  // namespace

bool parse_bytes(const char* s, long* v) {
  const char* end;
  if (!parse_number(s, v, &end)) return false;
  int shift = 0;
  switch (*end) {
    case 'k':
    case 'K': shift = 10; break;
    case 'm':
    case 'M': shift = 20; break;
    case 'g':
    case 'G': shift = 30; break;
    default: break;
  }
  if (shift) end++;
  return !*end && !__builtin_mul_overflow(*v, 1L << shift, v);
}

int options_parse(char** envp, Options* out) {
  int lines = 0;
  uint32_t seen = 0;  // of a variable that occurs twice the first counts, as for getenv
  for (; *envp; envp++) {
    const char* name = *envp;
    if (strncmp(name, kPrefix, sizeof kPrefix - 1) != 0) continue;
    size_t name_length = 0;
    while (name[name_length] && name[name_length] != '=') name_length++;
    if (!name[name_length]) continue;
    char after = name[sizeof kPrefix - 1];
    if (after != '=' && after != '_') continue;  // GOSHIMX is not goshim's
    const Entry* entry = nullptr;
    for (const Entry& e : kTable) {
      if (strlen(e.name) == name_length && strncmp(e.name, name, name_length) == 0) entry = &e;
    }
    if (!entry) {
      message("%s: no such option; GOSHIM=help lists them", Printable(name, name_length).text);
      lines++;
      continue;
    }
    uint32_t bit = 1U << (entry - kTable);
    if (seen & bit) continue;
    seen |= bit;
    const char* text = name + name_length + 1;
    long v = 0;
    if (parse(*entry, text, &v)) {
      store(*entry, text, v, out);
    } else if (entry->offset == offsetof(Options, enabled) && strcmp(text, "help") == 0) {
      options_help(2);
    } else {
      char accepted[128];
      describe_accepted(accepted, sizeof accepted, *entry);
      message("%s: bad value \"%s\": accepted is %s; using default", entry->name, Printable(text).text, accepted);
      lines++;
    }
  }
  return lines;
}

void options_read(char** envp) {
  static bool done;
  if (done) return;
  done = true;
  if (!envp) return;
  bool any = false;
  for (char** e = envp; *e && !any; e++) any = strncmp(*e, kPrefix, sizeof kPrefix - 1) == 0;
  if (!any || secure()) return;
  options_parse(envp, &options);
}

bool options_accept(const char* name, const char* value, char* accepted, size_t size) {
  for (const Entry& e : kTable) {
    if (strcmp(e.name, name) != 0) continue;
    long v;
    describe_accepted(accepted, size, e);
    return parse(e, value, &v);
  }
  format(accepted, size, "nothing");
  return false;
}

void options_help(int fd) {
  for (const Entry& e : kTable) {
    char accepted[128], standard[24], line[512];
    describe_accepted(accepted, sizeof accepted, e);
    describe_default(standard, sizeof standard, e);
    size_t n = format(line, sizeof line, "%s\n    %s\n    %s; default %s\n", e.name, e.help, accepted, standard);
    sys::write(fd, line, n);
  }
}

}  // namespace goshim
