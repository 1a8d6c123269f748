// Threads: creation, join, exit, keys; POSIX and C11 names. Also main's frame, where pthread_exit from main ends.
#include "interpose/real.h"

#include <setjmp.h>

#include <cstring>

#include "base/host.h"
#include "base/options.h"
#include "base/print.h"
#include "base/sys.h"
#include "interpose/c11.h"
#include "interpose/init.h"
#include "interpose/times.h"
#include "thread/ident.h"
#include "thread/life.h"

using namespace goshim;

namespace {

// glibc's __pthread_unwind_buf_t: a jump buffer without a mask, and room for its own links.
struct UnwindBuf {
  struct {
    __jmp_buf regs;
    int mask_saved;
  } jump;
  void* links[4];
};

struct MainCall {
  int (*main)(int, char**, char**);
  int argc;
  char** argv;
  char** envp;
};

// Whether attr has a set of processors: of one that it has not, libc says all ones, whatever room is given; of one that
// it has, that it does not fit into no room, unless it is empty.
bool has_cpus(const pthread_attr_t* attr) {
  unsigned char first = 0;
  auto* set = reinterpret_cast<cpu_set_t*>(&first);
  return pthread_attr_getaffinity_np(attr, 0, set) != 0 || (pthread_attr_getaffinity_np(attr, 1, set) == 0 && !first);
}

GOSHIM_COLD void read_cpus(const pthread_attr_t* attr, ThreadAttr* a) {
  unsigned char cpus[kCpuBytes];
  if (pthread_attr_getaffinity_np(attr, sizeof cpus, reinterpret_cast<cpu_set_t*>(cpus)) != 0) return;
  a->has_cpus = true;
  std::memcpy(a->cpus, cpus, sizeof a->cpus);
}

// Whether set() has been called on attr: if so, what it changes in fresh attributes, to which it gives the values that
// they have, is changed there too.
template <typename F>
bool has_set(const pthread_attr_t* attr, F set) {
  unsigned char bytes[3][sizeof(pthread_attr_t)];
  std::memcpy(bytes[0], attr, sizeof *attr);
  for (int i : {1, 2}) {
    pthread_attr_t fresh{};
    pthread_attr_init(&fresh);
    if (i == 2) set(&fresh);
    std::memcpy(bytes[i], &fresh, sizeof fresh);
    pthread_attr_destroy(&fresh);
  }
  for (size_t i = 0; i < sizeof(pthread_attr_t); i++) {
    int changed = bytes[1][i] ^ bytes[2][i];
    if ((bytes[0][i] & changed) != changed) return false;
  }
  return true;
}

// A policy of its own. Of policy and parameters what the program has not set is the creator's.
GOSHIM_COLD void read_policy(const pthread_attr_t* attr, ThreadAttr* a) {
  sched_param param{};
  a->has_policy = true;
  pthread_attr_getschedpolicy(attr, &a->policy);
  pthread_attr_getschedparam(attr, &param);
  a->priority = param.sched_priority;
  bool policy = has_set(attr, [](pthread_attr_t* fresh) { pthread_attr_setschedpolicy(fresh, SCHED_OTHER); });
  bool params = has_set(attr, [](pthread_attr_t* fresh) {
    sched_param zero{};
    pthread_attr_setschedparam(fresh, &zero);
  });
  if (policy == params) return;
  sched_getparam(0, &param);
  if (!policy) a->policy = sched_getscheduler(0);
  if (!params) a->priority = param.sched_priority;
}

ThreadAttr read_attr(const pthread_attr_t* attr) {
  ThreadAttr a;
  if (!attr && default_attr_changed()) {
    pthread_attr_t now;
    if (pthread_getattr_default_np(&now) == 0) {
      a = read_attr(&now);
      pthread_attr_destroy(&now);
      return a;
    }
  }
  if (!attr) {
    a.stack_size = stack::default_size();
    a.guard_size = kPage;
    return a;
  }
  int detach = 0;
  void* stack_end = nullptr;
  pthread_attr_getstacksize(attr, &a.stack_size);
  pthread_attr_getguardsize(attr, &a.guard_size);
  pthread_attr_getdetachstate(attr, &detach);
  a.detached = detach == PTHREAD_CREATE_DETACHED;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  pthread_attr_getstackaddr(attr, &stack_end);  // pthread_attr_getstack cannot tell "not set"
#pragma GCC diagnostic pop
  if (stack_end) a.user_stack = static_cast<char*>(stack_end) - a.stack_size;
  sigset_t mask;
  if (pthread_attr_getsigmask_np(attr, &mask) == 0) {
    a.has_mask = true;
    a.mask = *reinterpret_cast<uint64_t*>(&mask);
  }
  if (has_cpus(attr)) read_cpus(attr, &a);
  int inherit = PTHREAD_INHERIT_SCHED;
  if (pthread_attr_getinheritsched(attr, &inherit) == 0 && inherit == PTHREAD_EXPLICIT_SCHED) read_policy(attr, &a);
  return a;
}

int create(pthread_t* out, const pthread_attr_t* attr, void* (*start)(void*), void* arg) {
  if (!runtime_running()) return REAL(pthread_create)(out, attr, start, arg);
  chaos();
  return thread_create(out, read_attr(attr), start, arg);
}

int join(pthread_t t, void** result, Nanos deadline) {
  chaos();
  return thread_join(g_of(t), result, deadline);
}

}  // namespace

// Calls start in a frame that forced unwinding (pthread_exit, cancellation) ends in. Nothing here has a destructor.
static void* run_thread(void* (*start)(void*), void* arg, void** exit_value) {
  UnwindBuf buf;
  if (_setjmp(reinterpret_cast<__jmp_buf_tag*>(&buf.jump)) == 0) {
    REAL(__pthread_register_cancel)(&buf);
    void* value = start(arg);
    REAL(__pthread_unregister_cancel)(&buf);
    return value;
  }
  REAL(__pthread_unregister_cancel)(&buf);
  return *exit_value;
}

static MainCall main_call;

static int main_exit_frame(int argc, char** argv, char** envp) {
  UnwindBuf buf;
  if (_setjmp(reinterpret_cast<__jmp_buf_tag*>(&buf.jump)) == 0) {
    REAL(__pthread_register_cancel)(&buf);
    int status = main_call.main(argc, argv, envp);
    REAL(__pthread_unregister_cancel)(&buf);
    return status;
  }
  thread_finish(on_g() ? getg()->result : nullptr, true);
}

GOSHIM_EXPORT int __libc_start_main(int (*main)(int, char**, char**), int argc, char** argv, void (*init)(void),
                                    void (*fini)(void), void (*rtld_fini)(void), void* stack_end) {
  main_call.main = main;
  host.run_thread = run_thread;
  return REAL(__libc_start_main)(main_exit_frame, argc, argv, init, fini, rtld_fini, stack_end);
}

GOSHIM_EXPORT int pthread_create(pthread_t* out, const pthread_attr_t* attr, void* (*start)(void*), void* arg) {
  host.run_thread = run_thread;
  if (!runtime_ensure()) return REAL(pthread_create)(out, attr, start, arg);
  return create(out, attr, start, arg);
}

GOSHIM_EXPORT int pthread_join(pthread_t t, void** result) {
  if (!g_of(t)) return REAL(pthread_join)(t, result);
  return join(t, result, kForever);
}

GOSHIM_EXPORT int pthread_tryjoin_np(pthread_t t, void** result) {
  if (!g_of(t)) return REAL(pthread_tryjoin_np)(t, result);
  return join(t, result, 0);
}

GOSHIM_EXPORT int pthread_timedjoin_np(pthread_t t, void** result, const timespec* abstime) {
  if (!g_of(t)) return REAL(pthread_timedjoin_np)(t, result, abstime);
  return join(t, result, deadline_of(CLOCK_REALTIME, abstime));
}

GOSHIM_EXPORT int pthread_clockjoin_np(pthread_t t, void** result, clockid_t clock, const timespec* abstime) {
  if (!g_of(t)) return REAL(pthread_clockjoin_np)(t, result, clock, abstime);
  if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC) return EINVAL;
  return join(t, result, deadline_of(clock, abstime));
}

GOSHIM_EXPORT int pthread_detach(pthread_t t) {
  if (!g_of(t)) return REAL(pthread_detach)(t);
  return thread_detach(g_of(t));
}

GOSHIM_EXPORT void pthread_exit(void* value) {
  if (on_g()) getg()->result = value;
  REAL(pthread_exit)(value);
  __builtin_unreachable();
}

GOSHIM_EXPORT int pthread_key_create(pthread_key_t* key, void (*destructor)(void*)) {
  int r = REAL(pthread_key_create)(key, destructor);
  if (r == 0) key_created(*key, destructor);
  return r;
}

GOSHIM_EXPORT int __pthread_key_create(pthread_key_t* key, void (*destructor)(void*)) {
  return pthread_key_create(key, destructor);
}

GOSHIM_EXPORT int pthread_key_delete(pthread_key_t key) {
  key_deleted(key);
  return REAL(pthread_key_delete)(key);
}

GOSHIM_EXPORT int thrd_create(thrd_t* out, thrd_start_t start, void* arg) {
  // glibc too stores the int where a pointer is expected, and takes it back as an int in thrd_join.
  return c11(pthread_create(out, nullptr, reinterpret_cast<void* (*)(void*)>(reinterpret_cast<void*>(start)), arg));
}

GOSHIM_EXPORT int thrd_join(thrd_t t, int* result) {
  void* value = nullptr;
  int error = pthread_join(t, &value);
  if (result && !error) *result = static_cast<int>(reinterpret_cast<intptr_t>(value));
  return c11(error);
}

GOSHIM_EXPORT int thrd_detach(thrd_t t) { return c11(pthread_detach(t)); }

GOSHIM_EXPORT void thrd_exit(int result) {
  pthread_exit(reinterpret_cast<void*>(static_cast<intptr_t>(result)));
  __builtin_unreachable();
}

GOSHIM_EXPORT int tss_create(tss_t* key, tss_dtor_t destructor) { return c11(pthread_key_create(key, destructor)); }

GOSHIM_EXPORT void tss_delete(tss_t key) { pthread_key_delete(key); }

GOSHIM_EXPORT int sched_yield() {
  if (!on_g()) return REAL(sched_yield)();
  yield();
  return 0;
}

GOSHIM_EXPORT int __sched_yield() { return sched_yield(); }

// pthread.h declares pthread_yield as another name of sched_yield; old binaries reference the symbol itself.
GOSHIM_EXPORT int goshim_pthread_yield() __asm__("pthread_yield");
int goshim_pthread_yield() { return sched_yield(); }

GOSHIM_EXPORT void thrd_yield() { sched_yield(); }
