// Shows that uselocale is per thread: character classes, MB_CUR_MAX, conversions and messages follow the thread.
#include "check.h"

#include <ctype.h>
#include <langinfo.h>
#include <locale.h>
#include <wchar.h>

static locale_t utf8, posix;

static void* use_locale(void* arg) {
  const int wide = (intptr_t)arg % 3 == 0, global = (intptr_t)arg % 3 == 2;
  CHECK(uselocale((locale_t)0) == LC_GLOBAL_LOCALE);
  CHECK(isalpha('a') && !isalpha('1'));
  if (!global) CHECK(uselocale(wide ? utf8 : posix) == LC_GLOBAL_LOCALE);
  for (unsigned step = 0; step < 100; step++) {
    stir(step + (unsigned)(intptr_t)arg);
    CHECK_EQ(uselocale((locale_t)0), global ? LC_GLOBAL_LOCALE : wide ? utf8 : posix);
    CHECK_STR(nl_langinfo(CODESET), wide ? "UTF-8" : "ANSI_X3.4-1968");
    CHECK_EQ(MB_CUR_MAX, wide ? 6 : 1);
    wchar_t character = 0;
    mbstate_t state = {0};
    CHECK_EQ(mbrtowc(&character, "\xc3\xa9", 2, &state), wide ? 2 : -1);
    if (wide) CHECK_EQ(character, 0xe9);
    CHECK(toupper('a') == 'A');
  }
  return arg;
}

int main(void) {
  utf8 = newlocale(LC_ALL_MASK, "C.UTF-8", (locale_t)0);
  if (utf8 == (locale_t)0) SKIP("no C.UTF-8 locale here");
  posix = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  for (int round = 0; round < 3; round++) run_threads(30, use_locale);
  locale_t copy = duplocale(utf8);
  freelocale(utf8);
  uselocale(copy);
  utf8 = copy;
  run_threads(9, use_locale);  // A new thread starts in the global locale, whatever its creator's.
  CHECK_STR(nl_langinfo(CODESET), "UTF-8");
  return 0;
}
