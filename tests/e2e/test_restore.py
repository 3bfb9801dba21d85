#!/usr/bin/env python3
"""What was lost comes back: undelete, restore, backups."""
import json
import pathlib
import re
import shutil
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from annal import PROGRAM, Case, bodies, check_repository, flags, git, response, run, wait_until


def message(number):
    return b"From: a%d@example.org\r\nSubject: number %d\r\n\r\nbody %d\r\n" % (number, number,
                                                                             number)


class Restore(Case):
    def setUp(self):
        super().setUp()
        self.repository = self.sandbox.repositories["alice"]
        self.client = self.sandbox.login()
        self.fill(1, 6)
        response(self.client.select())

    def fill(self, first, end, mailbox="INBOX"):
        for number in range(first, end):
            response(self.client.append(mailbox, "(\\Flagged)" if number % 2 else "", None,
                                        message(number)))

    def annal(self, *arguments, **options):
        return run(PROGRAM, *arguments, "--data", self.sandbox.data, **options)

    def expunge(self, *uids):
        for uid in uids:
            response(self.client.uid("STORE", str(uid), "+FLAGS", "(\\Deleted \\Seen)"))
        response(self.client.expunge())

    def validity(self, mailbox="INBOX"):
        status = response(self.client.status(mailbox, "(UIDVALIDITY UIDNEXT)"))[0]
        return int(re.search(rb"UIDVALIDITY (\d+)", status).group(1))


class Undelete(Restore):
    def test_messages_come_back_and_an_idling_client_is_told(self):
        self.expunge(2, 3)
        idler = self.sandbox.login()
        response(idler.select())
        tag = idler._new_tag()
        idler.send(tag + b" IDLE\r\n")
        self.assertTrue(idler.readline().startswith(b"+"))
        listed = self.annal("undelete", "alice", "--dry-run").stdout
        self.assertIn(b"number 2", listed)
        before = self.validity()
        self.annal("undelete", "alice", "INBOX", "--subject", "NUMBER 3")
        done = time.monotonic()
        line = b""
        while b"EXISTS" not in line:
            line = idler.readline()
            self.assertTrue(line)
        latency = time.monotonic() - done
        self.assertLess(latency, 30)
        idler.send(b"DONE\r\n")
        while not line.startswith(tag):
            line = idler.readline()
        idler.logout()
        self.assertEqual(bodies(self.client, "INBOX"),
                         {1: message(1), 4: message(4), 5: message(5), 6: message(3)})
        self.assertEqual(flags(self.client, "INBOX")[6], {"\\Seen", "\\Flagged"})
        self.assertEqual(self.validity(), before)
        found = json.loads(self.annal("undelete", "alice", "--json").stdout)
        self.assertEqual([m["uid"] for box in found for m in box["messages"]], [2])
        self.assertEqual(self.annal("undelete", "alice").stdout,
                         b"nothing was expunged that matches\n")

    def test_what_is_elsewhere_is_not_lost_and_comes_back_to_the_last_place(self):
        response(self.client.uid("COPY", "1:3", "Archive"))
        response(self.client.uid("COPY", "4", "Trash"))
        self.expunge(1, 2, 4)
        response(self.client.select("Trash"))
        self.expunge(1)
        found = json.loads(self.annal("undelete", "alice", "--json").stdout)
        self.assertEqual([(box["mailbox"], len(box["messages"])) for box in found],
                         [("Trash", 1)])
        found = json.loads(self.annal("undelete", "alice", "INBOX", "--moved", "--uid", "1:2",
                                      "--json").stdout)
        self.assertEqual(found[0]["first_uid"], 6)
        self.assertEqual(len(bodies(self.client, "INBOX")), 4)

    def test_a_race_with_the_server_loses_nothing(self):
        """Appends and flags go on while messages are brought back."""
        self.fill(6, 40)
        response(self.client.select())
        self.expunge(*range(10, 30))
        stop = threading.Event()
        appended = []
        problems = []

        def write():
            try:
                client = self.sandbox.login()
                response(client.select())
                while not stop.is_set():
                    number = 1000 + len(appended)
                    response(client.append("INBOX", "", None, message(number)))
                    appended.append(number)
                    response(client.uid("STORE", "1", "+FLAGS", f"(k{number % 7})"))
                client.logout()
            except Exception as problem:  # told of by the main thread
                problems.append(problem)

        writer = threading.Thread(target=write)
        writer.start()
        wait_until(lambda: len(appended) > 5 or problems)
        self.annal("undelete", "alice", "--uid", "10:19")
        self.annal("undelete", "alice", "--uid", "20:29")
        wait_until(lambda: len(appended) > 20 or problems)
        stop.set()
        writer.join()
        self.assertEqual(problems, [])
        found = sorted(bodies(self.client, "INBOX").values())
        self.assertEqual(found, sorted(message(n) for n in [*range(1, 40), *appended]))

    def test_mailboxes_and_accounts(self):
        response(self.client.create("Work"))
        response(self.client.create("Work/Deep"))
        self.fill(1, 4, "Work")
        self.sandbox.in_git("alice", "Work")
        time.sleep(1.1)  # moments are seconds
        then = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        time.sleep(1.1)
        response(self.client.rename("Work", "Play"))
        response(self.client.delete("Play/Deep"))
        response(self.client.create("New"))
        self.expunge(1)
        self.assertEqual(self.annal("restore", "alice", "Nowhere", "--at", then,
                                    ok=False).returncode, 1)
        told = json.loads(self.annal("restore", "alice", "--at", then, "--dry-run", "--json").stdout)
        self.assertIn("Work: is called Play now, gets its name back", told)
        self.assertIn(b"Play", b"".join(response(self.client.list())))
        self.annal("restore", "alice", "--at", then)
        names = b"\n".join(response(self.client.list()))
        self.assertIn(b'"/" Work/Deep', names)
        self.assertNotIn(b"Play", names)
        self.assertNotIn(b"New", names)
        self.assertEqual(len(bodies(self.client, "Work")), 3)
        self.assertEqual(sorted(bodies(self.client, "INBOX").values()),
                         [message(n) for n in range(1, 6)])
        response(self.client.select())
        response(self.client.delete("Work/Deep"))
        self.annal("restore", "alice", "Work/Deep")
        response(self.client.select("Work/Deep"))


class Backup(Restore):
    def test_what_was_acknowledged_is_in_it_and_moves_are_whole(self):
        """Messages wander between two mailboxes all the while: each is in one of them."""
        response(self.client.create("Other"))
        stop = threading.Event()
        problems = []

        def wander():
            try:
                client = self.sandbox.login()
                here, there = "INBOX", "Other"
                while not stop.is_set():
                    response(client.select(here))
                    response(client.uid("MOVE", "1:*", there))
                    here, there = there, here
                client.logout()
            except Exception as problem:  # told of by the main thread
                problems.append(problem)

        wanderer = threading.Thread(target=wander)
        wanderer.start()
        try:
            for number in range(4):
                response(self.client.append("Sent", "", None, message(100 + number)))
                bundle = self.sandbox.root / f"{number}.bundle"
                self.annal("backup", "alice", bundle)
                run("git", "bundle", "verify", bundle, cwd=self.repository)
                with tempfile.TemporaryDirectory(prefix="annal-clone-") as clone:
                    run("git", "clone", "--quiet", "--bare", bundle, clone)
                    listing = git(clone, "ls-tree", "-r", "INBOX")
                    listing += git(clone, "ls-tree", "-r", "Other")
                    sent = git(clone, "show", f"Sent:00/00/00/00/{number + 1:02}")
                paths = [line for line in listing.splitlines()
                         if line[-2:].isdigit()]
                self.assertEqual(len(paths), 5, listing)
                self.assertEqual(sent, message(100 + number))
        finally:
            stop.set()
            wanderer.join()
        self.assertEqual(problems, [])

    def test_increments_and_an_empty_server(self):
        self.expunge(2)
        response(self.client.create("Old"))
        self.fill(1, 3, "Old")
        response(self.client.delete("Old"))
        directory = self.sandbox.root / "backups"
        directory.mkdir()
        self.annal("backup", "alice", directory, "--incremental")
        self.fill(6, 9)
        self.annal("backup", "alice", directory, "--incremental")
        answer = json.loads(self.annal("backup", "alice", directory, "--incremental",
                                       "--json").stdout)
        self.assertIsNotNone(answer["base"])
        files = sorted(directory.iterdir(), reverse=True)  # in any order
        self.assertEqual(len(files), 3)
        before = bodies(self.client, "INBOX")
        states = flags(self.client, "INBOX")
        validity = self.validity()
        self.client.logout()
        self.sandbox.stop()
        shutil.rmtree(self.repository)
        self.annal("restore", "alice", "--from", *files)
        check_repository(self.repository)
        self.sandbox.start()
        self.client = self.sandbox.login()
        self.assertEqual(bodies(self.client, "INBOX"), before)
        self.assertEqual(flags(self.client, "INBOX"), states)
        self.assertEqual(self.validity(), validity)
        # What may have come after the backup keeps its UIDs for itself.
        self.fill(9, 10)
        self.assertGreater(max(bodies(self.client, "INBOX")), 100000)
        # What was lost before the backup was made can be had, too.
        self.annal("undelete", "alice", "INBOX")
        self.annal("restore", "alice", "Old")
        self.assertEqual(len(bodies(self.client, "Old")), 2)

    def test_a_mailbox_out_of_a_backup(self):
        bundle = self.sandbox.root / "a.bundle"
        self.annal("backup", "alice", bundle)
        self.expunge(1, 2, 3, 4, 5)
        self.fill(50, 51)
        self.assertEqual(self.annal("restore", "alice", "--from", bundle, ok=False).returncode, 1)
        self.annal("restore", "alice", "INBOX", "--from", bundle, "--as", "Copy")
        self.assertEqual(list(bodies(self.client, "Copy").values()),
                         [message(n) for n in range(1, 6)])
        self.annal("restore", "alice", "--from", bundle, "--replace")
        self.assertEqual(list(bodies(self.client, "INBOX").values()),
                         [message(n) for n in range(1, 6)])
        self.assertNotIn(b"Copy", b"".join(response(self.client.list())))

    def test_an_account_whose_old_history_was_let_go(self):
        response(self.client.create("Work"))
        self.fill(1, 6, "Work")
        self.sandbox.in_git("alice", "Work")
        boundary = [git(self.repository, "rev-parse", name).decode()
                    for name in ("Work~2", "INBOX~3")]
        (pathlib.Path(self.repository) / "shallow").write_text("".join(sorted(boundary)))
        bundle = self.sandbox.root / "a.bundle"
        self.annal("backup", "alice", bundle)
        self.annal("restore", "bert", "--from", bundle)
        self.annal("verify", "bert")
        restored = self.sandbox.data / "mail" / "bert.git"
        check_repository(restored)
        self.assertEqual(sorted((restored / "shallow").read_text().split()),
                         "".join(sorted(boundary)).split())
        # A mailbox that nothing of is left, in an account with all of its own history.
        response(self.client.delete("Work"))
        self.client.logout()
        self.sandbox.stop()
        grave = git(self.repository, "for-each-ref", "--format=%(refname)", "refs/deleted")
        git(self.repository, "update-ref", "-d", grave.decode().strip())
        (pathlib.Path(self.repository) / "shallow").unlink()
        git(self.repository, "gc", "--quiet", "--prune=now")
        self.annal("restore", "alice", "Work", "--from", bundle)
        self.sandbox.start()
        self.client = self.sandbox.login()
        self.assertEqual(len(bodies(self.client, "Work")), 5)
        self.assertEqual((pathlib.Path(self.repository) / "shallow").read_text(), boundary[0])

    def test_damage_is_told(self):
        bundle = self.sandbox.root / "a.bundle"
        self.annal("backup", "alice", bundle)
        octets = bytearray(bundle.read_bytes())
        octets[-100] ^= 1
        bundle.write_bytes(octets)
        self.assertEqual(self.annal("restore", "dora", "--from", bundle, ok=False).returncode, 1)
        bundle.write_bytes(b"no bundle")
        self.assertEqual(self.annal("restore", "dora", "--from", bundle, ok=False).returncode, 1)
        self.assertEqual(sorted(p.name for p in (self.sandbox.data / "mail").iterdir()),
                         ["alice.git", "bob.git"])


class Drill(Restore):
    """With a client that keeps a copy of everything."""

    def setUp(self):
        super().setUp()
        self.local = self.sandbox.root / "Mail"
        (self.local / "sub").mkdir(parents=True)
        self.configure()

    def configure(self):
        (self.sandbox.root / "mbsyncrc").write_text(
            f"IMAPAccount annal\nHost 127.0.0.1\nPort {self.sandbox.imap}\nUser alice\n"
            "Pass alice\nSSLType None\nAuthMechs LOGIN\n\n"
            "IMAPStore far\nAccount annal\n\n"
            f"MaildirStore near\nPath {self.local}/sub/\nInbox {self.local}/INBOX\n"
            "SubFolders Verbatim\n\n"
            "Channel annal\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\n"
            "SyncState *\n")

    def sync(self):
        done = run("mbsync", "--config", self.sandbox.root / "mbsyncrc", "--all", "--verbose")
        return (done.stdout + done.stderr).decode()

    def copies(self, mailbox="INBOX"):
        """File names to octets, without what mbsync puts into a message that it copies."""
        return {path.name: re.sub(rb"X-TUID: .*\r?\n", b"", path.read_bytes())
                for part in ("cur", "new") for path in (self.local / mailbox / part).iterdir()}

    def test_a_lost_mailbox_comes_back_to_the_client_once(self):
        response(self.client.create("Work"))
        self.fill(1, 30, "Work")
        self.sync()
        before = sorted(self.copies("sub/Work").values())
        bundle = self.sandbox.root / "a.bundle"
        self.annal("backup", "alice", bundle)
        response(self.client.select("Work"))
        self.expunge(*range(1, 30))
        self.sync()
        self.assertEqual(self.copies("sub/Work"), {})
        self.annal("restore", "alice", "Work", "--from", bundle)
        self.sync()
        self.assertEqual(sorted(self.copies("sub/Work").values()), before)
        self.sync()
        self.assertEqual(sorted(self.copies("sub/Work").values()), before)
        self.assertEqual(len(bodies(self.client, "Work")), 29)

    def test_a_client_does_not_notice_that_the_server_is_another(self):
        self.sync()
        before = self.copies()
        bundle = self.sandbox.root / "a.bundle"
        self.annal("backup", "alice", bundle)
        self.client.logout()
        self.sandbox.stop()
        shutil.rmtree(self.sandbox.data / "mail" / "alice.git")
        shutil.rmtree(self.sandbox.data / "cache")
        self.annal("restore", "alice", "--from", bundle)
        self.sandbox.start()
        self.configure()
        self.sync()
        self.assertEqual(self.copies(), before)
        self.client = self.sandbox.login()
        self.fill(7, 8)
        self.sync()
        self.assertEqual(len(self.copies()), 6)
        self.assertEqual(len(bodies(self.client, "INBOX")), 6)


if __name__ == "__main__":
    unittest.main(verbosity=2)
