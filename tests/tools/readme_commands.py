#!/usr/bin/env python3
"""Shows that what README.md tells to type exists: make's targets, the launcher's commands, options, documents."""
import os
import re
import subprocess
import unittest

from _launcher import goshim
from _programs import ROOT


class Readme(unittest.TestCase):
    def setUp(self):
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
            self.text = f.read()

    def test_targets_of_make(self):
        targets = set(re.findall(r"^    make ([a-z-]+)", self.text, re.MULTILINE))
        self.assertGreater(len(targets), 8)
        for target in targets:
            told = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
            self.assertEqual(told.returncode, 0, told.stderr)

    def test_commands_of_the_launcher(self):
        commands = set(re.findall(r"^    goshim ([a-z]+) ", self.text, re.MULTILINE))
        self.assertGreater(len(commands), 5)
        for command in commands:
            self.assertEqual(goshim(command, "--help").returncode, 0, command)

    def test_options(self):
        options = goshim("options").stdout.split("\n")
        for name in set(re.findall(r"`(GOSHIM\w*)=", self.text)):
            self.assertIn(name, options)

    def test_preload_line(self):
        line = re.search(r"LD_PRELOAD=(\S+) ", self.text)[1]
        library = os.path.join(os.environ["BUILD"], os.path.basename(line))
        self.assertEqual(subprocess.run(["true"], env={**os.environ, "LD_PRELOAD": library}, check=False).returncode, 0)

    def test_documents(self):
        for name in re.findall(r"`(?:docs/)?([a-z-]+\.md)`", self.text):
            self.assertTrue(os.path.exists(os.path.join(ROOT, "docs", name)), name)


if __name__ == "__main__":
    unittest.main()
