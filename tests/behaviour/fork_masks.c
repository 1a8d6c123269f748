// Shows that programs started from a thread, in every way there is, begin with that thread's signal mask (where no
// shell comes first, which may clear it) and the timer slack of the process, and that the thread's own mask is as
// before.
#include "check.h"

#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <wordexp.h>

extern char** environ;
static volatile int stop;
static char script[100];
static char mask_line[] = "SigBlk:.0*800$";
static char status_file[] = "/proc/self/status";
static char quiet[] = "-q";
static char grep[] = "grep";

static void* disturb(void* arg) {
  for (unsigned step = 0; !stop; step++) stir(step + (unsigned)(intptr_t)arg);
  return arg;
}

static pid_t by_vfork(void) {
  const pid_t child = vfork();
  if (child == 0) {
    execlp(grep, grep, quiet, mask_line, status_file, (char*)NULL);
    _exit(127);
  }
  return child;
}

static void* start_programs(void* arg) {
  sigset_t mine, now;
  sigemptyset(&mine);
  sigaddset(&mine, SIGUSR2);
  CHECK_OK(pthread_sigmask(SIG_SETMASK, &mine, NULL));
  char* const command[] = {grep, quiet, mask_line, status_file, NULL};
  const char* const path = access("/bin/grep", X_OK) == 0 ? "/bin/grep" : "/usr/bin/grep";
  pid_t child;
  for (int round = 0; round < 2; round++) {
    CHECK_EQ(wait_status(by_vfork()), 0);
    CHECK_OK(posix_spawn(&child, path, NULL, NULL, command, environ));
    CHECK_EQ(wait_status(child), 0);
    CHECK_OK(posix_spawnp(&child, grep, NULL, NULL, command, environ));
    CHECK_EQ(wait_status(child), 0);
    CHECK_EQ(system(script), 0);
    FILE* pipe = popen(script, "r");
    CHECK(pipe != NULL);
    CHECK_EQ(pclose(pipe), 0);
    char words[300];
    snprintf(words, sizeof words, "$(%s || echo bad)", script);
    wordexp_t expanded;
    CHECK_EQ(wordexp(words, &expanded, 0), 0);
    CHECK_EQ(expanded.we_wordc, 0);
    wordfree(&expanded);
    for (int way = 0; way < 6; way++) {
      child = fork();
      CHECK_SYS(child);
      if (child == 0) {
        switch (way) {
          case 0: execl(path, grep, quiet, mask_line, status_file, (char*)NULL); break;
          case 1: execlp(grep, grep, quiet, mask_line, status_file, (char*)NULL); break;
          case 2: execle(path, grep, quiet, mask_line, status_file, (char*)NULL, environ); break;
          case 3: execv(path, command); break;
          case 4: execvp(grep, command); break;
          default: execve(path, command, environ);
        }
        _exit(126);
      }
      CHECK_EQ(wait_status(child), 0);
    }
    CHECK_ERRNO(execl("/no/such/file", "x", (char*)NULL), ENOENT);
    CHECK_OK(pthread_sigmask(SIG_SETMASK, NULL, &now));
    for (int i = 1; i < 32; i++) CHECK_EQ(sigismember(&now, i), i == SIGUSR2);
  }
  return arg;
}

int main(void) {
  snprintf(script, sizeof script, "[ $(cat /proc/$$/timerslack_ns) = %d ]", prctl(PR_GET_TIMERSLACK));
  pthread_t threads[4];
  for (intptr_t i = 0; i < 4; i++) CHECK_OK(pthread_create(&threads[i], NULL, disturb, (void*)i));
  run_threads(3, start_programs);
  start_programs(NULL);
  stop = 1;
  for (int i = 0; i < 4; i++) CHECK_OK(pthread_join(threads[i], NULL));
  return 0;
}
