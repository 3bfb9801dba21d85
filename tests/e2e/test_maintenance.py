#!/usr/bin/env python3
"""An admin's tools, each in a loop beside a server under load: nothing is lost, nobody is told of an
error, and the repository is good afterwards."""
import collections
import pathlib
import random
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from annal import PROGRAM, Case, bodies, git, response, run, wait_until

LOAD_SECONDS = 8


def message(number):
    size = 150_000 if number % 40 == 7 else 200 + number * 37 % 6000
    noise = random.Random(number)
    lines = [b"Subject: number %d" % number, b""]
    while size > 0:
        lines.append(b"%x" % noise.getrandbits(280))
        size -= 72
    return b"\r\n".join(lines) + b"\r\n"


class Load:
    """Clients that deliver, flag, copy, move and read until stop(). What was acknowledged is
    remembered; any answer but OK is a problem."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.stopping = threading.Event()
        self.problems = []
        self.delivered = []
        self.threads = [threading.Thread(target=self.guarded, args=(work,))
                        for work in (self.deliver, self.change, self.move, self.read)]
        for thread in self.threads:
            thread.start()

    def guarded(self, work):
        client = self.sandbox.login()
        try:
            while not self.stopping.is_set():
                work(client)
            client.logout()
        except Exception as problem:
            self.problems.append(f"{work.__name__}: {problem!r}")
            self.stopping.set()

    def deliver(self, client):
        number = len(self.delivered)
        response(client.append("INBOX", "", None, message(number)))
        self.delivered.append(number)
        time.sleep(0.002)

    def change(self, client):
        response(client.select())
        for number in range(20):
            response(client.uid("STORE", str(number + 1), "+-"[number % 2] + "FLAGS", "(\\Flagged)"))
        response(client.noop())

    def move(self, client):
        count = int(response(client.select())[0])
        if count > 60:
            response(client.uid("COPY", "31:35", "Junk"))
            response(client._simple_command("UID", "MOVE", "51:*", "Archive"), "MOVE")
        response(client.select("Junk"))
        response(client.store("1:*", "+FLAGS", "(\\Deleted)"))
        response(client.expunge())

    def read(self, client):
        for mailbox in ("INBOX", "Archive"):
            bodies(client, mailbox)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


class Maintenance(Case):
    def beside_load(self, tool):
        """Runs tool again and again while there is load; then all mail must be there."""
        repository = self.sandbox.repositories["alice"]
        load = Load(self.sandbox)
        end = time.monotonic() + LOAD_SECONDS
        rounds = 0
        problem = None
        try:
            while time.monotonic() < end and not load.problems:
                tool(repository)
                rounds += 1
        except Exception as raised:
            problem = raised
        load.stop()
        self.assertEqual(load.problems, [])
        if problem is not None:
            raise problem
        tool(repository)
        client = self.sandbox.login()
        found = collections.Counter(bodies(client, "INBOX").values())
        found.update(bodies(client, "Archive").values())
        client.logout()
        self.assertGreater(len(load.delivered), 50)
        self.assertGreater(rounds, 0)
        self.assertEqual(found, collections.Counter(map(message, load.delivered)))
        self.sandbox.in_git("alice", "INBOX")
        # Once more with nothing in memory.
        self.sandbox.restart()
        client = self.sandbox.login()
        found = collections.Counter(bodies(client, "INBOX").values())
        found.update(bodies(client, "Archive").values())
        client.logout()
        self.assertEqual(found, collections.Counter(map(message, load.delivered)))

    def test_nothing_but_the_server_itself(self):
        self.beside_load(lambda repository: time.sleep(0.5))
        packs = list((self.sandbox.repositories["alice"] / pathlib.Path("objects/pack"))
                     .glob("*.idx"))
        self.assertLess(len(packs), 130)

    def test_git_gc(self):
        self.beside_load(lambda repository: git(repository, "gc", "--quiet", "--prune=now"))

    def test_git_repack(self):
        self.beside_load(lambda repository: git(repository, "repack", "-adfq"))

    def test_git_multi_pack_index(self):
        def tool(repository):
            # It says so when a pack goes away while it works.
            run("git", "-C", repository, "multi-pack-index", "write", ok=False)
            time.sleep(0.3)

        self.beside_load(tool)

    def test_git_pack_refs(self):
        self.beside_load(lambda repository: git(repository, "pack-refs", "--all"))

    def test_git_clone_and_fsck(self):
        def tool(repository):
            git(repository, "fsck", "--strict")
            with tempfile.TemporaryDirectory(prefix="annal-clone-") as clone:
                run("git", "clone", "--quiet", "--bare", "--no-local", repository, clone)
                run("git", "-C", clone, "fsck", "--strict")

        self.beside_load(tool)

    def test_git_clone_of_the_path(self):
        """It links every file it finds among the objects, one after the other."""
        def tool(repository):
            with tempfile.TemporaryDirectory(prefix="annal-clone-") as clone:
                run("git", "clone", "--quiet", "--bare", "--local", repository, clone)
                run("git", "-C", clone, "fsck", "--strict", "--connectivity-only")

        self.beside_load(tool)

    def test_git_push(self):
        """Of a branch that is no mailbox's, and of commits that a mailbox may get."""
        client = self.sandbox.login()
        response(client.append("Sent", "", None, b"Subject: sent\r\n\r\n"))
        client.logout()
        self.sandbox.in_git("alice", "Sent")

        def tool(repository):
            with tempfile.TemporaryDirectory(prefix="annal-work-") as work:
                run("git", "clone", "--quiet", "--branch", "Sent", repository, work)
                root = pathlib.Path(work)
                words = dict(line.split(" ", 1)
                             for line in (root / "mailbox").read_text().splitlines())
                modseq = int(words["highestmodseq"]) + 1
                text = (root / "mailbox").read_text()
                (root / "mailbox").write_text(text.replace(
                    f"highestmodseq {words['highestmodseq']}\n", f"highestmodseq {modseq}\n"))
                index = root / "00/00/00/00/index"
                fields = index.read_text().split()[:4]
                fields[1] = str(modseq)
                index.write_text(" ".join(fields + ["\\Seen"] * (modseq % 2)) + "\n")
                git(work, "-c", "maintenance.auto=false", "commit", "--quiet", "--all",
                    "--message", f"outside {modseq}")
                git(work, "push", "--quiet", "origin", "Sent", "HEAD:refs/other/notes", "--force")
            watcher = self.sandbox.login()

            def served():
                status = response(watcher.status("Sent", "(HIGHESTMODSEQ)"))[0]
                return b"HIGHESTMODSEQ %d)" % modseq in status

            wait_until(served, what="the push is not served")
            watcher.logout()

        self.beside_load(tool)

    def test_annal_gc(self):
        rounds = iter(range(1000))

        def tool(_repository):
            options = (["--now"], [], ["--now", "--compress"])[next(rounds) % 3]
            done = run(PROGRAM, "gc", "alice", *options, "--data", self.sandbox.data)
            self.assertIn(b"alice: ", done.stdout)
            self.assertNotIn(b"missing", done.stdout)

        self.beside_load(tool)

    def test_annal_gc_and_git_gc(self):
        def tool(repository):
            gc = threading.Thread(target=run, args=(PROGRAM, "gc", "--all", "--now", "--data",
                                                    self.sandbox.data), kwargs={"ok": False})
            gc.start()
            run("git", "-C", repository, "gc", "--prune=now", ok=False)
            gc.join()

        self.beside_load(tool)


if __name__ == "__main__":
    unittest.main(verbosity=2)
