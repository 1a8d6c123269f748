#!/usr/bin/env python3
"""Shows that `goshim run` preloads the library, turns options into the library's variables, passes the program's end
on, and says why a program cannot be reached."""
import os
import signal
import stat
import unittest

from _launcher import LIBRARY, goshim
from _watched import WAITERS, compiled, path


def patched(name, original, offset, value):
    """A copy of a program with some bytes of it changed."""
    with open(original, "rb") as f:
        data = bytearray(f.read())
    data[offset:offset + len(value)] = value
    with open(path(name), "wb") as f:
        f.write(data)
    os.chmod(path(name), 0o755)
    return path(name)


def script(name, text):
    with open(path(name), "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path(name), 0o755)
    return path(name)


class Run(unittest.TestCase):
    def env(self, **more):
        clean = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD" and not k.startswith("GOSHIM")}
        return {**clean, **more}

    def reason(self, *command):
        """What run says of a program; it must be one line."""
        told = goshim("run", *command)
        self.assertRegex(told.stderr, r"^goshim: [^\n]*\n", command)
        return told

    def test_the_program_runs_under_goshim(self):
        told = goshim("run", "--stats", "--maxprocs=3", "--", WAITERS)
        self.assertEqual(told.stdout, "ready\n")
        told = goshim("run", "--stats", "--maxprocs=3", "--", "true")
        self.assertIn("goshim: stats:", told.stderr)

    def test_exit_status_is_the_programs_own(self):
        self.assertEqual(goshim("run", "sh", "-c", "exit 7").returncode, 7)
        self.assertEqual(goshim("run", "sh", "-c", "kill -TERM $$").returncode, -signal.SIGTERM)

    def test_every_option_of_the_table_is_one_of_run(self):
        told = goshim("run", "--help").stdout
        names = [line for line in goshim("options").stdout.splitlines() if line.startswith("GOSHIM")]
        self.assertGreater(len(names), 5)
        for name in names:
            self.assertIn("--" + name.removeprefix("GOSHIM_").lower().replace("_", "-"), told)

    def test_options_become_variables(self):
        told = goshim("run", "--maxprocs", "3", "--stack-size=64k", "--verbose", "--preempt=off", "--goshim=off", "env",
                      env=self.env()).stdout
        for line in ("GOSHIM_MAXPROCS=3", "GOSHIM_STACK_SIZE=64k", "GOSHIM_VERBOSE=on", "GOSHIM_PREEMPT=off",
                     "GOSHIM=off"):
            self.assertIn(line + "\n", told)
        self.assertNotIn("GOSHIM_CHAOS", told)

    def test_bad_options_are_refused(self):
        for bad in (["--maxprocs=many"], ["--maxprocs", "1000000"], ["--preempt=maybe"], ["--fly"], ["--maxprocs"]):
            told = goshim("run", *bad, "true")
            self.assertEqual(told.returncode, 2, bad)
            self.assertNotEqual(told.stderr, "")
        self.assertIn("accepted is a number from 0 to", goshim("run", "--maxprocs=many", "true").stderr)
        self.assertEqual(goshim("run").returncode, 2)

    def test_options_of_the_program_are_its_own(self):
        self.assertEqual(goshim("run", "echo", "--stats", "-x").stdout, "--stats -x\n")
        self.assertEqual(goshim("run", "--", "printf", "%s", "--help").stdout, "--help")

    def test_what_is_preloaded_already_stays(self):
        told = goshim("run", "printenv", "LD_PRELOAD", env=self.env(LD_PRELOAD="libm.so.6 libdl.so.2"))
        self.assertEqual(told.stdout, LIBRARY + ":libm.so.6:libdl.so.2\n")
        told = goshim("run", "printenv", "LD_PRELOAD", env=self.env(LD_PRELOAD=LIBRARY))
        self.assertEqual(told.stdout, LIBRARY + "\n")

    def test_not_found(self):
        for missing in ("no-such-program", "/no/such/program"):
            told = self.reason(missing)
            self.assertEqual(told.returncode, 127)
            self.assertIn(missing, told.stderr)

    def test_not_executable(self):
        self.assertEqual(self.reason("/etc/passwd").returncode, 126)
        self.assertEqual(self.reason("/etc").returncode, 126)

    def test_static(self):
        program = compiled("static", "int main(void) { return 5; }", "-static")
        told = self.reason(program)
        self.assertIn("statically linked", told.stderr)
        self.assertEqual(told.returncode, 5)

    def test_other_libc(self):
        musl = compiled("musl", "int main(void) { return 5; }", "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1")
        self.assertIn("musl", self.reason(musl).stderr)
        other = compiled("other", "int main(void) { return 5; }", "-Wl,--dynamic-linker=/lib/loader.so")
        self.assertIn("/lib/loader.so", self.reason(other).stderr)

    def test_other_kinds_of_machine(self):
        self.assertIn("32-bit", self.reason(patched("narrow", WAITERS, 4, b"\1")).stderr)
        s390 = 22
        self.assertIn("processor", self.reason(patched("other-machine", WAITERS, 18, bytes([s390, 0]))).stderr)

    def test_go(self):
        go = compiled("go", r"""
            __asm__(".pushsection .note.go.buildid, \"a\", @note\n .balign 4\n .long 4, 4, 4\n"
                    " .asciz \"Go\\0\"\n .long 0\n .popsection\n");
            int main(void) { return 5; }""")
        told = self.reason(go)
        self.assertIn("Go program", told.stderr)
        self.assertEqual(told.returncode, 5)

    @unittest.skipUnless(os.geteuid() == 0, "needs another user's file")
    def test_set_user_id(self):
        program = compiled("suid", "int main(void) { return 5; }")
        os.chown(program, 1, 1)
        os.chmod(program, stat.S_ISUID | 0o755)
        told = self.reason(program)
        self.assertIn("set-user-ID", told.stderr)
        self.assertEqual(told.returncode, 5)

    def test_a_script_is_what_its_interpreter_is(self):
        static = compiled("interpreter", "int main(void) { return 5; }", "-static")
        self.assertIn("statically linked", self.reason(script("by-path", f"#! {static} -x\n")).stderr)
        self.assertIn("statically linked", self.reason(script("by-env", f"#!/usr/bin/env {static}\n")).stderr)
        told = goshim("run", script("shell", '#!/bin/sh\necho "$0 $1"\n'), "x")
        self.assertEqual((told.stdout, told.stderr), (path("shell") + " x\n", ""))
        told = self.reason(script("lost", "#!/no/such/interpreter\n"))
        self.assertIn("/no/such/interpreter", told.stderr)
        self.assertEqual(told.returncode, 127)

    def test_a_script_without_first_line_is_the_shells(self):
        self.assertEqual(goshim("run", script("plain", "exit 4\n")).returncode, 4)


if __name__ == "__main__":
    unittest.main()
