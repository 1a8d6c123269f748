"""What tests of tools share that compile programs, install goshim, or run what is installed."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from _launcher import BUILD, LIBRARY

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIPPED = 77


def need(*commands):
    """Skips the whole script where one of them is not installed."""
    missing = [c for c in commands if not shutil.which(c)]
    if missing:
        print("not installed: " + " ".join(missing))
        sys.exit(SKIPPED)


def makefile(name):
    with open(os.path.join(ROOT, "Makefile"), encoding="utf-8") as f:
        return re.search(rf"^{name} := (.*)", f.read(), re.M)[1]


def multiarch():
    return subprocess.run(["gcc", "-print-multiarch"], text=True, capture_output=True, check=True).stdout.strip()


def clean_environment(**more):
    """Without what the build and the runner have put there."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("GOSHIM", "MAKE", "MFLAGS")) and k not in ("LD_PRELOAD", "BUILD")}
    return {**env, **more}


def packaging(script, *args, **env):
    return subprocess.run([os.path.join(ROOT, "packaging", script), *args, BUILD], text=True, capture_output=True, check=True,
                          env=clean_environment(VERSION=makefile("VERSION"), MULTIARCH=multiarch(), **env)).stdout.strip()


class Scratch(unittest.TestCase):
    """Each test has an empty folder."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def compile(self, text, *flags, name="program", compiler="gcc", suffix=".c"):
        """flags come after the source: libraries may be among them."""
        source, program = self.path(name + suffix), self.path(name)
        with open(source, "w", encoding="utf-8") as f:
            f.write(text)
        made = subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", "-g", "-O1", source, "-o", program, *flags], text=True,
                              capture_output=True, check=False)
        self.assertEqual(made.returncode, 0, made.stderr)
        return program

    def run_program(self, *command, env=None, status=0):
        """Runs it in the scratch folder; the CompletedProcess."""
        told = subprocess.run(command, text=True, capture_output=True, check=False, cwd=self.folder, timeout=60,
                              stdin=subprocess.DEVNULL, env=clean_environment(**(env or {})))
        self.assertEqual(told.returncode, status, f"{command}\n{told.stdout}{told.stderr}")
        return told


# Says how many threads goshim has had, by the public header's functions if they are there: "threads 5" or "native".
ASKING = r"""
#include <goshim.h>
#include <pthread.h>
#include <stdio.h>

static void* body(void* arg) { return arg; }

int main(void) {
  for (int i = 0; i < 4; i++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, NULL) != 0 || pthread_join(thread, NULL) != 0) return 1;
  }
  struct goshim_stats stats;
  if (!goshim_active()) puts("native");
  else if (goshim_stats(&stats, sizeof stats) == 0) printf("threads %d\n", (int)stats.threads_made);
  return 0;
}
"""

# Knows nothing of goshim.
PLAIN = r"""
#include <pthread.h>

static void* body(void* arg) { return arg; }

int main(void) {
  for (int i = 0; i < 4; i++) {
    pthread_t thread;
    if (pthread_create(&thread, 0, body, 0) != 0 || pthread_join(thread, 0) != 0) return 1;
  }
  return 0;
}
"""
PRELOADED = {"LD_PRELOAD": LIBRARY}
STATS = {"GOSHIM_STATS": "on"}
STATS_LINE = r"goshim: stats: gs=5 "
