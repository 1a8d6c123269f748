#!/usr/bin/env python3
"""Shows that threads that compute get more Ps while other programs keep the processors busy, unless somebody has said how
many there are to be."""
# run: limit=240
# run: alone=yes
import contextlib
import json
import os
import subprocess
import time
import unittest

from _launcher import goshim
from _watched import compiled, running

# Threads that compute until a line comes; then one goes on with little work now and then.
COMPUTES = compiled("computes", r"""
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static atomic_int stop;
static void *compute(void *a) { while (!stop) {} return a; }
static void *little(void *a) { for (;;) usleep(1000); return a; }
int main(int argc, char **argv) {
  pthread_t t;
  for (int i = 0; i < atoi(argv[1]); i++) pthread_create(&t, NULL, compute, NULL);
  pthread_create(&t, NULL, little, NULL);
  puts("ready");
  fflush(stdout);
  char b;
  while (read(0, &b, 1) > 0) stop = 1;
  _exit(0);
}
""")
CORES = len(os.sched_getaffinity(0))


@contextlib.contextmanager
def busy(n):
    children = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(n)]
    try:
        yield
    finally:
        for c in children:
            c.kill()
            c.wait()


def procs(pid):
    return json.loads(goshim("stat", "--json", str(pid)).stdout)["maxprocs"]


def comes(pid, number, seconds=60):
    """Whether there are so many Ps before long."""
    end = time.monotonic() + seconds
    while procs(pid) != number:
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


class Crowd(unittest.TestCase):
    def test_more_beside_others_and_as_many_as_processors_afterwards(self):
        with running(COMPUTES, str(4 * CORES)) as p:
            with busy(CORES):
                self.assertTrue(comes(p.pid, 2 * CORES))
            p.stdin.write("stop\n")
            p.stdin.flush()
            self.assertTrue(comes(p.pid, CORES))

    def test_as_many_as_were_asked_for(self):
        with running(COMPUTES, str(4 * CORES), env={"GOSHIM_MAXPROCS": str(CORES)}) as p, busy(CORES):
            self.assertFalse(comes(p.pid, 2 * CORES, seconds=3))


if __name__ == "__main__":
    unittest.main()
