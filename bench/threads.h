// Threads whose making cannot fail unseen, and waits that signals do not end: what all benchmarks share.
#ifndef BENCH_THREADS_H_
#define BENCH_THREADS_H_

#include <pthread.h>
#include <semaphore.h>

#include <cstdio>
#include <cstdlib>

namespace bench {

inline void must(int error, const char* what) {
  if (error == 0) return;
  std::fprintf(stderr, "bench: %s: error %d\n", what, error);
  std::abort();
}

inline pthread_t start(void* (*routine)(void*), void* arg, const pthread_attr_t* attr = nullptr) {
  pthread_t t;
  must(pthread_create(&t, attr, routine, arg), "pthread_create");
  return t;
}

inline void join(pthread_t t) { must(pthread_join(t, nullptr), "pthread_join"); }

inline void wait(sem_t* s) {
  while (sem_wait(s) != 0) {
  }
}

inline void* nothing(void* arg) { return arg; }

}  // namespace bench

#endif  // BENCH_THREADS_H_
