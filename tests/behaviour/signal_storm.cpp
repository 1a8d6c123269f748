// Shows that no signal is lost or comes twice while every thread is stormed with them as it allocates, does I/O, forks,
// locks, throws and computes; and that none of that suffers. TEST_SECONDS says for how long.
// run: limit=120
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <atomic>
#include <map>
#include <string>
#include <vector>

namespace {

constexpr int kWorkers = 12;
constexpr int kSenders = 3;

std::atomic<bool> storm_over{false};  // the senders have stopped
std::atomic<bool> stop{false};
std::atomic<long> sent_directed[kWorkers], got_directed[kWorkers];
std::atomic<long> sent_process{0}, got_process{0}, got_alarms{0}, got_usr{0};
__thread int self = -1;
pthread_t workers[kWorkers];

pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
long locked;
std::atomic<long> locks{0};

void on_directed(int, siginfo_t* info, void*) {
  if (info->si_value.sival_int != self)
    check_fail(__FILE__, __LINE__, "a signal for %d in %d", info->si_value.sival_int, self);
  got_directed[self]++;
}
void on_process(int, siginfo_t* info, void*) {
  CHECK_EQ(info->si_code, SI_QUEUE);
  got_process++;
}
void on_alarm(int, siginfo_t*, void*) { got_alarms++; }
void on_usr(int, siginfo_t*, void*) {
  int saved = errno;
  got_usr++;
  compute(100);
  errno = saved;
}

void install(int signal, void (*handler)(int, siginfo_t*, void*)) {
  struct sigaction action {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  CHECK_SYS(sigaction(signal, &action, nullptr));
}

void allocates(unsigned round) {
  std::map<int, std::string> all;
  for (int i = 0; i < 60; i++)
    all[i] =
        std::string(static_cast<size_t>((i * 37 + static_cast<int>(round)) % 900), static_cast<char>('a' + i % 26));
  for (auto& [i, text] : all) {
    for (char c : text) CHECK_EQ(c, 'a' + i % 26);
  }
}

void transfers(unsigned round) {
  int ends[2];
  CHECK_SYS(round % 2 ? pipe(ends) : socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  pthread_t reader = spawn([in = ends[0]] {
    self = -1;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    long sum = 0;
    unsigned char bytes[512];
    for (ssize_t n; (n = read(in, bytes, sizeof bytes)) != 0;) {
      CHECK_SYS(n);
      for (ssize_t i = 0; i < n; i++) sum += bytes[i];
    }
    CHECK_EQ(sum, 255 * 256 / 2 * 8);
  });
  for (int i = 0; i < 8; i++) {
    unsigned char bytes[256];
    for (int k = 0; k < 256; k++) bytes[k] = static_cast<unsigned char>(k);
    for (size_t done = 0; done < sizeof bytes;) {
      ssize_t n = write(ends[1], bytes + done, sizeof bytes - done);
      CHECK_SYS(n);
      done += static_cast<size_t>(n);
    }
  }
  close(ends[1]);
  join(reader);
  close(ends[0]);
}

void forks(unsigned round) {
  pid_t child = fork();
  CHECK_SYS(child);
  if (child == 0) {
    std::vector<int> some(1000, static_cast<int>(round));
    _exit(some[999] == static_cast<int>(round) ? 7 : 8);
  }
  CHECK_EQ(wait_status(child), 7);
}

void locking(unsigned round) {
  for (int i = 0; i < 20; i++) {
    CHECK_OK(pthread_mutex_lock(&mutex));
    long seen = locked;
    if (i % 5 == 0) sched_yield();
    locked = seen + 1;
    if ((round + static_cast<unsigned>(i)) % 7 == 0) {
      timespec soon = ms_from_now(CLOCK_REALTIME, 1);
      int r = pthread_cond_timedwait(&cond, &mutex, &soon);
      CHECK(r == 0 || r == ETIMEDOUT);
    }
    CHECK_OK(pthread_cond_signal(&cond));
    CHECK_OK(pthread_mutex_unlock(&mutex));
    locks++;
  }
}

void throws(unsigned round) {
  for (int i = 0; i < 20; i++) {
    try {
      std::string what(round % 50 + 1, 'x');
      if (i % 2) throw what;
      throw i;
    } catch (const std::string& s) {
      CHECK_EQ(s.size(), round % 50 + 1);
    } catch (int n) {
      CHECK_EQ(n, i);
    }
  }
}

void computes(unsigned round) {
  double x = 1;
  for (int i = 1; i <= 20000; i++) x += 1.0 / (i * (static_cast<double>(i) + 1));
  CHECK(x > 1.9999 && x < 2);
  stir(round);
}

void work(int index) {
  self = index;
  constexpr void (*kKinds[])(unsigned) = {allocates, transfers, forks, locking, throws, computes};
  for (unsigned round = 0; !stop; round++) {
    // Forks are dear.
    unsigned kind = (round + static_cast<unsigned>(index)) % 6;
    if (kind == 2 && round % 4 != 0) kind = 0;
    kKinds[kind](round);
  }
  while (!storm_over || got_directed[index] != sent_directed[index]) usleep(200);
}

void send(int index) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  for (unsigned i = 0; !stop; i++) {
    int to = static_cast<int>((i * 7 + static_cast<unsigned>(index)) % kWorkers);
    sigval value{};
    value.sival_int = to;
    switch (i % 4) {
      case 0:
      case 1: {
        int r = pthread_sigqueue(workers[to], SIGRTMIN, value);
        if (r == 0) sent_directed[to]++;
        else CHECK_EQ(r, EAGAIN);
        break;
      }
      case 2:
        if (sigqueue(getpid(), SIGRTMIN + 1, value) == 0) sent_process++;
        else CHECK_EQ(errno, EAGAIN);
        break;
      default: CHECK_OK(pthread_kill(workers[to], SIGUSR1));
    }
    if (i % 16 == 0) usleep(i % 300);
    // Not more than can be handled.
    while (!stop && (sent_process - got_process > 200 || sent_directed[to] - got_directed[to] > 100)) usleep(500);
  }
}

}  // namespace

int main() {
  const char* seconds = getenv("TEST_SECONDS");
  int64_t end = now_ns(CLOCK_MONOTONIC) + (seconds ? atoi(seconds) * NS_PER_S : NS_PER_S / 2);
  install(SIGRTMIN, on_directed);
  install(SIGRTMIN + 1, on_process);
  install(SIGALRM, on_alarm);
  install(SIGUSR1, on_usr);
  itimerval often{{0, 1000}, {0, 1000}};
  CHECK_SYS(setitimer(ITIMER_REAL, &often, nullptr));
  // Whoever made it: a worker is stormed only once it knows itself.
  sigset_t directed;
  sigemptyset(&directed);
  sigaddset(&directed, SIGRTMIN);
  pthread_sigmask(SIG_BLOCK, &directed, nullptr);
  for (int i = 0; i < kWorkers; i++) {
    workers[i] = spawn([i, directed] {
      self = i;
      pthread_sigmask(SIG_UNBLOCK, &directed, nullptr);
      work(i);
    });
  }
  pthread_t senders[kSenders];
  for (int i = 0; i < kSenders; i++) senders[i] = spawn([i] { send(i); });
  while (now_ns(CLOCK_MONOTONIC) < end || got_alarms == 0 || got_usr == 0) usleep(10000);
  stop = true;
  for (pthread_t t : senders) join(t);
  storm_over = true;
  for (pthread_t t : workers) join(t);
  itimerval none{};
  CHECK_SYS(setitimer(ITIMER_REAL, &none, nullptr));
  EVENTUALLY(got_process == sent_process);
  for (int i = 0; i < kWorkers; i++) CHECK_EQ(got_directed[i], sent_directed[i]);
  CHECK_EQ(locked, locks);
  return 0;
}
