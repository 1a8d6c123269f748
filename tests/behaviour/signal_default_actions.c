// Shows that signals do to a process with threads what they do to any: end it (with a core where that is due), stop it
// and let it go on, or nothing; whoever sends them and whatever its threads do; and that a SIGCHLD server sees all its
// children.
// run: limit=60
#include "check.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>

static int ready[2];
static atomic_int ended;

__attribute__((noreturn)) static void* idle(void* arg) {
  for (unsigned i = (unsigned)(intptr_t)arg;; i++) {
    stir(i);
    if (i % 3 == 0) pause();
    if (i % 7 == 0) compute(1000000);
  }
}

static void start_threads(int count) {
  for (intptr_t i = 1; i <= count; i++) {
    pthread_t thread;
    CHECK_OK(pthread_create(&thread, NULL, idle, (void*)i));
  }
}

// A child with threads, in a group of its own, that has said that it is ready.
static pid_t make_child(void) {
  CHECK_SYS(pipe(ready));
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    const struct rlimit none = {0, 0};
    CHECK_SYS(setrlimit(RLIMIT_CORE, &none));
    CHECK_SYS(setpgid(0, 0));
    start_threads(5);
    CHECK_EQ(write(ready[1], "r", 1), 1);
    for (;;) pause();
  }
  close(ready[1]);
  char c;
  CHECK_EQ(read(ready[0], &c, 1), 1);
  close(ready[0]);
  return child;
}

static void* send_to_self(void* arg) {
  CHECK_SYS(kill(getpid(), (int)(intptr_t)arg));
  return NULL;
}

static void* send_to_thread(void* arg) {
  CHECK_OK(pthread_kill(pthread_self(), (int)(intptr_t)arg));
  return NULL;
}

static void endings(void) {
  static const int deadly[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGALRM, SIGPIPE, SIGABRT, SIGSEGV, SIGKILL};
  for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) {
    const int signal = deadly[i];
    const pid_t child = make_child();
    CHECK_SYS(kill(child, signal));
    CHECK_EQ(wait_status(child), -signal);
    for (int way = 0; way < 3; way++) {
      const pid_t self = fork();
      CHECK_SYS(self);
      if (self == 0) {
        const struct rlimit none = {0, 0};
        CHECK_SYS(setrlimit(RLIMIT_CORE, &none));
        start_threads(3);
        pthread_t sender;
        if (way == 0) CHECK_OK(pthread_create(&sender, NULL, send_to_self, (void*)(intptr_t)signal));
        else if (way == 1) CHECK_OK(pthread_create(&sender, NULL, send_to_thread, (void*)(intptr_t)signal));
        else raise(signal);
        for (;;) pause();
      }
      CHECK_EQ(wait_status(self), -signal);
    }
  }
}

static void nothings(void) {
  static const int harmless[] = {SIGCHLD, SIGURG, SIGWINCH, SIGCONT};
  const pid_t child = make_child();
  for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++) CHECK_SYS(kill(child, harmless[i]));
  CHECK_EQ(waitpid(child, NULL, WNOHANG), 0);
  CHECK_SYS(kill(child, SIGKILL));
  CHECK_EQ(wait_status(child), -SIGKILL);
}

static void block_term(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
}

static void on_cont(int signal) {
  (void)signal;
  if (write(ready[1], "c", 1) != 1) _exit(9);
}
static void on_stop(int signal) {
  (void)signal;
  if (write(ready[1], "s", 1) != 1) _exit(9);
}

static int state_of(pid_t child, int options) {
  int status = 0;
  CHECK_EQ(waitpid(child, &status, options), child);
  return status;
}

// Stops and goes on.
static void job_control(void) {
  static const int stopping[] = {SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU};
  const pid_t child = make_child();
  // A child in an orphaned group is not stopped by the terminal's signals; this one's parent is in another group of the
  // same session.
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < sizeof stopping / sizeof *stopping; i++) {
      CHECK_SYS(kill(child, stopping[i]));
      const int stopped = state_of(child, WUNTRACED);
      CHECK(WIFSTOPPED(stopped));
      CHECK_EQ(WSTOPSIG(stopped), stopping[i]);
      CHECK_SYS(kill(child, SIGCONT));
      CHECK(WIFCONTINUED(state_of(child, WCONTINUED)));
    }
  }
  CHECK_SYS(kill(child, SIGTERM));
  CHECK_EQ(wait_status(child), -SIGTERM);
}

static void handled_stops(void) {
  int words[2];
  CHECK_SYS(pipe(words));
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    CHECK_SYS(setpgid(0, 0));
    ready[1] = words[1];
    start_threads(5);
    signal(SIGCONT, on_cont);
    signal(SIGTSTP, on_stop);
    CHECK_EQ(write(words[1], "r", 1), 1);
    for (;;) pause();
  }
  char c = 0;
  CHECK_EQ(read(words[0], &c, 1), 1);
  CHECK_EQ(c, 'r');
  CHECK_SYS(kill(child, SIGTSTP));
  CHECK_EQ(read(words[0], &c, 1), 1);
  CHECK_EQ(c, 's');
  CHECK_SYS(kill(child, SIGSTOP));
  CHECK(WIFSTOPPED(state_of(child, WUNTRACED)));
  CHECK_SYS(kill(child, SIGCONT));
  CHECK_EQ(read(words[0], &c, 1), 1);
  CHECK_EQ(c, 'c');
  CHECK_SYS(kill(child, SIGKILL));
  CHECK_EQ(wait_status(child), -SIGKILL);
  close(words[0]);
  close(words[1]);
}

static void* open_term(void* arg) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  usleep(1000);
  CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
  return idle(arg);
}

// Blocked everywhere it waits, with its default action, for a thread that opens it.
static void pending_default(void) {
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    block_term();
    start_threads(4);
    CHECK_SYS(kill(getpid(), SIGTERM));
    sigset_t set;
    CHECK_SYS(sigpending(&set));
    CHECK_EQ(sigismember(&set, SIGTERM), 1);
    pthread_t thread;
    CHECK_OK(pthread_create(&thread, NULL, open_term, NULL));
    for (;;) pause();
  }
  CHECK_EQ(wait_status(child), -SIGTERM);
}

// ---- SIGCHLD servers ----

static void on_child(int signal) {
  (void)signal;
  const int saved = errno;
  while (waitpid(-1, NULL, WNOHANG) > 0) atomic_fetch_add(&ended, 1);
  errno = saved;
}

static void* make_children(void* arg) {
  for (int i = 0; i < 5; i++) {
    const pid_t child = fork();
    CHECK_SYS(child);
    if (child == 0) _exit(i);
    stir((unsigned)i + (unsigned)(intptr_t)arg);
  }
  return arg;
}

static void server(void) {
  struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_RESTART | SA_NOCLDSTOP};
  CHECK_SYS(sigaction(SIGCHLD, &action, NULL));
  run_threads(8, make_children);
  EVENTUALLY(atomic_load(&ended) == 40);
  // Children that nobody waits for.
  action.sa_flags |= SA_NOCLDWAIT;
  CHECK_SYS(sigaction(SIGCHLD, &action, NULL));
  run_threads(8, make_children);
  EVENTUALLY(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

int main(void) {
  endings();
  nothings();
  job_control();
  handled_stops();
  pending_default();
  start_threads(4);
  server();
  return 0;
}
