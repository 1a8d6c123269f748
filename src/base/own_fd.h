// The runtime's own descriptors. They lie high in the table, out of the way of programs that count on low numbers, and
// survive a program that closes or overwrites everything it finds.
#pragma once

#include "base/base.h"

namespace goshim {

// A variable that holds an own descriptor, or -1. Read by the runtime's calls (relaxed: a moved descriptor names the
// same file as before), written by own_fd_keep, own_fd_make_way and who gives it up.
class OwnFd {
 public:
  // Takes over the fresh descriptor fd (close-on-exec): moves it up. Returns fd or -errno as it came if negative.
  int keep(int fd);
  int get() const { return fd_.load(std::memory_order_relaxed); }
  // Closes it.
  void drop();

 private:
  friend bool own_fd(int fd);
  friend int own_fd_from(unsigned fd);
  friend void own_fd_make_way(int fd);
  std::atomic<int> fd_{-1};  // relaxed: a number on its own, what it stands for is the kernel's
};

enum class OwnFdName { Poller, Break, Tasks, Page, Count };
extern OwnFd own_fds[static_cast<int>(OwnFdName::Count)];
inline OwnFd& own_fd_of(OwnFdName name) { return own_fds[static_cast<int>(name)]; }

// True for a descriptor of the runtime: to the program it is not open.
bool own_fd(int fd);
// The lowest of them from this number on, -1 if there is none.
int own_fd_from(unsigned fd);
// The program is about to put something of its own at number fd: what the runtime has there moves.
void own_fd_make_way(int fd);

}  // namespace goshim
