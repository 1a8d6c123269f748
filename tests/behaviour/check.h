// What the behaviour tests share: checks that print what they saw and end the process, and helpers that start
// threads and give a scheduler every reason to move them from one kernel thread to another. C11 and C++20.
// Include it first: it asks for the GNU names.
#ifndef TESTS_BEHAVIOUR_CHECK_H_
#define TESTS_BEHAVIOUR_CHECK_H_

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SKIP_STATUS 77

// Prints without stdio's locks: a failing thread may hold one, or be killed by the exit of another.
__attribute__((noreturn, format(printf, 3, 4))) static inline void check_fail(const char* file, int line,
                                                                              const char* format, ...) {
  char text[512];
  int length = snprintf(text, sizeof text, "%s:%d: ", file, line);
  __builtin_va_list args;
  __builtin_va_start(args, format);
  length += vsnprintf(text + length, sizeof text - (size_t)length - 1, format, args);
  __builtin_va_end(args);
  if (length > (int)sizeof text - 2) length = (int)sizeof text - 2;
  text[length++] = '\n';
  if (write(2, text, (size_t)length) < 0) _exit(2);
  _exit(1);
}

#define CHECK(condition)                                                          \
  do {                                                                            \
    if (!(condition)) check_fail(__FILE__, __LINE__, "not true: %s", #condition); \
  } while (0)

// Integers and pointers; prints both values.
#define CHECK_EQ(seen, wanted)                                                                    \
  do {                                                                                            \
    long long check_seen_ = (long long)(intptr_t)(seen);                                          \
    long long check_wanted_ = (long long)(intptr_t)(wanted);                                      \
    if (check_seen_ != check_wanted_)                                                             \
      check_fail(__FILE__, __LINE__, "%s is %lld (0x%llx), wanted %s = %lld", #seen, check_seen_, \
                 (unsigned long long)check_seen_, #wanted, check_wanted_);                        \
  } while (0)

// A function, so that temporaries in the arguments live until the comparison is done.
static inline void check_str(const char* file, int line, const char* what, const char* seen, const char* wanted) {
  if (seen == NULL || strcmp(seen, wanted) != 0) {
    check_fail(file, line, "%s is \"%s\", wanted \"%s\"", what, seen == NULL ? "(null)" : seen, wanted);
  }
}
#define CHECK_STR(seen, wanted) check_str(__FILE__, __LINE__, #seen, (seen), (wanted))

// A pthread function, which returns its error.
#define CHECK_OK(call)                                                                                 \
  do {                                                                                                 \
    int check_error_ = (call);                                                                         \
    if (check_error_ != 0)                                                                             \
      check_fail(__FILE__, __LINE__, "%s gives %d (%s)", #call, check_error_, strerror(check_error_)); \
  } while (0)

// A system call or wrapper, which returns -1 and sets errno.
#define CHECK_SYS(call)                                                                                         \
  do {                                                                                                          \
    if ((call) == -1) check_fail(__FILE__, __LINE__, "%s fails: errno %d (%s)", #call, errno, strerror(errno)); \
  } while (0)

// A system call or wrapper that must fail with this errno.
#define CHECK_ERRNO(call, wanted)                                                                                    \
  do {                                                                                                               \
    errno = 0;                                                                                                       \
    long check_result_ = (long)(call);                                                                               \
    if (check_result_ != -1 || errno != (wanted))                                                                    \
      check_fail(__FILE__, __LINE__, "%s gives %ld, errno %d, wanted -1, %s", #call, check_result_, errno, #wanted); \
  } while (0)

// Becomes true within half a minute. A failure here means a lost wake-up or a stopped scheduler, not a slow machine.
#define EVENTUALLY(condition)                                                                                      \
  do {                                                                                                             \
    int64_t check_end_ = now_ns(CLOCK_MONOTONIC) + 30 * NS_PER_S;                                                  \
    while (!(condition)) {                                                                                         \
      if (now_ns(CLOCK_MONOTONIC) > check_end_) check_fail(__FILE__, __LINE__, "not within 30 s: %s", #condition); \
      usleep(200);                                                                                                 \
    }                                                                                                              \
  } while (0)

#define SKIP(reason)          \
  do {                        \
    printf("%s\n", (reason)); \
    fflush(stdout);           \
    _exit(SKIP_STATUS);       \
  } while (0)

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

static inline int64_t now_ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static inline struct timespec ns_to_timespec(int64_t ns) {
  struct timespec t;
  t.tv_sec = ns / NS_PER_S;
  t.tv_nsec = ns % NS_PER_S;
  return t;
}

// The absolute time `ms` from now; negative for a time that has passed.
static inline struct timespec ms_from_now(clockid_t clock, int64_t ms) {
  return ns_to_timespec(now_ns(clock) + ms * NS_PER_MS);
}

static inline void sleep_ms(int64_t ms) {
  struct timespec t = ns_to_timespec(ms * NS_PER_MS);
  while (nanosleep(&t, &t) == -1 && errno == EINTR) {
  }
}

// Computes without a call, a system call or a store: only preemption can take the processor from it. A round takes
// about a nanosecond.
static inline void compute(int64_t rounds) {
  for (int64_t i = 0; i < rounds; i++) __asm__ volatile("" ::: "memory");
}

// One reason to move to another kernel thread: a yield, a sleep, a contended lock, a slice of computing, a system call
// that blocks. `step` chooses.
static inline void stir(unsigned step) {
  static pthread_mutex_t contended = PTHREAD_MUTEX_INITIALIZER;
  switch (step % 8) {
    case 1: usleep(step % 97); break;
    case 3:
    case 6:
      pthread_mutex_lock(&contended);
      sched_yield();
      pthread_mutex_unlock(&contended);
      break;
    case 5: compute(20000); break;
    case 7:
      if (step % 64 == 7) poll(NULL, 0, 1);
      break;
    default: sched_yield();
  }
}

// Starts `count` threads with their index as argument, joins them and checks that each returned its argument.
static inline void run_threads(int count, void* (*routine)(void*)) {
  pthread_t* threads = (pthread_t*)calloc((size_t)count, sizeof(pthread_t));
  for (intptr_t i = 0; i < count; i++) CHECK_OK(pthread_create(&threads[i], NULL, routine, (void*)i));
  for (intptr_t i = 0; i < count; i++) {
    void* result = NULL;
    CHECK_OK(pthread_join(threads[i], &result));
    CHECK_EQ(result, i);
  }
  free(threads);
}

// The exit status of a child, -signal if one killed it.
static inline int wait_status(pid_t child) {
  int status = 0;
  pid_t got;
  do {
    got = waitpid(child, &status, 0);
  } while (got == -1 && errno == EINTR);
  CHECK_EQ(got, child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

#ifdef __cplusplus
// Calls body(i) in a thread for each i below `count`, and joins them all.
template <class Body>
void parallel(int count, Body body) {
  struct Task {
    Body* body;
    int index;
  };
  Task* tasks = new Task[static_cast<size_t>(count)];
  pthread_t* threads = new pthread_t[static_cast<size_t>(count)];
  for (int i = 0; i < count; i++) {
    tasks[i] = {&body, i};
    CHECK_OK(pthread_create(
        &threads[i], nullptr,
        [](void* p) -> void* {
          Task* task = static_cast<Task*>(p);
          (*task->body)(task->index);
          return p;
        },
        &tasks[i]));
  }
  for (int i = 0; i < count; i++) {
    void* result = nullptr;
    CHECK_OK(pthread_join(threads[i], &result));
    CHECK_EQ(result, &tasks[i]);
  }
  delete[] threads;
  delete[] tasks;
}

// Starts a thread that calls body(); it returns null.
template <class Body>
pthread_t spawn(Body body) {
  pthread_t thread;
  CHECK_OK(pthread_create(
      &thread, nullptr,
      [](void* p) -> void* {
        Body* own = static_cast<Body*>(p);
        (*own)();
        delete own;
        return nullptr;
      },
      new Body(body)));
  return thread;
}

inline void join(pthread_t thread) { CHECK_OK(pthread_join(thread, nullptr)); }
#endif  // __cplusplus

#endif  // TESTS_BEHAVIOUR_CHECK_H_
