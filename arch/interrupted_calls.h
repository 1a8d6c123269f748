// Which system calls a signal ends, for the ports: the same on all processors, apart from calls that some do not have.
#pragma once

#include <sys/syscall.h>

#include "base/base.h"

namespace goshim::arch {

// Calls that end with EINTR when a handler without SA_RESTART has run, and that the kernel otherwise restarts.
inline bool signals_interrupt(uint64_t nr) {
  switch (nr) {
    case SYS_read:
    case SYS_write:
#ifdef SYS_open
    case SYS_open:
#endif
    case SYS_ioctl:
    case SYS_readv:
    case SYS_writev:
    case SYS_accept:
    case SYS_connect:
    case SYS_sendto:
    case SYS_recvfrom:
    case SYS_sendmsg:
    case SYS_recvmsg:
    case SYS_wait4:
    case SYS_fcntl:
    case SYS_flock:
    case SYS_futex:
    case SYS_mq_timedsend:
    case SYS_mq_timedreceive:
    case SYS_waitid:
    case SYS_openat:
    case SYS_splice:
    case SYS_tee:
    case SYS_vmsplice:
    case SYS_accept4:
    case SYS_preadv2:
    case SYS_pwritev2:
    case SYS_recvmmsg:
    case SYS_sendmmsg:
    case SYS_getrandom: return true;
    default: return false;
  }
}

// Calls that end with EINTR when any handler has run, with SA_RESTART too.
inline bool handlers_interrupt(uint64_t nr) {
  switch (nr) {
#ifdef SYS_poll
    case SYS_poll:
#endif
#ifdef SYS_select
    case SYS_select:
#endif
    case SYS_nanosleep:
#ifdef SYS_pause
    case SYS_pause:
#endif
    case SYS_connect:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_accept:
    case SYS_semop:
    case SYS_msgsnd:
    case SYS_msgrcv:
    case SYS_rt_sigtimedwait:
    case SYS_rt_sigsuspend:
    case SYS_futex:
    case SYS_io_getevents:
    case SYS_semtimedop:
    case SYS_clock_nanosleep:
#ifdef SYS_epoll_wait
    case SYS_epoll_wait:
#endif
    case SYS_pselect6:
    case SYS_ppoll:
    case SYS_epoll_pwait:
    case SYS_accept4:
    case SYS_recvmmsg:
    case SYS_sendmmsg:
    case SYS_io_pgetevents:
    case SYS_io_uring_enter:
    case SYS_epoll_pwait2: return true;
    default: return false;
  }
}

}  // namespace goshim::arch
