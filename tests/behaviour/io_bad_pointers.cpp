// Shows that pointers to memory that is there but may not be read give EFAULT, from every call that looks at its
// arguments: select, pselect, poll, ppoll, recvmsg, sendmsg, readv, writev, epoll_wait; and sets that cannot be
// written.
#include "io.h"

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>

namespace {

void all_calls() {
  const long page = sysconf(_SC_PAGESIZE);
  char* pages = static_cast<char*>(mmap(nullptr, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  CHECK(pages != MAP_FAILED);
  memset(pages, 0, static_cast<size_t>(page));
  CHECK_SYS(mprotect(pages + page, page, PROT_NONE));
  const Channel channel = unix_channel();
  char byte = 'x';
  timeval soon = {0, 1000};
  const timespec soon_too = {0, 1000000};
  // All of it, and just the end.
  for (char* bad : {pages + page, pages + page - 8}) {
    auto* set = reinterpret_cast<fd_set*>(bad);
    CHECK_ERRNO(select(1024, set, nullptr, nullptr, &soon), EFAULT);
    CHECK_ERRNO(select(1024, nullptr, set, nullptr, nullptr), EFAULT);
    CHECK_ERRNO(pselect(1024, nullptr, nullptr, set, &soon_too, nullptr), EFAULT);
    auto* polls = reinterpret_cast<pollfd*>(bad);
    CHECK_ERRNO(poll(polls, 2, 1), EFAULT);
    CHECK_ERRNO(ppoll(polls, 2, &soon_too, nullptr), EFAULT);
    auto* message = reinterpret_cast<msghdr*>(bad);
    for (int flags : {0, static_cast<int>(MSG_WAITALL), static_cast<int>(MSG_DONTWAIT)})
      CHECK_ERRNO(recvmsg(channel.in, message, flags), EFAULT);
    CHECK_ERRNO(sendmsg(channel.out, message, 0), EFAULT);
    CHECK_ERRNO(sendmmsg(channel.out, reinterpret_cast<mmsghdr*>(bad), 1, 0), EFAULT);
    auto* pieces = reinterpret_cast<iovec*>(bad);
    CHECK_ERRNO(readv(channel.in, pieces, 2), EFAULT);
    CHECK_ERRNO(writev(channel.out, pieces, 2), EFAULT);
  }
  // Sets that may be read but not written.
  CHECK_SYS(mprotect(pages, page, PROT_READ));
  auto* constant = reinterpret_cast<fd_set*>(pages);
  CHECK_ERRNO(select(1, constant, nullptr, nullptr, &soon), EFAULT);
  // A transfer goes on where it can.
  CHECK_EQ(write(channel.out, &byte, 1), 1);
  CHECK_ERRNO(read(channel.in, pages + page, 1), EFAULT);
  CHECK_EQ(read(channel.in, &byte, 1), 1);
  channel.close_both();
  CHECK_SYS(munmap(pages, 3 * page));
}

}  // namespace

int main() {
  // select reads no further than the process's table of descriptors goes: it shall go to the end of a set.
  CHECK_SYS(dup2(STDERR_FILENO, FD_SETSIZE - 1));
  all_calls();
  parallel(4, [](int) { all_calls(); });
  return 0;
}
