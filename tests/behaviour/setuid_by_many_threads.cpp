// Shows that threads may change the process's ids at the same time: each call comes to an end, on whatever kernel
// thread it is made, while threads come and go.
#include "check.h"

int main() {
  const uid_t uid = getuid();
  for (int round = 0; round < 50; round++) {
    parallel(4, [uid](int) { CHECK_SYS(setuid(uid)); });
  }
  pthread_t other = spawn([uid] {
    parallel(3, [uid](int index) {
      for (unsigned step = 0; step < 40; step++) {
        CHECK_SYS(setreuid(uid, uid));
        stir(step + static_cast<unsigned>(index));
      }
    });
  });
  for (unsigned step = 0; step < 40; step++) {
    CHECK_SYS(setuid(uid));
    stir(step);
  }
  join(other);
  CHECK_EQ(getuid(), uid);
  return 0;
}
