#!/usr/bin/env python3
"""Shows that the gdb commands list the threads of a program and print their stacks, whatever they do: in a process and in a
core file, with the library of the build and with an installed one."""
# run: limit=240
import os
import re
import resource
import signal
import subprocess
import unittest

from _programs import LIBRARY, Scratch, clean_environment, need, packaging

# Main sleeps; one thread waits for a mutex, one for a pipe, one is in the kernel; of three that compute, two run at most.
PROGRAM = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int ends[2];
static volatile long spins[3];

__attribute__((noinline)) static int wait_for_mutex(int depth) {
  volatile int mark = depth * 1000;
  if (depth > 0) return wait_for_mutex(depth - 1) + mark;
  pthread_mutex_lock(&mutex);
  return mark;
}
static void* locker(void* arg) { return wait_for_mutex(3) == 1 ? arg : NULL; }
static void* reader(void* arg) {
  char byte;
  return read(ends[0], &byte, 1) == 1 ? arg : NULL;
}
__attribute__((noinline)) static void compute(volatile long* counter) {
  for (;;) ++*counter;
}
static void* hog(void* arg) {
  compute((volatile long*)arg);
  return NULL;
}
static void* waiter(void* arg) {
  int status;
  return waitpid(-1, &status, 0) > 0 ? arg : NULL;
}

int main(void) {
  void* (*bodies[])(void*) = {locker, reader, waiter, hog, hog, hog};
  if (pipe(ends) != 0) return 1;
  if (fork() == 0) {
    close(ends[1]);  /* then this ends with its parent */
    char byte;
    _exit(read(ends[0], &byte, 1) == 1);
  }
  pthread_mutex_lock(&mutex);
  for (int i = 0; i < 6; i++) {
    pthread_t thread;
    pthread_create(&thread, NULL, bodies[i], (void*)&spins[i % 3]);
    if (i == 0) pthread_setname_np(thread, "the locker");
  }
  struct timespec tick = {0, 1000000};
  while (!spins[0] || !spins[1] || !spins[2]) nanosleep(&tick, NULL);
  tick.tv_nsec *= 200;
  nanosleep(&tick, NULL);
  puts("ready");
  fflush(stdout);
  for (;;) sleep(1000);
}
"""


class Gdb(Scratch):
    def start(self, library=LIBRARY):
        program = self.compile(PROGRAM, "-pthread")
        process = subprocess.Popen([program], stdout=subprocess.PIPE, text=True, cwd=self.folder,
                                   env=clean_environment(LD_PRELOAD=library, GOSHIM_MAXPROCS="2"),
                                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (-1, -1)))
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process

    def gdb(self, *target, commands, library=LIBRARY):
        trusted = ["-iex", "add-auto-load-safe-path " + os.path.dirname(os.path.realpath(library))]
        told = subprocess.run(["gdb", "-nx", "-batch", *trusted, *target, *(word for c in commands for word in ("-ex", c))],
                              text=True, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=120,
                              env=clean_environment())
        return told.stdout + told.stderr

    def sections(self, *target, **options):
        """What `info gs` lists, id to line, and each thread's backtrace."""
        text = self.gdb(*target, commands=["info gs", "info goshim", "goshim apply all bt"], **options)
        self.assertRegex(text, r"2 Ps, 0 idle; \d+ kernel threads", text)
        listed = {int(line.split()[0]): line for line in re.findall(r"^ +\d+ .*", text.partition("threads:")[0], re.M)}
        stacks = {int(number): body for number, body in re.findall(r"^Thread (\d+)[^\n]*: (.*?)(?=^\n|\Z)", text, re.M | re.S)}
        return listed, stacks, text

    def shows_all(self, *target, **options):
        listed, stacks, text = self.sections(*target, **options)
        self.assertEqual(len(listed), 7, text)
        self.assertEqual(set(listed), set(stacks), text)
        by_start = {}
        for number, line in listed.items():
            by_start.setdefault(line.split()[-1], []).append(number)
        for start, state, frames in (("locker", "waiting for mutex", ("pthread_mutex_lock", "wait_for_mutex", "locker")),
                                     ("reader", "waiting for io", ("read", "reader")),
                                     ("waiter", "syscall on kernel thread", ("waitpid", "waiter"))):
            (number,) = by_start[start]
            self.assertIn(state, stacks[number])
            found = re.findall(r"^#\d+ +(?:0x\w+ in )?([\w:]+)", stacks[number], re.M)
            for frame in frames:
                self.assertIn(frame, found, stacks[number])
        self.assertIn("the locker", listed[by_start["locker"][0]])
        hogs = [stacks[number] for number in by_start["hog"]]
        for stack in hogs:
            self.assertRegex(stack, r"(?s)compute .*hog ")
        self.assertTrue(any("runnable" in stack for stack in hogs), text)  # a preempted one
        self.assertRegex(stacks[1], r"\bmain \(\)")  # asleep, or still where it has written its line
        for stack in stacks.values():
            self.assertRegex(stack, r"(?m)^#0 ")
            self.assertNotIn("corrupt stack", stack)
        return by_start

    def test_process(self):
        process = self.start()
        by_start = self.shows_all("-p", str(process.pid))
        locker = by_start["locker"][0]
        text = self.gdb("-p", str(process.pid), commands=[
            "echo before\\n", "p/x $sp", f"goshim g {locker} bt 2", f"goshim g {locker} p/x $sp", f"goshim g {locker} bt full",
            "p/x $sp", "goshim g 1 bt", "goshim g 99 bt", "goshim g", "goshim apply some bt", "info gs flying", "info gs waiting"])
        before, own, after = re.findall(r"= (0x[0-9a-f]+)", re.sub(r"(?m)^#.*|^ +.*", "", text))[:3]
        self.assertEqual(before, after, text)  # the selection comes back
        self.assertNotEqual(before, own)
        for mark in 3000, 2000, 1000, 0:
            self.assertIn(f"mark = {mark}\n", text)
        self.assertIn("there is no thread 99", text)
        self.assertIn("usage: goshim g ID COMMAND", text)
        self.assertIn("usage: goshim apply all COMMAND", text)
        self.assertIn("there is no state flying", text)
        self.assertIn(len(re.findall(r"^ +\d+ .* waiting ", text, re.M)), (2, 3), text)
        self.assertIsNone(process.poll())  # it runs on

    def test_core_file(self):
        process = self.start()
        process.send_signal(signal.SIGABRT)
        process.wait()
        core = next((n for n in os.listdir(self.folder) if n.startswith("core")), None)
        if not core:
            self.skipTest("the kernel writes no core files here")
        self.shows_all(self.path("program"), self.path(core))

    def test_installed_library(self):
        packaging("install", PREFIX=self.path("there"))
        library = self.path("there/lib/libgoshim.so")
        process = self.start(library)
        self.shows_all("-p", str(process.pid), library=library)

    def test_programs_that_have_no_threads(self):
        program = self.compile("int main(void) { return 0; }", "-pthread")
        text = self.gdb(program, commands=["source " + LIBRARY + "-gdb.py", "info gs", "start", "info gs",
                                           "kill", f"set environment LD_PRELOAD {LIBRARY}", "start", "info gs"])
        self.assertIn("there is no process", text)
        self.assertIn("libgoshim.so is not in this program", text)
        self.assertIn("it has not started", text)


if __name__ == "__main__":
    need("gdb")
    unittest.main()
