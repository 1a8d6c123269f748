// Shows that nothing changes a descriptor's flags behind the program's back: while threads wait on it in every way,
// another process that shares the description sees the flags it had, and its own blocking read waits and gets data.
#include "io.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

namespace {

constexpr int kLooks = 200;

void shared_with_a_process(Channel channel) {
  const int in_flags = flags_of(channel.in), out_flags = flags_of(channel.out);
  const Channel results = pipe_channel();
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    // One look, then one blocking read, which competes with the parent's threads for records of eight bytes.
    char record[8];
    int reads = 0;
    for (int i = 0; i < kLooks; i++) {
      CHECK_EQ(flags_of(channel.in), in_flags);
      CHECK_EQ(flags_of(channel.out), out_flags);
      if (i % 20 == 0) sched_yield();
    }
    CHECK_EQ(write(results.out, "r", 1), 1);
    while (read(channel.in, record, sizeof record) == 8 && record[0] != 'E') {
      CHECK_EQ(flags_of(channel.in), in_flags);
      reads++;
    }
    CHECK_EQ(record[0], 'E');
    _exit(reads < 250 ? reads : 250);
  }
  std::atomic<int> records{0};
  pthread_t readers = spawn([&] {
    parallel(6, [&](int index) {
      char record[8] = {};
      for (;;) {
        pollfd wanted = {channel.in, POLLIN, 0};
        if (index % 3 == 1) CHECK_EQ(poll(&wanted, 1, -1), 1);
        CHECK_EQ(read(channel.in, record, sizeof record), 8);
        CHECK_EQ(flags_of(channel.in), in_flags);
        if (record[0] == 'E') return;
        records++;
      }
    });
  });
  char byte;
  CHECK_EQ(read(results.in, &byte, 1), 1);
  for (int i = 0; i < 200; i++) {
    CHECK_EQ(write(channel.out, "datadata", 8), 8);
    if (i % 10 == 0) usleep(100);
    CHECK_EQ(flags_of(channel.in), in_flags);
  }
  // One end for each reader: six threads and the child.
  for (int i = 0; i < 7; i++) CHECK_EQ(write(channel.out, "EEEEEEEE", 8), 8);
  join(readers);
  CHECK_EQ(records + wait_status(child), 200);
  CHECK_EQ(flags_of(channel.in), in_flags);
  channel.close_both();
  results.close_both();
}

// The flags while a thread waits in each kind of call.
void flags_while_waiting() {
  sockaddr_in address;
  const int listener = listening_socket(&address), event = eventfd(0, 0), timer = timerfd_create(CLOCK_MONOTONIC, 0);
  CHECK_SYS(event);
  CHECK_SYS(timer);
  const Channel full = pipe_channel(), sockets = unix_channel();
  fill_up(full.out);
  fill_up(sockets.in);
  const int fds[] = {listener, event, timer, full.out, sockets.in, sockets.out};
  int before[6];
  for (int i = 0; i < 6; i++) before[i] = flags_of(fds[i]);
  static char bytes[4096];
  Call accepts([&] { return accept(listener, nullptr, nullptr); });
  Call counts([&] {
    uint64_t n;
    CHECK_EQ(read(event, &n, sizeof n), 8);
    return n;
  });
  Call times([&] {
    uint64_t n;
    CHECK_EQ(read(timer, &n, sizeof n), 8);
    return n;
  });
  Call fills([&] { return write(full.out, bytes, sizeof bytes); });
  Call sends([&] { return write(sockets.in, bytes, 1); });
  Call receives([&] { return recv(sockets.in, bytes, 1, 0); });
  for (Call* call : {&accepts, &counts, &times, &fills, &sends, &receives}) call->settle();
  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    for (int round = 0; round < kLooks; round++) {
      for (int i = 0; i < 6; i++) CHECK_EQ(flags_of(fds[i]), before[i]);
    }
    _exit(0);
  }
  CHECK_EQ(wait_status(child), 0);
  for (int i = 0; i < 6; i++) CHECK_EQ(flags_of(fds[i]), before[i]);
  const int client = connected_socket(address);
  const uint64_t three = 3;
  CHECK_EQ(write(event, &three, sizeof three), 8);
  itimerspec soon = {};
  soon.it_value.tv_nsec = 1;
  CHECK_SYS(timerfd_settime(timer, 0, &soon, nullptr));
  static char sink[65536];
  CHECK_EQ(read(full.in, sink, sizeof sink), sizeof sink);
  CHECK(read(sockets.out, sink, sizeof sink) > 0);
  CHECK_EQ(write(sockets.out, "x", 1), 1);
  CHECK_SYS(close(static_cast<int>(accepts.result())));
  CHECK_EQ(counts.result(), 3);
  CHECK_EQ(times.result(), 1);
  CHECK_EQ(fills.result(), sizeof bytes);
  while (!sends.done() && read(sockets.out, sink, sizeof sink) > 0) {
    pollfd more = {sockets.out, POLLIN, 0};
    if (poll(&more, 1, 1) == 0) break;
  }
  CHECK_EQ(sends.result(), 1);
  CHECK_EQ(receives.result(), 1);
  for (int i = 0; i < 6; i++) CHECK_EQ(flags_of(fds[i]), before[i]);
  for (int fd : {listener, event, timer, client}) CHECK_SYS(close(fd));
  full.close_both();
  sockets.close_both();
}

}  // namespace

int main() {
  shared_with_a_process(pipe_channel());
  shared_with_a_process(unix_channel());
  shared_with_a_process(unix_channel(SOCK_SEQPACKET));
  for (int round = 0; round < 5; round++) flags_while_waiting();
  return 0;
}
