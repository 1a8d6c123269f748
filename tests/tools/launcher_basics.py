#!/usr/bin/env python3
"""Shows that the launcher names its commands, prints help and version, and refuses what it does not know."""
import subprocess
import unittest

from _launcher import LAUNCHER, goshim
from _watched import WAITERS, running


class Basics(unittest.TestCase):
    def test_help_names_every_command(self):
        told = goshim("--help")
        self.assertEqual(told.returncode, 0)
        for line in told.stdout.splitlines():
            if not line.startswith("  "):
                continue
            command = line.split()[0]
            self.assertIn(command, goshim(command, "--help").stdout)

    def test_version(self):
        self.assertRegex(goshim("--version").stdout, r"^goshim \d+\.\d+\.\d+\n$")

    def test_unknown_command_is_an_error(self):
        told = goshim("fly")
        self.assertEqual(told.returncode, 2)
        self.assertIn("goshim: no such command: fly", told.stderr)

    def test_no_command_is_an_error(self):
        self.assertEqual(goshim().returncode, 2)

    def test_unknown_option_is_an_error(self):
        self.assertEqual(goshim("options", "--fly").returncode, 2)

    def test_options_lists_the_table(self):
        told = goshim("options")
        self.assertEqual(told.returncode, 0)
        self.assertIn("GOSHIM_MAXPROCS\n", told.stdout)
        self.assertIn("default on", told.stdout)

    def test_what_cannot_be_written_is_told(self):
        with running(WAITERS) as p:
            for args in (["options"], ["--help"], ["run", "--help"], ["stat", str(p.pid)], ["compare", "-n", "1", "true"]):
                with open("/dev/full", "w", encoding="utf-8") as full:
                    told = subprocess.run([LAUNCHER, *args], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
                self.assertEqual(told.returncode, 1, args)
                self.assertEqual(told.stderr, "goshim: standard output cannot be written\n", args)


if __name__ == "__main__":
    unittest.main()
