// A library whose constructor starts a thread and whose destructor stops and joins it.
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>

namespace {

std::atomic<int> ticks;
std::atomic<bool> stop;
pthread_t ticker;
bool started;

void* tick(void*) {
  while (!stop) {
    ticks++;
    usleep(200);
    sched_yield();
  }
  return nullptr;
}

__attribute__((constructor)) void start() { started = pthread_create(&ticker, nullptr, tick, nullptr) == 0; }

__attribute__((destructor)) void finish() {
  stop = true;
  if (!started || pthread_join(ticker, nullptr) != 0) _exit(99);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int ctorthread_ticks() { return ticks.load(); }
