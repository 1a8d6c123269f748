#!/usr/bin/env python3
"""Shows that the public header compiles as C99 and as C++, strictly, and that a program which uses it runs with goshim and
without, position independent or not."""
import os
import unittest

from _programs import ASKING, PRELOADED, ROOT, Scratch, makefile

INCLUDE = "-I" + os.path.join(ROOT, "interpose")


class Header(Scratch):
    def told(self, program, **env):
        return self.run_program(program, env=env).stdout

    def both_ways(self, program):
        self.assertEqual(self.told(program), "native\n")
        self.assertEqual(self.told(program, **PRELOADED), "threads 5\n")
        self.assertEqual(self.told(program, GOSHIM="off", **PRELOADED), "native\n")

    def test_c99_strictly(self):
        self.both_ways(self.compile(ASKING, INCLUDE, "-std=c99", "-pedantic-errors", "-Wstrict-prototypes", "-pthread"))

    def test_cxx98_and_cxx20_strictly(self):
        for standard in "-std=c++98", "-std=c++20":
            self.both_ways(self.compile(ASKING, INCLUDE, standard, "-pedantic-errors", "-pthread", compiler="g++", suffix=".cpp"))

    def test_optimised(self):
        self.both_ways(self.compile(ASKING, INCLUDE, "-O3", "-flto", "-pthread"))

    def test_not_position_independent(self):
        program = self.compile(ASKING, INCLUDE, "-no-pie", "-fno-pie", "-pthread")
        self.assertEqual(self.told(program), "native\n")
        self.assertEqual(self.told(program, **PRELOADED), "native\n")  # it cannot see the functions, and does not crash

    def test_alone_in_a_file(self):
        self.compile('#include "goshim.h"\nint main(void) { return 0; }\n', INCLUDE, "-std=c99", "-pedantic-errors")

    def test_versions_agree(self):
        text = ASKING.replace('puts("native")', 'printf("%d\\n", GOSHIM_HEADER_VERSION)')
        major, minor, patch = map(int, makefile("VERSION").split("."))
        self.assertEqual(int(self.told(self.compile(text, INCLUDE, "-pthread"))), major * 10000 + minor * 100 + patch)


if __name__ == "__main__":
    unittest.main()
