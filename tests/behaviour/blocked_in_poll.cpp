// Shows that threads blocked in poll, select and epoll_wait, without and with a time-out, do not stop the others.
#include "blocked.h"

#include <sys/epoll.h>
#include <sys/select.h>

int main() {
  static int ends[2], set;
  CHECK_SYS(pipe(ends));
  set = epoll_create1(0);
  CHECK_SYS(set);
  epoll_event interest = {};
  interest.events = EPOLLIN;
  interest.data.fd = ends[0];
  CHECK_SYS(epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &interest));
  others_go_on(
      [](int index) {
        const int ms = index < 3 ? -1 : 60000;
        if (index % 3 == 0) {
          pollfd wanted = {ends[0], POLLIN, 0};
          CHECK_EQ(poll(&wanted, 1, ms), 1);
          CHECK_EQ(wanted.revents, POLLIN);
        } else if (index % 3 == 1) {
          fd_set reads;
          FD_ZERO(&reads);
          FD_SET(ends[0], &reads);
          timeval limit = {60, 0};
          CHECK_EQ(select(ends[0] + 1, &reads, nullptr, nullptr, ms < 0 ? nullptr : &limit), 1);
          CHECK(FD_ISSET(ends[0], &reads));
        } else {
          epoll_event event = {};
          CHECK_EQ(epoll_wait(set, &event, 1, ms), 1);
          CHECK_EQ(event.data.fd, ends[0]);
        }
        static std::atomic<int> seen;
        if (++seen % kBlocked == 0) {
          char byte;
          CHECK_EQ(read(ends[0], &byte, 1), 1);
        }
      },
      [] { CHECK_EQ(write(ends[1], "x", 1), 1); });
  parallel(10, [](int index) {
    pollfd wanted = {ends[0], POLLIN, 0};
    for (int i = 0; i < 5; i++) CHECK_EQ(poll(&wanted, 1, index % 3), 0);
    epoll_event event;
    CHECK_EQ(epoll_wait(set, &event, 1, 1), 0);
    timeval limit = {0, 1000};
    CHECK_EQ(select(0, nullptr, nullptr, nullptr, &limit), 0);
  });
  return 0;
}
