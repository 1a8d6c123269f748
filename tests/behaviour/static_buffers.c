// Shows that libc's hidden buffers behave as native: strerror, strsignal and strerror_l have one per thread; strtok,
// localtime and ctime have one per process, intact in the one thread that uses them, however often it moves.
#include "check.h"

#include <locale.h>

static locale_t locale;

static void* use_buffers(void* arg) {
  const int self = (int)(intptr_t)arg;
  for (unsigned step = 0; step < 60; step++) {
    char wanted[64];
    if (self == 0) {
      char text[] = "one two,three four";
      CHECK_STR(strtok(text, " ,"), "one");
      stir(step);
      CHECK_STR(strtok(NULL, " ,"), "two");
      stir(step + 1);
      CHECK_STR(strtok(NULL, " ,"), "three");
      usleep(10);
      CHECK_STR(strtok(NULL, " ,"), "four");
      CHECK(strtok(NULL, " ,") == NULL);
    } else if (self == 1) {
      const time_t when = 86400 * (time_t)step;
      struct tm* broken = localtime(&when);
      stir(step);
      CHECK_EQ(broken->tm_yday, step);
      char* text = ctime(&when);
      stir(step + 1);
      CHECK_STR(text + 20, step < 365 ? "1970\n" : "1971\n");
      char own[26];
      ctime_r(&when, own);
      CHECK_STR(text, own);
    } else {
      snprintf(wanted, sizeof wanted, "Unknown error %d", 5000 + self);
      char* unknown = strerror(5000 + self);
      stir(step + (unsigned)self);
      CHECK_STR(unknown, wanted);
      snprintf(wanted, sizeof wanted, "Unknown error %d", 7000 + self);
      unknown = strerror_l(7000 + self, locale);
      stir(step + (unsigned)self + 1);
      CHECK_STR(unknown, wanted);
      snprintf(wanted, sizeof wanted, "Unknown signal %d", 200 + self);
      unknown = strsignal(200 + self);
      stir(step + (unsigned)self + 2);
      CHECK_STR(unknown, wanted);
      CHECK_STR(strerror(ENOENT), "No such file or directory");
    }
  }
  return arg;
}

int main(void) {
  setenv("TZ", "UTC", 1);
  locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  run_threads(40, use_buffers);
  return 0;
}
