#!/usr/bin/env python3
"""Shows that the Debian package is sound (fields, dependencies, owners, modes, sums) and that what is in it works, unpacked
in an empty folder."""
# run: limit=240
import hashlib
import os
import re
import subprocess
import unittest

from _programs import ASKING, PLAIN, ROOT, STATS, STATS_LINE, Scratch, makefile, multiarch, need, packaging


def output(*command):
    return subprocess.run(command, text=True, capture_output=True, check=True).stdout


class Package(Scratch):
    @classmethod
    def setUpClass(cls):
        cls.package = packaging("deb")
        cls.addClassCleanup(os.remove, cls.package)

    def setUp(self):
        super().setUp()
        subprocess.run(["dpkg-deb", "-x", self.package, self.path("root")], check=True)
        self.library = self.path("root/usr/lib", multiarch(), "libgoshim.so")

    def field(self, name):
        return output("dpkg-deb", "-f", self.package, name).strip()

    def test_fields(self):
        self.assertEqual(self.field("Package"), "goshim")
        self.assertEqual(self.field("Version"), makefile("VERSION"))
        self.assertEqual(self.field("Architecture"), output("dpkg", "--print-architecture").strip())
        self.assertEqual(self.field("Maintainer"), "The goshim authors <authors@goshim.invalid>")
        self.assertRegex(self.field("Depends"), r"\blibc6 \(>= 2\.\d+\)")
        self.assertRegex(self.field("Depends"), r"\blibstdc\+\+6 \(>= ")
        self.assertGreater(int(self.field("Installed-Size")), 100)
        summary, *rest = self.field("Description").splitlines()
        self.assertLess(len(summary), 80)
        self.assertTrue(rest and all(len(line) <= 80 and line.startswith(" ") for line in rest))
        self.assertNotIn("@", output("dpkg-deb", "-f", self.package).replace("authors@goshim.invalid", ""))

    def test_owners_and_modes(self):
        for line in output("dpkg-deb", "-c", self.package).splitlines():
            mode, owner, *_, name = line.split(None, 5)
            self.assertEqual(owner, "root/root", line)
            runs = name == "./usr/bin/goshim"
            self.assertEqual(mode, "drwxr-xr-x" if mode[0] == "d" else "-rwxr-xr-x" if runs else "-rw-r--r--", line)
            self.assertTrue(name.startswith("./usr/") or name in ("./", "./usr/"), line)

    def test_sums(self):
        output("dpkg-deb", "-e", self.package, self.path("control"))
        with open(self.path("control/md5sums"), encoding="utf-8") as f:
            sums = {name: digest for digest, name in (line.split(maxsplit=1) for line in f.read().splitlines())}
        root = self.path("root")
        found = {os.path.relpath(os.path.join(where, name), root) for where, _, names in os.walk(root) for name in names}
        self.assertEqual(set(sums), found)
        for name, digest in sums.items():
            with open(os.path.join(root, name), "rb") as f:
                self.assertEqual(hashlib.md5(f.read()).hexdigest(), digest, name)

    def test_documents(self):
        documents = set(os.listdir(self.path("root/usr/share/doc/goshim")))
        with open(self.path("root/usr/share/doc/goshim/copyright"), encoding="utf-8") as f:
            told = f.read()
        with open(os.path.join(ROOT, "LICENSE"), encoding="utf-8") as f:
            licence = f.read()
        self.assertIn("Copyright: 2026 The goshim authors", told)
        for line in licence.partition("\n\n")[2].splitlines()[1:]:
            self.assertIn(line, told)
        self.assertLessEqual({"copyright", "changelog.gz", "README.md", "limits.md"}, documents)
        self.assertTrue(os.path.exists(self.path(f"root/usr/share/gdb/auto-load/usr/lib/{multiarch()}/libgoshim.so-gdb.py")))

    def test_same_source_same_package(self):
        with open(self.package, "rb") as f:
            first = f.read()
        with open(packaging("deb"), "rb") as f:
            self.assertEqual(first, f.read())

    def test_unpacked_it_works(self):
        launcher = self.path("root/usr/bin/goshim")
        self.assertEqual(self.run_program(launcher, "--version").stdout, f"goshim {makefile('VERSION')}\n")
        self.assertIn("GOSHIM_MAXPROCS", self.run_program(launcher, "options").stdout)
        plain = self.compile(PLAIN, "-pthread", name="plain")
        self.assertRegex(self.run_program(plain, env={**STATS, "LD_PRELOAD": self.library}).stderr, STATS_LINE)
        include = self.path("root/usr/include")
        linked = self.compile(ASKING, "-I" + include, self.library, "-pthread", name="linked")
        where = os.path.dirname(self.library)
        self.assertEqual(self.run_program(linked, env={"LD_LIBRARY_PATH": where}).stdout, "threads 5\n")

    def test_dpkg_installs_and_removes_it(self):
        if os.getuid() != 0:
            self.skipTest("not root")
        root = self.path("system")
        os.makedirs(os.path.join(root, "var/lib/dpkg/info"))
        os.makedirs(os.path.join(root, "var/lib/dpkg/updates"))
        open(os.path.join(root, "var/lib/dpkg/status"), "w", encoding="utf-8").close()
        dpkg = ("dpkg", "--root", root, "--force-not-root", "--force-depends", "--log=" + self.path("log"))
        self.run_program(*dpkg, "-i", self.package)
        self.assertRegex(self.run_program(*dpkg, "-s", "goshim").stdout, "Status: install ok")
        self.assertEqual(self.run_program(*dpkg, "--verify", "goshim").stdout, "")
        self.assertTrue(self.run_program(os.path.join(root, "usr/bin/goshim"), "--version").stdout)
        self.run_program(*dpkg, "-r", "goshim")
        left = [name for where, _, names in os.walk(os.path.join(root, "usr")) for name in names]
        self.assertEqual(left, [])


if __name__ == "__main__":
    need("dpkg", "dpkg-deb", "dpkg-shlibdeps")
    unittest.main()
