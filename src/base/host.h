// What the runtime needs of the C library, by function pointer: src/ knows no symbol names, interpose/ fills this in
// (constructor, before any other thread exists; constant afterwards). Everything else is forbidden on a g0: see D4 in
// docs/how-it-works.md. Each line says from where it may be called.
#pragma once

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "base/base.h"

namespace goshim {

inline constexpr char kNotAlone = 0;

struct Host {
  // libc's own flag: not 0 while the process has one thread. kNotAlone before it is found, and for good once there are
  // threads that libc does not know of (the runtime's, the program's clones). Any thread.
  const char* single_threaded = &kNotAlone;
  // Anywhere: they write to the caller's TCB.
  void (*cleanup_push)(_pthread_cleanup_buffer*, void (*)(void*), void*);
  void (*cleanup_pop)(_pthread_cleanup_buffer*, int execute);
  // Anywhere: vDSO.
  int (*clock_gettime)(clockid_t, timespec*);
  // Anywhere: an address in the caller's TCB.
  int* (*errno_location)();

  // Only on a program's G with preemption on (they allocate, lock, or run program code).
  int (*pthread_create)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  int (*pthread_join)(pthread_t, void**);
  int (*pthread_attr_setstack)(pthread_attr_t*, void*, size_t);
  void (*own_stack)(void** base, size_t* size);  // interpose/init.cpp: the calling thread's
  int (*dl_iterate_phdr)(int (*)(struct dl_phdr_info*, size_t, void*), void*);
  void (*free)(void*);
  void (*exit)(int);
  void (*abort)();
  void* (*pthread_getspecific)(pthread_key_t);
  int (*pthread_setspecific)(pthread_key_t, const void*);
  void (*pthread_testcancel)();
  int (*pthread_setcancelstate)(int, int*);
  int (*pthread_setcanceltype)(int, int*);
  void (*call_tls_dtors)();  // destructors of C++ thread_local objects; null in a libc without them
  void* (*run_thread)(void* (*start)(void*), void* arg, void** exit_value);  // interpose/thread.cpp
  void* (*find)(
      const char* symbol);  // any loaded object's function or datum (private ones too), not TLS; null if absent
  void* (*dlsym)(void*, const char*);  // for TLS symbols of the calling thread
};

extern Host host;

}  // namespace goshim
