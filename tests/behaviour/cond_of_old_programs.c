// Shows that a condition in memory that is not zero works for a program that was linked when glibc had another
// pthread_cond_init: it asks for the symbol's old version.
#include "check.h"

#if defined __x86_64__
#define OLD(function) __asm__(".symver old_" #function ", pthread_" #function "@GLIBC_2.2.5")
OLD(cond_init);
OLD(cond_wait);
OLD(cond_signal);
OLD(cond_destroy);
extern int old_cond_init(pthread_cond_t* cond, const pthread_condattr_t* attr);
extern int old_cond_wait(pthread_cond_t* cond, pthread_mutex_t* mutex);
extern int old_cond_signal(pthread_cond_t* cond);
extern int old_cond_destroy(pthread_cond_t* cond);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond;
static int posted;

static void* posts(void* arg) {
  CHECK_OK(pthread_mutex_lock(&mutex));
  posted = 1;
  CHECK_OK(old_cond_signal(&cond));
  CHECK_OK(pthread_mutex_unlock(&mutex));
  return arg;
}

int main(void) {
  static const int fills[] = {0xff, 1, 2, 0xfd, 0};
  for (size_t i = 0; i < sizeof fills / sizeof *fills; i++) {
    memset(&cond, fills[i], sizeof cond);
    CHECK_OK(old_cond_init(&cond, NULL));
    posted = 0;
    CHECK_OK(pthread_mutex_lock(&mutex));
    pthread_t thread;
    CHECK_OK(pthread_create(&thread, NULL, posts, NULL));
    while (!posted) CHECK_OK(old_cond_wait(&cond, &mutex));
    CHECK_OK(pthread_mutex_unlock(&mutex));
    CHECK_OK(pthread_join(thread, NULL));
    CHECK_OK(old_cond_destroy(&cond));
  }
  return 0;
}
#else
int main(void) { SKIP("this processor's glibc has no older pthread_cond_init"); }
#endif
