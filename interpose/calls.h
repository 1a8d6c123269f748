// How the interposed functions that block run: as a system call of a G, or as a function of libc in a blocking region.
#pragma once

#include <type_traits>

#include "interpose/real.h"
#include "net/blocking.h"
#include "net/descriptor.h"
#include "net/io.h"
#include "thread/cancel.h"
#include "thread/ident.h"

namespace goshim {

// Around what closes or overwrites fd.
class Closing {
 public:
  explicit Closing(int fd) : fd_(fd) { record_closing(fd); }
  ~Closing() { record_closed(fd_); }
  Closing(const Closing&) = delete;
  Closing& operator=(const Closing&) = delete;

 private:
  int fd_;
};

// A path as the kernel is to see it: the ids of live threads below /proc are translated. On a G.
class Path {
 public:
  explicit Path(const char* path) : path_(translate_task_path(path, buf_, sizeof buf_) ? buf_ : path) {}
  operator const char*() const { return path_; }  // NOLINT(google-explicit-constructor)

 private:
  char buf_[kTaskPathMax];
  const char* path_;
};

// A kernel's answer as a function of libc gives it: -1 and errno on failure.
inline long answer(long r) {
  if (GOSHIM_LIKELY(r >= 0 || r < -4095)) return r;
  errno = static_cast<int>(-r);
  return -1;
}

template <typename T>
inline long word(T x) {
  if constexpr (std::is_pointer_v<T>) return reinterpret_cast<long>(x);
  else return static_cast<long>(x);
}

// A call that is over soon once there is something to do.
template <typename... Args>
inline long short_call(OnHandler rule, long nr, Args... args) {
  return answer(blocking_call(RegionClass::Short, rule, nr, word(args)...));
}

// A call that waits for others, or for a disk to be written.
template <typename... Args>
inline long long_call(OnHandler rule, long nr, Args... args) {
  return answer(blocking_call(RegionClass::Long, rule, nr, word(args)...));
}

// A call that does not block this time.
template <typename... Args>
inline long plain_call(long nr, Args... args) {
  return answer(sys::call(nr, word(args)...));
}

// A function of libc that makes many system calls and takes locks of libc. Signal handlers run after it.
template <typename R, typename... Params, typename... Args>
inline R in_region(R (*function)(Params...), Args... args) {
  Region region(RegionClass::Long);
  return function(args...);
}

}  // namespace goshim
