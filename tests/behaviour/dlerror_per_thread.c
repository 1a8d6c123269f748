// Shows that dlerror's message belongs to the thread that failed, is given once, and is freed with the thread.
#include "check.h"

#include <dlfcn.h>

static void* fail(void* arg) {
  CHECK(dlerror() == NULL);
  for (unsigned step = 0; step < 20; step++) {
    char name[64];
    snprintf(name, sizeof name, "libmissing-%d-%u.so", (int)(intptr_t)arg, step);
    CHECK(dlopen(name, RTLD_NOW) == NULL);
    stir(step + (unsigned)(intptr_t)arg);
    char* message = dlerror();
    CHECK(message != NULL && strstr(message, name) != NULL);
    stir(step + 3);
    CHECK(strstr(message, name) != NULL);
    CHECK(dlerror() == NULL);
    CHECK(dlsym(RTLD_DEFAULT, "no_such_symbol_anywhere") == NULL);
  }
  return arg;  // With a message left unread.
}

int main(void) {
  for (int round = 0; round < 3; round++) run_threads(30, fail);
  CHECK(dlerror() == NULL);
  return 0;
}
