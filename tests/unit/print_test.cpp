// sanitize: address
// format(): every conversion it knows, and buffers too small for the text.
#include "base/print.h"

#include <gtest/gtest.h>

#include <climits>
#include <string>

namespace goshim {
namespace {

template <typename... Args>
std::string formatted(const char* fmt, Args... args) {
  char buf[128];
  size_t n = format(buf, sizeof buf, fmt, args...);
  EXPECT_EQ(n, std::string(buf).size());
  return buf;
}

TEST(Format, Conversions) {
  EXPECT_EQ(formatted("%s and %s", "one", ""), "one and ");
  EXPECT_EQ(formatted("%d %d %d", 0, -1, INT_MIN), "0 -1 -2147483648");
  EXPECT_EQ(formatted("%u %x", UINT_MAX, 0xbeefu), "4294967295 beef");
  EXPECT_EQ(formatted("%ld %lu %lx", LONG_MIN, ULONG_MAX, 0xfeedfacecafeUL),
            "-9223372036854775808 18446744073709551615 feedfacecafe");
  EXPECT_EQ(formatted("%p %c%%", reinterpret_cast<void*>(0x1f), 'c'), "0x1f c%");
}

TEST(Format, CutsWhatDoesNotFit) {
  char buf[4] = {'a', 'b', 'c', 'd'};
  EXPECT_EQ(format(buf, 3, "%d", 123456), 2u);
  EXPECT_STREQ(buf, "12");
  EXPECT_EQ(buf[3], 'd');
}

TEST(Format, WritesNothingIntoNoRoom) {
  char buf[1] = {'x'};
  EXPECT_EQ(format(buf, 0, "text"), 0u);
  EXPECT_EQ(buf[0], 'x');
}

}  // namespace
}  // namespace goshim
