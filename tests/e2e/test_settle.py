#!/usr/bin/env python3
"""What a client was told is done, every command of the admin's sees, at once.

A server brings what it has acknowledged into git a moment later (up to a second under load); the
commands read git. So each of them is run right behind a client's OK, over and over: beside a server
at rest and one at work, and behind one that was killed.
"""
import json
import os
import pathlib
import re
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from annal import PROGRAM, Case, Sandbox, git, response, run

FLAGS = 8  # stored one after another


def message(subject):
    return f"From: Berta <berta@example.org>\r\nSubject: {subject}\r\n\r\nbody\r\n".encode()


class Mailbox:
    """Alice's INBOX as a client has it, and the commands that are to see the same."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.client = sandbox.login()
        response(self.client.select())
        self.messages = 0
        self.uid = 0

    def append(self):
        self.uid += 1
        self.messages += 1
        response(self.client.append("INBOX", "", None, message(f"number {self.uid}.")))

    def expunge(self):
        response(self.client.uid("STORE", str(self.uid), "+FLAGS.SILENT", "(\\Deleted)"))
        response(self.client.expunge())
        self.messages -= 1

    def annal(self, *arguments):
        done = run(PROGRAM, *arguments, "--data", self.sandbox.data)
        if b"may be missing" in done.stderr:
            raise AssertionError((arguments, done.stderr))
        return done.stdout.decode()

    # Each of them returns whether the newest message is seen.

    def log(self):
        return f"number {self.uid}." in self.annal("log", "alice", "INBOX", "--no-pager")

    def show(self):
        return f"number {self.uid}." in self.annal("show", "alice", "INBOX", "--uid", self.uid,
                                                   "--no-pager")

    def blame(self):
        return f"number {self.uid}." in self.annal("blame", "alice", "INBOX", "--uid", self.uid,
                                                   "--no-pager")

    def diff(self):
        text = self.annal("diff", "alice", "INBOX", "--from", "2001-01-01", "--no-pager")
        return f"number {self.uid}." in text

    def quota(self):
        return json.loads(self.annal("quota", "alice", "--json"))["messages"] == self.messages

    def purge(self):
        return self.annal("purge", "alice", "INBOX", "--uid", self.uid,
                          "--dry-run").startswith("would purge 1 message;")

    def backup(self):
        with tempfile.TemporaryDirectory(prefix="annal-e2e-") as directory:
            bundle = pathlib.Path(directory) / "alice.bundle"
            self.annal("backup", "alice", bundle)
            run("git", "clone", "--quiet", "--bare", bundle, f"{directory}/clone")
            listed = git(f"{directory}/clone", "ls-tree", "-r", "--name-only", "INBOX").decode()
            return len(re.findall(r"^(?:\d\d/){4}\d\d$", listed, re.M)) == self.messages

    def export(self):
        with tempfile.TemporaryDirectory(prefix="annal-e2e-") as directory:
            self.annal("export", "alice", "INBOX", "--mbox", f"{directory}/mbox")
            text = pathlib.Path(f"{directory}/mbox").read_text()
            return f"number {self.uid}." in text

    def verify(self):
        return self.annal("verify", "alice") == "alice: good\n"

    SEEING = (log, show, blame, diff, quota, purge, backup, export, verify)

    def undelete(self):
        """Behind expunge()."""
        return f"number {self.uid}." in self.annal("undelete", "alice", "INBOX", "--dry-run")


class Settle(Case):
    def check_all(self, mailbox):
        for look in Mailbox.SEEING:
            mailbox.append()
            self.assertTrue(look(mailbox), look.__name__)
        mailbox.expunge()
        self.assertTrue(mailbox.undelete())

    def test_beside_a_server_at_rest(self):
        self.check_all(Mailbox(self.sandbox))

    def test_beside_a_server_at_work(self):
        """Other accounts, and this one: then changes wait longest."""
        stop = threading.Event()
        problems = []

        def work(user, mailbox):
            try:
                client = self.sandbox.login(user)
                while not stop.is_set():
                    response(client.append(mailbox, "", None, message("noise")))
                client.logout()
            except Exception as problem:
                problems.append(problem)

        threads = [threading.Thread(target=work, args=arguments)
                   for arguments in (("bob", "INBOX"), ("bob", "Sent"))]
        for thread in threads:
            thread.start()
        try:
            self.check_all(Mailbox(self.sandbox))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(problems, [])

    def test_commands_of_many_admins_at_once(self):
        mailbox = Mailbox(self.sandbox)
        problems = []

        def look():
            if not mailbox.quota():
                problems.append("quota")

        for _ in range(2):
            mailbox.append()
            threads = [threading.Thread(target=look) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(problems, [])

    def test_behind_a_server_that_was_killed(self):
        """Each of them is the first that looks at what it left behind."""
        for look in Mailbox.SEEING:
            mailbox = Mailbox(self.sandbox)
            mailbox.messages = mailbox.uid = int(response(mailbox.client.select())[0])
            mailbox.append()
            self.sandbox.kill()
            self.assertTrue(look(mailbox), look.__name__)
            self.sandbox.start()
        mailbox = Mailbox(self.sandbox)
        mailbox.messages = mailbox.uid = int(response(mailbox.client.select())[0])
        mailbox.expunge()
        self.sandbox.kill()
        self.assertTrue(mailbox.undelete())
        self.sandbox.start()

    def test_a_purge_behind_a_server_that_was_killed(self):
        mailbox = Mailbox(self.sandbox)
        mailbox.append()
        mailbox.append()
        self.sandbox.kill()
        told = mailbox.annal("purge", "alice", "INBOX", "--uid", "2", "--yes")
        self.assertTrue(told.startswith("purged 1 message;"), told)
        self.sandbox.start()
        client = self.sandbox.login()
        self.assertEqual(response(client.select()), [b"1"])

    def test_where_there_is_nothing_nothing_is_made(self):
        nowhere = self.sandbox.root / "nowhere"
        file = self.sandbox.root / "file"
        for command in (("log", "alice"), ("show", "alice", "INBOX", "--uid", "1"),
                        ("quota", "alice"), ("verify", "--all"), ("gc", "--all"),
                        ("hold", "alice"), ("undelete", "alice"),
                        ("backup", "alice", file), ("backup", "--all", self.sandbox.root),
                        ("export", "alice", "--mbox", file), ("import", "alice", "mbox", "/dev/null"),
                        ("deliver", "alice"), ("user", "del", "alice"),
                        ("purge", "alice", "INBOX", "--uid", "1", "--dry-run")):
            done = run(PROGRAM, *command, "--data", nowhere, ok=False, input=b"Subject: x\n\n")
            self.assertFalse(nowhere.exists(), command)
            self.assertFalse(file.exists(), command)
            self.assertNotEqual(done.returncode, 0, command)
            self.assertTrue(done.stderr, command)


class RelaxedFlags(unittest.TestCase):
    """Where changes of flags may wait for a second before they are durable, they are asked for."""

    def setUp(self):
        handle, path = tempfile.mkstemp(prefix="annal-e2e-")
        os.write(handle, b"flags_sync = relaxed\n")
        os.close(handle)
        self.addCleanup(os.unlink, path)
        self.configuration = path
        self.sandbox = Sandbox("--config", path)
        self.addCleanup(self.sandbox.close)

    def test_flags_are_seen(self):
        client = self.sandbox.login()
        response(client.append("INBOX", "", None, message("one")))
        response(client.select())
        for number in range(FLAGS):
            response(client.uid("STORE", "1", "+FLAGS.SILENT", f"(round{number})"))
            text = run(PROGRAM, "show", "alice", "INBOX", "--uid", "1", "--no-pager", "--config",
                       self.configuration, "--data", self.sandbox.data).stdout.decode()
            self.assertIn(f"round{number}", text)
        client.logout()
        self.sandbox.check()


if __name__ == "__main__":
    unittest.main(verbosity=2)
