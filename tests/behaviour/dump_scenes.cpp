// What tests/tools/dump_*.py look at: `dump_scenes SCENE` sets it up, says "ready", and ends when its standard input
// does. Without a scene those that end by themselves are played, one after the other.
#include <fcntl.h>
#include <linux/io_uring.h>
#include <semaphore.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "check.h"

namespace {

bool interactive;

// The scene stands; returns when it is to end.
__attribute__((noinline)) void show() {
  if (!interactive) return;
  CHECK_EQ(write(1, "ready\n", 6), 6);
  char c;
  while (read(0, &c, 1) > 0) {
  }
}

void wait_until(const std::atomic<int>& count, int wanted) {
  while (count.load() < wanted) usleep(1000);
}

// ---- two threads that each hold what the other one wants ----

struct Account {
  pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  long balance = 0;
};
Account savings, current;
pthread_barrier_t both_hold_one;

__attribute__((noinline)) void transfer(Account* from, Account* to) {
  pthread_mutex_lock(&from->lock);
  pthread_barrier_wait(&both_hold_one);
  pthread_mutex_lock(&to->lock);
  to->balance += from->balance;
}

void* save(void*) {
  transfer(&current, &savings);
  return nullptr;
}
void* spend(void*) {
  transfer(&savings, &current);
  return nullptr;
}

void deadlock(bool asleep) {
  pthread_barrier_init(&both_hold_one, nullptr, 2);
  pthread_t a, b;
  CHECK_EQ(pthread_create(&a, nullptr, save, nullptr), 0);
  CHECK_EQ(pthread_create(&b, nullptr, spend, nullptr), 0);
  pthread_setname_np(a, "saver");
  if (asleep) pthread_join(a, nullptr);
  show();
  _exit(0);
}

// ---- a thousand that wait for the same ----

sem_t never_before_the_end;
std::atomic<int> waiting;

__attribute__((noinline)) void wait_like_the_others() {
  waiting++;
  while (sem_wait(&never_before_the_end) != 0) {
  }
}

void thousand() {
  constexpr int kThreads = 1000;
  sem_init(&never_before_the_end, 0, 0);
  waiting = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; i++) threads.emplace_back(wait_like_the_others);
  wait_until(waiting, kThreads);
  show();
  for (int i = 0; i < kThreads; i++) sem_post(&never_before_the_end);
  for (auto& t : threads) t.join();
}

// ---- threads that compute ----

std::atomic<bool> enough;
std::atomic<int> spinning;

__attribute__((noinline)) void spin_for_long() {
  spinning++;
  while (!enough.load(std::memory_order_relaxed)) {
  }
}

void spin() {
  enough = false;
  spinning = 0;
  std::thread a(spin_for_long), b(spin_for_long), c(spin_for_long);
  wait_until(spinning, 3);
  show();
  enough = true;
  a.join();
  b.join();
  c.join();
}

// ---- in the kernel ----

std::string fifo;

__attribute__((noinline)) void open_the_fifo() {
  int fd = open(fifo.c_str(), O_RDONLY);
  CHECK(fd >= 0);
  close(fd);
}

void region() {
  const char* folder = getenv("TMPDIR");
  fifo = std::string(folder ? folder : "/tmp") + "/dump_scenes." + std::to_string(getpid());
  CHECK_EQ(mkfifo(fifo.c_str(), 0600), 0);
  std::thread t(open_the_fifo);
  usleep(100'000);
  show();
  int fd = open(fifo.c_str(), O_WRONLY);
  unlink(fifo.c_str());
  CHECK(fd >= 0);
  t.join();
  close(fd);
}

// ---- one of each wait ----

pthread_rwlock_t table = PTHREAD_RWLOCK_INITIALIZER;
pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
int ends[2];

__attribute__((noinline)) void read_the_table() {
  pthread_rwlock_rdlock(&table);
  pthread_rwlock_unlock(&table);
}
__attribute__((noinline)) void await_change() {
  pthread_mutex_lock(&guard);
  pthread_cond_wait(&changed, &guard);
  pthread_mutex_unlock(&guard);
}
__attribute__((noinline)) void read_the_pipe() {
  char c;
  CHECK_EQ(read(ends[0], &c, 1), 1);
}
__attribute__((noinline)) void doze() {
  usleep(interactive ? 600'000'000 : 1000);
  asm volatile("" ::: "memory");  // no tail call
}

void waits() {
  CHECK_EQ(pipe(ends), 0);
  CHECK_EQ(dup2(ends[0], 77), 77);
  close(ends[0]);
  ends[0] = 77;
  pthread_rwlock_wrlock(&table);
  std::thread a(read_the_table), b(await_change), c(read_the_pipe), d(doze);
  std::thread e([&c] { c.join(); });
  usleep(100'000);
  show();
  if (interactive) _exit(0);
  pthread_rwlock_unlock(&table);
  pthread_mutex_lock(&guard);
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&guard);
  CHECK_EQ(write(ends[1], "x", 1), 1);
  for (std::thread* t : {&a, &b, &d, &e}) t->join();
  close(ends[0]);
  close(ends[1]);
}

// ---- work that must not notice being looked at: no call fails, nothing is lost ----

std::atomic<bool> stop;

void bytes(int from, int to) {
  unsigned char want = 0;
  for (unsigned char c; read(from, &c, 1) == 1; want++) {
    CHECK_EQ(c, want);
    CHECK_EQ(write(to, &c, 1), 1);
  }
  close(to);
}

void timeouts() {
  int idle[2];
  CHECK_EQ(pipe(idle), 0);
  int queue = epoll_create1(0);
  epoll_event event{};
  event.events = EPOLLIN;
  CHECK_EQ(epoll_ctl(queue, EPOLL_CTL_ADD, idle[0], &event), 0);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  while (!stop.load()) {
    pollfd p{idle[0], POLLIN, 0};
    CHECK_EQ(poll(&p, 1, 2), 0);
    timeval little{0, 2000};
    fd_set in;
    FD_ZERO(&in);
    FD_SET(idle[0], &in);
    CHECK_EQ(select(idle[0] + 1, &in, nullptr, nullptr, &little), 0);
    CHECK_EQ(epoll_wait(queue, &event, 1, 2), 0);
    timespec t{0, 2'000'000};
    CHECK_EQ(nanosleep(&t, nullptr), 0);
    CHECK_EQ(sigtimedwait(&set, nullptr, &t), -1);
    CHECK_EQ(errno, EAGAIN);
  }
  close(idle[0]);
  close(idle[1]);
  close(queue);
}

void sockets() {
  int s[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
  timeval little{0, 2000};
  CHECK_EQ(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &little, sizeof little), 0);
  while (!stop.load()) {
    char c;
    CHECK_EQ(recv(s[0], &c, 1, 0), -1);
    CHECK_EQ(errno, EAGAIN);
  }
  close(s[0]);
  close(s[1]);
}

pthread_mutex_t shared = PTHREAD_MUTEX_INITIALIZER;
long total;

void sums() {
  std::vector<int> numbers;
  for (int i = 0; i < 1000; i++) numbers.push_back(i);
  while (!stop.load()) {
    long sum = 0;
    for (int n : numbers) sum += n;
    CHECK_EQ(sum, 499'500);
    pthread_mutex_lock(&shared);
    long before = total;
    sched_yield();
    total = before + 1;
    pthread_mutex_unlock(&shared);
  }
}

// ---- a thread that has asked the kernel to read for it, which does that in a thread of its own ----

bool submit_a_read(int fd) {
  static char byte;
  io_uring_params params{};
  int ring = static_cast<int>(syscall(SYS_io_uring_setup, 1, &params));
  if (ring < 0) return false;  // not allowed here
  auto map = [ring](size_t size, off_t offset) {
    void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, offset);
    CHECK(at != MAP_FAILED);
    return static_cast<char*>(at);
  };
  char* queue = map(params.sq_off.array + sizeof(unsigned), IORING_OFF_SQ_RING);
  auto* entry = reinterpret_cast<io_uring_sqe*>(map(sizeof(io_uring_sqe), IORING_OFF_SQES));
  entry->opcode = IORING_OP_READ;
  entry->flags = IOSQE_ASYNC;
  entry->fd = fd;
  entry->addr = reinterpret_cast<uintptr_t>(&byte);
  entry->len = 1;
  *reinterpret_cast<unsigned*>(queue + params.sq_off.array) = 0;
  reinterpret_cast<std::atomic<unsigned>*>(queue + params.sq_off.tail)->fetch_add(1);
  return syscall(SYS_io_uring_enter, ring, 1, 0, 0, nullptr, 0) == 1;
}

__attribute__((noinline)) void wait_with_a_ring(int fd) {
  char byte;
  CHECK_EQ(read(fd, &byte, 1), 0);
}

void ring() {
  int asked[2], awaited[2];
  CHECK_EQ(pipe(asked), 0);
  CHECK_EQ(pipe(awaited), 0);
  std::thread waits([&] {
    submit_a_read(asked[0]);
    wait_with_a_ring(awaited[0]);
  });
  show();
  CHECK_EQ(write(asked[1], "", 1), 1);
  close(awaited[1]);
  waits.join();
}

void work() {
  stop = false;
  int there[2], back[2];
  CHECK_EQ(pipe(there), 0);
  CHECK_EQ(pipe(back), 0);
  std::vector<std::thread> threads;
  threads.emplace_back(bytes, there[0], back[1]);
  threads.emplace_back(timeouts);
  threads.emplace_back(timeouts);
  threads.emplace_back(sockets);
  for (int i = 0; i < 3; i++) threads.emplace_back(sums);
  threads.emplace_back([&] {
    for (unsigned char sent = 0, got; !stop.load(); sent++) {
      CHECK_EQ(write(there[1], &sent, 1), 1);
      CHECK_EQ(read(back[0], &got, 1), 1);
      CHECK_EQ(got, sent);
    }
    close(there[1]);
  });
  if (!interactive) usleep(50'000);
  show();
  stop = true;
  for (auto& t : threads) t.join();
  close(there[0]);
  close(back[0]);
}

// ---- who holds what, where no owner is noted in the object ----

pthread_mutex_t early = PTHREAD_MUTEX_INITIALIZER;  // taken before there are threads
pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
pthread_once_t once_only = PTHREAD_ONCE_INIT;
std::atomic<int> come{0};

void wait_for_early() {
  come++;
  CHECK_OK(pthread_mutex_lock(&early));
  CHECK_OK(pthread_mutex_unlock(&early));
}

void holders() {
  CHECK_OK(pthread_mutex_lock(&early));
  pthread_t threads[4];
  threads[0] = spawn([] {
    CHECK_OK(pthread_rwlock_rdlock(&rwlock));
    wait_for_early();
    CHECK_OK(pthread_rwlock_unlock(&rwlock));
  });
  threads[1] = spawn([] { CHECK_OK(pthread_once(&once_only, wait_for_early)); });
  wait_until(come, 2);
  threads[2] = spawn([] {
    CHECK_OK(pthread_rwlock_wrlock(&rwlock));
    CHECK_OK(pthread_rwlock_unlock(&rwlock));
  });
  threads[3] = spawn([] {
    CHECK_OK(pthread_setname_np(pthread_self(), "a\x1b[2J\nG 99"));
    CHECK_OK(pthread_once(&once_only, wait_for_early));
  });
  show();
  CHECK_OK(pthread_mutex_unlock(&early));
  for (pthread_t t : threads) join(t);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 1) {
    thousand();
    spin();
    region();
    waits();
    ring();
    work();
    return 0;
  }
  interactive = true;
  std::string scene = argv[1];
  if (scene == "deadlock") deadlock(false);
  else if (scene == "asleep") deadlock(true);
  else if (scene == "thousand") thousand();
  else if (scene == "spin") spin();
  else if (scene == "region") region();
  else if (scene == "waits") waits();
  else if (scene == "ring") ring();
  else if (scene == "work") work();
  else if (scene == "holders") holders();
  else return 2;
  return 0;
}
