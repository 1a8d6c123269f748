// Counts what a program does between two breakpoint instructions of its own (bench/operations.cpp), and prints it:
//   steps instructions|calls PROGRAM ARGUMENT...
// instructions: those of the kernel thread that meets the breakpoints, in user mode. It is stepped through them, and
//   the others stand still meanwhile: it is so slow that whoever looks at the clock would find reasons to interfere.
// calls: system calls of all its kernel threads, apart from arch_prctl: whether a switch needs it is the processor's
//   business. Nor do those of a kernel thread count that sleeps by the clock, as goshim's monitor does: how many it
//   makes depends on how long the tracing takes.
#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>

namespace {

constexpr unsigned long kOptions =
    PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEVFORK;
constexpr int kCallStop = SIGTRAP | 0x80;  // PTRACE_O_TRACESYSGOOD

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

bool is_breakpoint(pid_t tid) {
  siginfo_t info{};
  return ptrace(PTRACE_GETSIGINFO, tid, nullptr, &info) == 0 && info.si_code == SI_KERNEL;
}

// The number of the call that the thread enters; -1 if it leaves one.
long entered_call(pid_t tid) {
  __ptrace_syscall_info info{};
  if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof info, &info) <= 0) return -1;
  return info.op == PTRACE_SYSCALL_INFO_ENTRY ? static_cast<long>(info.entry.nr) : -1;
}

// Returns the count, once the second breakpoint has been met.
long count(pid_t child, bool calls) {
  bool counting = false;
  pid_t stepped = 0;
  long seen = 0;
  std::set<pid_t> all{child};
  std::set<pid_t> by_the_clock;
  for (;;) {
    int status;
    pid_t tid = waitpid(-1, &status, __WALL);
    if (tid < 0) fail("steps: waitpid");
    if (!WIFSTOPPED(status)) {
      if (tid != child) continue;
      std::fputs("steps: the program has ended without its second breakpoint\n", stderr);
      std::exit(1);
    }
    all.insert(tid);
    int signal = WSTOPSIG(status);
    long pass = 0;
    if (signal == kCallStop) {
      long nr = entered_call(tid);
      if (nr == SYS_clock_nanosleep) by_the_clock.insert(tid);
      if (counting && nr >= 0 && nr != SYS_arch_prctl && !by_the_clock.count(tid)) seen++;
    } else if (signal == SIGTRAP && status >> 16 == 0) {
      if (is_breakpoint(tid)) {
        if (counting) return seen;
        counting = true;
        if (!calls) {
          stepped = tid;
          for (pid_t other : all) {
            if (other != tid) syscall(SYS_tgkill, child, other, SIGSTOP);
          }
        }
      } else if (tid == stepped) {
        seen++;
      } else {
        pass = SIGTRAP;
      }
    } else if (status >> 16 == 0 && signal != SIGSTOP) {
      pass = signal;
    } else if (stepped && tid != stepped) {
      continue;
    }
    auto how = tid == stepped ? PTRACE_SINGLESTEP : calls ? PTRACE_SYSCALL : PTRACE_CONT;
    if (ptrace(how, tid, nullptr, pass) != 0 && errno != ESRCH) fail("steps: ptrace");
  }
}

}  // namespace

int main(int argc, char** argv) {
  bool calls = argc > 1 && std::strcmp(argv[1], "calls") == 0;
  if (argc < 3 || (!calls && std::strcmp(argv[1], "instructions") != 0)) {
    std::fputs("usage: steps instructions|calls PROGRAM ARGUMENT...\n", stderr);
    return 2;
  }
  pid_t child = fork();
  if (child < 0) fail("steps: fork");
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    raise(SIGSTOP);
    setenv("TRACED", "1", 1);
    execvp(argv[2], argv + 2);
    fail(argv[2]);
  }
  int status;
  if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) fail("steps: waitpid");
  if (ptrace(PTRACE_SETOPTIONS, child, nullptr, kOptions) != 0) fail("steps: ptrace");
  if (ptrace(calls ? PTRACE_SYSCALL : PTRACE_CONT, child, nullptr, nullptr) != 0) fail("steps: ptrace");
  std::printf("%ld\n", count(child, calls));
  return 0;
}
