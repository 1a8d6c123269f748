// POSIX asynchronous I/O. The engine is thread/aio.cpp.
#include "interpose/calls.h"

#include <aio.h>
#include <fcntl.h>
#include <sys/syscall.h>

#include "base/slab.h"
#include "base/sys.h"
#include "interpose/init.h"
#include "interpose/times.h"
#include "sched/section.h"
#include "thread/aio.h"

using namespace goshim;

namespace {

// The engine takes no difference: they have the same members at the same places.
static_assert(sizeof(aiocb) == sizeof(aiocb64) && offsetof(aiocb, aio_offset) == offsetof(aiocb64, aio_offset));
aiocb* plain(aiocb64* request) { return reinterpret_cast<aiocb*>(request); }

template <typename F>
ssize_t uninterrupted(F call) {
  ssize_t r;
  do r = call();
  while (r == -1 && errno == EINTR);
  return r == -1 ? -errno : r;
}

ssize_t perform(const aiocb& request) {
  int fd = request.aio_fildes;
  auto* data = const_cast<void*>(request.aio_buf);
  size_t n = request.aio_nbytes;
  off_t at = request.aio_offset;
  ssize_t r;
  // What has no places takes the data as it comes.
  switch (request.aio_lio_opcode) {
    case LIO_READ:
      r = uninterrupted([&] { return pread64(fd, data, n, at); });
      return r == -ESPIPE ? uninterrupted([&] { return read(fd, data, n); }) : r;
    case LIO_WRITE:
      r = uninterrupted([&] { return pwrite64(fd, data, n, at); });
      return r == -ESPIPE ? uninterrupted([&] { return write(fd, data, n); }) : r;
    case kAioSync: return uninterrupted([&] { return fsync(fd); });
    case kAioDataSync: return uninterrupted([&] { return fdatasync(fd); });
    default: return -EINVAL;
  }
}

struct Notification {
  void (*function)(sigval);
  sigval value;
  Notification* slab_next;
};
Slab<Notification> notifications;

void* run_notification(void* arg) {
  Notification given = *static_cast<Notification*>(arg);
  {
    Section section;
    notifications.release(static_cast<Notification*>(arg));
  }
  // The worker that made this thread has all signals blocked.
  sigset_t none;
  sigemptyset(&none);
  pthread_sigmask(SIG_SETMASK, &none, nullptr);
  given.function(given.value);
  return nullptr;
}

void notify_by_thread(const sigevent& event) {
  Notification* notification;
  {
    Section section;
    notification = notifications.take();
  }
  if (!notification) return;
  notification->function = event.sigev_notify_function;
  notification->value = event.sigev_value;
  pthread_attr_t detached;
  auto* attr = static_cast<pthread_attr_t*>(event.sigev_notify_attributes);
  if (!attr) {
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  }
  pthread_t thread;
  if (pthread_create(&thread, attr ? attr : &detached, run_notification, notification) != 0) {
    Section section;
    notifications.release(notification);
  }
  if (!attr) pthread_attr_destroy(&detached);
}

void notify(const sigevent& event) {
  if (event.sigev_notify == SIGEV_THREAD) notify_by_thread(event);
  if (event.sigev_notify != SIGEV_SIGNAL) return;
  siginfo_t info{};
  info.si_signo = event.sigev_signo;
  info.si_code = SI_ASYNCIO;
  info.si_pid = getpid();
  info.si_uid = getuid();
  info.si_value = event.sigev_value;
  syscall(SYS_rt_sigqueueinfo, info.si_pid, event.sigev_signo, &info);
}

// Whether requests are done by goshim: natively a thread would be made for them.
bool engine() {
  if (!runtime_ensure()) return false;
  aio_init_calls({perform, notify});
  return true;
}

int submit(aiocb* request, int operation) { return static_cast<int>(answer(-aio_submit(request, operation))); }

int sync(int operation, aiocb* request) {
  if (operation != O_SYNC && operation != O_DSYNC) return static_cast<int>(answer(-EINVAL));
  if (fcntl(request->aio_fildes, F_GETFL) == -1) return static_cast<int>(answer(-EBADF));
  return submit(request, operation == O_SYNC ? kAioSync : kAioDataSync);
}

int suspend(const aiocb* const list[], int n, const timespec* timeout) {
  if (n < 0) return static_cast<int>(answer(-EINVAL));
  Nanos deadline = kForever;
  if (timeout && timeout->tv_sec < kForever / kSecond / 2) deadline = sys::nanotime() + nanos_of(timeout);
  return static_cast<int>(answer(-aio_wait(list, n, deadline)));
}

int listio(int mode, aiocb* const list[], int n, sigevent* event) {
  if ((mode != LIO_WAIT && mode != LIO_NOWAIT) || n < 0) return static_cast<int>(answer(-EINVAL));
  return static_cast<int>(answer(-aio_submit_all(list, n, mode == LIO_WAIT, event)));
}

int cancel(int fd, aiocb* request) {
  if (fcntl(fd, F_GETFL) == -1) return static_cast<int>(answer(-EBADF));
  int r = request && request->aio_fildes != fd ? -1 : aio_cancel_requests(fd, request);
  return r < 0 ? static_cast<int>(answer(-EINVAL)) : r;
}

}  // namespace

GOSHIM_EXPORT int aio_read(aiocb* request) noexcept {
  return engine() ? submit(request, LIO_READ) : REAL(aio_read)(request);
}

GOSHIM_EXPORT int aio_read64(aiocb64* request) noexcept {
  return engine() ? submit(plain(request), LIO_READ) : REAL(aio_read64)(request);
}

GOSHIM_EXPORT int aio_write(aiocb* request) noexcept {
  return engine() ? submit(request, LIO_WRITE) : REAL(aio_write)(request);
}

GOSHIM_EXPORT int aio_write64(aiocb64* request) noexcept {
  return engine() ? submit(plain(request), LIO_WRITE) : REAL(aio_write64)(request);
}

GOSHIM_EXPORT int aio_fsync(int operation, aiocb* request) noexcept {
  return engine() ? sync(operation, request) : REAL(aio_fsync)(operation, request);
}

GOSHIM_EXPORT int aio_fsync64(int operation, aiocb64* request) noexcept {
  return engine() ? sync(operation, plain(request)) : REAL(aio_fsync64)(operation, request);
}

GOSHIM_EXPORT int lio_listio(int mode, aiocb* const list[], int n, sigevent* event) noexcept {
  return engine() ? listio(mode, list, n, event) : REAL(lio_listio)(mode, list, n, event);
}

GOSHIM_EXPORT int lio_listio64(int mode, aiocb64* const list[], int n, sigevent* event) noexcept {
  if (!engine()) return REAL(lio_listio64)(mode, list, n, event);
  return listio(mode, reinterpret_cast<aiocb* const*>(list), n, event);
}

GOSHIM_EXPORT int aio_suspend(const aiocb* const list[], int n, const timespec* timeout) {
  return runtime_running() ? suspend(list, n, timeout) : REAL(aio_suspend)(list, n, timeout);
}

GOSHIM_EXPORT int aio_suspend64(const aiocb64* const list[], int n, const timespec* timeout) {
  if (!runtime_running()) return REAL(aio_suspend64)(list, n, timeout);
  return suspend(reinterpret_cast<const aiocb* const*>(list), n, timeout);
}

GOSHIM_EXPORT int aio_cancel(int fd, aiocb* request) noexcept {
  return runtime_running() ? cancel(fd, request) : REAL(aio_cancel)(fd, request);
}

GOSHIM_EXPORT int aio_cancel64(int fd, aiocb64* request) noexcept {
  return runtime_running() ? cancel(fd, plain(request)) : REAL(aio_cancel64)(fd, request);
}

GOSHIM_EXPORT void aio_init(const aioinit* limits) noexcept {
  aio_limits(limits->aio_threads < 1 ? 1 : limits->aio_threads, limits->aio_idle_time);
  REAL(aio_init)(limits);
}
