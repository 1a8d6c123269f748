// Reads the kernel's text files (/proc, /sys) with raw system calls and no allocation.
#pragma once

#include "base/base.h"

namespace goshim {

// A descriptor for reading, or -errno.
int open_file(const char* path);

// The whole of a small file, cut to size - 1 bytes and terminated. Its length, or -errno.
long read_file(const char* path, char* buf, size_t size);

// The lines of a file of any length; a line longer than the buffer is cut.
class LineReader {
 public:
  explicit LineReader(const char* path);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;
  // The next line without its end, terminated; null at the end of the file. Valid until the next call.
  const char* next();

 private:
  static constexpr size_t kLine = 1024;
  int next_char();
  int fd_;
  size_t pos_ = 0;
  size_t end_ = 0;
  char buf_[1024] = {};
  char line_[kLine] = {};
};

// The decimal number that s begins with, and where it ends; false if there is none or it exceeds 2^63 - 1.
bool parse_number(const char* s, long* value, const char** end);

// Whether a debugger, or another tracer, is attached to the process.
bool traced_by_debugger();

}  // namespace goshim
