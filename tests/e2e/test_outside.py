#!/usr/bin/env python3
"""Stock git at work on the repositories while the server serves them."""
import pathlib
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from annal import Case, bodies, flags, git, response, run, wait_until


def message(number):
    return b"Subject: %d\r\n\r\nnumber %d\r\n" % (number, number)


class Outside(Case):
    def setUp(self):
        super().setUp()
        self.repository = self.sandbox.repositories["alice"]
        self.client = self.sandbox.login()
        for number in range(1, 6):
            response(self.client.append("INBOX", "", None, message(number)))
        response(self.client.select())
        self.sandbox.in_git("alice", "INBOX")

    def tearDown(self):
        if self._outcome.success:
            self.client.logout()
        super().tearDown()

    def test_housekeeping_loses_nothing(self):
        """gc, repack, pack-refs, fsck and clone in a loop under writers."""
        stop = threading.Event()
        problems = []

        def keep_house():
            try:
                while not stop.is_set():
                    git(self.repository, "gc", "--quiet", "--prune=now")
                    git(self.repository, "pack-refs", "--all")
                    with tempfile.TemporaryDirectory(prefix="annal-clone-") as clone:
                        run("git", "clone", "--quiet", "--bare", "--no-local", self.repository,
                            clone)
                        run("git", "-C", clone, "fsck", "--strict")
            except Exception as problem:  # told of by the main thread
                problems.append(problem)

        keeper = threading.Thread(target=keep_house)
        keeper.start()
        number = 6
        limit = time.monotonic() + 15
        while time.monotonic() < limit and not problems:
            response(self.client.append("INBOX", "", None, message(number)))
            response(self.client.store(str(number), "+FLAGS", "(\\Seen)"))
            number += 1
            time.sleep(0.005)  # for the others: it is they who are to be tested
        stop.set()
        keeper.join()
        self.assertEqual(problems, [])
        git(self.repository, "gc", "--quiet", "--prune=now")
        found = bodies(self.client, "INBOX")
        self.assertEqual(found, {n: message(n) for n in range(1, number)})
        seen = flags(self.client, "INBOX")
        self.assertTrue(all(seen[n] == {"\\Seen"} for n in range(6, number)))

    def test_a_packed_repository_is_served_after_a_restart(self):
        git(self.repository, "gc", "--quiet", "--aggressive", "--prune=now")
        self.client.logout()
        self.sandbox.restart()
        self.client = self.sandbox.login()
        self.assertEqual(bodies(self.client, "INBOX"), {n: message(n) for n in range(1, 6)})

    def flag_outside(self, uid):
        """A commit on INBOX made by stock git alone: the flags of one message, with a new modseq, as
        FORMAT.md wants it. Returns the old and the new tip."""
        tip = git(self.repository, "rev-parse", "INBOX").decode().strip()
        listing = git(self.repository, "ls-tree", "-r", "INBOX").decode().splitlines()
        path = next(line.split("\t")[1] for line in listing if line.endswith("/index"))
        index = git(self.repository, "show", f"INBOX:{path}").decode()
        properties = next(line.split("\t")[1] for line in listing if "/" not in line.split("\t")[1])
        root = git(self.repository, "show", f"INBOX:{properties}").decode()
        words = dict(line.split(" ", 1) for line in root.splitlines() if " " in line)
        key = next(k for k in words if k.lower().replace("-", "") in ("highestmodseq", "modseq"))
        modseq = int(words[key]) + 1
        root = root.replace(f"{key} {words[key]}\n", f"{key} {modseq}\n")
        lines = index.splitlines()
        for position, line in enumerate(lines):
            fields = line.split(" ")
            if fields[0].isdigit() and int(fields[0]) == uid:
                fields[1] = str(modseq)
                lines[position] = " ".join(fields) + " \\Flagged"
        with tempfile.TemporaryDirectory(prefix="annal-work-") as work:
            run("git", "clone", "--quiet", "--branch", "INBOX", self.repository, work)
            (pathlib.Path(work) / path).write_text("\n".join(lines) + "\n")
            (pathlib.Path(work) / properties).write_text(root)
            git(work, "-c", "maintenance.auto=false", "commit", "--quiet", "--all",
                "--message", "outside: flag a message")
            git(work, "push", "--quiet", "origin", "INBOX")
        return tip, git(self.repository, "rev-parse", "INBOX").decode().strip()

    def test_a_pushed_commit_is_served_and_built_upon(self):
        before, after = self.flag_outside(2)
        self.assertNotEqual(before, after)

        def told():
            response(self.client.noop())
            data = self.client.response("FETCH")[1]
            return any(line and b"\\Flagged" in line for line in data)

        wait_until(told, what="the client is not told of the pushed flag")
        self.assertEqual(flags(self.client, "INBOX")[2], {"\\Flagged"})
        response(self.client.select())
        response(self.client.store("3", "+FLAGS", "(\\Answered)"))
        self.sandbox.in_git("alice", "INBOX")
        git(self.repository, "merge-base", "--is-ancestor", after, "INBOX")

    def test_a_rewound_branch_is_served_without_a_crash(self):
        older = git(self.repository, "rev-parse", "INBOX~2").decode().strip()
        git(self.repository, "update-ref", "refs/heads/INBOX", older)
        for _ in range(3):
            # A view that cannot be carried on may end the session, but nothing else.
            try:
                response(self.client.noop())
                break
            except Exception:
                self.client = self.sandbox.login()
                response(self.client.select())
        self.assertTrue(self.sandbox.alive())
        fresh = self.sandbox.login()
        found = bodies(fresh, "INBOX")
        self.assertTrue({n: message(n) for n in range(1, 4)}.items() <= found.items(), found)
        response(fresh.append("INBOX", "", None, message(9)))
        self.assertIn(message(9), bodies(fresh, "INBOX").values())
        fresh.logout()
        self.client = self.sandbox.login()

    def test_a_branch_deleted_outside_is_gone(self):
        response(self.client.create("Extra"))
        response(self.client.select("Extra"))
        git(self.repository, "update-ref", "-d", "refs/heads/Extra")
        try:
            self.client.noop()
        except Exception:
            pass
        self.client = self.sandbox.login()
        self.assertTrue(self.sandbox.alive())
        self.assertEqual(self.client.select("Extra")[0], "NO")

    def test_a_branch_that_is_no_mailbox_harms_no_other(self):
        empty_tree = git(self.repository, "mktree", input=b"").decode().strip()
        commit = git(self.repository, "commit-tree", empty_tree, "-m", "no mailbox").decode().strip()
        git(self.repository, "update-ref", "refs/heads/Strange", commit)
        other = self.sandbox.login()
        response(other.list())
        self.assertEqual(other.select("Strange")[0], "NO")
        self.assertEqual(len(bodies(other, "INBOX")), 5)
        other.logout()
        git(self.repository, "update-ref", "-d", "refs/heads/Strange")


if __name__ == "__main__":
    unittest.main(verbosity=2)
