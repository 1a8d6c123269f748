// Calls that block a kernel thread (see blocking.h).
#include "net/blocking.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "thread/cancel.h"
#include "thread/signal.h"

namespace goshim {
namespace {

bool socket_has_timeout(long fd, int option) {
  timeval limit{};
  socklen_t size = sizeof limit;
  return sys::call(SYS_getsockopt, fd, SOL_SOCKET, option, &limit, &size) == 0 && (limit.tv_sec || limit.tv_usec);
}

}  // namespace

bool call_restarts(const HandlerMark& mark, OnHandler rule, long a, long c2) {
  if (rule == OnHandler::Fail || !handlers_restart(mark)) return false;
  bool in = rule == OnHandler::RestartIn || rule == OnHandler::RestartSplice;
  long out = rule == OnHandler::RestartOut ? a : rule == OnHandler::RestartSplice ? c2 : -1;
  return !(in && socket_has_timeout(a, SO_RCVTIMEO)) && !(out >= 0 && socket_has_timeout(out, SO_SNDTIMEO));
}

long blocking_call(RegionClass c, OnHandler rule, long nr, long a, long b, long c2, long d, long e, long f) {
  thread_test_cancel();
  give_way();
  chaos();
  for (;;) {
    HandlerMark mark = handler_mark();
    long r = region_syscall(c, nr, a, b, c2, d, e, f);
    if (GOSHIM_LIKELY(r != -EINTR)) return r;
    thread_test_cancel();
    if (handlers_ran(mark) && !call_restarts(mark, rule, a, c2)) return r;
  }
}

}  // namespace goshim
