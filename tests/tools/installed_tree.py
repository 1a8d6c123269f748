#!/usr/bin/env python3
"""Shows that an installed goshim is complete and works from where it is installed: launcher, library, header, pkg-config,
debugging information; and that make uninstall leaves nothing."""
# run: limit=120
import os
import shlex
import shutil
import stat
import subprocess
import unittest

from _programs import ASKING, BUILD, PLAIN, ROOT, STATS, STATS_LINE, Scratch, clean_environment, makefile, multiarch, packaging


def files(folder):
    return {os.path.relpath(os.path.join(where, name), folder) for where, _, names in os.walk(folder) for name in names}


class Installed(Scratch):
    def installed(self, **env):
        packaging("install", **env)

    def test_what_is_installed_and_how(self):
        self.installed(DESTDIR=self.path("root"), PREFIX="/opt/goshim")
        place = self.path("root/opt/goshim")
        found = files(place)
        for name in ("bin/goshim", "lib/libgoshim.so", "lib/.debug/libgoshim.so.debug", "lib/libgoshim.so-gdb.py",
                     "include/goshim.h", "lib/pkgconfig/goshim.pc", "share/doc/goshim/README.md",
                     "share/doc/goshim/limits.md"):
            self.assertIn(name, found)
        for source, target in (("goshim.1", "share/man/man1/goshim.1"),
                               ("completion.bash", "share/bash-completion/completions/goshim")):
            self.assertEqual(os.path.exists(os.path.join(ROOT, "launcher", source)), target in found, target)
        for name in found:
            mode = stat.S_IMODE(os.stat(os.path.join(place, name)).st_mode)
            self.assertEqual(mode, 0o755 if name == "bin/goshim" else 0o644, name)

    def test_uninstall_leaves_nothing(self):
        where = {"DESTDIR": self.path("root"), "PREFIX": "/usr"}
        self.installed(**where)
        self.assertTrue(files(self.path("root")))
        packaging("install", "--remove", **where)
        self.assertEqual(files(self.path("root")), set())

    def test_make_passes_the_places_on(self):
        told = subprocess.run(["make", "-n", "install", "DESTDIR=/a", "PREFIX=/b", "LIBDIR=/c"], cwd=ROOT, text=True,
                              capture_output=True, check=True, env=clean_environment()).stdout
        self.assertIn("DESTDIR=/a PREFIX=/b LIBDIR=/c packaging/install", told)

    def test_installing_over_itself_keeps_running_programs(self):
        where = {"PREFIX": self.path("there")}
        self.installed(**where)
        before = os.stat(self.path("there/lib/libgoshim.so")).st_ino
        self.installed(**where)
        self.assertNotEqual(os.stat(self.path("there/lib/libgoshim.so")).st_ino, before)

    def test_launcher_finds_the_library(self):
        for libdir in "lib", "lib/" + multiarch():
            prefix = self.path(libdir.replace("/", "_"))
            self.installed(PREFIX=prefix, LIBDIR=os.path.join(prefix, libdir))
            launcher = os.path.join(prefix, "bin/goshim")
            self.assertEqual(self.run_program(launcher, "--version").stdout, f"goshim {makefile('VERSION')}\n")
            if "run" not in self.run_program(launcher, "--help").stdout.split():
                continue
            program = self.compile(PLAIN, "-pthread")
            self.assertRegex(self.run_program(launcher, "run", program, env=STATS).stderr, STATS_LINE)

    def test_programs_are_built_with_it(self):
        prefix = self.path("there")
        self.installed(PREFIX=prefix)
        with open(os.path.join(prefix, "lib/pkgconfig/goshim.pc"), encoding="utf-8") as f:
            text = f.read()
        self.assertNotIn("@", text)
        values = {"${prefix}": prefix, "${libdir}": prefix + "/lib", "${includedir}": prefix + "/include"}
        flags = " ".join(line.partition(":")[2] for line in text.splitlines() if line.startswith(("Cflags", "Libs")))
        for name, value in values.items():
            flags = flags.replace(name, value)
        program = self.compile(ASKING, *shlex.split(flags), "-pthread", f"-Wl,-rpath,{prefix}/lib")
        self.assertEqual(self.run_program(program).stdout, "threads 5\n")

    @unittest.skipUnless(shutil.which("pkg-config"), "no pkg-config")
    def test_pkg_config_tells_the_flags_of_any_folder(self):
        for name in "there", "with space", "this&that|other":
            prefix = self.path(name)
            self.installed(PREFIX=prefix)
            told = self.run_program("pkg-config", "--cflags", "--libs", "goshim",
                                    env={"PKG_CONFIG_PATH": os.path.join(prefix, "lib/pkgconfig")}).stdout
            self.assertEqual(shlex.split(told), [f"-I{prefix}/include", f"-L{prefix}/lib", "-lgoshim"])

    def test_programs_are_not_started_from_where_nothing_can_be_preloaded(self):
        prefix = self.path("with space")
        self.installed(PREFIX=prefix)
        program = self.compile(PLAIN, "-pthread")
        for command in "run", "trace", "compare":
            told = self.run_program(os.path.join(prefix, "bin/goshim"), command, program, status=1)
            self.assertRegex(told.stderr, r"^goshim: [^\n]*a path with a space or a colon cannot be preloaded\n$")
        self.assertEqual([f for f in os.listdir(self.folder) if f.startswith("trace")], [])

    def test_library_is_stripped_and_its_debugging_information_is_found(self):
        self.installed(PREFIX=self.path("there"))
        library = self.path("there/lib/libgoshim.so")
        sections = subprocess.run(["readelf", "-SW", library], text=True, capture_output=True, check=True).stdout
        self.assertNotIn(".debug_info", sections)
        self.assertIn(".gnu_debuglink", sections)
        self.assertIn(".symtab", sections)  # for perf
        self.assertLess(os.path.getsize(library), os.path.getsize(os.path.join(BUILD, "libgoshim.so")) / 2)


if __name__ == "__main__":
    unittest.main()
