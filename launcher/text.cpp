// Texts of other processes (see text.h).
#include "launcher/text.h"

#include <stdio.h>

namespace launcher {
namespace {

// Length of the UTF-8 sequence at s, of at most n bytes; 0 if it is none.
size_t utf8_length(const unsigned char* s, size_t n) {
  size_t length = s[0] < 0x80                   ? 1
                  : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
                  : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
                  : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                                : 0;
  if (length == 0 || length > n) return 0;
  for (size_t i = 1; i < length; i++) {
    if ((s[i] & 0xc0) != 0x80) return 0;
  }
  if (length == 3 && ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0))) return 0;
  if (length == 4 && ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90))) return 0;
  return length;
}

}  // namespace

std::string printable(const std::string& text) {
  std::string out;
  const auto* s = reinterpret_cast<const unsigned char*>(text.data());
  for (size_t i = 0; i < text.size();) {
    size_t length = utf8_length(s + i, text.size() - i);
    bool control = s[i] < 0x20 || s[i] == 0x7f || (s[i] == 0xc2 && length == 2 && s[i + 1] < 0xa0);
    if (length == 0 || control) out += '?';
    else out.append(text, i, length);
    i += length ? length : 1;
  }
  return out;
}

std::string json_quoted(const std::string& text) {
  std::string out = "\"";
  const auto* s = reinterpret_cast<const unsigned char*>(text.data());
  for (size_t i = 0; i < text.size();) {
    size_t length = utf8_length(s + i, text.size() - i);
    if (length == 0) {
      out += "\\ufffd";
      i++;
      continue;
    }
    if (s[i] == '"' || s[i] == '\\') {
      out += '\\';
      out += text[i];
    } else if (s[i] < 0x20 || s[i] == 0x7f) {
      char escaped[8];
      snprintf(escaped, sizeof escaped, "\\u%04x", s[i]);
      out += escaped;
    } else {
      out.append(text, i, length);
    }
    i += length;
  }
  return out + "\"";
}

}  // namespace launcher
