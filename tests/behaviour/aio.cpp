// Shows that asynchronous I/O does what it does natively: order on one descriptor and priorities, pipes, errors, the
// ways to wait and to be told, cancelling; and that a request is the program's own again once it is done.
// run: same-output=yes limit=60
#include "check.h"

#include <aio.h>
#include <fcntl.h>
#include <semaphore.h>

#include <atomic>
#include <memory>

namespace {

aiocb request_of(int fd, void* data, size_t n, off_t at = 0) {
  aiocb request{};
  request.aio_fildes = fd;
  request.aio_buf = data;
  request.aio_nbytes = n;
  request.aio_offset = at;
  request.aio_sigevent.sigev_notify = SIGEV_NONE;
  return request;
}

int temporary() {
  char path[] = "/tmp/aio-XXXXXX";
  const int fd = mkstemp(path);
  CHECK_SYS(fd);
  CHECK_SYS(unlink(path));
  return fd;
}

int wait_for(aiocb* request) {
  const aiocb* list[] = {nullptr, request};
  while (aio_error(request) == EINPROGRESS) CHECK_SYS(aio_suspend(list, 2, nullptr));
  return aio_error(request);
}

void files() {
  const int fd = temporary();
  char out[16][512], in[16][512];
  aiocb requests[16];
  for (int i = 0; i < 16; i++) {
    memset(out[i], 'a' + i, sizeof out[i]);
    requests[i] = request_of(fd, out[i], sizeof out[i], i * 512);
    CHECK_SYS(aio_write(&requests[i]));
  }
  aiocb sync = request_of(fd, nullptr, 0);
  CHECK_SYS(aio_fsync(O_SYNC, &sync));
  CHECK_EQ(wait_for(&sync), 0);
  CHECK_EQ(aio_return(&sync), 0);
  for (aiocb& r : requests) {
    CHECK_EQ(aio_error(&r), 0);  // they came before
    CHECK_EQ(aio_return(&r), 512);
  }
  aiocb* list[17];
  for (int i = 0; i < 16; i++) {
    requests[i] = request_of(fd, in[i], sizeof in[i], i * 512);
    requests[i].aio_lio_opcode = LIO_READ;
    list[i] = &requests[i];
  }
  list[16] = nullptr;
  CHECK_SYS(lio_listio(LIO_WAIT, list, 17, nullptr));
  for (aiocb& r : requests) CHECK_EQ(aio_return(&r), 512);
  CHECK(memcmp(in, out, sizeof in) == 0);
  CHECK_SYS(close(fd));
}

// Returns when the read is under way: then it cannot be cancelled.
void begin_read(aiocb* request) {
  do {
    CHECK_SYS(aio_read(request));
    usleep(1000);
  } while (aio_cancel(request->aio_fildes, request) != AIO_NOTCANCELED);
}

// One pipe: the first read is under way, the others are done by priority, and bytes come in that order.
void order() {
  int ends[2];
  CHECK_SYS(pipe(ends));
  char bytes[5] = {};
  aiocb requests[5];
  const int priorities[] = {0, 10, 5, 5, 0};
  for (int i = 0; i < 5; i++) {
    requests[i] = request_of(ends[0], &bytes[i], 1);
    requests[i].aio_reqprio = priorities[i];
    if (i == 0) begin_read(&requests[i]);
    else CHECK_SYS(aio_read(&requests[i]));
  }
  const aiocb* list[] = {&requests[0]};
  timespec soon{0, 10'000'000};
  CHECK_EQ(aio_suspend(list, 1, &soon), -1);
  printf("suspended in vain: %s\n", strerror(errno));
  CHECK_EQ(write(ends[1], "abcde", 5), 5);
  for (aiocb& r : requests) {
    CHECK_EQ(wait_for(&r), 0);
    CHECK_EQ(aio_return(&r), 1);
  }
  printf("order: %.5s\n", bytes);
  CHECK_EQ(aio_cancel(ends[0], &requests[0]), AIO_ALLDONE);
  CHECK_SYS(close(ends[0]));
  CHECK_SYS(close(ends[1]));
}

void cancelling() {
  int ends[2];
  CHECK_SYS(pipe(ends));
  char bytes[4] = {};
  aiocb requests[4];
  for (int i = 0; i < 4; i++) {
    requests[i] = request_of(ends[0], &bytes[i], 1);
    if (i == 0) begin_read(&requests[i]);
    else CHECK_SYS(aio_read(&requests[i]));
  }
  CHECK_EQ(aio_cancel(ends[0], &requests[2]), AIO_CANCELED);
  CHECK_EQ(aio_error(&requests[2]), ECANCELED);
  CHECK_EQ(aio_return(&requests[2]), -1);
  CHECK_EQ(aio_cancel(ends[0], nullptr), AIO_NOTCANCELED);
  printf("cancelled:");
  for (aiocb& r : requests) printf(" %s", strerror(aio_error(&r)));
  printf("\n");
  CHECK_EQ(write(ends[1], "x", 1), 1);
  CHECK_EQ(wait_for(&requests[0]), 0);
  CHECK_EQ(aio_cancel(ends[0], nullptr), AIO_ALLDONE);
  requests[0].aio_fildes = ends[1];
  CHECK_EQ(aio_cancel(ends[0], &requests[0]), -1);
  CHECK_EQ(errno, EINVAL);
  CHECK_SYS(close(ends[0]));
  CHECK_SYS(close(ends[1]));
  CHECK_EQ(aio_cancel(ends[0], nullptr), -1);
  CHECK_EQ(errno, EBADF);
}

void errors() {
  char byte;
  aiocb request = request_of(-1, &byte, 1);
  const int r = aio_read(&request);
  CHECK_EQ(r, 0);
  printf("no descriptor: %s", strerror(wait_for(&request)));
  printf(", %zd\n", aio_return(&request));
  const int fd = open("/dev/null", O_RDONLY);
  request = request_of(fd, &byte, 1);
  CHECK_SYS(aio_write(&request));
  printf("not open for that: %s\n", strerror(wait_for(&request)));
  request.aio_reqprio = -1;
  CHECK_EQ(aio_read(&request), -1);
  printf("priority: %s, %s\n", strerror(errno), strerror(aio_error(&request)));
  request = request_of(fd, &byte, 1);
  CHECK_EQ(aio_fsync(O_RDONLY, &request), -1);
  CHECK_EQ(errno, EINVAL);
  const aiocb* none[1] = {};
  aiocb* nobody[1] = {};
  CHECK_EQ(aio_suspend(none, -1, nullptr), -1);
  CHECK_EQ(errno, EINVAL);
  CHECK_EQ(aio_suspend(none, 0, nullptr), 0);
  CHECK_EQ(lio_listio(2, nobody, 0, nullptr), -1);
  CHECK_EQ(errno, EINVAL);
  aiocb bad = request_of(-1, &byte, 1), good = request_of(fd, &byte, 1);
  bad.aio_lio_opcode = good.aio_lio_opcode = LIO_READ;
  aiocb* list[] = {&good, &bad};
  CHECK_EQ(lio_listio(LIO_WAIT, list, 2, nullptr), -1);
  printf("one of two: %s, %s, %s\n", strerror(errno), strerror(aio_error(&good)), strerror(aio_error(&bad)));
  CHECK_SYS(close(fd));
}

std::atomic<int> told;
std::atomic<int> last_code;

void on_signal(int, siginfo_t* info, void*) {
  auto* request = static_cast<aiocb*>(info->si_value.sival_ptr);
  if (!request || aio_error(request) == 0) told++;
  last_code = info->si_code;
}

void telling() {
  struct sigaction action {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  CHECK_SYS(sigaction(SIGRTMIN, &action, nullptr));
  const int fd = temporary();
  char data[100] = {};
  aiocb requests[8];
  aiocb* list[8];
  for (int i = 0; i < 8; i++) {
    requests[i] = request_of(fd, data, sizeof data, i * 100);
    requests[i].aio_lio_opcode = LIO_WRITE;
    requests[i].aio_sigevent.sigev_notify = SIGEV_SIGNAL;
    requests[i].aio_sigevent.sigev_signo = SIGRTMIN;
    requests[i].aio_sigevent.sigev_value.sival_ptr = &requests[i];
    list[i] = &requests[i];
  }
  sigevent all{};
  all.sigev_notify = SIGEV_SIGNAL;
  all.sigev_signo = SIGRTMIN;
  told = 0;
  CHECK_SYS(lio_listio(LIO_NOWAIT, list, 8, &all));
  EVENTUALLY(told == 9);
  printf("told by signals: %d, code %d\n", told.load(), last_code.load());
  CHECK_SYS(lio_listio(LIO_NOWAIT, list, 0, &all));
  EVENTUALLY(told == 10);

  static sem_t called;
  static std::atomic<bool> blocked;
  CHECK_SYS(sem_init(&called, 0, 0));
  requests[0].aio_sigevent.sigev_notify = SIGEV_THREAD;
  requests[0].aio_sigevent.sigev_notify_attributes = nullptr;
  requests[0].aio_sigevent.sigev_notify_function = [](sigval value) {
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    blocked = sigismember(&mask, SIGUSR1) != 0;
    CHECK_EQ(aio_error(static_cast<aiocb*>(value.sival_ptr)), 0);
    sem_post(&called);
  };
  CHECK_SYS(aio_read(&requests[0]));
  CHECK_SYS(sem_wait(&called));
  printf("told by a thread, signals %s\n", blocked ? "blocked" : "open");
  CHECK_SYS(close(fd));
}

// A read of a pipe that waits for its byte.
class PendingRead {
 public:
  PendingRead() {
    CHECK_SYS(pipe(ends_));
    request_ = request_of(ends_[0], &byte_, 1);
    CHECK_SYS(aio_read(&request_));
  }
  void send() const { CHECK_EQ(write(ends_[1], "x", 1), 1); }
  int suspend(const timespec* timeout) const {
    const aiocb* list[] = {&request_};
    return aio_suspend(list, 1, timeout);
  }
  int error() const { return aio_error(&request_); }
  void finish() {
    CHECK_EQ(wait_for(&request_), 0);
    CHECK_SYS(close(ends_[0]));
    CHECK_SYS(close(ends_[1]));
  }

 private:
  int ends_[2];
  char byte_;
  aiocb request_;
};

// A handler ends the wait; one with SA_RESTART only if it has an end.
void interrupted(int flags, const timespec* timeout) {
  struct sigaction action {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | flags;
  CHECK_SYS(sigaction(SIGRTMIN, &action, nullptr));
  PendingRead read;
  const pthread_t self = pthread_self();
  std::atomic<bool> back{false};
  pthread_t other = spawn([&] {
    while (!back) {
      CHECK_OK(pthread_kill(self, SIGRTMIN));
      usleep(1000);
    }
  });
  CHECK_EQ(read.suspend(timeout), -1);
  CHECK_EQ(errno, EINTR);
  back = true;
  join(other);
  read.send();
  read.finish();
}

void restarted() {
  PendingRead read;
  const pthread_t self = pthread_self();
  pthread_t other = spawn([&] {
    for (int i = 0; i < 5; i++) {
      usleep(1000);
      CHECK_OK(pthread_kill(self, SIGRTMIN));
    }
    read.send();
  });
  CHECK_SYS(read.suspend(nullptr));
  CHECK_EQ(read.error(), 0);
  join(other);
  read.finish();
}

// A wait that is cancelled leaves nothing behind.
void cancelled_wait() {
  PendingRead read;
  pthread_t waiter = spawn([&] { read.suspend(nullptr); });
  usleep(1000);
  CHECK_OK(pthread_cancel(waiter));
  void* result;
  CHECK_OK(pthread_join(waiter, &result));
  CHECK(result == PTHREAD_CANCELED);
  read.send();
  read.finish();
}

// Many threads, each with requests that it frees as soon as they are done.
void many() {
  const int fd = temporary();
  char byte = 1;
  CHECK_EQ(pwrite(fd, &byte, 1, 0), 1);
  parallel(8, [fd](int) {
    for (int i = 0; i < 200; i++) {
      char bytes[3];
      std::unique_ptr<aiocb> requests[3];
      const aiocb* list[3];
      for (int k = 0; k < 3; k++) {
        requests[k].reset(new aiocb(request_of(fd, &bytes[k], 1)));
        list[k] = requests[k].get();
        CHECK_SYS(aio_read(requests[k].get()));
      }
      for (int left = 3; left;) {
        CHECK_SYS(aio_suspend(list, 3, nullptr));
        for (int k = 0; k < 3; k++) {
          if (!list[k] || aio_error(list[k]) == EINPROGRESS) continue;
          CHECK_EQ(aio_return(requests[k].get()), 1);
          memset(requests[k].get(), 0xff, sizeof(aiocb));
          requests[k].reset();
          list[k] = nullptr;
          left--;
        }
      }
    }
  });
  CHECK_SYS(close(fd));
}

}  // namespace

int main() {
  setvbuf(stdout, nullptr, _IONBF, 0);
  files();
  order();
  cancelling();
  errors();
  telling();
  constexpr timespec kLong = {1000, 0};
  interrupted(0, nullptr);
  interrupted(0, &kLong);
  interrupted(SA_RESTART, &kLong);
  restarted();
  cancelled_wait();
  many();
  return 0;
}
