// Shows that sem_post is async-signal-safe: a timer's handler posts, whatever it interrupted, and no post is lost;
// sem_wait is interrupted by a handler without SA_RESTART only.
#include "check.h"

#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>

static sem_t ticks, go;
static atomic_int posts, waits, stop;

static void on_alarm(int signal) {
  (void)signal;
  const int saved = errno;
  if (sem_post(&ticks) == 0) atomic_fetch_add(&posts, 1);
  errno = saved;
}

static void* consume(void* arg) {
  for (;;) {
    while (sem_wait(&ticks) == -1) CHECK_EQ(errno, EINTR);
    if (atomic_load(&stop)) return arg;
    atomic_fetch_add(&waits, 1);
  }
}

static void* churn(void* arg) {  // Keeps the semaphore's slow paths busy under the handler.
  for (unsigned step = 0; !atomic_load(&stop); step++) {
    stir(step + (unsigned)(intptr_t)arg);
    CHECK_SYS(sem_post(&ticks));
    atomic_fetch_add(&posts, 1);
  }
  return arg;
}

static void ignore(int signal) { (void)signal; }

static void* wait_interrupted(void* arg) {
  errno = 0;
  const int result = sem_wait(&go);
  if (arg == NULL) {
    CHECK_EQ(result, -1);
    CHECK_EQ(errno, EINTR);
  } else {
    CHECK_EQ(result, 0);
  }
  atomic_store(&stop, 2);
  return arg;
}

int main(void) {
  CHECK_SYS(sem_init(&ticks, 0, 0));
  struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
  CHECK_SYS(sigaction(SIGALRM, &action, NULL));
  pthread_t consumers[4], churners[4];
  for (intptr_t i = 0; i < 4; i++) {
    CHECK_OK(pthread_create(&consumers[i], NULL, consume, (void*)i));
    CHECK_OK(pthread_create(&churners[i], NULL, churn, (void*)i));
  }
  struct itimerval timer = {{0, 500}, {0, 500}};
  CHECK_SYS(setitimer(ITIMER_REAL, &timer, NULL));
  sleep_ms(150);
  memset(&timer, 0, sizeof timer);
  CHECK_SYS(setitimer(ITIMER_REAL, &timer, NULL));
  EVENTUALLY(atomic_load(&waits) > 100);
  EVENTUALLY(atomic_load(&posts) > 0);
  atomic_store(&stop, 1);
  for (int i = 0; i < 4; i++) CHECK_OK(pthread_join(churners[i], NULL));
  // Each consumer ends on one more unit, its own last post or a left-over one, which it does not count.
  for (int i = 0; i < 4; i++) CHECK_SYS(sem_post(&ticks));
  for (int i = 0; i < 4; i++) CHECK_OK(pthread_join(consumers[i], NULL));
  int left = -1;
  CHECK_SYS(sem_getvalue(&ticks, &left));
  CHECK_EQ(atomic_load(&waits) + 4 + left, atomic_load(&posts) + 4);

  CHECK_SYS(sem_init(&go, 0, 0));
  for (int restart = 0; restart < 2; restart++) {
    struct sigaction quiet = {.sa_handler = ignore, .sa_flags = restart ? SA_RESTART : 0};
    pthread_t thread;
    CHECK_SYS(sigaction(SIGUSR1, &quiet, NULL));
    atomic_store(&stop, 0);
    CHECK_OK(pthread_create(&thread, NULL, wait_interrupted, (void*)(intptr_t)restart));
    for (int i = 0; i < 20 || (!restart && atomic_load(&stop) == 0); i++) {
      if (atomic_load(&stop) == 0) CHECK_OK(pthread_kill(thread, SIGUSR1));
      usleep(1000);
    }
    if (restart) {
      CHECK_EQ(atomic_load(&stop), 0);
      CHECK_SYS(sem_post(&go));
    }
    CHECK_OK(pthread_join(thread, NULL));
  }
  return 0;
}
