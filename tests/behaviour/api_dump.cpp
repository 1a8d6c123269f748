// Shows that a program can have a dump of its threads written to a descriptor, and goes on.
// run: limit=60
#include <string>

#include "../../interpose/goshim.h"
#include "check.h"

int main() {
  if (!goshim_active()) {
    CHECK(true);
    return 0;
  }
  CHECK_EQ(goshim_dump(1), ENOTSUP);  // it does not run yet
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&mutex);
  pthread_t waiting = spawn([&] {
    pthread_setname_np(pthread_self(), "who waits");
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
  });
  usleep(1000);
  FILE* file = tmpfile();
  CHECK(file != nullptr);
  const int told = goshim_dump(fileno(file));
  if (told == ENOTSUP) SKIP("this library has no dumps");
  CHECK_EQ(told, 0);
  std::string text;
  rewind(file);
  for (int c; (c = fgetc(file)) != EOF;) text += static_cast<char>(c);
  fclose(file);
  CHECK(text.find("who waits") != std::string::npos);
  CHECK(text.find("main") != std::string::npos);
  pthread_mutex_unlock(&mutex);
  join(waiting);
  return 0;
}
