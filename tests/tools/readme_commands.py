#!/usr/bin/env python3
"""Shows that what README.md tells to type works: the preload line and the launcher's commands are run; make's targets,
options and documents exist."""
import os
import re
import shutil
import subprocess
import unittest

from _launcher import BUILD, LIBRARY, goshim
from _programs import PLAIN, ROOT, Scratch, clean_environment

WAITS = r"""
#include <pthread.h>
#include <stdio.h>
static void* body(void* arg) { return arg; }
int main(void) {
  pthread_t thread;
  if (pthread_create(&thread, 0, body, 0) != 0 || pthread_join(thread, 0) != 0) return 1;
  puts("ready");
  fflush(stdout);
  return getchar() == 'x';
}
"""


class Readme(Scratch):
    def setUp(self):
        super().setUp()
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
            self.text = f.read()

    def test_targets_of_make(self):
        targets = set(re.findall(r"^    make ([a-z-]+)", self.text, re.MULTILINE))
        self.assertGreater(len(targets), 8)
        for target in targets:
            told = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
            self.assertEqual(told.returncode, 0, told.stderr)

    def lines(self, beginning):
        """Commands, without what the text says about them and without the parts that may be left out."""
        told = re.findall(rf"^    ({beginning} .*?)(?:  +.*)?$", self.text, re.MULTILINE)
        return [re.sub(r"\[.*?\] ", "", line) for line in told]

    def test_commands_of_the_launcher(self):
        self.compile(PLAIN, "-pthread")
        with open(self.path("big.file"), "wb") as f:
            f.write(bytes(range(256)) * 4000)
        waits = subprocess.Popen([self.compile(WAITS, "-pthread", name="waits")], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, env=clean_environment(LD_PRELOAD=LIBRARY))
        self.addCleanup(waits.communicate)
        self.assertEqual(waits.stdout.readline(), b"ready\n")
        seen = set()
        for line in self.lines("goshim"):
            command = line.split()[1]
            seen.add(command)
            self.assertEqual(goshim(command, "--help").returncode, 0, command)
            if command == "top" or ("pigz" in line and not shutil.which("pigz")):
                continue  # wants a terminal; launcher_top.py gives it one
            self.run_program("sh", "-c", line.replace("PID", str(waits.pid)),
                             env={"PATH": BUILD + ":" + os.environ["PATH"]})
        self.assertEqual(seen, {"run", "compare", "stat", "top", "trace", "dump"})
        self.assertTrue(os.path.exists(self.path("t.json")))

    def test_options(self):
        options = goshim("options").stdout.split("\n")
        for name in set(re.findall(r"`(GOSHIM\w*)=", self.text)):
            self.assertIn(name, options)

    def test_preload_line(self):
        self.compile(PLAIN, "-pthread")
        (line,) = self.lines("LD_PRELOAD=\\S+")
        told = self.run_program("sh", "-c", line.replace("/path/to", BUILD), env={"GOSHIM_STATS": "on"})
        self.assertRegex(told.stderr, "^goshim: stats: gs=5 ")

    def test_documents(self):
        for name in re.findall(r"`(?:docs/)?([a-z-]+\.md)`", self.text):
            self.assertTrue(os.path.exists(os.path.join(ROOT, "docs", name)), name)


if __name__ == "__main__":
    unittest.main()
