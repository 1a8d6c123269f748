// Shows 64 threads stuck at once in each kind of slow call (reads, accept, connect to a full backlog, locks of files,
// children, name servers, stdio, poll, futexes and sleeps by a system call of their own, System V and POSIX queues,
// FIFOs) while others make progress, and that all of them come back when released.
#include "io.h"
#include "raw.h"

#include <arpa/nameser.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <netdb.h>
#include <resolv.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <functional>

namespace {

constexpr int kStuck = 64;

// Hand-overs between threads, and threads made and joined: what a stopped scheduler cannot do.
void make_progress() {
  sem_t ping, pong;
  CHECK_SYS(sem_init(&ping, 0, 0));
  CHECK_SYS(sem_init(&pong, 0, 0));
  pthread_t partner = spawn([&] {
    for (int i = 0; i < 100; i++) {
      CHECK_SYS(sem_wait(&ping));
      CHECK_SYS(sem_post(&pong));
    }
  });
  for (int i = 0; i < 100; i++) {
    CHECK_SYS(sem_post(&ping));
    CHECK_SYS(sem_wait(&pong));
  }
  join(partner);
  const Channel channel = unix_channel();
  pthread_t echo = spawn([&] {
    char byte;
    while (read(channel.in, &byte, 1) == 1) CHECK_EQ(write(channel.in, &byte, 1), 1);
  });
  for (int i = 0; i < 50; i++) {
    char byte = 'x';
    CHECK_EQ(write(channel.out, &byte, 1), 1);
    CHECK_EQ(read(channel.out, &byte, 1), 1);
  }
  CHECK_SYS(shutdown(channel.out, SHUT_WR));
  join(echo);
  channel.close_both();
  parallel(10, [](int index) {
    for (unsigned step = 0; step < 10; step++) stir(step + static_cast<unsigned>(index));
  });
}

void stuck(const char* kind, const std::function<void(int)>& block, const std::function<void()>& release) {
  std::atomic<int> entered{0}, returned{0};
  pthread_t all = spawn([&] {
    parallel(kStuck, [&](int index) {
      entered++;
      block(index);
      returned++;
    });
  });
  EVENTUALLY(entered == kStuck);
  make_progress();
  if (returned != 0) check_fail(__FILE__, __LINE__, "%s: %d came back too early", kind, returned.load());
  release();
  join(all);
}

void write_bytes(int fd, int count) {
  for (int i = 0; i < count; i++) CHECK_EQ(write(fd, "x", 1), 1);
}

void descriptors() {
  const Channel pipe = pipe_channel(), socket_pair = unix_channel();
  stuck(
      "read",
      [&](int) {
        char byte;
        CHECK_EQ(read(pipe.in, &byte, 1), 1);
      },
      [&] { write_bytes(pipe.out, kStuck); });
  stuck(
      "recv",
      [&](int) {
        char byte;
        CHECK_EQ(recv(socket_pair.in, &byte, 1, 0), 1);
      },
      [&] { write_bytes(socket_pair.out, kStuck); });
  stuck(
      "poll, epoll_wait",
      [&](int index) {
        if (index % 2 == 0) {
          pollfd wanted = {pipe.in, POLLIN, 0};
          CHECK_EQ(poll(&wanted, 1, -1), 1);
          return;
        }
        const int set = epoll_create1(0);
        CHECK_SYS(set);
        epoll_event event = {};
        event.events = EPOLLIN;
        CHECK_SYS(epoll_ctl(set, EPOLL_CTL_ADD, pipe.in, &event));
        CHECK_EQ(epoll_wait(set, &event, 1, -1), 1);
        CHECK_SYS(close(set));
      },
      [&] { write_bytes(pipe.out, 1); });
  char byte;
  CHECK_EQ(read(pipe.in, &byte, 1), 1);
  const size_t full = fill_up(pipe.out);
  stuck(
      "write", [&](int) { CHECK_EQ(write(pipe.out, "x", 1), 1); },
      [&] {
        static char sink[65536 + kStuck];
        CHECK_EQ(read_fully(pipe.in, sink, full + kStuck), full + kStuck);
      });
  pipe.close_both();
  socket_pair.close_both();
}

void connections() {
  sockaddr_in address;
  const int listener = listening_socket(&address, kStuck);
  int clients[kStuck];
  stuck(
      "accept",
      [&](int) {
        const int fd = accept(listener, nullptr, nullptr);
        CHECK_SYS(fd);
        CHECK_SYS(close(fd));
      },
      [&] {
        for (int& fd : clients) fd = connected_socket(address);
      });
  for (int fd : clients) CHECK_SYS(close(fd));
  CHECK_SYS(close(listener));
  // A UNIX socket whose backlog is full: connect waits for accept.
  const int local = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK_SYS(local);
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  CHECK_SYS(bind(local, plain(&name), sizeof(sa_family_t)));
  socklen_t length = sizeof name;
  CHECK_SYS(getsockname(local, plain(&name), &length));
  CHECK_SYS(listen(local, 0));
  const int first = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK_SYS(connect(first, plain(&name), length));
  stuck(
      "connect",
      [&](int) {
        const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK_SYS(fd);
        CHECK_SYS(connect(fd, plain(&name), length));
        CHECK_SYS(close(fd));
      },
      [&] {
        for (int i = 0; i < kStuck + 1; i++) {
          const int fd = accept(local, nullptr, nullptr);
          CHECK_SYS(fd);
          CHECK_SYS(close(fd));
        }
      });
  CHECK_SYS(close(first));
  CHECK_SYS(close(local));
}

void files(const char* folder) {
  char path[200];
  snprintf(path, sizeof path, "%s/file", folder);
  const int file = open(path, O_CREAT | O_RDWR, 0600);
  CHECK_SYS(file);
  CHECK_SYS(flock(file, LOCK_EX));
  stuck(
      "flock",
      [&](int) {
        const int fd = open(path, O_RDWR);
        CHECK_SYS(fd);
        CHECK_SYS(flock(fd, LOCK_EX));
        CHECK_SYS(close(fd));
      },
      [&] { CHECK_SYS(flock(file, LOCK_UN)); });
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  CHECK_SYS(fcntl(file, F_OFD_SETLKW, &lock));
  stuck(
      "fcntl",
      [&](int) {
        const int fd = open(path, O_RDWR);
        CHECK_SYS(fd);
        struct flock own = {};
        own.l_type = F_WRLCK;
        CHECK_SYS(fcntl(fd, F_OFD_SETLKW, &own));
        CHECK_SYS(close(fd));
      },
      [&] { CHECK_SYS(close(file)); });
  CHECK_SYS(unlink(path));
  CHECK_SYS(mkfifo(path, 0600));
  int writer;
  std::atomic<int> opened{0};
  stuck(
      "open of a FIFO",
      [&](int index) {
        const int fd = index % 2 == 0 ? open(path, O_RDONLY) : openat(AT_FDCWD, path, O_RDONLY);
        CHECK_SYS(fd);
        opened++;
        CHECK_SYS(close(fd));
      },
      [&] {
        writer = open(path, O_RDWR);
        CHECK_SYS(writer);
        EVENTUALLY(opened == kStuck);
        CHECK_SYS(close(writer));
      });
  CHECK_SYS(unlink(path));
}

void children() {
  const Channel gate = pipe_channel();
  stuck(
      "waitpid",
      [&](int index) {
        const pid_t child = fork();
        CHECK_SYS(child);
        if (child == 0) {
          char byte;
          _exit(read(gate.in, &byte, 1) == 1 ? index : 100);
        }
        CHECK_EQ(wait_status(child), index);
      },
      [&] { write_bytes(gate.out, kStuck); });
  gate.close_both();
}

void stdio() {
  Channel channels[kStuck];
  FILE* streams[kStuck];
  for (int i = 0; i < kStuck; i++) {
    channels[i] = pipe_channel();
    streams[i] = fdopen(channels[i].in, "r");
  }
  stuck(
      "fgets",
      [&](int index) {
        char line[10];
        CHECK(fgets(line, sizeof line, streams[index % 32]) != nullptr);
        CHECK_STR(line, "line\n");
      },
      [&] {
        for (int i = 0; i < 32; i++) CHECK_EQ(write(channels[i].out, "line\nline\n", 10), 10);
      });
  for (int i = 0; i < kStuck; i++) {
    CHECK_EQ(fclose(streams[i]), 0);
    CHECK_SYS(close(channels[i].out));
  }
}

void raw_calls() {
  static std::atomic<int> word;
  word = 0;
  const Channel pipe = pipe_channel();
  stuck(
      "system calls of their own",
      [&](int index) {
        char byte;
        switch (index % 3) {
          case 0:
            while (word == 0) raw<SYS_futex>(reinterpret_cast<long>(&word), FUTEX_WAIT_PRIVATE, 0, 0);
            break;
          case 1: CHECK_EQ(raw<SYS_read>(pipe.in, reinterpret_cast<long>(&byte), 1, 0), 1); break;
          default: CHECK_EQ(syscall(SYS_read, pipe.in, &byte, 1), 1);
        }
      },
      [&] {
        word = 1;
        raw<SYS_futex>(reinterpret_cast<long>(&word), FUTEX_WAKE_PRIVATE, 1000, 0);
        write_bytes(pipe.out, kStuck - (kStuck + 2) / 3);
      });
  pipe.close_both();
}

void queues() {
  struct Message {
    long type;
    char text[8];
  };
  const int queue = msgget(IPC_PRIVATE, 0600);
  if (queue != -1) {
    stuck(
        "msgrcv",
        [&](int index) {
          Message got;
          CHECK_EQ(msgrcv(queue, &got, sizeof got.text, index + 1, 0), 4);
        },
        [&] {
          for (int i = 0; i < kStuck; i++) {
            const Message sent = {i + 1, "abc"};
            CHECK_SYS(msgsnd(queue, &sent, 4, 0));
          }
        });
    CHECK_SYS(msgctl(queue, IPC_RMID, nullptr));
  }
  const int set = semget(IPC_PRIVATE, 1, 0600);
  if (set != -1) {
    stuck(
        "semop",
        [&](int) {
          sembuf down = {0, -1, 0};
          CHECK_SYS(semop(set, &down, 1));
        },
        [&] {
          sembuf up = {0, kStuck, 0};
          CHECK_SYS(semop(set, &up, 1));
        });
    CHECK_SYS(semctl(set, 0, IPC_RMID));
  }
  char name[64];
  snprintf(name, sizeof name, "/blocked_sixty_four_%d", static_cast<int>(getpid()));
  mq_attr attributes = {};
  attributes.mq_maxmsg = 8;
  attributes.mq_msgsize = 8;
  const mqd_t posix = mq_open(name, O_CREAT | O_RDWR, 0600, &attributes);
  if (posix != -1) {
    CHECK_SYS(mq_unlink(name));
    stuck(
        "mq_receive",
        [&](int) {
          char got[8];
          CHECK_EQ(mq_receive(posix, got, sizeof got, nullptr), 3);
        },
        [&] {
          for (int i = 0; i < kStuck; i++) CHECK_SYS(mq_send(posix, "abc", 3, 0));
        });
    CHECK_SYS(mq_close(posix));
  }
}

// Questions to a name server that does not answer until it is told to.
void names() {
  sockaddr_in address;
  const int server = bound_socket(SOCK_DGRAM, &address);
  stuck(
      "res_query",
      [&](int index) {
        CHECK_EQ(res_init(), 0);
        _res.nscount = 1;
        _res.nsaddr_list[0] = address;
        _res.retrans = 60;
        char name[40];
        unsigned char answer[512];
        snprintf(name, sizeof name, "nothing-%d.invalid", index);
        CHECK_EQ(res_query(name, C_IN, T_A, answer, sizeof answer), -1);
        CHECK_EQ(h_errno, HOST_NOT_FOUND);
      },
      [&] {
        for (int i = 0; i < kStuck; i++) {
          char question[512];
          sockaddr_in from;
          socklen_t length = sizeof from;
          const ssize_t n = recvfrom(server, question, sizeof question, 0, plain(&from), &length);
          CHECK(n > 12);
          question[2] = static_cast<char>(0x84);  // An answer, with authority:
          question[3] = 3;                        // there is no such name.
          CHECK_EQ(sendto(server, question, static_cast<size_t>(n), 0, plain(&from), length), n);
        }
      });
  CHECK_SYS(close(server));
}

}  // namespace

int main() {
  char folder[] = "/tmp/blocked_sixty_four_XXXXXX";
  CHECK(mkdtemp(folder) != nullptr);
  descriptors();
  connections();
  files(folder);
  children();
  stdio();
  raw_calls();
  queues();
  names();
  CHECK_SYS(rmdir(folder));
  return 0;
}
