#!/usr/bin/env python3
"""Shows that `goshim stat` tells the truth about processes under goshim, and that their page of counters is theirs."""
import contextlib
import json
import os
import resource
import signal
import time
import unittest

from _launcher import goshim
from _watched import TURNS, WAITERS, compiled, running

# Threads (3 that wait, and main), then a fork: the child makes one that waits, says so, and waits for the end of input.
FORKS = compiled("forks", r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static void *wait_for(void *a) { pthread_mutex_lock(&held); return a; }
int main(int argc, char **argv) {
  pthread_t t;
  pthread_mutex_lock(&held);
  for (int i = 0; i < 3; i++) pthread_create(&t, NULL, wait_for, NULL);
  pid_t child = fork();
  char b;
  if (child == 0) {
    for (int i = 0; i < atoi(argv[1]); i++) pthread_create(&t, NULL, wait_for, NULL);
    printf("%d\n", getpid());
    fflush(stdout);
  }
  while (read(0, &b, 1) > 0) {}
  _exit(0);
}
""")


@contextlib.contextmanager
def limit(kind, soft):
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def page_of(pid):
    """The path of the descriptor of its page, or None."""
    folder = f"/proc/{pid}/fd"
    for fd in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(f"{folder}/{fd}").startswith("/memfd:goshim-stats"):
                return f"{folder}/{fd}"
    return None


class Stat(unittest.TestCase):
    def json(self, pid):
        told = goshim("stat", "--json", str(pid))
        self.assertEqual(told.returncode, 0, told.stderr)
        return json.loads(told.stdout)

    def becomes(self, pid, true):
        """What stat tells once it is true; the threads may be on their way when the program speaks."""
        end = time.monotonic() + 20
        while True:
            told = self.json(pid)
            if true(told):
                return told
            self.assertLess(time.monotonic(), end, told)
            time.sleep(0.01)

    def test_threads_by_state_and_reason(self):
        with running(WAITERS, "40") as p:
            told = self.becomes(p.pid, lambda t: t["threads"]["waiting"] == 40 + 8)
            waiting = {k: v for k, v in told["threads"]["waiting_for"].items() if v}
            self.assertEqual(waiting, {"mutex": 1, "cond": 40, "rwlock": 1, "barrier": 1, "semaphore": 1, "sleep": 1,
                                       "join": 1, "io": 2})
            self.assertEqual(told["threads"]["live"], 40 + 9)
            self.assertEqual(told["threads"]["in_calls"], 1)
            self.assertEqual(told["threads"]["running"] + told["threads"]["runnable"], 0)
            self.assertEqual(told["counters"]["gs_made"], 40 + 9)
            self.assertEqual(told["name"], "waiters")
            told = self.becomes(p.pid, lambda t: t["counters"]["switches"] >= 40 + 8)
            self.assertGreaterEqual(told["kernel_threads"]["all"], 1)

    def test_for_a_person(self):
        with running(WAITERS) as p:
            self.becomes(p.pid, lambda t: t["threads"]["waiting"] == 9)
            told = goshim("stat", str(p.pid)).stdout
            self.assertRegex(told, rf"^{p.pid} waiters: goshim \d+\.\d+\.\d+, runs for ")
            self.assertIn("threads   10: 0 running, 0 runnable, 1 in calls, 9 waiting\n", told)
            self.assertIn("waiting for io 2, mutex 1, cond 1,", told)
            self.assertRegex(told, r"(?m)^kernel threads soon idle +\d+ ")  # no part of those woken: others end so, too

    def test_counts_and_latency_of_threads_that_take_turns(self):
        with running(TURNS) as p:
            told = self.becomes(p.pid, lambda t: t["counters"]["readied"] > 10000 and t["counters"]["switches"] > 10000)
            latency = told["latency"]
            self.assertGreater(latency["timed"], 100)
            self.assertEqual(latency["timed"], sum(b["count"] for b in latency["buckets"]))
            self.assertGreater(latency["p50_ns"], 0)
            self.assertLessEqual(latency["p50_ns"], latency["p99_ns"])
            self.assertLessEqual(told["threads"]["running"], 3)

    def test_intervals(self):
        with running(TURNS) as p:
            told = goshim("stat", "-i", "0.05", "-n", "3", str(p.pid))
            lines = told.stdout.splitlines()
            self.assertEqual(len(lines), 4)
            self.assertTrue(all(len(line.split()) == 15 for line in lines), lines)
            told = goshim("stat", "-i", "0.05", "-n", "3", "--json", str(p.pid))
            for line in told.stdout.splitlines():
                self.assertEqual(json.loads(line)["counted"], "in the interval")

    def test_intervals_end_with_the_process(self):
        with running(TURNS) as p:
            p.stdin.close()
            told = goshim("stat", "-i", "0.01", str(p.pid))
            self.assertIn(told.returncode, (0, 1))  # 1: it had ended already

    def test_a_stopped_process_can_be_looked_at(self):
        with running(WAITERS) as p:
            self.becomes(p.pid, lambda t: t["threads"]["waiting"] == 9)
            os.kill(p.pid, signal.SIGSTOP)
            try:
                self.assertEqual(self.json(p.pid)["threads"]["waiting"], 9)
            finally:
                os.kill(p.pid, signal.SIGCONT)

    def test_the_child_of_a_fork_has_a_page_of_its_own(self):
        with running(FORKS, "1") as p:
            child = int(p.said)
            self.becomes(child, lambda t: t["threads"]["live"] == 2 and t["threads"]["waiting_for"]["mutex"] == 1)
            told = self.becomes(p.pid, lambda t: t["threads"]["waiting_for"]["mutex"] == 3)
            self.assertEqual(told["threads"]["live"], 4)
            self.assertEqual(told["counters"]["gs_made"], 4)

    def test_a_child_without_threads_has_none(self):
        with running(FORKS, "0") as p:
            told = goshim("stat", p.said)
            self.assertEqual(told.returncode, 1)
            self.assertIn("has made no thread yet", told.stderr)
            self.assertEqual(self.json(p.pid)["threads"]["live"], 4)

    def test_the_page_is_its_users_and_keeps_its_size(self):
        with running(WAITERS) as p:
            page = page_of(p.pid)
            self.assertEqual(os.stat(page).st_mode & 0o777, 0o600)
            with self.assertRaises(PermissionError):
                os.truncate(page, 0)

    def test_without_a_page_the_program_runs_all_the_same(self):
        with limit(resource.RLIMIT_FSIZE, 0), running(WAITERS) as p:
            self.assertEqual(p.said, "ready")
            self.assertIsNone(page_of(p.pid))
            self.assertEqual(goshim("stat", str(p.pid)).returncode, 1)

    def test_who_has_no_page(self):
        with running(WAITERS, shim=False) as p:
            told = goshim("stat", str(p.pid))
            self.assertEqual(told.returncode, 1)
            self.assertRegex(told.stderr, rf"^goshim: stat: {p.pid}: it does not run under goshim[^\n]*\n$")
        told = goshim("stat", str(p.pid))
        self.assertIn("no such process", told.stderr)

    def test_bad_arguments(self):
        for bad in ([], ["x"], ["-1"], ["0"], ["1", "2"], ["-i", "0", "1"], ["-i", "soon", "1"], ["-n", "0", "1"]):
            told = goshim("stat", *bad)
            self.assertEqual(told.returncode, 2, bad)
            self.assertNotEqual(told.stderr, "")


if __name__ == "__main__":
    unittest.main()
