// Shows that stdio's locks belong to the thread: lines of 100 threads arrive whole, flockfile is recursive for its
// owner across switches and keeps all others out, ftrylockfile fails for them.
#include "check.h"

#include <atomic>

int main() {
  char path[] = "/tmp/stdio_locks_XXXXXX";
  const int fd = mkstemp(path);
  CHECK_SYS(fd);
  static FILE* file;
  file = fdopen(fd, "w+");
  setvbuf(file, nullptr, _IOFBF, 100);  // Small: lines are cut by flushes.
  constexpr int kThreads = 100, kLines = 40;
  parallel(kThreads, [](int index) {
    char line[64];
    memset(line, 'a' + index % 26, sizeof line);
    line[50] = '\0';
    for (int i = 0; i < kLines; i++) {
      CHECK(fprintf(file, "%03d %s %03d\n", index, line, index) > 0);
      if (i % 8 == 0) stir(static_cast<unsigned>(index + i));
    }
  });

  static std::atomic<int> inside;
  parallel(16, [](int index) {
    for (int i = 0; i < 10; i++) {
      flockfile(file);
      flockfile(file);
      CHECK_EQ(inside.fetch_add(1), 0);
      stir(static_cast<unsigned>(index + i));
      CHECK_EQ(ftrylockfile(file), 0);
      fprintf(file, "%03d ", index);
      sched_yield();
      fprintf(file, "%s", "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghij ");
      usleep(10);
      fprintf(file, "%03d\n", index);
      CHECK_EQ(inside.fetch_sub(1), 1);
      for (int unlocks = 0; unlocks < 3; unlocks++) funlockfile(file);
    }
  });

  flockfile(file);
  pthread_t outsider = spawn([] { CHECK(ftrylockfile(file) != 0); });
  join(outsider);
  funlockfile(file);

  int lines = 0, first, last;
  char middle[128];
  rewind(file);
  while (fscanf(file, "%d %127s %d\n", &first, middle, &last) == 3) {
    CHECK_EQ(first, last);
    CHECK_EQ(strlen(middle), 50);
    lines++;
  }
  CHECK(feof(file));
  CHECK_EQ(lines, kThreads * kLines + 160);
  fclose(file);
  unlink(path);
  return 0;
}
