#!/usr/bin/env python3
"""Shows that a program linked with -lgoshim, or made to need it afterwards, is under goshim as if it were preloaded:
whatever the order of libraries, in C and C++, with other libraries that make threads."""
import os
import re
import shutil
import subprocess
import unittest

from _programs import ASKING, BUILD, PLAIN, ROOT, STATS, STATS_LINE, Scratch, need

INCLUDE = "-I" + os.path.join(ROOT, "interpose")
LINK = ["-L" + BUILD, "-Wl,-rpath," + BUILD]

CXX = r"""
#include <condition_variable>
#include <future>
#include <thread>
#include <vector>

int main() {
  std::vector<std::future<int>> made;
  for (int i = 0; i < 4; i++) made.push_back(std::async(std::launch::async, [i] { return i; }));
  int sum = 0;
  for (auto& one : made) sum += one.get();
  return sum == 6 ? 0 : 1;
}
"""


def needed(program):
    text = subprocess.run(["readelf", "-d", program], text=True, capture_output=True, check=True).stdout
    return re.findall(r"\(NEEDED\).*\[(.*)\]", text)


class Linked(Scratch):
    def is_under_goshim(self, program):
        names = needed(program)
        self.assertIn("libgoshim.so", names)
        if "libc.so.6" in names:  # else by way of libgoshim.so only
            self.assertLess(names.index("libgoshim.so"), names.index("libc.so.6"))
        self.assertRegex(self.run_program(program, env=STATS).stderr, STATS_LINE)
        self.run_program(program, env={"GOSHIM": "off"})

    def test_before_pthread(self):
        self.is_under_goshim(self.compile(PLAIN, *LINK, "-lgoshim", "-pthread"))

    def test_after_pthread(self):
        self.is_under_goshim(self.compile(PLAIN, *LINK, "-pthread", "-lgoshim"))

    def test_as_needed_and_not(self):
        self.is_under_goshim(self.compile(PLAIN, *LINK, "-Wl,--as-needed", "-lgoshim", "-pthread"))
        self.is_under_goshim(self.compile(PLAIN, *LINK, "-Wl,--no-as-needed", "-lgoshim", "-pthread"))

    def test_by_the_header_s_functions(self):
        program = self.compile(ASKING, INCLUDE, *LINK, "-lgoshim", "-pthread")
        self.assertEqual(self.run_program(program).stdout, "threads 5\n")

    def test_not_position_independent(self):
        program = self.compile(ASKING, INCLUDE, *LINK, "-no-pie", "-fno-pie", "-lgoshim", "-pthread")
        self.assertEqual(self.run_program(program).stdout, "threads 5\n")

    def test_cxx(self):
        self.is_under_goshim(self.compile(CXX, *LINK, "-std=c++20", "-lgoshim", "-pthread", compiler="g++", suffix=".cpp"))

    def test_cxx_behind_the_standard_library(self):
        program = self.compile(CXX, *LINK, "-std=c++20", "-lstdc++", "-lgoshim", "-pthread", compiler="g++", suffix=".cpp")
        names = needed(program)
        self.assertLess(names.index("libstdc++.so.6"), names.index("libgoshim.so"))
        self.is_under_goshim(program)

    def test_linked_and_preloaded(self):
        program = self.compile(PLAIN, *LINK, "-lgoshim", "-pthread")
        told = self.run_program(program, env={**STATS, "LD_PRELOAD": os.path.join(BUILD, "libgoshim.so")})
        self.assertEqual(len(re.findall(STATS_LINE, told.stderr)), 1)

    def test_behind_another_preload(self):
        other = self.compile("int other(void) { return 0; }", "-shared", "-fPIC", name="other.so")
        program = self.compile(PLAIN, *LINK, "-lgoshim", "-pthread")
        self.assertRegex(self.run_program(program, env={**STATS, "LD_PRELOAD": other}).stderr, STATS_LINE)

    def test_binary_made_to_need_it(self):
        if not shutil.which("patchelf"):
            self.skipTest("patchelf is not installed")
        program = self.compile(PLAIN, "-pthread")
        self.assertNotIn("stats", self.run_program(program, env=STATS).stderr)
        self.run_program("patchelf", "--add-needed", "libgoshim.so", program)
        self.run_program("patchelf", "--set-rpath", BUILD, program)
        self.is_under_goshim(program)


if __name__ == "__main__":
    need("readelf")
    unittest.main()
