// Allocation-free formatting and messages (see print.h).
#include "base/print.h"

#include <cstdarg>

#include "base/sys.h"

namespace goshim {
namespace {

class Writer {
 public:
  Writer(char* buf, size_t size) : buf_(buf), size_(size) {}
  void put(char c) {
    if (len_ + 1 < size_) buf_[len_++] = c;
  }
  void text(const char* s) {
    for (; *s; s++) put(*s);
  }
  void number(unsigned long v, unsigned base) {
    char digits[24];
    size_t n = 0;
    do {
      digits[n++] = "0123456789abcdef"[v % base];
      v /= base;
    } while (v);
    while (n) put(digits[--n]);
  }
  void signed_number(long v) {
    if (v < 0) put('-');
    number(v < 0 ? 0UL - static_cast<unsigned long>(v) : static_cast<unsigned long>(v), 10);
  }
  size_t finish() {
    if (size_) buf_[len_] = 0;
    return len_;
  }

 private:
  char* buf_;
  size_t size_;
  size_t len_ = 0;
};

size_t vformat(char* buf, size_t size, const char* fmt, va_list ap) {
  Writer w(buf, size);
  for (; *fmt; fmt++) {
    if (*fmt != '%') {
      w.put(*fmt);
      continue;
    }
    bool wide = false;
    while (*++fmt == 'l' || *fmt == 'z') wide = true;
    switch (*fmt) {
      case 's': w.text(va_arg(ap, const char*)); break;
      case 'c': w.put(static_cast<char>(va_arg(ap, int))); break;
      case 'd': w.signed_number(wide ? va_arg(ap, long) : va_arg(ap, int)); break;
      case 'u': w.number(wide ? va_arg(ap, unsigned long) : va_arg(ap, unsigned), 10); break;
      case 'x': w.number(wide ? va_arg(ap, unsigned long) : va_arg(ap, unsigned), 16); break;
      case 'p':
        w.text("0x");
        w.number(reinterpret_cast<unsigned long>(va_arg(ap, void*)), 16);
        break;
      default: w.put(*fmt); break;
    }
  }
  return w.finish();
}

void vmessage(const char* fmt, va_list ap) {
  char line[512];
  size_t n = format(line, sizeof line, "goshim: ");
  n += vformat(line + n, sizeof line - n - 1, fmt, ap);
  line[n++] = '\n';
  sys::write(2, line, n);
}

}  // namespace

size_t format(char* buf, size_t size, const char* fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  size_t n = vformat(buf, size, fmt, ap);
  va_end(ap);
  return n;
}

void message(const char* fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vmessage(fmt, ap);
  va_end(ap);
}

void fatal(const char* fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vmessage(fmt, ap);
  va_end(ap);
  sys::die_by_signal(6);
}

}  // namespace goshim
