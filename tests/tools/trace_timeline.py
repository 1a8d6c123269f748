#!/usr/bin/env python3
"""Traces programs of known behaviour and checks what the timeline tells of them."""
# run: limit=120
import collections
import json
import os
import re
import signal
import subprocess
import tempfile
import unittest

from _launcher import LAUNCHER, LIBRARY, goshim

PROGRAM = r"""
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static long turn;

static void *player(void *arg) {
  long me = (long)arg;
  pthread_setname_np(pthread_self(), me ? "pong" : "ping");
  for (int i = 0; i < 200; i++) {
    pthread_mutex_lock(&mutex);
    while (turn != me) pthread_cond_wait(&cond, &mutex);
    turn = 1 - me;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}

static void *sleeper(void *arg) {
  pthread_setname_np(pthread_self(), "q\"\\\n\xff");
  nanosleep(&(struct timespec){0, 20000000}, NULL);
  return arg;
}

static void *locker(void *path) {
  pthread_setname_np(pthread_self(), "locker");
  flock(open(path, O_RDWR), LOCK_EX);
  return NULL;
}

static void *yielder(void *times) {
  for (long i = 0; i < (long)times; i++) sched_yield();
  return NULL;
}

static void *nothing(void *arg) { return arg; }

// Such a thread has a kernel thread of its own, which ends with it.
static void *bound(void *cpu) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(sched_getcpu(), &cpus);
  if (pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus)) abort();
  return cpu;
}

static void *waiter(void *gate) {
  pthread_mutex_lock(gate);
  pthread_mutex_unlock(gate);
  return NULL;
}

static void start(pthread_t *t, void *(*routine)(void *), void *arg) {
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 65536);
  if (pthread_create(t, &attr, routine, arg)) abort();
}

static void play(char *path) {
  int fd = open(path, O_RDWR | O_CREAT, 0600);
  pthread_t t[6];
  flock(fd, LOCK_EX);
  start(&t[0], player, (void *)0);
  start(&t[1], player, (void *)1);
  start(&t[2], sleeper, NULL);
  start(&t[3], locker, path);
  start(&t[4], yielder, (void *)200);
  start(&t[5], yielder, (void *)200);
  for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
  flock(fd, LOCK_UN);
  for (int i = 3; i < 6; i++) pthread_join(t[i], NULL);
}

int main(int argc, char **argv) {
  pthread_t t[2];
  if (argc < 2) return 2;
  if (!strcmp(argv[1], "play")) {
    play(argv[2]);
    return 7;
  }
  if (!strcmp(argv[1], "killed")) {
    play(argv[2]);
    kill(getpid(), SIGKILL);
  }
  if (!strcmp(argv[1], "_exit")) {
    play(argv[2]);
    _exit(3);
  }
  if (!strcmp(argv[1], "yields")) {
    long n = atol(argv[2]);
    start(&t[0], yielder, (void *)n);
    start(&t[1], yielder, (void *)n);
    pthread_join(t[0], NULL);
    pthread_join(t[1], NULL);
  }
  if (!strcmp(argv[1], "bound")) {
    start(&t[0], bound, NULL);
    start(&t[1], bound, NULL);
    pthread_join(t[0], NULL);
    pthread_join(t[1], NULL);
  }
  if (!strcmp(argv[1], "many")) {
    enum { kMany = 10000 };
    static pthread_t all[kMany];
    static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&gate);
    for (int i = 0; i < kMany; i++) start(&all[i], waiter, &gate);
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < kMany; i++) pthread_join(all[i], NULL);
  }
  // The parent ends when its child has made a thread; the child when it is told to.
  if (!strcmp(argv[1], "daemon")) {
    int ready[2];
    char b;
    if (pipe(ready)) abort();
    if (fork() == 0) {
      start(&t[0], nothing, NULL);
      pthread_join(t[0], NULL);
      if (write(ready[1], "", 1) != 1) abort();
      close(ready[1]);
      close(1);
      close(2);
      if (read(0, &b, 1) < 0) abort();
      _exit(0);
    }
    return read(ready[0], &b, 1) == 1 ? 4 : 1;
  }
  // Says so when it has made a thread, and waits for signals.
  if (!strcmp(argv[1], "pause")) {
    start(&t[0], nothing, NULL);
    pthread_join(t[0], NULL);
    puts("ready");
    fflush(stdout);
    pause();
  }
  if (!strcmp(argv[1], "fork")) {
    start(&t[0], nothing, NULL);
    pthread_join(t[0], NULL);
    pid_t child = fork();
    if (child == 0) {
      for (int i = 0; i < 1000; i++) {
        start(&t[0], nothing, NULL);
        pthread_join(t[0], NULL);
      }
      _exit(5);
    }
    int status;
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
  }
  return 0;
}
"""


class Trace:
    """The JSON of a timeline, sorted out. Times are whole nanoseconds."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            self.json = json.load(f)
        self.events = self.json["traceEvents"]
        self.overlapping = self.overlaps()
        for e in self.events:
            for key in ("ts", "dur"):
                if key in e:
                    e[key] = round(e[key] * 1000)
        self.slices = collections.defaultdict(list)  # by track
        for e in self.phase("X"):
            self.slices[e["pid"], e["tid"]].append(e)
        for of_track in self.slices.values():
            of_track.sort(key=lambda e: (e["ts"], e["ts"] + e["dur"]))
        self.tracks = {(e["pid"], e["tid"]): e["args"]["name"] for e in self.phase("M") if e["name"] == "thread_name"}

    def overlaps(self):
        """Slices that end behind the beginning of the next one, for a reader that counts in floating point from the first."""
        ends = {}
        begin = min((e["ts"] for e in self.events if e["ph"] == "X"), default=0)
        found = []
        for e in sorted((e for e in self.events if e["ph"] == "X"), key=lambda e: (e["pid"], e["tid"], e["ts"], e["dur"])):
            if ends.get((e["pid"], e["tid"]), 0) > e["ts"] - begin:
                found.append(e)
            ends[e["pid"], e["tid"]] = e["ts"] - begin + e["dur"]
        return found

    def phase(self, ph):
        return [e for e in self.events if e["ph"] == ph]

    def all_slices(self):
        return [e for of_track in self.slices.values() for e in of_track]

    def named(self, name):
        return [e for e in self.all_slices() if e["name"].startswith(name + " (G ")]


class Timeline(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.program = os.path.join(cls.folder.name, "traced")
        subprocess.run(["cc", "-O1", "-D_GNU_SOURCE", "-pthread", "-x", "c", "-", "-o", cls.program], input=PROGRAM, text=True,
                       check=True)

    def setUp(self):
        self.scratch = tempfile.mkdtemp(dir=self.folder.name)
        self.out = os.path.join(self.scratch, "t.json")

    def trace(self, *args, options=(), procs=2):
        """Runs the launcher on the program; what it said, and the trace."""
        told = goshim("trace", "-o", self.out, *options, "--", self.program, *args,
                      env=dict(os.environ, GOSHIM_MAXPROCS=str(procs)))
        self.assertTrue(os.path.exists(self.out), told.stderr)
        return told, Trace(self.out)

    def lock_file(self):
        return os.path.join(self.scratch, "lock")

    def check_consistent(self, trace):
        self.assertEqual(trace.overlapping, [])
        for track, slices in trace.slices.items():
            self.assertIn(track, trace.tracks)
            for before, after in zip(slices, slices[1:]):
                self.assertGreaterEqual(before["dur"], 0)
                self.assertLessEqual(before["ts"] + before["dur"], after["ts"], (before, after))
        ends = collections.defaultdict(list)
        for e in trace.phase("s") + trace.phase("f"):
            ends[e["id"]].append(e)
        for pair in ends.values():
            self.assertEqual(sorted(e["ph"] for e in pair), ["f", "s"])
            wakes, woken = sorted(pair, key=lambda e: e["ph"], reverse=True)
            self.assertLessEqual(wakes["ts"], woken["ts"])
            for end in pair:
                self.assertTrue(any(s["ts"] <= end["ts"] <= s["ts"] + s["dur"] for s in trace.slices[1, end["tid"]]), end)
        spans = collections.Counter((e["ph"], e["id"]) for e in trace.phase("b") + trace.phase("e"))
        for (_, span), times in spans.items():
            self.assertEqual(times, 1)
            self.assertEqual(spans["b", span], spans["e", span])

    def check_play(self, trace, procs):
        self.check_consistent(trace)
        self.assertEqual({name for (pid, _), name in trace.tracks.items() if pid == 1}, {f"P{i}" for i in range(procs)})
        for name in ("ping", "pong", "locker"):
            self.assertTrue(trace.named(name), name)
        self.assertTrue(any(e["name"].startswith('q"\\\n\ufffd (G ') for e in trace.all_slices()))
        # Each player waits for the other nearly every time.
        waits = [e for e in trace.named("ping") + trace.named("pong") if e["args"]["until"] == "cond"]
        self.assertGreater(len(waits), 200)
        # What is waited for is unknown where the wait was over before the switch.
        self.assertEqual(len({e["args"]["object"] for e in waits if "object" in e["args"]}), 1)
        self.assertTrue([e for e in trace.all_slices() if e["args"]["until"] == "sleep"])
        self.assertTrue([e for e in trace.all_slices() if e["args"]["until"] == "join"])
        self.assertEqual(len([e for e in trace.all_slices() if e["args"]["until"] == "ends"]), 6)
        wakes = [e for e in trace.phase("s") if e["name"] == "wakes"]
        self.assertGreater(len(wakes), 200)
        self.assertEqual(len([e for e in trace.phase("s") if e["name"] == "creates"]), 6)
        # The lock is waited for as long as the sleeper sleeps, 20 ms.
        regions = {e["id"]: e for e in trace.phase("b") if e["name"] == "flock" and e["args"]["thread"].startswith("locker")}
        self.assertEqual(len(regions), 1)
        (region,) = regions.values()
        end = next(e for e in trace.phase("e") if e["id"] == region["id"])
        self.assertGreater(end["ts"] - region["ts"], 15_000_000)
        span = max(e["ts"] + e["dur"] for e in trace.all_slices())
        for track, slices in trace.slices.items():
            if track[0] == 1:
                self.assertLessEqual(sum(e["dur"] for e in slices), span)

    def test_tells_what_the_threads_did(self):
        for procs in (1, 2, 4):
            with self.subTest(procs=procs):
                told, trace = self.trace("play", self.lock_file(), procs=procs)
                self.assertEqual(told.returncode, 7)
                self.check_play(trace, procs)
                self.assertEqual(os.listdir(self.scratch).count("t.raw"), 0)
                os.unlink(self.out)

    def test_summary_has_threads_and_reasons(self):
        told, _ = self.trace("play", self.lock_file())
        self.assertRegex(told.stderr, r"(?m)^traced \(process \d+\): .* on 2 Ps, 7 threads, \d+ events$")
        self.assertRegex(told.stderr, r"(?m)^  locker \(G \d+\) ")
        for reason in ("cond", "sleep", "join"):
            self.assertRegex(told.stderr, rf"(?m)^  {reason} +[0-9.]+ (s|ms|us) +\d+$")
        self.assertNotIn("overwritten", told.stderr)
        self.assertEqual(told.stdout, "")

    def test_picture_is_one_whole_file(self):
        self.trace("play", self.lock_file())
        with open(os.path.join(self.scratch, "t.html"), encoding="utf-8") as f:
            page = f.read()
        for part in ("<!DOCTYPE html>", "<svg ", "ping (G ", ">P1</text>", "blocked on", "</html>"):
            self.assertIn(part, page)
        self.assertNotRegex(page, r'(src|href)=')

    def test_killed_program_leaves_its_trace(self):
        told, trace = self.trace("killed", self.lock_file())
        self.assertEqual(told.returncode, 128 + signal.SIGKILL)
        self.check_play(trace, 2)

    def test_underscore_exit_leaves_its_trace(self):
        told, trace = self.trace("_exit", self.lock_file())
        self.assertEqual(told.returncode, 3)
        self.check_play(trace, 2)

    def test_yields_are_all_there(self):
        for procs in (1, 2):
            _, trace = self.trace("yields", "20000", procs=procs)
            self.check_consistent(trace)
            yields = [e for e in trace.all_slices() if e["args"]["until"] == "yields"]
            # One that finds nobody else goes on, on one P that is the last ones'.
            self.assertLessEqual(len(yields), 40000)
            if procs == 1:
                self.assertGreater(len(yields), 39000)
            os.unlink(self.out)

    def test_threads_bound_to_processors_end(self):
        _, trace = self.trace("bound")
        self.check_consistent(trace)
        self.assertEqual(len([e for e in trace.all_slices() if e["args"]["until"] == "ends"]), 2)

    def test_small_file_keeps_what_came_last(self):
        told, trace = self.trace("yields", "300000", options=("--size", "256k", "--keep-raw"), procs=1)
        self.assertEqual(os.path.getsize(os.path.join(self.scratch, "t.raw")), 256 << 10)
        self.assertRegex(told.stderr, r"The file was full: \d+ older records were overwritten")
        self.check_consistent(trace)
        self.assertGreater(trace.json["otherData"]["overwritten"], 1000)
        first = min(e["ts"] for e in trace.all_slices())
        self.assertGreater(first, 0)
        self.assertEqual([e["args"]["until"] for e in trace.all_slices() if e["name"].startswith("traced (G 3)")][-1], "ends")
        self.assertRegex(told.stderr, r"(?m)^  main \(G 1\)|^  traced \(G 1\)")

    def test_ten_thousand_threads(self):
        told, trace = self.trace("many")
        self.assertEqual(told.returncode, 0)
        self.check_names(trace)
        self.assertEqual(len([e for e in trace.all_slices() if e["args"]["until"] == "ends"]), 10000)
        self.assertIn("10001 threads", told.stderr)

    def check_names(self, trace):
        for e in trace.all_slices():
            self.assertRegex(e["name"], rf"^(.* \()?G {e['args']['g']}\)?$")

    def test_child_of_fork_writes_nothing(self):
        told, trace = self.trace("fork")
        self.assertEqual(told.returncode, 5)
        self.check_consistent(trace)
        self.assertEqual(len([e for e in trace.all_slices() if e["args"]["until"] == "ends"]), 1)

    def test_file_left_by_hand_converts(self):
        raw = os.path.join(self.scratch, "by.hand")
        env = dict(os.environ, LD_PRELOAD=LIBRARY, GOSHIM_TRACE=raw, GOSHIM_MAXPROCS="2")
        run = subprocess.run([self.program, "play", self.lock_file()], env=env, capture_output=True, text=True, check=False)
        self.assertEqual((run.returncode, run.stderr), (7, ""))
        self.assertEqual(os.stat(raw).st_mode & 0o777, 0o600)
        told = goshim("trace", "--convert", raw, "-o", self.out, "--html", os.path.join(self.scratch, "p.html"))
        self.assertEqual(told.returncode, 0, told.stderr)
        self.check_play(Trace(self.out), 2)
        self.assertTrue(os.path.exists(os.path.join(self.scratch, "p.html")))
        # The file is there now: nobody's is overwritten.
        run = subprocess.run([self.program, "play", self.lock_file()], env=env, capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 7)
        self.assertRegex(run.stderr, r"^goshim: GOSHIM_TRACE: .*by\.hand exists already; process \d+ is not traced\n$")

    def test_links_are_not_followed(self):
        link = os.path.join(self.scratch, "link")
        os.symlink(os.path.join(self.scratch, "elsewhere"), link)
        env = dict(os.environ, LD_PRELOAD=LIBRARY, GOSHIM_TRACE=link)
        run = subprocess.run([self.program, "play", self.lock_file()], env=env, capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 7)
        self.assertEqual(run.stderr.count("goshim: GOSHIM_TRACE: "), 1)
        self.assertFalse(os.path.exists(os.path.join(self.scratch, "elsewhere")))

    def test_bad_values_give_one_line(self):
        for name, value in (("GOSHIM_TRACE", ""), ("GOSHIM_TRACE", "x" * 1024), ("GOSHIM_TRACE_SIZE", "1k"),
                            ("GOSHIM_TRACE_SIZE", "much")):
            env = dict(os.environ, LD_PRELOAD=LIBRARY, **{name: value})
            run = subprocess.run([self.program, "play", self.lock_file()], env=env, capture_output=True, text=True, check=False)
            self.assertEqual(run.returncode, 7)
            self.assertRegex(run.stderr, rf'^goshim: {name}: bad value "[^\n]*\n$')
        env = dict(os.environ, LD_PRELOAD=LIBRARY, GOSHIM_TRACE="/nowhere/at/all")
        run = subprocess.run([self.program, "play", self.lock_file()], env=env, capture_output=True, text=True, check=False)
        self.assertEqual((run.returncode, run.stderr.count("\n")), (7, 1))
        self.assertEqual(goshim("trace", "--size", "1k", "--", "true").returncode, 2)
        self.assertEqual(goshim("trace").returncode, 2)
        self.assertEqual(goshim("trace", "--convert", "a", "b").returncode, 2)

    def test_program_without_threads_leaves_none(self):
        told = goshim("trace", "-o", self.out, "--", "true")
        self.assertEqual(told.returncode, 1)
        self.assertRegex(told.stderr, r"^goshim: trace: no trace was made: [^\n]*\n$")
        told = goshim("trace", "-o", self.out, "--", "/nowhere/at/all")
        self.assertEqual(told.returncode, 127)
        self.assertRegex(told.stderr, r"^goshim: /nowhere/at/all: not found\n$")
        self.assertEqual(goshim("trace", "-o", self.out, "--", "/etc/passwd").returncode, 126)
        self.assertEqual(os.listdir(self.scratch), [])

    def test_programs_that_cannot_be_reached_are_told(self):
        static = os.path.join(self.scratch, "static")
        subprocess.run(["cc", "-static", "-x", "c", "-", "-o", static], input="int main(void) { return 5; }", text=True,
                       check=True)
        told = goshim("trace", "-o", self.out, static)
        self.assertEqual(told.returncode, 5)
        self.assertRegex(told.stderr, r"^goshim: trace: [^\n]*statically linked[^\n]*; running natively\n$")
        self.assertEqual(os.listdir(self.scratch), ["static"])

    def test_a_process_that_goes_on_keeps_its_binary_file(self):
        with subprocess.Popen([LAUNCHER, "trace", "-o", self.out, self.program, "daemon"], stdin=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as p:
            said = p.stderr.read()
            self.assertEqual(p.wait(20), 4)
            self.assertRegex(said, rf"^goshim: trace: process \d+ goes on; [^\n]* --convert {self.scratch}/t.raw -o {self.out}\n$")
            self.assertNotIn(f"process {p.pid} ", said)
            self.assertEqual(os.listdir(self.scratch), ["t.raw"])
        told = goshim("trace", "--convert", os.path.join(self.scratch, "t.raw"), "-o", self.out)
        self.assertEqual(told.returncode, 0, told.stderr)
        self.assertTrue(Trace(self.out).all_slices())

    def test_a_process_that_was_started_by_the_program_and_has_ended_is_converted(self):
        told = goshim("trace", "-o", self.out, "sh", "-c", f"{self.program} yields 10; exit 6")
        self.assertEqual(told.returncode, 6)
        self.assertTrue(Trace(self.out).all_slices())
        self.assertNotIn("t.raw", os.listdir(self.scratch))

    def test_signals_are_for_the_program_and_the_trace_is_made(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            with subprocess.Popen([LAUNCHER, "trace", "-o", self.out, self.program, "pause"], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True) as p:
                self.assertEqual(p.stdout.readline(), "ready\n")
                p.send_signal(number)
                p.communicate(timeout=60)
                self.assertEqual(p.returncode, 128 + number)
            self.assertTrue(Trace(self.out).all_slices())
            self.assertEqual(sorted(os.listdir(self.scratch)), ["t.html", "t.json"])

    def test_files_are_checked_before_the_program_runs(self):
        ran = os.path.join(self.scratch, "ran")

        def refused(*options):
            told = goshim("trace", *options, "--", "touch", ran, cwd=self.scratch)
            self.assertIn(told.returncode, (1, 2))
            self.assertRegex(told.stderr, r"^goshim: trace: [^\n]*\n(usage: [^\n]*\n)?$")
            self.assertEqual(os.listdir(self.scratch), [])
            return told.stderr

        self.assertIn("would be the JSON and the picture", refused("-o", "x.html"))
        self.assertIn("would be the JSON and the binary file", refused("-o", "x.raw"))
        self.assertIn("would be the picture and the binary file", refused("-o", "x.json", "--html", "./x.raw"))
        self.assertIn("cannot be written", refused("-o", "x.json", "--html", "/nowhere/at/all"))
        self.assertIn("cannot be written", refused("-o", "/nowhere/at/all"))
        self.assertIn("a file is wanted", refused("-o", "-"))
        self.assertIn("a file is wanted", refused("-o", ""))
        self.assertIn("no ordinary file", refused("-o", "/dev/null"))
        self.assertIn("cannot be written", refused("-o", self.scratch, "--html", "x.html"))
        self.assertFalse(os.path.exists("/dev/null.html"))
        os.symlink("/nowhere/at/all", os.path.join(self.scratch, "t.raw"))
        told = goshim("trace", "-o", self.out, "--", "touch", ran)
        self.assertRegex(told.stderr, r"^goshim: trace: [^\n]*t.raw exists already\n$")
        self.assertEqual(os.listdir(self.scratch), ["t.raw"])
        deep = os.path.join("d" * 200, *["d" * 200] * 5)
        os.makedirs(os.path.join(self.scratch, deep))
        told = goshim("trace", "-o", os.path.join(self.scratch, deep, "t.json"), "--", "touch", ran)
        self.assertRegex(told.stderr, r"^goshim: trace: [^\n]*accepted is [^\n]*\n$")
        self.assertFalse(os.path.exists(ran))
        with open(self.out, "w", encoding="utf-8"):
            pass
        told = goshim("trace", "--convert", self.out, "-o", self.out)
        self.assertIn("would be the JSON and the binary file", told.stderr)

    def test_nothing_but_the_picture(self):
        told = goshim("trace", "-o", "/dev/null", "--html", "p.html", self.program, "yields", "10", cwd=self.scratch)
        self.assertEqual(told.returncode, 0, told.stderr)
        self.assertEqual(os.listdir(self.scratch), ["p.html"])

    def test_files_are_for_their_user_only(self):
        self.trace("yields", "10", options=("--keep-raw",))
        for name in ("t.json", "t.html", "t.raw"):
            self.assertEqual(os.stat(os.path.join(self.scratch, name)).st_mode & 0o777, 0o600, name)
        os.unlink(os.path.join(self.scratch, "t.raw"))
        os.chmod(self.out, 0o640)
        self.trace("yields", "10")
        self.assertEqual(os.stat(self.out).st_mode & 0o777, 0o640)

    def test_json_holds_the_last_part_of_a_long_trace(self):
        told, whole = self.trace("yields", "20000", options=("--keep-raw", "--json-size", "0"), procs=1)
        self.assertNotIn("--json-size", told.stderr)
        raw, part = os.path.join(self.scratch, "t.raw"), os.path.join(self.scratch, "part.json")
        for size in (1 << 20, 256 << 10):
            told = goshim("trace", "--convert", raw, "-o", part, "--json-size", f"{size >> 10}k")
            self.assertEqual(told.returncode, 0, told.stderr)
            self.assertRegex(told.stderr, r"(?m)^The JSON holds the last [0-9.]+ \w+ of [0-9.]+ \w+ only \(--json-size\)\.$")
            self.assertRegex(told.stderr, r"(?m)^traced .* 3 threads, ")  # the summary is of the whole
            self.assertLess(os.path.getsize(part), size)
            self.assertGreater(os.path.getsize(part), size / 4)
            trace = Trace(part)
            self.check_consistent(trace)
            self.assertEqual(trace.tracks[1, 1], "P0")
            self.assertEqual([e["args"] for e in trace.slices[1, 1][-5:]], [e["args"] for e in whole.slices[1, 1][-5:]])
            self.assertGreater(min(e["ts"] for e in trace.all_slices()), min(e["ts"] for e in whole.all_slices()))
        for bad in ("", "x", "-1", "1x", "1kk", "99999999999999999999", "99999999999g"):
            self.assertEqual(goshim("trace", "--json-size", bad, "true").returncode, 2, bad)

    def test_what_a_program_is_called_is_printed_as_text(self):
        evil = os.path.join(self.scratch, "a\033[7m\xc2\x9b\xff".encode("latin-1").decode("utf-8", "surrogateescape"))
        os.link(self.program, evil)
        told = goshim("trace", "-o", self.out, evil, "yields", "10")
        self.assertEqual(told.returncode, 0)
        self.assertIn("a?[7m?? (process ", told.stderr)
        with open(os.path.join(self.scratch, "t.html"), encoding="utf-8") as f:
            self.assertIn("a?[7m?? (process ", f.read())

    def test_damaged_files_give_one_line(self):
        _, _ = self.trace("play", self.lock_file(), options=("--keep-raw", "--size", "512k"))
        with open(os.path.join(self.scratch, "t.raw"), "rb") as f:
            whole = f.read()
        damaged = {
            "empty": b"",
            "text": b"what is this?\n" * 1000,
            "short": whole[:5000],
            "version": whole[:8] + b"\xff" + whole[9:],
            "header": whole[:16] + b"\xff" * 48 + whole[64:],
            "zero": bytes(len(whole)),
            "nothing": whole[:8192] + bytes(len(whole) - 8192),
        }
        for name, data in damaged.items():
            with self.subTest(name):
                path = os.path.join(self.scratch, name)
                with open(path, "wb") as f:
                    f.write(data)
                told = goshim("trace", "--convert", path, "-o", os.path.join(self.scratch, "d.json"))
                self.assertEqual(told.returncode, 1)
                self.assertRegex(told.stderr, rf"^goshim: trace: [^\n]*{name} [^\n]*\n$")
        for path in ("/nowhere/at/all", self.scratch, "/dev/null"):
            told = goshim("trace", "--convert", path, "-o", os.path.join(self.scratch, "d.json"))
            self.assertEqual(told.returncode, 1)
            self.assertRegex(told.stderr, r"^goshim: trace: [^\n]*\n$")

    def test_garbage_in_a_segment_does_not_crash(self):
        _, _ = self.trace("play", self.lock_file(), options=("--keep-raw", "--size", "512k"))
        with open(os.path.join(self.scratch, "t.raw"), "rb") as f:
            whole = bytearray(f.read())
        state = 12345
        for _ in range(20):
            for _ in range(50):
                state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
                whole[4096 + (state >> 20) % (len(whole) - 4096)] = state >> 56
            path = os.path.join(self.scratch, "garbage")
            with open(path, "wb") as f:
                f.write(whole)
            told = goshim("trace", "--convert", path, "-o", os.path.join(self.scratch, "g.json"))
            self.assertIn(told.returncode, (0, 1), told.stderr)
            if told.returncode == 0:
                Trace(os.path.join(self.scratch, "g.json"))


if __name__ == "__main__":
    unittest.main()
