// POSIX asynchronous I/O: requests are done by threads of goshim's, as libc's are by threads of libc's, which would be
// kernel threads. aio_error() and aio_return() remain libc's: they read the request.
//
// The rules are libc's. The requests of one descriptor are done one after the other, in the order of their priorities
// and then of their coming; those of different ones beside each other, by at most as many threads as aio_init() says.
// All functions: preemption on, on a G or a foreign thread, the runtime has started. Not in a signal handler.
#pragma once

#include <aio.h>
#include <signal.h>

#include "base/base.h"

namespace goshim {

// What libc has for these in aio_lio_opcode, beside LIO_READ, LIO_WRITE and LIO_NOP.
constexpr int kAioDataSync = LIO_NOP + 1;
constexpr int kAioSync = LIO_NOP + 2;

// What the engine needs done by the functions that programs call. On a G that belongs to it, preemption on.
struct AioCalls {
  ssize_t (*perform)(const aiocb& request);  // the request itself: as a system call answers, -EIO and the like
  void (*notify)(const sigevent& event);     // a signal, or a thread
};
void aio_init_calls(const AioCalls& calls);

// Requests that were made by one call. Lives until the last is done if it has an event to tell, else as long as the
// caller waits.
struct AioGroup;

// Puts the request in its queue; operation as in aio_lio_opcode. 0; EINVAL for a priority out of range, EAGAIN where
// there is no thread to do it and none can be made.
int aio_submit(aiocb* request, int operation);

// Waits until one of those that are not null is done, at the latest until deadline (CLOCK_MONOTONIC). 0, EAGAIN if it
// is not, EINTR. A cancellation point.
int aio_wait(const aiocb* const list[], int n, Nanos deadline);

// lio_listio(): all of those that are neither null nor LIO_NOP. wait: until they are done. event: told then if not.
// 0, EAGAIN, EINTR, EIO.
int aio_submit_all(aiocb* const list[], int n, bool wait, const sigevent* event);

// aio_cancel(): AIO_CANCELED, AIO_NOTCANCELED, AIO_ALLDONE; -1 if the request is none that was made for fd.
int aio_cancel_requests(int fd, aiocb* request);

// aio_init(): threads at most, and for how many seconds they wait for work (negative: not at all).
void aio_limits(int threads, int idle_seconds);

void aio_after_fork_child();

}  // namespace goshim
