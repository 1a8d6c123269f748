// Vocabulary shared by every file of the runtime: integer types, branch hints, time units.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace goshim {

using Nanos = int64_t;  // nanoseconds, of CLOCK_MONOTONIC unless said otherwise
constexpr Nanos kMicrosecond = 1000;
constexpr Nanos kMillisecond = 1000 * kMicrosecond;
constexpr Nanos kSecond = 1000 * kMillisecond;
constexpr Nanos kForever = INT64_MAX;

constexpr size_t kPage = 4096;
constexpr size_t kCacheLine = 64;

#define GOSHIM_LIKELY(x) __builtin_expect(!!(x), 1)
#define GOSHIM_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define GOSHIM_NOINLINE __attribute__((noinline))
#define GOSHIM_COLD __attribute__((noinline, cold))

constexpr size_t round_up(size_t n, size_t to) { return (n + to - 1) & ~(to - 1); }

}  // namespace goshim
