#!/usr/bin/env python3
"""Shows that the manual page is well-formed and tells of every command and option, and that bash completes them."""
import os
import re
import shutil
import subprocess
import unittest

from _launcher import BUILD, goshim
from _watched import WAITERS, running

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MANUAL = os.path.join(ROOT, "launcher", "goshim.1")
COMPLETION = os.path.join(ROOT, "launcher", "completion.bash")


def commands():
    return re.findall(r"(?m)^  (\w+)", goshim("--help").stdout)


def completed(*words):
    """What bash offers for the last of the words."""
    line = """
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _goshim
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    env = {**os.environ, "PATH": os.path.abspath(BUILD) + ":" + os.environ["PATH"]}
    told = subprocess.run(["bash", "--norc", "-c", line, "bash", COMPLETION, *words], text=True, capture_output=True,
                          check=False, env=env)
    return told.stdout.split()


class Manual(unittest.TestCase):
    @unittest.skipUnless(shutil.which("mandoc"), "no mandoc")
    def test_mandoc_finds_nothing(self):
        told = subprocess.run(["mandoc", "-Tlint", "-Wwarning", MANUAL], text=True, capture_output=True, check=False)
        self.assertEqual(told.stdout + told.stderr, "")

    def test_every_command_is_told_of(self):
        with open(MANUAL, encoding="utf-8") as f:
            text = f.read()
        self.assertGreaterEqual(len(commands()), 5)
        for command in commands():
            self.assertIn(f".Ss goshim {command}\n", text)

    def test_every_option_is_told_of(self):
        with open(MANUAL, encoding="utf-8") as f:
            text = f.read()
        for command in commands():
            if command == "run":  # the manual tells how its options come from the variables
                continue
            section = text.split(f".Ss goshim {command}\n")[1].split("\n.S")[0]
            options = re.findall(r"(?m)^ +(?:-\w, )?--([\w-]+)", goshim(command, "--help").stdout)
            self.assertTrue(options or command == "options", command)
            for option in options:
                self.assertRegex(section, rf"(?m)^\.It Fl .*-{option}(\s|$)", command)


class Completion(unittest.TestCase):
    def test_commands(self):
        self.assertEqual(sorted(completed("goshim", "")), sorted([*commands(), "--help", "--version"]))
        self.assertEqual(completed("goshim", "compa"), ["compare"])

    def test_options(self):
        self.assertEqual(completed("goshim", "run", "--maxp"), ["--maxprocs"])
        self.assertEqual(completed("goshim", "stat", "--j"), ["--json"])
        self.assertIn("--interval", completed("goshim", "stat", "-"))
        self.assertEqual(sorted(completed("goshim", "run", "--preempt", "=", "o")), ["off", "on"])

    def test_processes(self):
        with running(WAITERS) as p:
            self.assertIn(str(p.pid), completed("goshim", "stat", ""))
            self.assertIn(str(p.pid), completed("goshim", "top", str(p.pid)[0]))

    def test_programs(self):
        self.assertIn("true", completed("goshim", "run", "tru"))
        self.assertIn("true", completed("goshim", "compare", "-n", "2", "tru"))
        self.assertIn("true", completed("goshim", "run", "--maxprocs", "=", "2", "--", "tru"))

    def test_values_of_options_are_no_programs(self):
        self.assertIn("true", completed("goshim", "trace", "-o", "t.json", "tru"))
        self.assertIn("true", completed("goshim", "trace", "--keep-raw", "--json-size", "1m", "--", "tru"))
        self.assertIn("true", completed("goshim", "run", "--maxprocs", "2", "tru"))
        self.assertIn("true", completed("goshim", "run", "--stats", "tru"))
        self.assertNotIn("true", completed("goshim", "trace", "-o", "tru"))

    def test_options_takes_no_process(self):
        self.assertEqual(completed("goshim", "options", ""), [])
        self.assertEqual(completed("goshim", "stat", "-i", ""), [])


if __name__ == "__main__":
    unittest.main()
