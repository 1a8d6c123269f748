// Shows that the set*id family changes the credentials of every thread, running, sleeping or blocked, before it
// returns, whatever kernel thread each of them runs on. As root it changes the effective ids for true.
#include "check.h"

#include <grp.h>
#include <sys/syscall.h>

#include <atomic>

namespace {

std::atomic<uid_t> effective;
std::atomic<int> generation, seen, stop;

// The kernel's answer: credentials are per kernel thread.
uid_t kernel_euid() { return static_cast<uid_t>(syscall(SYS_geteuid)); }

void change(uid_t id) {
  seen = 0;
  CHECK_SYS(seteuid(id));
  effective = id;
  generation++;
  EVENTUALLY(seen == 24);
}

}  // namespace

int main() {
  const uid_t uid = getuid(), euid = geteuid();
  const gid_t gid = getgid(), egid = getegid();
  effective = euid;
  static int ends[2];
  CHECK_SYS(pipe(ends));
  pthread_t blocked = spawn([] {
    char byte;
    CHECK_EQ(read(ends[0], &byte, 1), 1);
    CHECK_EQ(kernel_euid(), effective.load());
  });
  pthread_t others = spawn([] {
    parallel(24, [](int index) {
      int last = 0;
      for (unsigned step = 0; !stop; step++) {
        stir(step + static_cast<unsigned>(index));
        const int now = generation;
        if (now == last) continue;
        last = now;
        CHECK_EQ(kernel_euid(), effective.load());
        seen++;
      }
    });
  });
  for (int round = 0; round < 10; round++) {
    CHECK_SYS(setuid(uid));
    CHECK_SYS(setgid(gid));
    CHECK_SYS(setreuid(uid, euid));
    CHECK_SYS(setregid(gid, egid));
    CHECK_SYS(setresuid(uid, euid, static_cast<uid_t>(-1)));
    CHECK_SYS(setresgid(gid, egid, static_cast<gid_t>(-1)));
    CHECK_SYS(setegid(egid));
    change(euid);
    if (euid == 0) {
      CHECK_SYS(setgroups(0, nullptr));
      change(65534);
      change(0);
    }
  }
  // From another thread than the first, too.
  pthread_t setter = spawn([euid] {
    change(euid);
    if (euid == 0) {
      change(1234);
      change(0);
    }
  });
  join(setter);
  CHECK_EQ(write(ends[1], "x", 1), 1);
  join(blocked);
  stop = 1;
  join(others);
  CHECK_EQ(geteuid(), euid);
  return 0;
}
