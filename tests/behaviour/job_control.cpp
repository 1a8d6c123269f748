// Shows job control on a terminal as between a shell and a job with threads: SIGTSTP stops all of its threads and
// SIGCONT lets them go on, also many times in a row and one directly behind the other; its handlers for both run;
// reading in the background stops it by SIGTTIN, or fails if the thread blocks that; a thread that blocks SIGTTOU takes
// the terminal for its group; kill() with SIGSTOP from a thread stops it; a SIGTSTP that all block is pending until one
// opens it, or SIGCONT comes, also while threads come and go and change their masks.
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <termios.h>

#include <atomic>

namespace {

struct Shared {
  std::atomic<long> rounds[4];
  std::atomic<int> stops, conts, step;
};
Shared* shared;

void set_handler(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  CHECK_SYS(sigaction(signal, &action, nullptr));
}

// As an editor does it: tidies up, stops itself by the default action, and goes on here when it is continued.
void on_stop(int) {
  int saved = errno;
  shared->stops++;
  set_handler(SIGTSTP, SIG_DFL);
  sigset_t open, before;
  sigemptyset(&open);
  sigaddset(&open, SIGTSTP);
  raise(SIGTSTP);
  pthread_sigmask(SIG_UNBLOCK, &open, &before);  // it stops here
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  set_handler(SIGTSTP, on_stop);
  shared->step++;
  errno = saved;
}
void on_cont(int) { shared->conts++; }

void workers(bool block_all) {
  for (int i = 0; i < 4; i++) {
    spawn([i, block_all] {
      if (block_all) {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, nullptr);
      }
      for (unsigned step = static_cast<unsigned>(i);; step++) {
        stir(step);
        shared->rounds[i]++;
      }
    });
  }
}

void wait_stop(pid_t job, int signal) {
  int status = 0;
  CHECK_EQ(waitpid(job, &status, WUNTRACED), job);
  CHECK(WIFSTOPPED(status));
  CHECK_EQ(WSTOPSIG(status), signal);
}

void go_on(pid_t job) {
  int status = 0;
  CHECK_SYS(kill(-job, SIGCONT));
  CHECK_EQ(waitpid(job, &status, WCONTINUED), job);
  CHECK(WIFCONTINUED(status));
}

void all_run() {
  for (auto& r : shared->rounds) {
    long before = r;
    EVENTUALLY(r > before + 3);
  }
}

pid_t start(void (*job)(int), int terminal) {
  for (auto& r : shared->rounds) r = 0;
  shared->stops = shared->conts = shared->step = 0;
  pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    CHECK_SYS(setpgid(0, 0));
    job(terminal);
    _exit(5);
  }
  setpgid(child, child);
  return child;
}

void end(pid_t job) {
  CHECK_SYS(kill(-job, SIGKILL));
  CHECK_EQ(wait_status(job), -SIGKILL);
}

void job_plain(int) {
  workers(false);
  for (;;) pause();
}
void job_blocking(int) {
  workers(true);
  for (;;) pause();
}
void job_handles(int) {
  set_handler(SIGTSTP, on_stop);
  set_handler(SIGCONT, on_cont);
  workers(true);
  for (;;) pause();
}
void job_reads(int terminal) {
  workers(false);
  join(spawn([terminal] {
    char line[16];
    ssize_t n = read(terminal, line, sizeof line);
    CHECK_EQ(n, 4);
    shared->step = 1;
  }));
  for (;;) pause();
}
void job_reads_blocking(int terminal) {
  workers(false);
  join(spawn([terminal] {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGTTIN);
    CHECK_OK(pthread_sigmask(SIG_BLOCK, &one, nullptr));
    char line[16];
    CHECK_ERRNO(read(terminal, line, sizeof line), EIO);
    iovec v = {line, sizeof line};
    CHECK_ERRNO(readv(terminal, &v, 1), EIO);
    shared->step = 1;
  }));
  for (;;) pause();
}
// main opens SIGTSTP when it is told.
void job_opens_late(int) {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGTSTP);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &one, nullptr));
  workers(false);
  auto pending = [] {
    sigset_t set;
    CHECK_SYS(sigpending(&set));
    return sigismember(&set, SIGTSTP) == 1;
  };
  for (;;) {
    const bool is = pending();
    shared->stops = is;
    if (shared->step == 1) {
      CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &one, nullptr));
      CHECK_OK(pthread_sigmask(SIG_BLOCK, &one, nullptr));
      shared->step = 2;
    }
    usleep(200);
  }
}
// All block SIGTSTP, but for moments, and for threads that live shortly.
void job_toggles(int) {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGTSTP);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &one, nullptr));
  workers(false);
  spawn([one] {
    for (unsigned step = 0;; step++) {
      CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &one, nullptr));
      if (step % 3 == 0) join(spawn([step] { stir(step); }));
      CHECK_OK(pthread_sigmask(SIG_BLOCK, &one, nullptr));
      stir(step);
    }
  });
  pthread_attr_t open;
  CHECK_OK(pthread_attr_init(&open));
  sigset_t none;
  sigemptyset(&none);
  CHECK_OK(pthread_attr_setsigmask_np(&open, &none));
  for (;;) {
    pthread_t thread;
    CHECK_OK(pthread_create(
        &thread, &open, [](void* p) { return p; }, nullptr));
    join(thread);
    usleep(300);
  }
}
void job_takes_terminal(int terminal) {
  workers(false);
  join(spawn([terminal] {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGTTOU);
    CHECK_OK(pthread_sigmask(SIG_BLOCK, &one, nullptr));
    CHECK_SYS(tcsetpgrp(terminal, getpgrp()));
    termios t;
    CHECK_SYS(tcgetattr(terminal, &t));
    CHECK_SYS(tcsetattr(terminal, TCSANOW, &t));
    CHECK_EQ(tcgetpgrp(terminal), getpgrp());
    shared->step = 1;
  }));
  for (;;) pause();
}
void job_stops_itself(int) {
  workers(false);
  join(spawn([] {
    CHECK_SYS(kill(getpid(), SIGSTOP));
    while (shared->step != 1) usleep(500);
    CHECK_OK(raise(SIGTSTP));
    while (shared->step != 2) usleep(500);
    CHECK_SYS(kill(getpid(), SIGTSTP));
    while (shared->step != 3) usleep(500);
    shared->step = 4;
  }));
  for (;;) pause();
}

void session(int master, int terminal) {
  for (auto job : {job_plain, job_blocking}) {
    pid_t child = start(job, terminal);
    for (int i = 0; i < 3; i++) {
      all_run();
      CHECK_SYS(kill(-child, SIGTSTP));
      wait_stop(child, SIGTSTP);
      long stopped[4];
      for (int k = 0; k < 4; k++) stopped[k] = shared->rounds[k];
      usleep(2000);
      for (int k = 0; k < 4; k++) CHECK_EQ(shared->rounds[k], stopped[k]);
      go_on(child);
    }
    for (int i = 0; i < 50; i++) {
      CHECK_SYS(kill(-child, SIGTSTP));
      CHECK_SYS(kill(-child, SIGCONT));
      if (i % 10 == 0) all_run();
    }
    all_run();
    end(child);
  }

  pid_t child = start(job_handles, terminal);
  for (int i = 1; i <= 3; i++) {
    all_run();
    CHECK_SYS(kill(-child, SIGTSTP));
    wait_stop(child, SIGTSTP);
    CHECK_EQ(shared->stops, i);
    go_on(child);
    EVENTUALLY(shared->conts == i);
    all_run();
    EVENTUALLY(shared->step == i);  // the handler has put itself back
  }
  end(child);

  child = start(job_reads, terminal);
  wait_stop(child, SIGTTIN);
  CHECK_SYS(tcsetpgrp(terminal, child));
  go_on(child);
  all_run();
  CHECK_EQ(write(master, "abc\n", 4), 4);
  EVENTUALLY(shared->step == 1);
  CHECK_EQ(write(master, "\x1a", 1), 1);  // ^Z
  wait_stop(child, SIGTSTP);
  sigset_t one, old;
  sigemptyset(&one);
  sigaddset(&one, SIGTTOU);
  sigprocmask(SIG_BLOCK, &one, &old);
  CHECK_SYS(tcsetpgrp(terminal, getpgrp()));
  sigprocmask(SIG_SETMASK, &old, nullptr);
  go_on(child);
  all_run();
  end(child);

  child = start(job_reads_blocking, terminal);
  EVENTUALLY(shared->step == 1 || waitpid(child, nullptr, WUNTRACED | WNOHANG) != 0);
  CHECK_EQ(shared->step, 1);
  all_run();
  end(child);

  child = start(job_opens_late, terminal);
  all_run();
  for (int i = 0; i < 4; i++) {
    CHECK_SYS(kill(-child, SIGTSTP));
    EVENTUALLY(shared->stops == 1);
    all_run();
    const bool taken_back = i % 2 == 0;
    if (taken_back) {
      CHECK_SYS(kill(-child, SIGCONT));
      EVENTUALLY(shared->stops == 0);
    }
    shared->step = 1;
    if (!taken_back) {
      wait_stop(child, SIGTSTP);
      go_on(child);
    }
    EVENTUALLY(shared->step == 2);
    CHECK_EQ(waitpid(child, nullptr, WUNTRACED | WNOHANG), 0);
  }
  end(child);

  child = start(job_toggles, terminal);
  all_run();
  for (int i = 0; i < 30; i++) {
    CHECK_SYS(kill(-child, SIGTSTP));
    if (i % 3) {
      wait_stop(child, SIGTSTP);
      go_on(child);
    } else {
      CHECK_SYS(kill(-child, SIGCONT));
    }
    if (i % 10 == 0) all_run();
  }
  all_run();
  end(child);

  child = start(job_takes_terminal, terminal);
  EVENTUALLY(shared->step == 1 || waitpid(child, nullptr, WUNTRACED | WNOHANG) != 0);
  CHECK_EQ(shared->step, 1);
  all_run();
  sigprocmask(SIG_BLOCK, &one, &old);
  CHECK_SYS(tcsetpgrp(terminal, getpgrp()));
  sigprocmask(SIG_SETMASK, &old, nullptr);
  end(child);

  child = start(job_stops_itself, terminal);
  for (int signal : {SIGSTOP, SIGTSTP, SIGTSTP}) {
    wait_stop(child, signal);
    go_on(child);
    shared->step++;
  }
  EVENTUALLY(shared->step == 4);
  all_run();
  end(child);
}

}  // namespace

int main() {
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  shared = new (memory) Shared();
  int master = posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0) SKIP("no terminals here");
  CHECK_SYS(grantpt(master));
  CHECK_SYS(unlockpt(master));
  const char* name = ptsname(master);
  pid_t shell = fork();
  CHECK_SYS(shell);
  if (shell == 0) {
    CHECK_SYS(setsid());
    int terminal = open(name, O_RDWR);
    CHECK_SYS(terminal);
    CHECK_SYS(ioctl(terminal, TIOCSCTTY, 0));
    session(master, terminal);
    _exit(0);
  }
  CHECK_EQ(wait_status(shell), 0);
  return 0;
}
