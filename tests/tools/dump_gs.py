#!/usr/bin/env python3
"""Shows what goshim dump tells of a process: stacks, waits, holders, cycles; and that the process goes on undisturbed."""
# run: limit=240
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from _launcher import BUILD, LAUNCHER, LIBRARY, goshim

SCENES = os.path.join(BUILD, "behaviour/dump_scenes")
SOURCE = "tests/behaviour/dump_scenes.cpp"


class Scene:
    """A scene of dump_scenes under goshim, standing; its end is checked."""

    def __init__(self, name, program=SCENES, **options):
        env = {**os.environ, "LD_PRELOAD": LIBRARY, **options}
        self.child = subprocess.Popen([program, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, env=env, text=True)
        assert self.child.stdout.readline() == "ready\n", self.child.communicate()

    def __enter__(self):
        return self

    def __exit__(self, *failed):
        try:
            _, self.stderr = self.child.communicate(timeout=60)
        finally:
            self.child.kill()
        assert failed[0] or self.child.returncode == 0, (self.child.returncode, self.stderr)

    @property
    def pid(self):
        return self.child.pid

    def memory(self):
        """Of each kind so many KiB."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return {name: int(size) for name, size in re.findall(r"^(Vm\w+):\s+(\d+) kB$", status.read(), re.M)}

    def dump(self, *options):
        told = goshim("dump", *options, str(self.pid))
        assert told.returncode == 0 and told.stderr == "", (told.returncode, told.stderr)
        return told.stdout


def groups(dump):
    """The parts of a dump behind its head."""
    return dump.split("\n\n")[1:]


def group_with(dump, frame):
    found = [g for g in groups(dump) if frame in g]
    assert len(found) == 1, dump
    return found[0]


def line_of(text):
    with open(SOURCE, encoding="utf-8") as source:
        return 1 + next(i for i, line in enumerate(source) if text in line)


def settled(scene, wanted, *options):
    """A dump that shows what is wanted: a thread on its way to its place may need a moment more."""
    deadline = time.monotonic() + 20
    while True:
        dump = scene.dump(*options)
        if wanted(dump) or time.monotonic() > deadline:
            return dump
        time.sleep(0.1)


class Dump(unittest.TestCase):
    def test_deadlock_shows_the_cycle_and_both_stacks(self):
        with Scene("deadlock") as scene:
            dump = settled(scene, lambda d: d.count("[mutex ") == 2)
        self.assertRegex(dump, r"^goshim dump of PID \d+ \(dump_scenes\), [-0-9]+ [:0-9]+: 3 Gs, \d+ Ms, \d+ Ps\n")
        cycle = re.search(r"^deadlock: G (\d+) waits for mutex (0x\w+) \(.*\), held by G (\d+), "
                          r"which waits for mutex (0x\w+) \(.*\), held by G (\d+)$", dump, re.M)
        self.assertTrue(cycle, dump)
        first, wants, second, other, back = cycle.groups()
        self.assertEqual({first, second}, {"2", "3"})
        self.assertEqual(back, first)
        for g, mutex, holder in (first, wants, second), (second, other, first):
            self.assertRegex(dump, rf"(?m)^mutex {mutex} .*: held by G {holder}; 1 G waits for it: {g}$")
            self.assertRegex(dump, rf'(?m)^G {g} ".*" \[mutex {mutex} .*, held by G {holder}.*\]:$')
        transfer = rf"transfer\(.*\) at {SOURCE}:{line_of('pthread_mutex_lock(&to->lock)')}\n"
        for name in "save", "spend":
            self.assertRegex(group_with(dump, f"{name}(void*)"),
                             rf"\]:\n  .*{transfer}  .*{name}\(void\*\) at {SOURCE}:\d+\n  entry: .*{name}")
        self.assertIn('"saver" [', dump)

    def test_holders_that_no_object_names(self):
        with Scene("holders") as scene:
            dump = settled(scene, lambda d: d.count("[mutex ") == 2 and "[rwlock " in d and "[once " in d and
                           "[running" not in d)
        self.assertRegex(dump, r"(?m)^mutex 0x\w+ \(.*early\): held by G 1, since before the first thread was made; "
                               r"2 Gs wait for it: \d+, \d+$")
        self.assertRegex(dump, r"(?m)^rwlock 0x\w+ \(.*rwlock\): held by 1 reader, which are not noted; 1 G waits for it: \d+$")
        once = re.search(r"^once 0x\w+ \(.*once_only\): held by G (\d+); 1 G waits for it: (\d+)$", dump, re.M)
        self.assertTrue(once, dump)
        self.assertRegex(dump, rf'(?m)^G {once[1]} ".*" \[mutex ')
        self.assertIn(f'G {once[2]} "a?[2J?G 99" [once ', dump)

    def test_files_that_have_been_replaced_are_still_read(self):
        with tempfile.TemporaryDirectory() as folder:
            library, program = os.path.join(folder, "libgoshim.so"), os.path.join(folder, "dump_scenes")
            shutil.copy(LIBRARY, library)
            shutil.copy(SCENES, program)
            with Scene("deadlock", program=program, LD_PRELOAD=library) as scene:
                for file in library, program:
                    os.unlink(file)
                    shutil.copy("/bin/true", file)
                told = goshim("dump", str(scene.pid))
                if os.geteuid() != 0:  # only root is let at what is mapped
                    self.assertIn("cannot be read, or has been replaced", told.stderr)
                    return
                dump = settled(scene, lambda d: d.count("[mutex ") == 2)
        self.assertRegex(dump, r"transfer\(.*\) at ")

    def test_a_thousand_identical_stacks_are_one(self):
        with Scene("thousand") as scene:
            dump = settled(scene, lambda d: "999 Gs like it" in d)
            before = scene.memory()
            few = scene.dump("--limit", "10")
            scene.dump("--limit", "0")
            after = scene.memory()
        # Reading the unused part of a stack would give it page tables.
        for kind, most in ("VmPTE", 256), ("VmRSS", 2048):
            self.assertLess(after[kind] - before[kind], most, kind)
        # Each P gives its own numbers.
        self.assertRegex(group_with(dump, "wait_like_the_others"), r"\n999 Gs like it: [-0-9, ]+$")
        self.assertIn("[semaphore 0x", group_with(dump, "wait_like_the_others"))
        self.assertIn("without the stacks of the last 991 Gs", few)

    def test_spinning_threads_show_where_they_spin(self):
        for procs in "1", "2":
            with Scene("spin", GOSHIM_MAXPROCS=procs) as scene:
                dump = settled(scene, lambda d: "preempted" in d)
            spinning = [g for g in groups(dump) if "spin_for_long" in g]
            self.assertTrue(spinning, dump)
            self.assertTrue(any("[runnable, preempted]" in g for g in spinning), dump)
            for g in spinning:
                self.assertRegex(g, rf"\]:\n(  std::.*\n)*  \(anonymous namespace\)::spin_for_long\(\) at {SOURCE}:\d+\n")
            with Scene("spin", GOSHIM_MAXPROCS=procs) as scene:
                whole = settled(scene, lambda d: "goshim_inject_entry" in d, "--runtime")
            self.assertIn("goshim_inject_entry", whole)

    def test_a_thread_in_the_kernel_shows_its_call(self):
        with Scene("region") as scene:
            dump = settled(scene, lambda d: "[syscall" in d)
        self.assertRegex(group_with(dump, "open_the_fifo"), r"\[syscall openat?, on M \d+\]:\n  .*open_the_fifo")

    def test_a_thread_of_the_kernel_is_not_taken_for_one_of_the_program(self):
        # It has the registers of the thread that submitted to the io_uring, as they were.
        with Scene("ring", GOSHIM_MAXPROCS="1") as scene:
            dump = settled(scene, lambda d: "[io fd" in d)
        self.assertRegex(group_with(dump, "wait_with_a_ring"), r"\[io fd \d+(, \d+ seconds?)?(, locked to M \d+)?\]:\n  .*wait_with_a_ring")

    def test_every_wait_tells_its_reason_and_object(self):
        with Scene("waits") as scene:
            dump = settled(scene, lambda d: d.count(" [join G") == 1 and " [sleep" in d)
        g = {frame: group_with(dump, frame) for frame in ("read_the_table", "await_change", "read_the_pipe", "doze")}
        self.assertRegex(g["read_the_table"], r"\[rwlock 0x\w+ \(.*table\), held by G 1")
        self.assertRegex(g["await_change"], r"\[cond 0x\w+ \(.*changed\)")
        self.assertIn("[io fd 77", g["read_the_pipe"])
        self.assertIn("[sleep, 9 minutes left", g["doze"])
        reader = g["read_the_pipe"].split()[1]
        self.assertIn(f"[join G {reader}", dump)
        self.assertNotIn("deadlock:", dump)
        self.assertNotIn("goshim::", dump)
        self.assertIn("goshim::park(", goshim_frames(scene_name="waits"))

    def test_waiting_times_are_told(self):
        with Scene("waits") as scene:
            dump = settled(scene, lambda d: re.search(r"await_change.*", d) and re.search(r"\[cond .* seconds?\]", d))
        self.assertRegex(dump, r"\[cond 0x.*, \d+ seconds?\]")

    def test_a_process_that_is_looked_at_goes_on_undisturbed(self):
        for procs in "1", "4":
            with Scene("work", GOSHIM_MAXPROCS=procs) as scene:
                for _ in range(25):
                    dump = scene.dump()
                    self.assertIn(": 9 Gs, ", dump)
            self.assertEqual(scene.stderr, "")

    def test_dumping_ends_with_the_dumper(self):
        with Scene("work") as scene:
            for delay in range(9):
                dumper = subprocess.Popen([LAUNCHER, "dump", str(scene.pid)], stdout=subprocess.DEVNULL)
                time.sleep(delay / 100)
                dumper.send_signal((signal.SIGTERM, signal.SIGINT, signal.SIGKILL)[delay % 3])
                dumper.wait()
            with open(f"/proc/{scene.pid}/status", encoding="ascii") as status:
                self.assertIn("TracerPid:\t0\n", status.read())

    def test_what_cannot_be_dumped_says_why(self):
        for args, status, why in (
                ([], 2, "one process id is wanted"),
                (["x"], 2, "no process id: x"),
                (["--limit", "many", "1"], 2, "--limit takes a number"),
                ([str(2 ** 22 + 1)], 1, "no process 4194305"),
                ([str(os.getpid())], 1, "does not run under goshim")):
            told = goshim("dump", *args)
            self.assertEqual(told.returncode, status, told.stderr)
            self.assertIn(why, told.stderr)
            self.assertEqual(told.stdout, "")
        child = subprocess.Popen(["sleep", "60"], env=dict(os.environ, LD_PRELOAD=LIBRARY))
        try:
            deadline = time.monotonic() + 20
            while "natively" not in (told := goshim("dump", str(child.pid))).stderr:
                self.assertLess(time.monotonic(), deadline, told.stderr)
            self.assertIn("runs natively so far: it has made no thread", told.stderr)
        finally:
            child.kill()
            child.wait()

    def test_python_shows_its_threads(self):
        program = ("import threading, time, sys\n"
                   "lock = threading.Lock(); lock.acquire()\n"
                   "for _ in range(20): threading.Thread(target=lock.acquire, daemon=True).start()\n"
                   "print('ready', flush=True); sys.stdin.read(); print(sum(range(1000)))\n")
        child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 env=dict(os.environ, LD_PRELOAD=LIBRARY), text=True)
        try:
            self.assertEqual(child.stdout.readline(), "ready\n")
            told = goshim("dump", str(child.pid))
            self.assertIn(": 21 Gs, ", told.stdout, told.stderr)
            self.assertIn("PyThread_acquire_lock_timed", told.stdout)
            self.assertIn("Gs like it", told.stdout)
            self.assertEqual(child.communicate(timeout=60)[0], "499500\n")
            self.assertEqual(child.returncode, 0)
        finally:
            child.kill()


def goshim_frames(scene_name):
    with Scene(scene_name) as scene:
        return scene.dump("--runtime")


if __name__ == "__main__":
    unittest.main()
