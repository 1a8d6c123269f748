#!/usr/bin/env python3
"""Shows that docs/troubleshooting.md explains every line that goshim may write about itself."""
import glob
import os
import re
import unittest

from _programs import ROOT


def messages():
    """The longest part of each message's text that is the same every time."""
    for path in glob.glob(os.path.join(ROOT, "src/**/*.cpp"), recursive=True) + glob.glob(os.path.join(ROOT, "interpose/*.cpp")):
        with open(path, encoding="utf-8") as f:
            for text in re.findall(r'\b(?:message|fatal)\(\s*"((?:[^"\\]|\\.)*)"', f.read()):
                yield max(re.split(r'%l?[a-z]|\\"', text), key=len).strip(" ;:,"), path


class Troubleshooting(unittest.TestCase):
    def test_every_message_is_explained(self):
        with open(os.path.join(ROOT, "docs/troubleshooting.md"), encoding="utf-8") as f:
            told = re.sub(r"\s+", " ", f.read())
        found = list(messages())
        self.assertGreater(len(found), 10)
        missing = [f"{text} ({os.path.relpath(path, ROOT)})" for text, path in found if text not in told]
        self.assertEqual(missing, [])

    def test_every_option_that_is_named_exists(self):
        with open(os.path.join(ROOT, "src/base/options.h"), encoding="utf-8") as f:
            options = set(re.findall(r'"(GOSHIM\w*)"', f.read()))
        for name in "troubleshooting.md", "security.md":
            with open(os.path.join(ROOT, "docs", name), encoding="utf-8") as f:
                named = set(re.findall(r"\bGOSHIM_[A-Z_]+\b", f.read()))
            self.assertLessEqual(named, options, name)


if __name__ == "__main__":
    unittest.main()
