// Shows that threads blocked in flock and in fcntl(F_OFD_SETLKW) do not stop the others, nor the one that unlocks.
#include "blocked.h"

#include <fcntl.h>
#include <sys/file.h>

namespace {

struct flock whole_file(int type) {
  struct flock lock = {};
  lock.l_type = static_cast<short>(type);
  lock.l_whence = SEEK_SET;
  return lock;
}

}  // namespace

int main() {
  static char path[] = "/tmp/blocked_in_flock_XXXXXX";
  static int holder;
  holder = mkstemp(path);
  CHECK_SYS(holder);
  auto hold = [] {
    CHECK_SYS(flock(holder, LOCK_EX));
    struct flock lock = whole_file(F_WRLCK);
    CHECK_SYS(fcntl(holder, F_OFD_SETLKW, &lock));
  };
  hold();
  static std::atomic<int> left;
  left = kBlocked;
  others_go_on(
      [](int index) {
        const int fd = open(path, O_RDWR);
        CHECK_SYS(fd);
        if (index % 2 == 0) {
          CHECK_SYS(flock(fd, LOCK_EX));
        } else {
          struct flock lock = whole_file(F_WRLCK);
          CHECK_SYS(fcntl(fd, F_OFD_SETLKW, &lock));
        }
        close(fd);
        left--;
      },
      [hold] {
        CHECK_SYS(flock(holder, LOCK_UN));
        struct flock lock = whole_file(F_UNLCK);
        CHECK_SYS(fcntl(holder, F_OFD_SETLKW, &lock));
        EVENTUALLY(left == 0);
        left = kBlocked;
        hold();
      });
  unlink(path);
  return 0;
}
