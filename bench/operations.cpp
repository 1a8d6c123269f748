// Does one operation so many times, for counting what it costs in instructions and in system calls (bench/check):
//   operations KIND TIMES
// With TRACED in the environment a breakpoint instruction stands before the first and behind the last of them, for
// bench/steps. What is needed once has been done before: the first threads, their stacks, the first waits.
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

using namespace bench;

bool traced;

void mark() {
  if (traced) __asm__ volatile("int3");
}

pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
sem_t to_other, to_main;
int turn;
int pipe_to[2], pipe_back[2];
int pair_of[2];

void create_join(long times) {
  for (long i = 0; i < times; i++) join(start(nothing, nullptr));
}

void* yields(void* arg) {
  for (;;) sched_yield();
  return arg;
}

void yield(long times) {
  for (long i = 0; i < times; i++) sched_yield();
}

void take_turns(int me, long times) {
  pthread_mutex_lock(&mutex);
  for (long i = 0; i < times; i++) {
    while (turn != me) pthread_cond_wait(&cond, &mutex);
    turn = 1 - me;
    pthread_cond_signal(&cond);
  }
  pthread_mutex_unlock(&mutex);
}

void* takes_turns(void* arg) {
  for (;;) take_turns(1, 1000);
  return arg;
}

void cond_pingpong(long times) { take_turns(0, times); }

void* posts(void* arg) {
  for (;;) {
    sem_wait(&to_other);
    sem_post(&to_main);
  }
  return arg;
}

void sem_pingpong(long times) {
  for (long i = 0; i < times; i++) {
    sem_post(&to_other);
    sem_wait(&to_main);
  }
}

void mutex_free(long times) {
  for (long i = 0; i < times; i++) {
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
  }
}

void rwlock_free(long times) {
  for (long i = 0; i < times; i++) {
    pthread_rwlock_rdlock(&rwlock);
    pthread_rwlock_unlock(&rwlock);
  }
}

// A call that goshim has no opinion of, by its number.
void call_by_number(long times) {
  for (long i = 0; i < times; i++) syscall(SYS_getppid);
}

// Asks for more than is there, as servers do.
void get(int from) {
  char bytes[64];
  must(read(from, bytes, sizeof bytes) != 1, "read");
}

void put(int to) { must(write(to, "x", 1) != 1, "write"); }

void echo(int from, int to) {
  for (;;) {
    get(from);
    put(to);
  }
}

void* echoes_pipe(void* arg) {
  echo(pipe_to[0], pipe_back[1]);
  return arg;
}

void* echoes_pair(void* arg) {
  echo(pair_of[1], pair_of[1]);
  return arg;
}

void ask(int to, int from, long times) {
  for (long i = 0; i < times; i++) {
    put(to);
    get(from);
  }
}

void pipe_pingpong(long times) { ask(pipe_to[1], pipe_back[0], times); }
void socket_pingpong(long times) { ask(pair_of[0], pair_of[0], times); }

constexpr struct {
  const char* name;
  void (*run)(long times);
  void* (*other)(void*);
} kKinds[] = {
    {"create_join", create_join, nullptr},         {"yield", yield, yields},
    {"cond_pingpong", cond_pingpong, takes_turns}, {"sem_pingpong", sem_pingpong, posts},
    {"mutex_free", mutex_free, nullptr},           {"rwlock_free", rwlock_free, nullptr},
    {"pipe_pingpong", pipe_pingpong, echoes_pipe}, {"socket_pingpong", socket_pingpong, echoes_pair},
    {"call_by_number", call_by_number, nullptr},
};

}  // namespace

int main(int argc, char** argv) {
  traced = getenv("TRACED") != nullptr;
  long times = argc == 3 ? std::atol(argv[2]) : 0;
  for (const auto& kind : kKinds) {
    if (times <= 0 || std::strcmp(argv[1], kind.name) != 0) continue;
    must(sem_init(&to_other, 0, 0) | sem_init(&to_main, 0, 0), "sem_init");
    must(pipe(pipe_to) | pipe(pipe_back), "pipe");
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair_of), "socketpair");
    join(start(nothing, nullptr));
    if (kind.other) start(kind.other, nullptr);
    constexpr long kWarm = 100;
    kind.run(kWarm);
    mark();
    kind.run(times);
    mark();
    _exit(0);
  }
  std::fputs("usage: operations KIND TIMES; kinds:", stderr);
  for (const auto& kind : kKinds) std::fprintf(stderr, " %s", kind.name);
  std::fputc('\n', stderr);
  return 2;
}
