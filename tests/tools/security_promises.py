#!/usr/bin/env python3
"""Shows what docs/security.md promises: a program with raised privileges takes no preload and no option from its user, no file
is made, and what stays open is closed on exec."""
import os
import subprocess
import tempfile
import unittest

from _programs import ASKING, BUILD, PLAIN, PRELOADED, ROOT, STATS, Scratch, clean_environment

NOBODY = 65534

# Makes a thread, and then becomes a program that lists the descriptors it has been left.
LEAVING = r"""
#include <pthread.h>
#include <unistd.h>

static void* body(void* arg) { return arg; }

int main(void) {
  pthread_t thread;
  if (pthread_create(&thread, 0, body, 0) != 0 || pthread_join(thread, 0) != 0) return 1;
  execl("/bin/ls", "ls", "-l", "/proc/self/fd", (char*)0);
  return 1;
}
"""


class Security(Scratch):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(dir="/tmp")  # where other users may go: TMPDIR may lie in a private folder
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def privileged(self, program):
        """Owned by root and set-user-id, in a folder that all may enter."""
        if os.getuid() != 0 or os.statvfs(self.folder).f_flag & os.ST_NOSUID:
            self.skipTest("needs root, and a folder for set-user-id programs")
        os.chmod(self.folder, 0o755)
        os.chmod(program, 0o4755)
        return program

    def run_as_nobody(self, program, **env):
        run = subprocess.run([program], text=True, capture_output=True, check=False, timeout=60, cwd="/", user=NOBODY,
                             group=NOBODY, extra_groups=[], env=clean_environment(**env))
        self.assertEqual(run.returncode, 0, run.stderr)
        return run

    def test_privileged_program_is_not_preloaded(self):
        program = self.privileged(self.compile(PLAIN, "-pthread"))
        told = self.run_as_nobody(program, **PRELOADED, **STATS)
        self.assertNotIn("goshim: stats", told.stderr)

    def test_privileged_program_takes_no_options(self):
        # Linked with a copy that all may read.
        library = self.path("libgoshim.so")
        with open(os.path.join(BUILD, "libgoshim.so"), "rb") as f, open(library, "wb") as copy:
            copy.write(f.read())
        os.chmod(library, 0o644)
        program = self.compile(ASKING, "-I" + os.path.join(ROOT, "interpose"), "-L" + self.folder, "-lgoshim",
                               "-Wl,-rpath," + self.folder, "-pthread")
        options = {"GOSHIM": "off", "GOSHIM_STATS": "on", "GOSHIM_NONSENSE": "1"}
        told = self.run_program(program, env=options)
        self.assertEqual(told.stdout, "native\n")
        self.assertIn("no such option", told.stderr)
        told = self.run_as_nobody(self.privileged(program), **options)
        self.assertEqual((told.stdout, told.stderr), ("threads 5\n", ""))

    def test_no_file_is_made(self):
        program = self.compile(PLAIN, "-pthread")
        with tempfile.TemporaryDirectory() as empty:
            env = clean_environment(HOME=empty, TMPDIR=empty, XDG_RUNTIME_DIR=empty, **PRELOADED, **STATS)
            told = subprocess.run([program], cwd=empty, env=env, text=True, capture_output=True, check=True)
            self.assertIn("goshim: stats", told.stderr)
            self.assertEqual(os.listdir(empty), [])

    def test_descriptors_are_closed_on_exec(self):
        program = self.compile(LEAVING, "-pthread")
        native = self.run_program(program).stdout
        # The new program is under goshim too, but has made no thread.
        shimmed = self.run_program(program, env=PRELOADED).stdout
        count = [sum("->" in line for line in text.splitlines()) for text in (native, shimmed)]
        self.assertEqual(count[0], count[1], shimmed)

    def test_library_is_hardened(self):
        library = os.path.join(BUILD, "libgoshim.so")
        dynamic = subprocess.run(["readelf", "-dlW", library], text=True, capture_output=True, check=True).stdout
        self.assertIn("GNU_RELRO", dynamic)
        self.assertRegex(dynamic, "BIND_NOW|FLAGS.*NOW")
        self.assertRegex(dynamic, r"GNU_STACK.* RW  ")
        self.assertNotIn("RUNPATH", dynamic)


if __name__ == "__main__":
    unittest.main()
