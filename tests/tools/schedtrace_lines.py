#!/usr/bin/env python3
"""Shows that GOSHIM_SCHEDTRACE and GOSHIM_SCHEDDETAIL tell of every P, kernel thread and thread, and that a reader who
does not read holds up nobody."""
import collections
import os
import re
import subprocess
import unittest

from _launcher import LAUNCHER
from _watched import WAITERS, compiled

# With one P: main goes on only if the thread that computes is interrupted. 3000 others wait.
HOG = compiled("hog", r"""
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>
static volatile int stop;
static sem_t sem;
static void *waits(void *a) { sem_wait(&sem); return a; }
static void *computes(void *a) { while (!stop) {} return a; }
int main(void) {
  pthread_t t;
  sem_init(&sem, 0, 0);
  for (int i = 0; i < 3000; i++) pthread_create(&t, NULL, waits, NULL);
  usleep(300000);
  for (int i = 0; i < 5; i++) {
    stop = 0;
    pthread_create(&t, NULL, computes, NULL);
    usleep(1000);
    stop = 1;
    pthread_join(t, NULL);
  }
  puts("done");
  fflush(stdout);
  _exit(0);
}
""")

SUMMARY = re.compile(r"SCHED \d+ms: gomaxprocs=2 idleprocs=\d threads=\d+ spinningthreads=\d+ idlethreads=\d+ "
                     r"runqueue=\d+")
QUEUES = re.compile(SUMMARY.pattern + r" \[\d+ \d+\]$")  # as Go's
DETAIL = re.compile(SUMMARY.pattern + r" sysmonwait=(true|false)")
P = re.compile(r"  P\d: status=(idle|running|syscall) schedtick=\d+ syscalltick=\d+ m=(nil|\d+) runqsize=\d+ "
               r"runnext=[01] timerslen=\d+")
M = re.compile(r"  M\d+: tid=\d+ p=(nil|\d) curg=(nil|\d+) spinning=(true|false) blocked=(true|false) "
               r"lockedg=(nil|\d+)")
G = re.compile(r"  G(\d+): status=(\w+)\((\w*)\) m=(nil|\d+) lockedm=(nil|\d+)")


class Lines:
    """The text behind a program's stderr, line by line, while it runs."""

    def __init__(self, *options):
        self.process = subprocess.Popen([LAUNCHER, "run", "--maxprocs=2", *options, WAITERS, "1500"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def __enter__(self):
        return iter(self.process.stderr.readline, "")

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stderr.close()
        self.process.wait(20)
        self.process.stdout.close()


class Schedtrace(unittest.TestCase):
    def test_a_summary_again_and_again(self):
        with Lines("--schedtrace=10") as lines:
            for _ in range(5):
                self.assertRegex(next(lines).rstrip("\n"), QUEUES)

    def test_every_thread_has_a_line(self):
        with Lines("--schedtrace=20", "--scheddetail") as lines:
            block = []
            for line in lines:
                if line.startswith("SCHED"):
                    waiting = collections.Counter(m[3] for m in map(G.fullmatch, block) if m and m[2] == "waiting")
                    if waiting["cond"] == 1500 and waiting["io"] == 2:
                        break
                    block = []
                block.append(line.rstrip("\n"))
        self.assertRegex(block[0], DETAIL)
        self.assertEqual(sum(bool(P.fullmatch(line)) for line in block), 2)
        self.assertGreaterEqual(sum(bool(M.fullmatch(line)) for line in block), 1)
        gs = [m for m in map(G.fullmatch, block) if m]
        self.assertEqual(len(gs), 1500 + 9)
        self.assertEqual(len({g[1] for g in gs}), len(gs))
        self.assertEqual({g[3] for g in gs if g[2] == "waiting"},
                         {"mutex", "cond", "rwlock", "barrier", "semaphore", "sleep", "join", "io"})
        (call,) = [g for g in gs if g[2] == "syscall"]
        self.assertNotEqual(call[4], "nil")
        unknown = [line for line in block[1:] if not any(k.fullmatch(line) for k in (P, M, G))]
        self.assertEqual(unknown, [])

    def test_who_does_not_read_holds_up_nobody(self):
        unread, end = os.pipe()
        told = subprocess.run([LAUNCHER, "run", "--maxprocs=1", "--schedtrace=1", "--scheddetail", HOG], stderr=end,
                              stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, timeout=25, check=False)
        os.close(unread)
        os.close(end)
        self.assertEqual(told.stdout, "done\n")


if __name__ == "__main__":
    unittest.main()
