/*
 * goshim for programs that know of it: the public header of libgoshim.so. C99 and C++.
 *
 * A program needs none of this. One that wants to know about the scheduler, or to steer it, includes this header and
 * is linked with -lgoshim or not at all: every function is a weak symbol, so the same program runs without goshim
 * too. Call a function only if goshim_active() says that it is there:
 *
 *     if (goshim_active()) goshim_set_maxprocs(4);
 *
 * A program that is not position independent (gcc -no-pie) finds the functions only if it is linked with -lgoshim:
 * the linker decides there for good that a weak symbol without a library is null.
 *
 * Unless it says otherwise, a function may be called by any thread at any time, also before the first thread is made
 * and in the child of a fork; it is no cancellation point, leaves errno alone, and is async-signal-safe.
 */
#ifndef GOSHIM_H_
#define GOSHIM_H_

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

/* The version of this header: major * 10000 + minor * 100 + patch. A library of the same major version that is not
 * older has all that is declared here. */
#define GOSHIM_HEADER_VERSION 1000

#define GOSHIM_MAX_MAXPROCS 256

#if defined(__cplusplus)
extern "C" {
#endif

#if defined(GOSHIM_BUILDING_LIBRARY)
#define GOSHIM_API __attribute__((visibility("default")))
#else
#define GOSHIM_API __attribute__((weak))
#endif

/* Version of the library, as GOSHIM_HEADER_VERSION. */
GOSHIM_API int goshim_version(void);

/* What becomes of the program's threads. */
enum goshim_state {
  GOSHIM_NATIVE = 0, /* they are native ones: GOSHIM=off, or goshim has said on stderr why it cannot run */
  GOSHIM_READY = 1,  /* no thread has been made yet; goshim starts when the first one is */
  GOSHIM_RUNNING = 2 /* they are scheduled by goshim */
};
/* One of these. */
GOSHIM_API int goshim_state(void);

/* How many threads run at a time: the number of Ps, 1 to GOSHIM_MAX_MAXPROCS; GOSHIM_MAXPROCS, else the processors
 * that the process may use, until goshim_set_maxprocs() changes it. 0 if threads are native ones. Not async-signal-
 * safe before goshim runs. */
GOSHIM_API int goshim_maxprocs(void);

/* Changes that number, for this process and the children it forks from now on. More Ps can be used at once; of fewer,
 * the ones too many run on until their threads next meet the scheduler, 10 to 30 ms if they only compute. Before
 * goshim runs it is what goshim will start with.
 * 0; EINVAL if n is not from 1 to GOSHIM_MAX_MAXPROCS; ENOTSUP if threads are native ones. Not async-signal-safe. */
GOSHIM_API int goshim_set_maxprocs(int n);

/* Lets other threads run first, as sched_yield(2), which it is on a native thread. */
GOSHIM_API void goshim_yield(void);

/* Keeps the calling thread on the kernel thread it is on, which runs no other thread meanwhile: for libraries that
 * keep something by kernel thread (a graphics context, namespaces, a thread's credentials). Locks nest. A thread that
 * ends locked takes its kernel thread with it. Starts goshim if it does not run yet. Switches to and from a locked
 * thread cost as much as native ones.
 * 0, also for a native thread, which always has its kernel thread; EAGAIN after 2^31 - 1 locks. Not async-signal-
 * safe. */
GOSHIM_API int goshim_lock_thread(void);

/* Takes back one goshim_lock_thread() of the calling thread. 0, also for a native thread; EPERM if there is none
 * left. Not async-signal-safe. */
GOSHIM_API int goshim_unlock_thread(void);

/* A number for the calling thread that no other thread of the process has or had: 1 for the one that goshim started
 * on, then 2 and up, with gaps. 0 for a thread that goshim does not schedule. It is what `info gs` in gdb and dumps
 * show. */
GOSHIM_API uint64_t goshim_thread_id(void);

/* Counts at one moment, each by itself: others go on meanwhile. All are 0 until goshim runs. */
struct goshim_stats {
  uint64_t threads_made;        /* since the start, with the one that goshim started on */
  uint64_t threads_live;        /* of these, not ended */
  uint64_t kernel_threads;      /* that run threads, or have; without a few of goshim's own */
  uint64_t kernel_threads_idle; /* of these, asleep for want of work */
  uint64_t procs;               /* as goshim_maxprocs(); more while they compute beside other busy programs */
  uint64_t procs_idle;          /* of these, without a thread to run */
  uint64_t procs_surplus;       /* Ps above that number that have not met the scheduler since it was lowered */
  uint64_t queued;              /* threads in the global run queue; each P has one of its own too */
  uint64_t running;             /* threads on a kernel thread */
  uint64_t runnable;            /* threads in a run queue, the global one or a P's */
  uint64_t in_calls;            /* threads in a call that may block in the kernel */
  uint64_t waiting;             /* threads that wait: for a lock, for a descriptor, for a time ... */
  /* Since goshim runs: */
  uint64_t switches;       /* times that a kernel thread went over to another thread */
  uint64_t steals;         /* times that a P took threads from the queue of another */
  uint64_t handoffs;       /* times that a P was handed over because its kernel thread was about to block */
  uint64_t retakes;        /* times that a P was taken from a kernel thread that blocked */
  uint64_t preemptions;    /* times that a thread was made to give way to others */
  uint64_t polls;          /* looks at the poller */
  uint64_t poll_wakeups;   /* threads woken by what the poller had */
  uint64_t timers;         /* timers fired */
  uint64_t calls;          /* calls begun that may block in the kernel */
  uint64_t kernel_wakeups; /* kernel threads woken or made, to run threads */
  uint64_t latency_timed;  /* of those that became runnable, how many were timed until they ran */
};

/* Fills *out, of which the caller knows size bytes: sizeof *out. A later library's struct goes on behind that.
 * 0; EINVAL if out is null or size is 0. Not async-signal-safe on a native thread. */
GOSHIM_API int goshim_stats(struct goshim_stats* out, size_t size);

/* How long threads waited, once runnable, until they ran: one in 64 is timed. Bucket i counts those that waited for
 * goshim_latency_from(i) nanoseconds or more, and less than goshim_latency_from(i + 1); the last has no upper bound. */
#define GOSHIM_LATENCY_BUCKETS 122
/* Fills the first n of them, since goshim runs; what is beyond the last is 0.
 * 0; EINVAL if out is null or n is 0. Not async-signal-safe on a native thread. */
GOSHIM_API int goshim_latency(uint64_t* out, size_t n);
/* In nanoseconds. Of a bucket beyond the last: UINT64_MAX. */
GOSHIM_API uint64_t goshim_latency_from(size_t bucket);

/* Writes a dump of all threads to fd: their states, what they wait for, their stacks as far as they can be read;
 * returns when it is written. The others go on meanwhile or are stopped for a moment. The caller waits as in a
 * blocking call.
 * 0; EBADF if fd is not open for writing; ENOTSUP if goshim does not run. Not async-signal-safe. */
GOSHIM_API int goshim_dump(int fd);

/* True if the functions above are there and threads are goshim's, or will be. */
static inline int goshim_active(void) {
#if defined(GOSHIM_BUILDING_LIBRARY)
  return goshim_state() != GOSHIM_NATIVE;
#else
  return goshim_state != NULL && goshim_state() != GOSHIM_NATIVE;
#endif
}

#if defined(__cplusplus)
} /* extern "C" */
#endif

#endif /* GOSHIM_H_ */
