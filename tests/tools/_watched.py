"""Small C programs that the tests of the tools look at while they run."""
import contextlib
import os
import subprocess
import tempfile

from _launcher import LIBRARY

FOLDER = tempfile.TemporaryDirectory(prefix="goshim-tools-")


def path(name):
    return os.path.join(FOLDER.name, name)


def compiled(name, source, *flags):
    """The program of that C source; its path."""
    with open(path(name + ".c"), "w", encoding="utf-8") as f:
        f.write("#define _GNU_SOURCE\n" + source)
    subprocess.run(["cc", "-O1", "-pthread", "-o", path(name), path(name + ".c"), *flags], check=True)
    return path(name)


@contextlib.contextmanager
def running(program, *args, shim=True, **options):
    """The program under goshim (or natively), after its first line; ended at the end by the end of its input."""
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD" and not k.startswith("GOSHIM_")}
    env.update(options.pop("env", {}))
    if shim:
        env["LD_PRELOAD"] = LIBRARY
    with subprocess.Popen([program, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
                          **options) as p:
        try:
            p.said = p.stdout.readline().strip()
            yield p
        finally:
            p.stdin.close()
            try:
                p.wait(20)
            finally:
                p.kill()


# One thread in each kind of wait, and COND in a condition variable. Says "ready", and ends with its input.
WAITERS = compiled("waiters", r"""
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER, m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t bar;
static sem_t sem;
static int ends[2];
static pthread_t main_thread;
static void *mutex(void *a) { pthread_mutex_lock(&held); return a; }
static void *cond(void *a) { pthread_mutex_lock(&m); for (;;) pthread_cond_wait(&c, &m); return a; }
static void *rwlock(void *a) { pthread_rwlock_wrlock(&rw); return a; }
static void *barrier(void *a) { pthread_barrier_wait(&bar); return a; }
static void *semaphore(void *a) { sem_wait(&sem); return a; }
static void *sleeper(void *a) { sleep(1000); return a; }
static void *join(void *a) { pthread_join(main_thread, NULL); return a; }
static void *io(void *a) { char b; if (read(ends[0], &b, 1) < 0) abort(); return a; }
static void *call(void *a) { struct flock l = {.l_type = F_WRLCK}; fcntl(*(int *)a, F_OFD_SETLKW, &l); return a; }
int main(int argc, char **argv) {
  void *(*all[])(void *) = {mutex, rwlock, barrier, semaphore, sleeper, join, io};
  pthread_t t;
  main_thread = pthread_self();
  pthread_mutex_lock(&held);
  pthread_rwlock_wrlock(&rw);
  pthread_barrier_init(&bar, NULL, 2);
  sem_init(&sem, 0, 0);
  if (pipe(ends)) abort();
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) pthread_create(&t, NULL, all[i], NULL);
  int locked[2];
  char name[] = "/tmp/goshim-lock-XXXXXX";
  locked[0] = mkstemp(name);
  locked[1] = open(name, O_RDWR);
  unlink(name);
  struct flock l = {.l_type = F_WRLCK};
  fcntl(locked[0], F_OFD_SETLK, &l);
  pthread_create(&t, NULL, call, &locked[1]);
  for (int i = argc > 1 ? atoi(argv[1]) : 1; i > 0; i--) pthread_create(&t, NULL, cond, NULL);
  puts("ready");
  fflush(stdout);
  char b;
  while (read(0, &b, 1) > 0) {}
  _exit(0);
}
""")

# Two threads that hand a turn to and fro until the input ends.
TURNS = compiled("turns", r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static int turn;
static void *player(void *a) {
  int me = a != NULL;
  pthread_mutex_lock(&m);
  for (;;) {
    while (turn != me) pthread_cond_wait(&c, &m);
    turn = !me;
    pthread_cond_signal(&c);
  }
  return a;
}
int main(void) {
  pthread_t t;
  pthread_create(&t, NULL, player, NULL);
  pthread_create(&t, NULL, player, &t);
  puts("ready");
  fflush(stdout);
  char b;
  while (read(0, &b, 1) > 0) {}
  _exit(0);
}
""")
