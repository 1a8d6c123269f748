// Mutexes, conditions, reader-writer locks, barriers, spin locks, once, semaphores; POSIX and C11 names. Private
// objects go to src/sync, by any thread and at any time; process-shared ones to libc, in a blocking region.
#include "interpose/sync.h"

#include "base/host.h"
#include "interpose/c11.h"
#include "interpose/real.h"
#include "sync/barrier.h"
#include "sync/cond.h"
#include "sync/futex.h"
#include "sync/hooks.h"
#include "sync/mutex.h"
#include "sync/once.h"
#include "sync/rwlock.h"
#include "sync/semaphore.h"
#include "sync/shared.h"
#include "sync/spin.h"
#include "thread/cancel.h"

using namespace goshim;

namespace {

bool known_clock(clockid_t clock) { return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC; }

// -- process-shared ones --

// libc's function in a region; a G whose object must know the kernel thread stays locked to it while it holds the
// object.
template <typename Call>
int in_region(Call call) {
  Region region(RegionClass::Long);
  return call();
}

bool locked(int result) { return result == 0 || result == EOWNERDEAD; }
bool never(int) { return false; }

template <typename Call>
int shared_lock(Call call) {
  return as_kernel_thread(call, locked, never);
}

constexpr timespec kFar = {INT64_C(1) << 33, 0};

// The same for a lock that call(end) waits for, until `at` if that is not null; handlers run meanwhile.
template <typename Call>
int shared_lock_until(clockid_t clock, const timespec* at, Call call) {
  for (;;) {
    timespec end = at ? *at : kFar;
    int result = as_kernel_thread([&] { return call(&end); }, locked, never, {&end, kInterruptSignal});
    if (result != ETIMEDOUT) return result;
    if (at && Deadline::of(clock, at).passed()) return result;
  }
}

template <typename Call>
int shared_unlock(Call call) {
  return as_kernel_thread(call, never, [](int result) { return result == 0 || result == ENOTRECOVERABLE; });
}

// A mutex that stores no id that anybody compares needs no kernel thread of its own.
bool knows_owner(const pthread_mutex_t* m) {
  auto kind = static_cast<uint32_t>(m->__data.__kind);
  return kind != ~0U && ((kind & (kRobust | kInherit)) || (kind & kTypeMask) == PTHREAD_MUTEX_RECURSIVE ||
                         (kind & kTypeMask) == PTHREAD_MUTEX_ERRORCHECK);
}

GOSHIM_COLD int shared_mutex_lock(pthread_mutex_t* m) {
  if (!knows_owner(m)) return in_region([m] { return REAL(pthread_mutex_lock)(m); });
  return shared_lock_until(CLOCK_REALTIME, nullptr,
                           [m](timespec* end) { return REAL(pthread_mutex_timedlock)(m, end); });
}

GOSHIM_COLD int shared_mutex_lock_until(pthread_mutex_t* m, clockid_t clock, const timespec* at) {
  auto call = [=](const timespec* end) { return REAL(pthread_mutex_clocklock)(m, clock, end); };
  return knows_owner(m) ? shared_lock_until(clock, at, call) : in_region([=] { return call(at); });
}

GOSHIM_COLD int shared_mutex_trylock(pthread_mutex_t* m) {
  auto call = [m] { return REAL(pthread_mutex_trylock)(m); };
  return knows_owner(m) ? shared_lock(call) : in_region(call);
}

GOSHIM_COLD int shared_mutex_unlock(pthread_mutex_t* m) {
  auto call = [m] { return REAL(pthread_mutex_unlock)(m); };
  return knows_owner(m) ? shared_unlock(call) : call();
}

GOSHIM_COLD int shared_rdlock_until(pthread_rwlock_t* l, clockid_t clock, const timespec* at) {
  return shared_lock_until(clock, at, [=](timespec* end) { return REAL(pthread_rwlock_clockrdlock)(l, clock, end); });
}

GOSHIM_COLD int shared_wrlock_until(pthread_rwlock_t* l, clockid_t clock, const timespec* at) {
  return shared_lock_until(clock, at, [=](timespec* end) { return REAL(pthread_rwlock_clockwrlock)(l, clock, end); });
}

const CondMutex kSharedMutex = {
    .unlock = shared_mutex_unlock,
    .lock_after_wait = [](pthread_mutex_t* m, uint32_t) { return shared_mutex_lock(m); },
    .requeue = false,
};

// A wait on a process-shared cond with a private mutex, which libc does not know: slices of a wait with a mutex of our
// own, each of which the program sees as a spurious wake-up.
int shared_cond_private_mutex(pthread_cond_t* c, pthread_mutex_t* m, const Deadline* deadline) {
  constexpr Nanos kSlice = kMillisecond;
  if (int error = mutex_unlock_error(mutex_of(m))) return error;
  pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
  own.__data.__lock = 1;
  Nanos until = sys::nanotime() + kSlice;
  timespec at{until / kSecond, until % kSecond};
  mutex_unlock(mutex_of(m));
  in_region([&] { return REAL(pthread_cond_clockwait)(c, &own, CLOCK_MONOTONIC, &at); });
  int error = mutex_lock(mutex_of(m));
  if (error) return error;
  return passed(deadline) ? ETIMEDOUT : 0;
}

GOSHIM_COLD int shared_cond_wait(pthread_cond_t* c, pthread_mutex_t* m, clockid_t clock, const timespec* at) {
  if (!mutex_is_shared(m)) {
    Deadline deadline = at ? Deadline::of(clock, at) : Deadline{};
    return shared_cond_private_mutex(c, m, at ? &deadline : nullptr);
  }
  if (!knows_owner(m)) {
    return in_region(
        [=] { return at ? REAL(pthread_cond_clockwait)(c, m, clock, at) : REAL(pthread_cond_wait)(c, m); });
  }
  thread_test_cancel();
  timespec end = at ? *at : kFar;
  int result = as_kernel_thread([&] { return REAL(pthread_cond_clockwait)(c, m, clock, &end); }, never, never,
                                {&end, kInterruptSignal | kInterruptCancel});
  thread_test_cancel();  // the mutex is held again
  if (result != ETIMEDOUT || (at && Deadline::of(clock, at).passed())) return result;
  return 0;  // a handler has run: to the program a spurious wake-up
}

// -- private robust mutexes of foreign threads --

pthread_key_t robust_key;
pthread_once_t robust_key_once = PTHREAD_ONCE_INIT;

// The last round of key destructors is after all that the program's own may unlock.
void foreign_thread_ends(void* round) {
  auto n = reinterpret_cast<intptr_t>(round);
  if (n < PTHREAD_DESTRUCTOR_ITERATIONS) host.pthread_setspecific(robust_key, reinterpret_cast<void*>(n + 1));
  else sync_thread_exit(nullptr);
}

GOSHIM_COLD void watch_foreign_thread() {
  pthread_once(&robust_key_once, [] { REAL(pthread_key_create)(&robust_key, foreign_thread_ends); });
  host.pthread_setspecific(robust_key, reinterpret_cast<void*>(1));
}

// What a lock of m gave; a foreign thread's end is nobody else's to notice.
int watched(const pthread_mutex_t* m, int result) {
  if (GOSHIM_UNLIKELY((m->__data.__kind & kRobust) && !on_g())) watch_foreign_thread();
  return result;
}

// -- common halves of several names --

int lock_until(pthread_mutex_t* m, clockid_t clock, const timespec* at) {
  Deadline deadline = Deadline::of(clock, at);
  return watched(m, mutex_lock_slow(mutex_of(m), &deadline));
}

int wait_until(pthread_cond_t* c, pthread_mutex_t* m, clockid_t clock, const timespec* at) {
  chaos();
  if (!valid_nanoseconds(at) || !known_clock(clock)) return EINVAL;
  if (cond_is_shared(c)) return shared_cond_wait(c, m, clock, at);
  Deadline deadline = Deadline::of(clock, at);
  return cond_wait(cond_of(c), m, mutex_is_shared(m) ? kSharedMutex : kPrivateMutex, &deadline);
}

int read_until(pthread_rwlock_t* l, clockid_t clock, const timespec* at) {
  chaos();
  if (!known_clock(clock)) return EINVAL;
  if (rwlock_is_shared(l)) return shared_rdlock_until(l, clock, at);
  Deadline deadline = Deadline::of(clock, at);
  return rwlock_read(l, &deadline);
}

int write_until(pthread_rwlock_t* l, clockid_t clock, const timespec* at) {
  chaos();
  if (!known_clock(clock)) return EINVAL;
  if (rwlock_is_shared(l)) return shared_wrlock_until(l, clock, at);
  Deadline deadline = Deadline::of(clock, at);
  return rwlock_write(l, &deadline);
}

int wait_until(sem_t* s, clockid_t clock, const timespec* at) {
  chaos();
  int error = EINVAL;
  if (known_clock(clock) && valid_nanoseconds(at)) {
    Deadline deadline = Deadline::of(clock, at);
    error = semaphore_wait(semaphore_of(s), &deadline);
  }
  if (error) errno = error;
  return error ? -1 : 0;
}

int with_errno(int error) {
  if (GOSHIM_LIKELY(error == 0)) return 0;
  errno = error;
  return -1;
}

pthread_mutex_t* posix(mtx_t* m) { return reinterpret_cast<pthread_mutex_t*>(m); }
pthread_cond_t* posix(cnd_t* c) { return reinterpret_cast<pthread_cond_t*>(c); }

}  // namespace

long goshim::futex_call(long address, long op, long value, long timeout, long address2, long value3) {
  chaos();
  return futex_op(address, op, value, timeout, address2, value3);
}

// -- mutexes --

GOSHIM_EXPORT int pthread_mutex_init(pthread_mutex_t* m, const pthread_mutexattr_t* attr) {
  int error = REAL(pthread_mutex_init)(m, attr);
  // libc marks every robust one as shared.
  int shared = PTHREAD_PROCESS_PRIVATE;
  if (!error && attr && pthread_mutexattr_getpshared(attr, &shared) == 0 && shared == PTHREAD_PROCESS_PRIVATE) {
    m->__data.__kind &= ~static_cast<int>(kShared);
  }
  return error;
}

GOSHIM_EXPORT int pthread_mutex_destroy(pthread_mutex_t* m) {
  return mutex_is_shared(m) ? REAL(pthread_mutex_destroy)(m) : mutex_destroy(mutex_of(m));
}

GOSHIM_NOINLINE static int mutex_lock_any(pthread_mutex_t* m) {
  chaos();
  if (GOSHIM_UNLIKELY(mutex_is_shared(m))) return shared_mutex_lock(m);
  return watched(m, mutex_lock(mutex_of(m)));
}

GOSHIM_EXPORT int pthread_mutex_lock(pthread_mutex_t* m) {
  if (GOSHIM_LIKELY(!chaos_on && mutex_lock_fast(mutex_of(m)))) return 0;
  return mutex_lock_any(m);
}

GOSHIM_EXPORT int pthread_mutex_trylock(pthread_mutex_t* m) {
  if (GOSHIM_UNLIKELY(mutex_is_shared(m))) return shared_mutex_trylock(m);
  return watched(m, mutex_trylock(mutex_of(m)));
}

GOSHIM_EXPORT int pthread_mutex_timedlock(pthread_mutex_t* m, const timespec* at) {
  chaos();
  if (mutex_is_shared(m)) return shared_mutex_lock_until(m, CLOCK_REALTIME, at);
  return lock_until(m, CLOCK_REALTIME, at);
}

GOSHIM_EXPORT int pthread_mutex_clocklock(pthread_mutex_t* m, clockid_t clock, const timespec* at) {
  chaos();
  if (!known_clock(clock)) return EINVAL;
  if (mutex_is_shared(m)) return shared_mutex_lock_until(m, clock, at);
  return lock_until(m, clock, at);
}

GOSHIM_NOINLINE static int mutex_unlock_any(pthread_mutex_t* m) {
  chaos();
  if (GOSHIM_UNLIKELY(mutex_is_shared(m))) return shared_mutex_unlock(m);
  return mutex_unlock(mutex_of(m));
}

GOSHIM_EXPORT int pthread_mutex_unlock(pthread_mutex_t* m) {
  if (GOSHIM_LIKELY(!chaos_on && mutex_unlock_fast(mutex_of(m)))) return 0;
  return mutex_unlock_any(m);
}

GOSHIM_EXPORT int pthread_mutex_consistent(pthread_mutex_t* m) {
  if (!mutex_is_shared(m)) return mutex_consistent(mutex_of(m));
  return as_kernel_thread([m] { return REAL(pthread_mutex_consistent)(m); }, never, never);
}

GOSHIM_EXPORT int pthread_mutex_setprioceiling(pthread_mutex_t* m, int ceiling, int* old) {
  if (mutex_is_shared(m)) return in_region([=] { return REAL(pthread_mutex_setprioceiling)(m, ceiling, old); });
  return mutex_set_ceiling(mutex_of(m), ceiling, old);
}

// Names that only old binaries use, and the headers do not declare.
GOSHIM_EXPORT int goshim_mutex_consistent_np(pthread_mutex_t* m) __asm__("pthread_mutex_consistent_np");
int goshim_mutex_consistent_np(pthread_mutex_t* m) { return pthread_mutex_consistent(m); }
GOSHIM_EXPORT int __pthread_mutex_init(pthread_mutex_t* m, const pthread_mutexattr_t* attr) {
  return pthread_mutex_init(m, attr);
}
GOSHIM_EXPORT int __pthread_mutex_destroy(pthread_mutex_t* m) { return pthread_mutex_destroy(m); }
GOSHIM_EXPORT int __pthread_mutex_lock(pthread_mutex_t* m) { return pthread_mutex_lock(m); }
GOSHIM_EXPORT int __pthread_mutex_trylock(pthread_mutex_t* m) { return pthread_mutex_trylock(m); }
GOSHIM_EXPORT int __pthread_mutex_unlock(pthread_mutex_t* m) { return pthread_mutex_unlock(m); }

GOSHIM_EXPORT int mtx_lock(mtx_t* m) { return c11(pthread_mutex_lock(posix(m))); }
GOSHIM_EXPORT int mtx_trylock(mtx_t* m) { return c11(pthread_mutex_trylock(posix(m))); }
GOSHIM_EXPORT int mtx_timedlock(mtx_t* m, const timespec* at) { return c11(pthread_mutex_timedlock(posix(m), at)); }
GOSHIM_EXPORT int mtx_unlock(mtx_t* m) { return c11(pthread_mutex_unlock(posix(m))); }
GOSHIM_EXPORT void mtx_destroy(mtx_t* m) { pthread_mutex_destroy(posix(m)); }

// -- conditions --

// The old version of it, which old programs ask for, leaves most of the object as it was.
GOSHIM_EXPORT int pthread_cond_init(pthread_cond_t* c, const pthread_condattr_t* attr) {
  return REAL(pthread_cond_init)(c, attr);
}

GOSHIM_EXPORT int pthread_cond_destroy(pthread_cond_t* c) {
  if (cond_is_shared(c)) return REAL(pthread_cond_destroy)(c);
  cond_destroy(cond_of(c));
  return 0;
}

GOSHIM_EXPORT int pthread_cond_signal(pthread_cond_t* c) {
  chaos();
  if (GOSHIM_UNLIKELY(cond_is_shared(c))) return REAL(pthread_cond_signal)(c);
  cond_signal(cond_of(c));
  return 0;
}

GOSHIM_EXPORT int pthread_cond_broadcast(pthread_cond_t* c) {
  chaos();
  if (GOSHIM_UNLIKELY(cond_is_shared(c))) return REAL(pthread_cond_broadcast)(c);
  cond_broadcast(cond_of(c));
  return 0;
}

GOSHIM_EXPORT int pthread_cond_wait(pthread_cond_t* c, pthread_mutex_t* m) {
  chaos();
  if (GOSHIM_UNLIKELY(cond_is_shared(c))) return shared_cond_wait(c, m, CLOCK_REALTIME, nullptr);
  return cond_wait(cond_of(c), m, mutex_is_shared(m) ? kSharedMutex : kPrivateMutex, nullptr);
}

GOSHIM_EXPORT int pthread_cond_timedwait(pthread_cond_t* c, pthread_mutex_t* m, const timespec* at) {
  return wait_until(c, m, cond_clock(c), at);
}

GOSHIM_EXPORT int pthread_cond_clockwait(pthread_cond_t* c, pthread_mutex_t* m, clockid_t clock, const timespec* at) {
  return wait_until(c, m, clock, at);
}

GOSHIM_EXPORT int cnd_wait(cnd_t* c, mtx_t* m) { return c11(pthread_cond_wait(posix(c), posix(m))); }
GOSHIM_EXPORT int cnd_timedwait(cnd_t* c, mtx_t* m, const timespec* at) {
  return c11(pthread_cond_timedwait(posix(c), posix(m), at));
}
GOSHIM_EXPORT int cnd_signal(cnd_t* c) { return c11(pthread_cond_signal(posix(c))); }
GOSHIM_EXPORT int cnd_broadcast(cnd_t* c) { return c11(pthread_cond_broadcast(posix(c))); }
GOSHIM_EXPORT void cnd_destroy(cnd_t* c) { pthread_cond_destroy(posix(c)); }

// -- reader-writer locks --

GOSHIM_EXPORT int pthread_rwlock_rdlock(pthread_rwlock_t* l) {
  chaos();
  if (GOSHIM_UNLIKELY(rwlock_is_shared(l))) return shared_rdlock_until(l, CLOCK_REALTIME, nullptr);
  return rwlock_read(l, nullptr);
}

GOSHIM_EXPORT int pthread_rwlock_wrlock(pthread_rwlock_t* l) {
  chaos();
  if (GOSHIM_UNLIKELY(rwlock_is_shared(l))) return shared_wrlock_until(l, CLOCK_REALTIME, nullptr);
  return rwlock_write(l, nullptr);
}

GOSHIM_EXPORT int pthread_rwlock_tryrdlock(pthread_rwlock_t* l) {
  if (GOSHIM_UNLIKELY(rwlock_is_shared(l))) return shared_lock([l] { return REAL(pthread_rwlock_tryrdlock)(l); });
  return rwlock_try_read(l);
}

GOSHIM_EXPORT int pthread_rwlock_trywrlock(pthread_rwlock_t* l) {
  if (GOSHIM_UNLIKELY(rwlock_is_shared(l))) return shared_lock([l] { return REAL(pthread_rwlock_trywrlock)(l); });
  return rwlock_try_write(l);
}

GOSHIM_EXPORT int pthread_rwlock_timedrdlock(pthread_rwlock_t* l, const timespec* at) {
  return read_until(l, CLOCK_REALTIME, at);
}
GOSHIM_EXPORT int pthread_rwlock_timedwrlock(pthread_rwlock_t* l, const timespec* at) {
  return write_until(l, CLOCK_REALTIME, at);
}

GOSHIM_EXPORT int pthread_rwlock_clockrdlock(pthread_rwlock_t* l, clockid_t clock, const timespec* at) {
  return read_until(l, clock, at);
}

GOSHIM_EXPORT int pthread_rwlock_clockwrlock(pthread_rwlock_t* l, clockid_t clock, const timespec* at) {
  return write_until(l, clock, at);
}

GOSHIM_EXPORT int pthread_rwlock_unlock(pthread_rwlock_t* l) {
  chaos();
  if (GOSHIM_UNLIKELY(rwlock_is_shared(l))) return shared_unlock([l] { return REAL(pthread_rwlock_unlock)(l); });
  return rwlock_unlock(l);
}

GOSHIM_EXPORT int __pthread_rwlock_rdlock(pthread_rwlock_t* l) { return pthread_rwlock_rdlock(l); }
GOSHIM_EXPORT int __pthread_rwlock_wrlock(pthread_rwlock_t* l) { return pthread_rwlock_wrlock(l); }
GOSHIM_EXPORT int __pthread_rwlock_tryrdlock(pthread_rwlock_t* l) { return pthread_rwlock_tryrdlock(l); }
GOSHIM_EXPORT int __pthread_rwlock_trywrlock(pthread_rwlock_t* l) { return pthread_rwlock_trywrlock(l); }
GOSHIM_EXPORT int __pthread_rwlock_unlock(pthread_rwlock_t* l) { return pthread_rwlock_unlock(l); }

// -- barriers --

GOSHIM_EXPORT int pthread_barrier_wait(pthread_barrier_t* b) {
  chaos();
  if (GOSHIM_UNLIKELY(barrier_of(b)->shared)) return in_region([b] { return REAL(pthread_barrier_wait)(b); });
  return barrier_wait(barrier_of(b));
}

GOSHIM_EXPORT int pthread_barrier_destroy(pthread_barrier_t* b) {
  if (barrier_of(b)->shared) return in_region([b] { return REAL(pthread_barrier_destroy)(b); });
  barrier_destroy(barrier_of(b));
  return 0;
}

// -- spin locks --

GOSHIM_EXPORT int pthread_spin_lock(pthread_spinlock_t* l) {
  chaos();
  spin_lock(spin_of(l));
  return 0;
}

GOSHIM_EXPORT int pthread_spin_trylock(pthread_spinlock_t* l) { return spin_try_lock(spin_of(l)) ? 0 : EBUSY; }

// -- once --

GOSHIM_EXPORT int pthread_once(pthread_once_t* once, void (*routine)()) {
  once_call(reinterpret_cast<Once*>(once), routine);
  return 0;
}

GOSHIM_EXPORT int __pthread_once(pthread_once_t* once, void (*routine)()) { return pthread_once(once, routine); }

GOSHIM_EXPORT void call_once(once_flag* flag, void (*routine)()) { once_call(reinterpret_cast<Once*>(flag), routine); }

// -- semaphores --

GOSHIM_EXPORT int sem_wait(sem_t* s) {
  chaos();
  return with_errno(semaphore_wait(semaphore_of(s), nullptr));
}

GOSHIM_EXPORT int sem_timedwait(sem_t* s, const timespec* at) { return wait_until(s, CLOCK_REALTIME, at); }
GOSHIM_EXPORT int sem_clockwait(sem_t* s, clockid_t clock, const timespec* at) { return wait_until(s, clock, at); }
GOSHIM_EXPORT int sem_trywait(sem_t* s) { return with_errno(semaphore_try_wait(semaphore_of(s))); }

GOSHIM_EXPORT int sem_post(sem_t* s) {
  chaos();
  return with_errno(semaphore_post(semaphore_of(s)));
}
