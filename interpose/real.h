// The symbols goshim takes over, and the way to the functions behind them.
//
// Each family has a table, interpose/*.def, one line per symbol:
//   INTERPOSE(name)            defined by goshim; REAL(name) is the next definition (libc's, or another preload's)
//   INTERPOSE_AS(name, type)   the same for a function that no header declares with C linkage and this type
//   CALL_AS(name, type)        not taken over; REAL(name) is libc's, for goshim's own use
//   OWN(name)                  defined by goshim, never forwarded
//   NATIVE(name, reason)       left to libc, with the reason why that is right; makes no code
// tests/symbols reads the tables too: a symbol that glibc exports in these families and that no table names fails it.
// There a NATIVE name may end with a *.
//
// Functions here are thin: they pick between REAL(name), when the runtime has not started or the caller is a foreign
// thread, and one function of src/.
#pragma once

#include <type_traits>

#include "interpose/headers.h"
#include "sched/sched.h"

#define GOSHIM_EXPORT extern "C" __attribute__((visibility("default")))

namespace goshim {

struct Real {
  bool ready;
#define INTERPOSE(name) decltype(&::name) name;
#define INTERPOSE_AS(name, type) std::type_identity_t<type>* name;
#define CALL_AS(name, type) INTERPOSE_AS(name, type)
#define OWN(name)
#define NATIVE(name, reason)
#include "interpose/tables.h"
#undef INTERPOSE
#undef INTERPOSE_AS
#undef CALL_AS
#undef OWN
#undef NATIVE
};

extern Real real_table;
// Fills real_table without libc's dlsym, which allocates and locks; idempotent, any thread, any time.
void resolve_real();

inline const Real& real() {
  if (GOSHIM_UNLIKELY(!real_table.ready)) resolve_real();
  return real_table;
}
#define REAL(name) (::goshim::real().name)

// True when the caller is a G: goshim's way is to be taken, else libc's.
inline bool on_g() { return goshim_tls.g != nullptr; }

}  // namespace goshim
