// Shows handlers that leave by siglongjmp a call that waits: read, write, sleep, sem_wait, poll, select, epoll_wait and
// their forms with a mask, pause, sigsuspend, sigwaitinfo, waitpid, flock, accept, msgrcv and computing. The mask is as
// at sigsetjmp, and whatever the call did is over: signals and descriptors work as before, in any thread.
#include "check.h"

#include <fcntl.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>

namespace {

thread_local sigjmp_buf back;
thread_local volatile int taken;
thread_local volatile bool armed;

void jump(int) {
  if (!armed) return;
  armed = false;
  siglongjmp(back, 1);
}
void count(int) { taken = taken + 1; }

sigset_t set_of(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  return set;
}

bool blocked(int signal) {
  sigset_t mask;
  CHECK_OK(pthread_sigmask(SIG_BLOCK, nullptr, &mask));
  return sigismember(&mask, signal) == 1;
}

void all_as_before() {
  const sigset_t usr2 = set_of(SIGUSR2);
  taken = 0;
  CHECK_OK(raise(SIGUSR2));
  CHECK_EQ(taken, 1);
  CHECK_OK(pthread_sigmask(SIG_BLOCK, &usr2, nullptr));
  CHECK_OK(raise(SIGUSR2));
  CHECK_EQ(taken, 1);
  siginfo_t info;
  CHECK_EQ(sigwaitinfo(&usr2, &info), SIGUSR2);
  CHECK_OK(raise(SIGUSR2));
  CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &usr2, nullptr));
  CHECK_EQ(taken, 2);
  int ends[2];
  CHECK_SYS(pipe(ends));
  const pthread_t writer = spawn([&] { CHECK_EQ(write(ends[1], "x", 1), 1); });
  char c;
  CHECK_EQ(read(ends[0], &c, 1), 1);
  join(writer);
  close(ends[0]);
  close(ends[1]);
}

// Calls call(), which waits for ever, until a handler jumps out of it. masked: the call lets the signal in by a mask of
// its own.
template <class Call>
void jump_from(Call call, bool masked = false) {
  const sigset_t usr1 = set_of(SIGUSR1);
  for (int i = 0; i < 2; i++) {
    if (masked) CHECK_OK(pthread_sigmask(SIG_BLOCK, &usr1, nullptr));
    const pthread_t self = pthread_self();
    std::atomic<bool> jumped{false};
    const pthread_t sender = spawn([self, &jumped] {
      do {  // the first may come before the call waits
        usleep(3000);
        pthread_kill(self, SIGUSR1);
      } while (!jumped);
    });
    if (sigsetjmp(back, 1) == 0) {
      armed = true;
      call();
      CHECK(!"the call returned");
    }
    CHECK_EQ(blocked(SIGUSR1), masked);
    jumped = true;
    join(sender);
    if (masked) CHECK_OK(pthread_sigmask(SIG_UNBLOCK, &usr1, nullptr));
    all_as_before();
  }
}

void jump_from_all() {
  int ends[2];
  CHECK_SYS(pipe(ends));
  char c;
  jump_from([&] { read(ends[0], &c, 1); });
  CHECK_EQ(write(ends[1], "x", 1), 1);
  CHECK_EQ(read(ends[0], &c, 1), 1);
  jump_from([&] {
    static char much[1 << 20];
    write(ends[1], much, sizeof much);
  });
  close(ends[0]);
  close(ends[1]);
  CHECK_SYS(pipe(ends));
  jump_from([] { sleep(1000); });
  jump_from([] { pause(); });
  sem_t semaphore;
  CHECK_SYS(sem_init(&semaphore, 0, 0));
  jump_from([&] { sem_wait(&semaphore); });
  CHECK_SYS(sem_post(&semaphore));
  CHECK_SYS(sem_trywait(&semaphore));

  sigset_t none;
  sigemptyset(&none);
  pollfd asked = {ends[0], POLLIN, 0};
  jump_from([&] { poll(&asked, 1, -1); });
  jump_from([&] { ppoll(&asked, 1, nullptr, &none); }, true);
  fd_set in;
  FD_ZERO(&in);
  FD_SET(ends[0], &in);
  jump_from([&] { select(ends[0] + 1, &in, nullptr, nullptr, nullptr); });
  jump_from([&] { pselect(0, nullptr, nullptr, nullptr, nullptr, &none); }, true);
  const int epoll = epoll_create1(0);
  CHECK_SYS(epoll);
  epoll_event event = {};
  event.events = EPOLLIN;
  CHECK_SYS(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event));
  jump_from([&] { epoll_wait(epoll, &event, 1, -1); });
  jump_from([&] { epoll_pwait(epoll, &event, 1, -1, &none); }, true);
  CHECK_EQ(write(ends[1], "x", 1), 1);
  CHECK_EQ(epoll_wait(epoll, &event, 1, -1), 1);
  close(epoll);
  close(ends[0]);
  close(ends[1]);

  jump_from([&] { sigsuspend(&none); }, true);
  // Its signals are no longer waited for.
  const sigset_t usr2 = set_of(SIGUSR2);
  siginfo_t info;
  jump_from([&] {
    CHECK_OK(pthread_sigmask(SIG_BLOCK, &usr2, nullptr));
    sigwaitinfo(&usr2, &info);
  });

  const pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    for (;;) pause();
  }
  jump_from([&] { waitpid(child, nullptr, 0); });
  CHECK_SYS(kill(child, SIGKILL));
  CHECK_EQ(wait_status(child), -SIGKILL);

  char name[] = "/tmp/jump_out_XXXXXX";
  const int holder = mkstemp(name);
  CHECK_SYS(holder);
  const int other = open(name, O_RDWR);
  CHECK_SYS(other);
  CHECK_SYS(unlink(name));
  CHECK_SYS(flock(holder, LOCK_EX));
  jump_from([&] { flock(other, LOCK_EX); });
  CHECK_SYS(flock(holder, LOCK_UN));
  CHECK_SYS(flock(other, LOCK_EX));
  close(holder);
  close(other);

  const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK_SYS(listener);
  sockaddr_un here = {};
  here.sun_family = AF_UNIX;
  socklen_t size = sizeof(sa_family_t);  // the kernel chooses a name
  CHECK_SYS(bind(listener, reinterpret_cast<sockaddr*>(&here), size));
  size = sizeof here;
  CHECK_SYS(getsockname(listener, reinterpret_cast<sockaddr*>(&here), &size));
  CHECK_SYS(listen(listener, 4));
  jump_from([&] { accept(listener, nullptr, nullptr); });
  const int client = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK_SYS(connect(client, reinterpret_cast<sockaddr*>(&here), size));
  const int server = accept(listener, nullptr, nullptr);
  CHECK_SYS(server);
  for (int fd : {listener, client, server}) close(fd);

  const int queue = msgget(IPC_PRIVATE, 0600);
  if (queue >= 0) {
    struct {
      long type;
      char text[8];
    } message;
    jump_from([&] { msgrcv(queue, &message, sizeof message.text, 0, 0); });
    CHECK_SYS(msgctl(queue, IPC_RMID, nullptr));
  }
  jump_from([] {
    for (;;) compute(1000);
  });
}

}  // namespace

int main() {
  signal(SIGUSR1, jump);
  signal(SIGUSR2, count);
  jump_from_all();
  parallel(4, [](int) { jump_from_all(); });
  jump_from_all();
  return 0;
}
