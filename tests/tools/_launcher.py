"""What the tests of the tools share: the launcher, and programs run under it."""
import os
import subprocess

BUILD = os.environ["BUILD"]
LAUNCHER = os.path.join(BUILD, "goshim")
LIBRARY = os.path.join(BUILD, "libgoshim.so")


def goshim(*args, **options):
    """Runs the launcher to its end; stdout and stderr as text."""
    return subprocess.run([LAUNCHER, *args], text=True, capture_output=True, check=False, stdin=subprocess.DEVNULL,
                          **options)
