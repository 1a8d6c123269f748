#!/usr/bin/env python3
"""Shows that `goshim top` draws what runs under goshim, obeys its key, and leaves the terminal as it was."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unittest

from _launcher import LAUNCHER, goshim
from _watched import WAITERS, running


class Terminal:
    """goshim top on a terminal of its own."""

    def __init__(self, *args, columns=200):
        self.ours, theirs = pty.openpty()
        self.theirs = theirs
        self.before = termios.tcgetattr(theirs)
        self.seen = ""
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen([LAUNCHER, "top", *args], stdin=theirs, stdout=theirs, stderr=theirs,
                                        process_group=0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)

    def until(self, pattern):
        """Reads until the pattern is there."""
        end = time.monotonic() + 20
        while not re.search(pattern, self.seen):
            if not select.select([self.ours], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"not seen: {pattern} in {self.seen!r}")
            self.seen += os.read(self.ours, 65536).decode()

    def ends(self):
        return self.process.wait(20)


class Top(unittest.TestCase):
    def test_all_processes(self):
        with running(WAITERS, "20") as a, running(WAITERS, "30") as b, Terminal("-d", "0.1") as t:
            t.until(r"THREADS")
            t.until(rf"\b{a.pid} waiters +29 ")
            t.until(rf"\b{b.pid} waiters +39 ")
            os.write(t.ours, b"q")
            self.assertEqual(t.ends(), 0)

    def test_narrow_terminals_have_whole_columns(self):
        important = {"PID", "NAME", "THREADS"}
        for columns in (200, 96, 80, 60, 40):
            with running(WAITERS, "20") as p, Terminal("-d", "0.1", columns=columns) as t:
                t.until(rf"\b{p.pid} waiters +29 [^\n]*\n[\s\S]*goshim top")
                for line in re.split(r"\033\[H|\r\n", t.seen):
                    self.assertTrue("\033[7m" not in line or "\033[0m" in line.split("\033[7m")[1], line)
                    shown = re.sub(r"\033\[[?0-9;]*[A-Za-z]|\r", "", line)
                    self.assertNotIn("\033", shown)
                    self.assertLessEqual(len(shown), columns)
                    if shown.split()[:1] == ["PID"]:
                        self.assertLessEqual(important, set(shown.split()))
                        if columns >= 80:
                            self.assertIn("99%", shown.split())
                os.write(t.ours, b"q")
                self.assertEqual(t.ends(), 0)

    def test_a_stopped_one_leaves_the_terminal_and_takes_it_again(self):
        with Terminal("-d", "0.1") as t:
            t.until(r"goshim top")
            t.process.send_signal(signal.SIGTSTP)
            t.until(r"\033\[\?25h\033\[\?1049l")
            _, status = os.waitpid(t.process.pid, os.WUNTRACED)
            self.assertTrue(os.WIFSTOPPED(status))
            self.assertEqual(termios.tcgetattr(t.theirs), t.before)
            t.process.send_signal(signal.SIGCONT)
            t.until(r"1049l[\s\S]*\033\[\?1049h[\s\S]*goshim top")
            self.assertNotEqual(termios.tcgetattr(t.theirs), t.before)
            os.write(t.ours, b"q")
            self.assertEqual(t.ends(), 0)

    def test_one_process(self):
        with running(WAITERS, "20") as p, Terminal("-d", "0.1", str(p.pid)) as t:
            t.until(r"threads   29: ")
            t.until(r"CPU  ")  # the second screen
            os.write(t.ours, b"q")
            self.assertEqual(t.ends(), 0)

    def test_a_process_that_ends_is_told(self):
        with running(WAITERS) as p, Terminal("-d", "0.1", str(p.pid)) as t:
            t.until(r"threads  ")
            p.stdin.close()
            p.wait()
            t.until(rf"process {p.pid} has ended")
            self.assertEqual(t.ends(), 0)

    def test_the_terminal_is_left_as_it_was(self):
        for end in (lambda t: os.write(t.ours, b"q"), lambda t: t.process.send_signal(signal.SIGTERM)):
            with Terminal("-d", "0.1") as t:
                t.until(r"goshim top")
                self.assertNotEqual(termios.tcgetattr(t.theirs), t.before)
                end(t)
                t.until(r"\033\[\?1049l")
                self.assertEqual(t.ends(), 0)
                self.assertEqual(termios.tcgetattr(t.theirs), t.before)

    def test_without_a_terminal(self):
        told = goshim("top")
        self.assertEqual(told.returncode, 1)
        self.assertIn("needs a terminal", told.stderr)

    def test_bad_arguments(self):
        for bad in (["x"], ["1", "2"], ["-d", "0"], ["--fly"]):
            self.assertEqual(goshim("top", *bad).returncode, 2, bad)


if __name__ == "__main__":
    unittest.main()
