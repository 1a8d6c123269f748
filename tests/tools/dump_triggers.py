#!/usr/bin/env python3
"""Shows the dumps that a process makes of itself: on a signal, when all its threads are asleep, and without launcher."""
# run: limit=120
import os
import re
import signal
import subprocess
import time
import unittest

from _launcher import BUILD, LIBRARY

SCENES = os.path.join(BUILD, "behaviour/dump_scenes")


class Program:
    def __init__(self, scene, **options):
        env = dict(os.environ, LD_PRELOAD=LIBRARY, **options)
        self.errors = open(os.path.join(os.environ.get("TMPDIR", "/tmp"), f"dump_triggers.{os.getpid()}"), "w+",
                           encoding="utf-8")
        self.child = subprocess.Popen([SCENES, scene], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=self.errors, env=env, text=True)
        if scene != "asleep":
            assert self.child.stdout.readline() == "ready\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()
        self.child.stdin.close()
        self.child.stdout.close()
        self.errors.close()
        os.unlink(self.errors.name)

    def stderr(self):
        with open(self.errors.name, encoding="utf-8") as file:
            return file.read()

    def until(self, pattern, times=1):
        """What is on stderr once the pattern is there."""
        deadline = time.monotonic() + 60
        while len(re.findall(pattern, text := self.stderr())) < times:
            assert time.monotonic() < deadline and self.child.poll() is None, (self.child.returncode, text)
            time.sleep(0.02)
        return text

    def end(self):
        self.child.communicate(timeout=60)
        return self.child.returncode


class Triggers(unittest.TestCase):
    def test_the_signal_gives_a_dump_and_the_program_goes_on(self):
        for sig in signal.SIGQUIT, signal.SIGUSR1, signal.SIGRTMIN + 5:
            with Program("work", GOSHIM_DUMP_SIGNAL=str(int(sig))) as program:
                for i in range(3):
                    program.child.send_signal(sig)
                    text = program.until(r"goshim dump of PID.*\n(?:.*\n)*?\nG \d+", i + 1)
                self.assertIn(" at tests/behaviour/dump_scenes.cpp:", text)
                self.assertEqual(program.end(), 0, program.stderr())

    def test_without_stderr_there_is_no_dump_elsewhere(self):
        env = dict(os.environ, LD_PRELOAD=LIBRARY, GOSHIM_DUMP_SIGNAL=str(int(signal.SIGUSR1)))
        child = subprocess.Popen(["sh", "-c", f"exec {SCENES} work 2>&-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env,
                                 text=True)
        self.assertEqual(child.stdout.readline(), "ready\n")
        child.send_signal(signal.SIGUSR1)
        time.sleep(0.5)  # a dump that comes later is not seen, nothing else
        out, _ = child.communicate(timeout=60)
        self.assertEqual((child.returncode, out), (0, ""))

    def test_sigquit_ends_the_program_unless_asked(self):
        with Program("work") as program:
            program.child.send_signal(signal.SIGQUIT)
            self.assertEqual(program.child.wait(60), -signal.SIGQUIT)

    def test_a_signal_that_cannot_be_used_is_refused(self):
        with Program("thousand", GOSHIM_DUMP_SIGNAL="9") as program:
            self.assertIn("goshim: GOSHIM_DUMP_SIGNAL=9: this signal cannot ask for a dump\n", program.stderr())
            self.assertEqual(program.end(), 0)

    def test_without_launcher_there_is_a_plain_list(self):
        with Program("thousand", GOSHIM_DUMP_SIGNAL="3", GOSHIM_LAUNCHER="/nowhere/goshim") as program:
            program.child.send_signal(signal.SIGQUIT)
            text = program.until(r'(?m)^G 1 ')
            self.assertRegex(text, r"^goshim dump of PID \d+, without stacks: 1001 Gs, \d+ Ms, \d+ Ps\n")
            self.assertEqual(len(re.findall(r'(?m)^G \d+ "dump_scenes" \[semaphore 0x\w+, \d+ ms\] entry: 0x\w+$',
                                            text)), 1000, text[:1000])
            self.assertEqual(program.end(), 0)

    def test_a_launcher_that_fails_gives_a_plain_list(self):
        with Program("thousand", GOSHIM_DUMP_SIGNAL="3", GOSHIM_LAUNCHER="/bin/false") as program:
            program.child.send_signal(signal.SIGQUIT)
            program.until(r'(?m)^G 1 ')
            self.assertEqual(program.end(), 0)

    def test_all_asleep_is_told_once(self):
        with Program("asleep", GOSHIM_DEADLOCK="on") as program:
            text = program.until(r"(?s)goshim: all Gs are asleep.*which waits for mutex.*entry: .*spend")
            self.assertIn("which waits for mutex", text)
            time.sleep(1)
            self.assertEqual(program.stderr().count("goshim: all Gs are asleep"), 1)

    def test_what_can_still_be_woken_is_not_asleep(self):
        for scene in "deadlock", "waits", "region", "spin":  # main reads, sleeps, is in the kernel, computes
            with Program(scene, GOSHIM_DEADLOCK="on") as program:
                time.sleep(1)
                self.assertEqual(program.end(), 0)
                self.assertEqual(program.stderr(), "")


if __name__ == "__main__":
    unittest.main()
