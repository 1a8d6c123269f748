#!/usr/bin/env python3
"""Shows that a database server under load can be dumped again and again, and that its answers stay right."""
# run: limit=120
import os
import shutil
import subprocess
import tempfile
import time
import unittest

from _launcher import LIBRARY, goshim

CONNECTIONS = 8


@unittest.skipUnless(shutil.which("mariadbd") and shutil.which("mariadb"), "mariadbd is not installed")
class Server(unittest.TestCase):
    def test_connections_show_where_they_stand(self):
        with tempfile.TemporaryDirectory() as folder:
            socket = os.path.join(folder, "s")
            log = os.path.join(folder, "log")
            server = subprocess.Popen(
                ["mariadbd", "--no-defaults", "--user=root", f"--datadir={folder}", f"--socket={socket}",
                 f"--log-error={log}", "--skip-networking", "--skip-grant-tables", "--innodb-buffer-pool-size=8M",
                 "--innodb-log-file-size=4M"],
                env=dict(os.environ, LD_PRELOAD=LIBRARY), stdin=subprocess.DEVNULL)
            try:
                deadline = time.monotonic() + 60
                while not os.path.exists(socket):
                    self.assertIsNone(server.poll(), "mariadbd has ended")
                    self.assertLess(time.monotonic(), deadline, "mariadbd does not listen")
                    time.sleep(0.1)
                self.look(server.pid, ["mariadb", "--no-defaults", f"--socket={socket}", "-N", "-B"])
            finally:
                server.terminate()
                server.wait(60)
            self.assertEqual(server.returncode, 0)

    def look(self, pid, client):
        computing = "CREATE DATABASE IF NOT EXISTS d; USE d;" + "SELECT BENCHMARK(200000, MD5(1)), SUM(seq) FROM seq_1_to_100000;" * 5
        clients = [subprocess.Popen([*client, "-e", computing], stdout=subprocess.PIPE, text=True)
                   for _ in range(CONNECTIONS)]
        sleeping = subprocess.Popen([*client, "-e", "SELECT SLEEP(600)"], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL)
        for child in *clients, sleeping:
            self.addCleanup(child.wait)
            self.addCleanup(child.kill)
        dumps = []
        while any(c.poll() is None for c in clients) or not any("Item_func_sleep" in d for d in dumps[-1:]):
            told = goshim("dump", str(pid))
            self.assertEqual((told.returncode, told.stderr), (0, ""))
            dumps.append(told.stdout)
            self.assertLess(len(dumps), 500, told.stdout)
        for c in clients:
            self.assertEqual(c.communicate()[0], "0\t5000050000\n" * 5)
        self.assertTrue(any("handle_one_connection" in d for d in dumps), dumps[-1])
        self.assertTrue(any("[cond 0x" in d for d in dumps))
        self.assertFalse(any("deadlock:" in d for d in dumps))


if __name__ == "__main__":
    unittest.main()
