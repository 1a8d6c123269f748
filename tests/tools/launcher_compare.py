#!/usr/bin/env python3
"""Shows that `goshim compare` runs a program in turn natively and under goshim, measures both, and sees differences."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

from _launcher import LAUNCHER, LIBRARY, goshim
from _watched import compiled, path

JOINS_SOURCE = r"""
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void *nap(void *a) { usleep(200000); return a; }
int main(void) {
  pthread_t t[50];
  for (int i = 0; i < 50; i++) pthread_create(&t[i], NULL, nap, NULL);
  for (int i = 0; i < 50; i++) pthread_join(t[i], NULL);
  puts("done");
  return 3;
}
"""
# The runtime calls this in a kernel thread that it makes to learn from.
SLOW_SOURCE = r"""
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>
int pthread_setspecific(pthread_key_t key, const void *value) {
  usleep(100000);
  return ((int (*)(pthread_key_t, const void *))dlsym(RTLD_NEXT, "pthread_setspecific"))(key, value);
}
"""
QUICK_SOURCE = r"""
#include <pthread.h>
static void *body(void *a) { return a; }
int main(void) {
  pthread_t t;
  return pthread_create(&t, NULL, body, NULL) || pthread_join(t, NULL);
}
"""
JOINS = compiled("joins", JOINS_SOURCE)


class Compare(unittest.TestCase):
    def test_a_table(self):
        told = goshim("compare", "-n", "1", "--", JOINS)
        self.assertEqual(told.returncode, 0, told.stderr)
        self.assertEqual(told.stderr, "")  # no progress where nobody looks
        for row in ("elapsed time", "time on processors", "memory, at most", "context switches",
                    "kernel threads, at most", "threads made"):
            self.assertRegex(told.stdout, rf"(?m)^{row} +\S+ +\S+ +\S+$")
        self.assertIn("same exit status (status 3) and output in all runs", told.stdout)

    def test_numbers(self):
        told = json.loads(goshim("compare", "-n", "2", "--json", JOINS).stdout)
        native, shim = told["native"], told["goshim"]
        self.assertEqual((len(native["runs"]), len(shim["runs"])), (2, 2))
        self.assertEqual(shim["median"]["threads_made"], 51)
        self.assertNotIn("threads_made", native["median"])
        # Threads sleep long enough to be seen, if anything of the program is.
        self.assertGreater(native["median"]["kernel_threads"], shim["median"]["kernel_threads"])
        for key in ("wall_seconds", "cpu_seconds", "max_rss_bytes"):
            for kind in (native, shim):
                self.assertGreater(kind["median"][key], 0)
        self.assertAlmostEqual(told["ratio"]["max_rss_bytes"],
                               shim["median"]["max_rss_bytes"] / native["median"]["max_rss_bytes"])
        self.assertEqual(told["differences"], [])
        self.assertEqual(told["command"], [JOINS])

    def test_another_output_is_told(self):
        told = goshim("compare", "-n", "2", "sh", "-c", "echo ${LD_PRELOAD:+preloaded}")
        self.assertEqual(told.returncode, 1)
        self.assertIn("goshim run 1 wrote something else to standard output", told.stdout)
        self.assertIn("goshim run 2 wrote", told.stdout)
        self.assertNotIn("native run 2", told.stdout)

    def test_another_exit_status_is_told(self):
        told = goshim("compare", "-n", "1", "sh", "-c", "test -z \"$LD_PRELOAD\"")
        self.assertEqual(told.returncode, 1)
        self.assertIn("goshim run 1 ended with status 1, the first native one with status 0", told.stdout)
        told = goshim("compare", "-n", "1", "sh", "-c", "test -z \"$LD_PRELOAD\" || kill -KILL $$")
        self.assertIn("goshim run 1 ended with signal 9", told.stdout)

    def test_every_run_reads_the_input_from_its_start(self):
        with tempfile.TemporaryFile() as f:
            f.write(b"skip\n4\n")
            f.flush()
            os.lseek(f.fileno(), 5, os.SEEK_SET)
            told = subprocess.run([LAUNCHER, "compare", "-n", "2", "sh", "-c", "read x; exit $x"], stdin=f, text=True,
                                  capture_output=True, check=False)
        self.assertIn("same exit status (status 4)", told.stdout)

    def test_progress_on_a_terminal(self):
        ours, theirs = os.openpty()
        subprocess.run([LAUNCHER, "compare", "-n", "1", "true"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=theirs, check=True)
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:  # the terminal's other end is closed, and all has been read
            pass
        self.assertIn("run 2 of 2: goshim", shown.decode())
        os.close(ours)

    def check_native_and_goshim(self, program, **env):
        told = goshim("compare", "-n", "1", "--json", program, env={**os.environ, **env})
        self.assertEqual(told.returncode, 0, told.stderr)
        told = json.loads(told.stdout)
        self.assertGreater(told["native"]["median"]["kernel_threads"], 30)
        self.assertLess(told["goshim"]["median"]["kernel_threads"], 30)
        self.assertEqual(told["goshim"]["median"]["threads_made"], 51)

    def test_other_copies_of_the_library_are_not_preloaded(self):
        shutil.copy(LIBRARY, path("libgoshim.so"))
        for spelling in (os.path.relpath(LIBRARY), path("libgoshim.so"), "libm.so.6 libgoshim.so"):
            self.check_native_and_goshim(JOINS, LD_PRELOAD=spelling, LD_LIBRARY_PATH=os.path.dirname(LIBRARY))

    def test_a_program_that_is_linked_with_the_library_runs_natively_once(self):
        folder = os.path.dirname(os.path.abspath(LIBRARY))
        linked = compiled("linked", JOINS_SOURCE, "-Wl,--no-as-needed", LIBRARY, f"-Wl,-rpath,{folder}")
        self.check_native_and_goshim(linked)

    def test_goshim_is_on_where_the_environment_says_off(self):
        self.check_native_and_goshim(JOINS, GOSHIM="off")

    def test_threads_made_without_goshim_are_told(self):
        told = goshim("compare", "-n", "1", "sh", "-c", f"exec env GOSHIM=off {JOINS}")
        self.assertEqual((told.returncode, told.stdout), (1, ""))
        self.assertRegex(told.stderr, r"^goshim: compare: sh made its threads without goshim [^\n]*\n$")

    def test_a_slow_start_of_the_runtime_is_waited_for(self):
        slow = compiled("slow.so", SLOW_SOURCE, "-shared", "-fPIC")
        quick = compiled("quick", QUICK_SOURCE)
        told = goshim("compare", "-n", "1", quick, env={**os.environ, "LD_PRELOAD": slow})
        self.assertEqual((told.returncode, told.stderr), (0, ""))

    def test_signals_are_for_the_program(self):
        said = 'trap "echo got it >&2; exit 5" TERM; echo ready >&2; while :; do sleep 0.01; done'
        with subprocess.Popen([LAUNCHER, "compare", "sh", "-c", said], text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
            self.assertEqual(p.stderr.readline(), "ready\n")
            p.terminate()
            self.assertEqual(p.communicate(timeout=20), ("", "got it\n"))
            self.assertEqual(p.returncode, 128 + signal.SIGTERM)

    def test_what_runs_natively_is_not_compared(self):
        static = compiled("static", "int main(void) { return 0; }", "-static")
        told = goshim("compare", static)
        self.assertEqual(told.returncode, 1)
        self.assertRegex(told.stderr, r"^goshim: compare: [^\n]*statically linked[^\n]*\n$")

    def test_not_found(self):
        self.assertEqual(goshim("compare", "no-such-program").returncode, 127)

    def test_bad_arguments(self):
        for bad in ([], ["-n", "0", "true"], ["-n", "x", "true"], ["--fly", "true"]):
            self.assertEqual(goshim("compare", *bad).returncode, 2, bad)


if __name__ == "__main__":
    unittest.main()
