#!/usr/bin/env python3
"""Shows that the launcher names its commands, prints help and version, and refuses what it does not know."""
import unittest

from _launcher import goshim


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


if __name__ == "__main__":
    unittest.main()
