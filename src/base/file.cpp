// Reading of the kernel's text files (see file.h).
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>

#include <cstring>

#include "base/sys.h"

namespace goshim {
namespace {

long read_again(int fd, void* p, size_t n) {
  long r;
  do {
    r = sys::read(fd, p, n);
  } while (r == -EINTR);
  return r;
}

}  // namespace

int open_file(const char* path) {
  return static_cast<int>(sys::call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0));
}

long read_file(const char* path, char* buf, size_t size) {
  int fd = open_file(path);
  if (fd < 0) return fd;
  size_t len = 0;
  long r = 0;
  while (len < size - 1 && (r = read_again(fd, buf + len, size - 1 - len)) > 0) {
    len += static_cast<size_t>(r);
  }
  sys::close(fd);
  buf[len] = 0;
  return r < 0 ? r : static_cast<long>(len);
}

LineReader::LineReader(const char* path) : fd_(open_file(path)) {}

LineReader::~LineReader() {
  if (fd_ >= 0) sys::close(fd_);
}

int LineReader::next_char() {
  if (pos_ == end_) {
    long r = fd_ < 0 ? 0 : read_again(fd_, buf_, sizeof buf_);
    if (r <= 0) return -1;
    pos_ = 0;
    end_ = static_cast<size_t>(r);
  }
  return static_cast<unsigned char>(buf_[pos_++]);
}

const char* LineReader::next() {
  size_t len = 0;
  int c = next_char();
  if (c < 0) return nullptr;
  for (; c >= 0 && c != '\n'; c = next_char()) {
    if (len + 1 < kLine) line_[len++] = static_cast<char>(c);
  }
  line_[len] = 0;
  return line_;
}

bool parse_number(const char* s, long* value, const char** end) {
  if (*s < '0' || *s > '9') return false;
  long v = 0;
  for (; *s >= '0' && *s <= '9'; s++) {
    if (__builtin_mul_overflow(v, 10L, &v) || __builtin_add_overflow(v, static_cast<long>(*s - '0'), &v)) return false;
  }
  *value = v;
  *end = s;
  return true;
}

bool traced_by_debugger() {
  constexpr char kTracer[] = "TracerPid:\t";
  LineReader lines("/proc/self/status");
  while (const char* line = lines.next()) {
    if (std::strncmp(line, kTracer, sizeof kTracer - 1) == 0) return line[sizeof kTracer - 1] != '0';
  }
  return false;
}

}  // namespace goshim
