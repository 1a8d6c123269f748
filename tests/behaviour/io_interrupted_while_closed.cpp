// Shows a handler without SA_RESTART that runs in a thread whose descriptor is closed at the same time: the call that
// waited fails with EINTR all the same, and a thread that is cancelled then leaves nothing of the file open.
#include "io.h"

namespace {

std::atomic<int> handled;

void count(int) { handled++; }

// The reader's end is only its own wait's.
bool peer_gone(int out) {
  if (send(out, "x", 1, MSG_NOSIGNAL) == 1) return false;
  CHECK(errno == EPIPE || errno == ECONNRESET);
  return true;
}

void interrupted(Channel (*make)()) {
  for (int attempt = 0;; attempt++) {
    CHECK(attempt < 50);
    const Channel channel = make();
    Call waits([channel] {
      char byte;
      return recv(channel.in, &byte, 1, 0);
    });
    waits.settle();
    if (attempt > 0) sleep_ms(attempt);
    const int before = handled;
    CHECK_SYS(close(channel.in));
    waits.signal(SIGUSR1);
    EVENTUALLY(handled != before);
    // The one signal ends it, if it came when the call was blocked; else the call blocks yet, and gets what is sent.
    for (int i = 0; i < 50 && !waits.done(); i++) usleep(200);
    if (!waits.done()) peer_gone(channel.out);
    if (waits.result() == -1 && waits.error() == EINTR) {
      EVENTUALLY(peer_gone(channel.out));
      CHECK_SYS(close(channel.out));
      return;
    }
    if (waits.result() == -1) CHECK_EQ(waits.error(), EBADF);
    CHECK_SYS(close(channel.out));
  }
}

void cancelled(Channel (*make)(), bool write_it) {
  static char big[1 << 20];
  const Channel channel = make();
  std::atomic<bool> begun{false};
  pthread_t thread = spawn([&] {
    begun = true;
    char byte;
    if (write_it) (void)!write(channel.in, big, sizeof big);
    else (void)!recv(channel.in, &byte, 1, MSG_WAITALL | MSG_PEEK);
    (void)!read(-1, &byte, 1);
    for (;;) pthread_testcancel();
  });
  EVENTUALLY(begun);
  usleep(1000);
  CHECK_SYS(close(channel.in));
  CHECK_OK(pthread_cancel(thread));
  void* result;
  CHECK_OK(pthread_join(thread, &result));
  CHECK(result == PTHREAD_CANCELED);
  EVENTUALLY(peer_gone(channel.out));
  CHECK_SYS(close(channel.out));
}

}  // namespace

int main() {
  on_signal(SIGUSR1, count);
  signal(SIGPIPE, SIG_IGN);
  for (int i = 0; i < 5; i++) {
    for (auto make : kStreamSockets) {
      interrupted(make);
      for (bool write_it : {false, true}) cancelled(make, write_it);
    }
  }
  return 0;
}
