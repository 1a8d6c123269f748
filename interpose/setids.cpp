// set*id() and the group lists: libc sets them in every kernel thread by a signal; goshim makes sure that no kernel
// thread is born unseen meanwhile (src/tcb/setxid.cpp).
#include "interpose/init.h"
#include "interpose/real.h"
#include "tcb/tcb.h"

using namespace goshim;

namespace {

template <typename F, typename... Args>
int for_all_threads(F* function, Args... args) {
  if (!runtime_running()) return function(args...);
  Region region;
  tcb::SetXid call;
  tcb::setxid_enter(&call);
  int r = function(args...);
  tcb::setxid_leave(&call);
  return r;
}

}  // namespace

GOSHIM_EXPORT int setuid(uid_t u) { return for_all_threads(REAL(setuid), u); }
GOSHIM_EXPORT int setgid(gid_t g) { return for_all_threads(REAL(setgid), g); }
GOSHIM_EXPORT int seteuid(uid_t u) { return for_all_threads(REAL(seteuid), u); }
GOSHIM_EXPORT int setegid(gid_t g) { return for_all_threads(REAL(setegid), g); }
GOSHIM_EXPORT int setreuid(uid_t r, uid_t e) { return for_all_threads(REAL(setreuid), r, e); }
GOSHIM_EXPORT int setregid(gid_t r, gid_t e) { return for_all_threads(REAL(setregid), r, e); }
GOSHIM_EXPORT int setresuid(uid_t r, uid_t e, uid_t s) { return for_all_threads(REAL(setresuid), r, e, s); }
GOSHIM_EXPORT int setresgid(gid_t r, gid_t e, gid_t s) { return for_all_threads(REAL(setresgid), r, e, s); }
GOSHIM_EXPORT int setgroups(size_t n, const gid_t* list) { return for_all_threads(REAL(setgroups), n, list); }
