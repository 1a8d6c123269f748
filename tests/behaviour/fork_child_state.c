// Shows that a child which makes no thread is what a native one is: one kernel thread with the caller's name and signal
// mask; it sleeps and waits with time-outs, runs the parent's handlers, dies of a default action, may return from the
// thread's start routine or call pthread_exit, and sees the threads it left behind as ended.
#include "check.h"

#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>

static volatile int stop;
static volatile sig_atomic_t caught;
static pid_t child_of_routine;

static void on_signal(int signal) { caught = signal; }

static int kernel_threads(void) {
  int count = 0;
  DIR* directory = opendir("/proc/self/task");
  CHECK(directory != NULL);
  for (struct dirent* entry; (entry = readdir(directory));) count += entry->d_name[0] != '.';
  closedir(directory);
  return count;
}

static void check_child(void) {
  CHECK_EQ(gettid(), getpid());
  CHECK_EQ(kernel_threads(), 1);
  char name[16];
  CHECK_OK(pthread_getname_np(pthread_self(), name, sizeof name));
  CHECK_STR(name, "the-forker");
  CHECK_EQ(prctl(PR_GET_NAME, name), 0);
  CHECK_STR(name, "the-forker");
  sigset_t mask;
  CHECK_OK(pthread_sigmask(SIG_SETMASK, NULL, &mask));
  for (int i = 1; i < 32; i++) CHECK_EQ(sigismember(&mask, i), i == SIGUSR2 || i == SIGHUP);
  // Asleep when the handler comes.
  const int64_t start = now_ns(CLOCK_MONOTONIC);
  alarm(1);
  struct timespec left = {30, 0};
  CHECK_ERRNO(nanosleep(&left, &left), EINTR);
  CHECK_EQ(caught, SIGALRM);
  CHECK(now_ns(CLOCK_MONOTONIC) - start < 20 * NS_PER_S);
  caught = 0;
  raise(SIGUSR2);
  CHECK_EQ(caught, 0);
  sigemptyset(&mask);
  CHECK_OK(pthread_sigmask(SIG_SETMASK, &mask, NULL));
  CHECK_EQ(caught, SIGUSR2);
  usleep(1000);
  CHECK_EQ(kernel_threads(), 1);
}

static void* linger(void* arg) {
  while (!stop) usleep(100);
  return arg;
}

static void* fork_here(void* arg) {
  CHECK_OK(pthread_setname_np(pthread_self(), "the-forker"));
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR2);
  sigaddset(&mask, SIGHUP);
  CHECK_OK(pthread_sigmask(SIG_SETMASK, &mask, NULL));
  pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    check_child();
    _exit(31);
  }
  CHECK_EQ(wait_status(child), 31);
  child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    for (;;) sleep(100);
  }
  CHECK_SYS(kill(child, SIGTERM));
  CHECK_EQ(wait_status(child), -SIGTERM);
  // A child that runs a thread again and is then told to end.
  child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    run_threads(3, linger);
    for (;;) sleep(100);
  }
  stop = 0;
  usleep(20000);
  CHECK_SYS(kill(child, SIGTERM));
  CHECK_EQ(wait_status(child), -SIGTERM);
  // The end of the only thread is the end of the program.
  child = fork();
  CHECK_SYS(child);
  if (child == 0) pthread_exit((void*)3);
  CHECK_EQ(wait_status(child), 0);
  const pid_t parent = getpid();
  child = fork();
  CHECK_SYS(child);
  if (getpid() == parent) child_of_routine = child;
  return arg;
}

int main(void) {
  struct sigaction action = {.sa_handler = on_signal};
  CHECK_SYS(sigaction(SIGALRM, &action, NULL));
  CHECK_SYS(sigaction(SIGUSR2, &action, NULL));
  pthread_t others[4], forker;
  for (intptr_t i = 0; i < 4; i++) CHECK_OK(pthread_create(&others[i], NULL, linger, (void*)i));
  CHECK_OK(pthread_create(&forker, NULL, fork_here, NULL));
  CHECK_OK(pthread_join(forker, NULL));
  CHECK_EQ(wait_status(child_of_routine), 0);
  stop = 1;
  for (int i = 0; i < 4; i++) CHECK_OK(pthread_join(others[i], NULL));
  return 0;
}
