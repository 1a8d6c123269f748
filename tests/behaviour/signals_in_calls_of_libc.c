// Shows that a thread inside a call in which libc waits by itself for long (a list of asynchronous I/O, a command) is
// reached by pthread_kill and by pthread_cancel, main and others.
#include "check.h"

#include <aio.h>
#include <signal.h>
#include <stdatomic.h>

static atomic_int handled, entered, done, cleaned;

static void on_signal(int signal) {
  (void)signal;
  atomic_fetch_add(&handled, 1);
}

// A read that does not end: EINTR after a handler without SA_RESTART. The request is left in flight, since libc's list
// of those who wait for it then points into a frame that is gone.
static void* wait_for_a_list(void* arg) {
  int ends[2];
  static char buffer[16];
  CHECK_OK(pipe(ends));
  struct aiocb* request = calloc(1, sizeof *request);
  request->aio_fildes = ends[0];
  request->aio_lio_opcode = LIO_READ;
  request->aio_buf = buffer;
  request->aio_nbytes = sizeof buffer;
  request->aio_sigevent.sigev_notify = SIGEV_NONE;
  struct aiocb* list[] = {request};
  atomic_store(&entered, 1);
  CHECK_EQ(lio_listio(LIO_WAIT, list, 1, NULL), -1);
  CHECK_EQ(errno, EINTR);
  atomic_store(&done, 1);
  return arg;
}

static int gate[2];

// The handler runs while the command goes on.
static void* wait_for_a_command(void* arg) {
  char command[64];
  snprintf(command, sizeof command, "read line <&%d", gate[0]);
  atomic_store(&entered, 1);
  CHECK_EQ(system(command), 0);
  return arg;
}

static void note(void* arg) {
  (void)arg;
  atomic_store(&cleaned, 1);
}

static void* wait_to_be_cancelled(void* arg) {
  pthread_cleanup_push(note, NULL);
  atomic_store(&entered, 1);
  system("exec sleep 1000");
  pthread_cleanup_pop(0);
  return arg;
}

// Again and again: a signal that comes before the call ends no wait.
static void signal_until_done(pthread_t thread) {
  while (!atomic_load(&done)) {
    CHECK_OK(pthread_kill(thread, SIGUSR1));
    sleep_ms(20);
  }
  CHECK(atomic_load(&handled) > 0);
  atomic_store(&done, 0);
}

static void* signal_main(void* main_thread) {
  while (!atomic_load(&entered)) sched_yield();
  sleep_ms(50);
  signal_until_done(*(pthread_t*)main_thread);
  return NULL;
}

static pthread_t start(void* (*run)(void*)) {
  pthread_t thread;
  atomic_store(&entered, 0);
  atomic_store(&handled, 0);
  CHECK_OK(pthread_create(&thread, NULL, run, NULL));
  while (!atomic_load(&entered)) sched_yield();
  sleep_ms(50);
  return thread;
}

int main(void) {
  struct sigaction action = {.sa_handler = on_signal};
  CHECK_OK(sigaction(SIGUSR1, &action, NULL));

  pthread_t self = pthread_self();
  pthread_t other;
  CHECK_OK(pthread_create(&other, NULL, signal_main, &self));
  wait_for_a_list(NULL);
  CHECK_OK(pthread_join(other, NULL));

  other = start(wait_for_a_list);
  signal_until_done(other);
  CHECK_OK(pthread_join(other, NULL));

  CHECK_OK(pipe(gate));
  other = start(wait_for_a_command);
  CHECK_OK(pthread_kill(other, SIGUSR1));
  while (!atomic_load(&handled)) sleep_ms(1);
  CHECK_EQ(write(gate[1], "\n", 1), 1);
  CHECK_OK(pthread_join(other, NULL));

  other = start(wait_to_be_cancelled);
  CHECK_OK(pthread_cancel(other));
  void* result;
  CHECK_OK(pthread_join(other, &result));
  CHECK(result == PTHREAD_CANCELED);
  CHECK_EQ(atomic_load(&cleaned), 1);
  return 0;
}
