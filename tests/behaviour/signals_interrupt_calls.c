// Shows which blocking calls a signal handler interrupts: with SA_RESTART and without, as signal(7) has it.
// libs: rt
// run: limit=90
#include "check.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <threads.h>

// A call blocks until it is interrupted or, where it goes on, until `release` lets it succeed.
struct call {
  const char* name;
  int restarts;  // With SA_RESTART it goes on.
  void (*prepare)(void);
  int (*block)(void);  // -1 and errno, as the call itself.
  void (*release)(void);
};

static int pipe_ends[2], pair[2], listener, epoll_fd, queue_id, set_id, file;
static char* fifo;
static mqd_t mq;
static sem_t semaphore;
static int futex_word;
static pid_t child;
static char big[1 << 20];

static void make_pipe(void) { CHECK_SYS(pipe(pipe_ends)); }
static void feed_pipe(void) { CHECK_EQ(write(pipe_ends[1], "x", 1), 1); }
static int block_read(void) { return (int)read(pipe_ends[0], big, 1); }

static void make_full_pipe(void) {
  make_pipe();
  CHECK_SYS(fcntl(pipe_ends[1], F_SETFL, O_NONBLOCK));
  while (write(pipe_ends[1], big, 4096) > 0) {
  }
  CHECK_SYS(fcntl(pipe_ends[1], F_SETFL, 0));
}
static int block_write(void) { return (int)write(pipe_ends[1], big, 1); }
static void drain_pipe(void) { CHECK_EQ(read(pipe_ends[0], big, 65536), 65536); }

static void make_pair(void) { CHECK_SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, pair)); }
static void make_pair_with_timeout(void) {
  make_pair();
  struct timeval limit = {.tv_sec = 60};
  CHECK_SYS(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
}
static void feed_pair(void) { CHECK_EQ(write(pair[1], "x", 1), 1); }
static int block_recv(void) { return (int)recv(pair[0], big, 1, 0); }
static int block_recvmsg(void) {
  struct iovec part = {big, 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  return (int)recvmsg(pair[0], &message, 0);
}

static struct sockaddr_un_ {
  sa_family_t family;
  char path[108];
} address;
static socklen_t address_size;
static void make_listener(void) {
  CHECK_SYS(listener = socket(AF_UNIX, SOCK_STREAM, 0));
  address.family = AF_UNIX;
  address_size = sizeof(sa_family_t);
  CHECK_SYS(bind(listener, (struct sockaddr*)&address, address_size));  // The kernel chooses a name.
  CHECK_SYS(listen(listener, 8));
  address_size = sizeof address;
  CHECK_SYS(getsockname(listener, (struct sockaddr*)&address, &address_size));
}
static int block_accept(void) { return accept(listener, NULL, NULL); }
static void connect_to_it(void) {
  int s = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK_SYS(s);
  CHECK_SYS(connect(s, (struct sockaddr*)&address, address_size));
}

static int block_poll(void) {
  struct pollfd one = {pipe_ends[0], POLLIN, 0};
  return poll(&one, 1, -1);
}
static int block_ppoll(void) {
  struct pollfd one = {pipe_ends[0], POLLIN, 0};
  struct timespec limit = {60, 0};
  return ppoll(&one, 1, &limit, NULL);
}
static int block_select(void) {
  fd_set in;
  FD_ZERO(&in);
  FD_SET(pipe_ends[0], &in);
  return select(pipe_ends[0] + 1, &in, NULL, NULL, NULL);
}
static void make_epoll(void) {
  make_pipe();
  CHECK_SYS(epoll_fd = epoll_create1(0));
  struct epoll_event event = {.events = EPOLLIN};
  CHECK_SYS(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pipe_ends[0], &event));
}
static int block_epoll(void) {
  struct epoll_event event;
  return epoll_wait(epoll_fd, &event, 1, -1);
}

static void nothing(void) {}
static int block_nanosleep(void) {
  struct timespec t = {60, 0};
  return nanosleep(&t, NULL);
}
static int with_errno(int error) {
  errno = error;
  return error ? -1 : 0;
}
static int block_clock_nanosleep(void) {
  struct timespec t = ms_from_now(CLOCK_MONOTONIC, 60000);
  return with_errno(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL));
}
static int block_usleep(void) { return usleep(60000000); }
static int block_sleep(void) { return with_errno(sleep(60) > 0 ? EINTR : 0); }
static int block_thrd_sleep(void) {
  struct timespec t = {60, 0};
  return with_errno(thrd_sleep(&t, NULL) == -1 ? EINTR : 0);
}
static int block_pause(void) { return pause(); }
static int block_sigwaitinfo(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  return sigwaitinfo(&set, NULL);
}
static int block_sigtimedwait(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  struct timespec t = {60, 0};
  return sigtimedwait(&set, NULL, &t);
}

static void make_semaphore(void) { CHECK_SYS(sem_init(&semaphore, 0, 0)); }
static void post(void) { CHECK_SYS(sem_post(&semaphore)); }
static int block_sem_wait(void) { return sem_wait(&semaphore); }
static int block_sem_timedwait(void) {
  struct timespec t = ms_from_now(CLOCK_REALTIME, 60000);
  return sem_timedwait(&semaphore, &t);
}

static void clear_futex(void) { __atomic_store_n(&futex_word, 0, __ATOMIC_SEQ_CST); }
static void wake_futex(void) {
  __atomic_store_n(&futex_word, 1, __ATOMIC_SEQ_CST);
  CHECK_SYS(syscall(SYS_futex, &futex_word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
}
static int block_futex(void) {
  int r = (int)syscall(SYS_futex, &futex_word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
  return r == -1 && errno == EAGAIN ? 0 : r;
}

static void make_message_queue(void) { CHECK_SYS(queue_id = msgget(IPC_PRIVATE, 0600)); }
static int block_msgrcv(void) {
  struct {
    long type;
    char text[8];
  } message;
  return (int)msgrcv(queue_id, &message, sizeof message.text, 0, 0);
}
static void make_semaphores(void) { CHECK_SYS(set_id = semget(IPC_PRIVATE, 1, 0600)); }
static int block_semop(void) {
  struct sembuf down = {0, -1, 0};
  return semop(set_id, &down, 1);
}

static void make_mq(void) {
  char name[64];
  snprintf(name, sizeof name, "/signals_interrupt_calls.%d", (int)getpid());
  struct mq_attr attributes = {.mq_maxmsg = 2, .mq_msgsize = 8};
  mq = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
  CHECK_SYS(mq);
  CHECK_SYS(mq_unlink(name));
}
static void feed_mq(void) { CHECK_SYS(mq_send(mq, "x", 1, 0)); }
static int block_mq(void) { return (int)mq_receive(mq, big, 8, NULL); }

static void make_child(void) {
  make_pipe();
  CHECK_SYS(child = fork());
  if (child == 0) {
    close(pipe_ends[1]);
    _exit(read(pipe_ends[0], big, 1) == 1 ? 0 : 1);
  }
}
static int block_waitpid(void) { return waitpid(child, NULL, 0); }
static int block_waitid(void) {
  siginfo_t info;
  return waitid(P_PID, (id_t)child, &info, WEXITED);
}

static void make_locked_file(void) {
  char name[256];
  const char* folder = getenv("TMPDIR");
  snprintf(name, sizeof name, "%s/signals_interrupt_calls.XXXXXX", folder ? folder : "/tmp");
  CHECK_SYS(file = mkstemp(name));
  int other = open(name, O_RDWR);
  CHECK_SYS(other);
  CHECK_SYS(flock(other, LOCK_EX));
  CHECK_SYS(unlink(name));
  pipe_ends[0] = other;
}
static void unlock_file(void) { CHECK_SYS(flock(pipe_ends[0], LOCK_UN)); }
static int block_flock(void) { return flock(file, LOCK_EX); }

static void make_record_lock(void) {
  char name[256];
  const char* folder = getenv("TMPDIR");
  snprintf(name, sizeof name, "%s/signals_interrupt_calls.XXXXXX", folder ? folder : "/tmp");
  CHECK_SYS(file = mkstemp(name));
  CHECK_SYS(pipe_ends[0] = open(name, O_RDWR));
  CHECK_SYS(unlink(name));
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
  CHECK_SYS(fcntl(pipe_ends[0], F_OFD_SETLK, &lock));
}
static int block_record_lock(void) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
  return fcntl(file, F_OFD_SETLKW, &lock);
}
static void free_record_lock(void) {
  struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_len = 1};
  CHECK_SYS(fcntl(pipe_ends[0], F_OFD_SETLK, &lock));
}

static void make_fifo(void) {
  const char* folder = getenv("TMPDIR");
  CHECK(asprintf(&fifo, "%s/fifo.%d", folder ? folder : "/tmp", (int)getpid()) > 0);
  CHECK_SYS(mkfifo(fifo, 0600));
}
static int block_open(void) { return open(fifo, O_RDONLY); }
static void open_other_end(void) {
  CHECK_SYS(open(fifo, O_WRONLY));
  CHECK_SYS(unlink(fifo));
}
static void remove_fifo(void) { CHECK_SYS(unlink(fifo)); }

static const struct call calls[] = {
    {"read", 1, make_pipe, block_read, feed_pipe},
    {"write", 1, make_full_pipe, block_write, drain_pipe},
    {"recv", 1, make_pair, block_recv, feed_pair},
    {"recvmsg", 1, make_pair, block_recvmsg, feed_pair},
    {"recv with SO_RCVTIMEO", 0, make_pair_with_timeout, block_recv, feed_pair},
    {"accept", 1, make_listener, block_accept, connect_to_it},
    {"poll", 0, make_pipe, block_poll, feed_pipe},
    {"ppoll", 0, make_pipe, block_ppoll, feed_pipe},
    {"select", 0, make_pipe, block_select, feed_pipe},
    {"epoll_wait", 0, make_epoll, block_epoll, feed_pipe},
    {"nanosleep", 0, nothing, block_nanosleep, nothing},
    {"clock_nanosleep", 0, nothing, block_clock_nanosleep, nothing},
    {"usleep", 0, nothing, block_usleep, nothing},
    {"sleep", 0, nothing, block_sleep, nothing},
    {"thrd_sleep", 0, nothing, block_thrd_sleep, nothing},
    {"pause", 0, nothing, block_pause, nothing},
    {"sigwaitinfo", 0, nothing, block_sigwaitinfo, nothing},
    {"sigtimedwait", 0, nothing, block_sigtimedwait, nothing},
    {"sem_wait", 1, make_semaphore, block_sem_wait, post},
    {"sem_timedwait", 0, make_semaphore, block_sem_timedwait, post},
    {"futex", 1, clear_futex, block_futex, wake_futex},
    {"msgrcv", 0, make_message_queue, block_msgrcv, nothing},
    {"semop", 0, make_semaphores, block_semop, nothing},
    {"mq_receive", 1, make_mq, block_mq, feed_mq},
    {"waitpid", 1, make_child, block_waitpid, feed_pipe},
    {"waitid", 1, make_child, block_waitid, feed_pipe},
    {"flock", 1, make_locked_file, block_flock, unlock_file},
    {"F_OFD_SETLKW", 1, make_record_lock, block_record_lock, free_record_lock},
    {"open of a FIFO", 1, make_fifo, block_open, open_other_end},
};

static atomic_int handled;
static void on_signal(int signal) {
  (void)signal;
  atomic_fetch_add(&handled, 1);
}

struct attempt {
  const struct call* call;
  atomic_int done;
  int result, error;
};

static void* attempt(void* arg) {
  struct attempt* a = arg;
  a->result = a->call->block();
  a->error = errno;
  atomic_store(&a->done, 1);
  return NULL;
}

static void try_call(const struct call* call, int flags) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
  CHECK_SYS(sigaction(SIGUSR1, &action, NULL));
  atomic_store(&handled, 0);
  call->prepare();
  struct attempt a = {.call = call};
  pthread_t thread;
  CHECK_OK(pthread_create(&thread, NULL, attempt, &a));
  // The first signal may come before the call does, where it interrupts nothing.
  const int fails = !(flags & SA_RESTART) || !call->restarts;
  for (int sent = 1; fails ? !atomic_load(&a.done) : sent <= 5; sent++) {
    CHECK_OK(pthread_kill(thread, SIGUSR1));
    EVENTUALLY(atomic_load(&handled) == sent || atomic_load(&a.done));
    sleep_ms(2);
  }
  if (fails) {
    CHECK_OK(pthread_join(thread, NULL));
    if (a.result != -1 || a.error != EINTR)
      check_fail(__FILE__, __LINE__, "%s, flags %x: %d, errno %d", call->name, flags, a.result, a.error);
    if (call->prepare == make_child) {
      feed_pipe();
      CHECK_EQ(wait_status(child), 0);
    }
    if (call->prepare == make_fifo) remove_fifo();
    return;
  }
  if (atomic_load(&a.done))
    check_fail(__FILE__, __LINE__, "%s: interrupted, %d, errno %d", call->name, a.result, a.error);
  call->release();
  CHECK_OK(pthread_join(thread, NULL));
  if (a.result == -1) check_fail(__FILE__, __LINE__, "%s: errno %d after a restart", call->name, a.error);
}

static void close_all(void) {
  int* descriptors[] = {&pipe_ends[0], &pipe_ends[1], &pair[0], &pair[1], &listener, &epoll_fd, &file};
  for (size_t i = 0; i < sizeof descriptors / sizeof *descriptors; i++) {
    if (*descriptors[i] > 2) close(*descriptors[i]);
    *descriptors[i] = -1;
  }
  if (queue_id > 0) msgctl(queue_id, IPC_RMID, NULL);
  if (set_id > 0) semctl(set_id, 0, IPC_RMID);
  queue_id = set_id = 0;
}

int main(int argc, char** argv) {
  const char* only = argc > 1 ? argv[1] : NULL;
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    if (only && strcmp(only, calls[i].name) != 0) continue;
    for (int restart = 0; restart <= 1; restart++) {
      try_call(&calls[i], restart ? SA_RESTART : 0);
      close_all();
    }
  }
  return 0;
}
