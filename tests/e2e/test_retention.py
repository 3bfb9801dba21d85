"""Retention, holds and purges beside a server, with stock git and real clients as witnesses."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import unittest

from annal import PROGRAM, Case, git, run, wait_until
from terminal import on_terminal

SECRET = b"plugh-2b7d41"
MESSAGE = b"Subject: hello from " + SECRET + b"\r\n\r\nforget " + SECRET + b" please\r\n"


def admin(sandbox, *arguments, **options):
    return run(PROGRAM, *arguments, "--data", sandbox.data, **options)


class Retention(Case):
    def setUp(self):
        super().setUp()
        self.repository = self.sandbox.repositories["alice"]

    def files_with(self, octets):
        found = []
        for directory, _, names in os.walk(self.sandbox.data):
            for name in names:
                path = os.path.join(directory, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    with open(path, "rb") as file:
                        if octets in file.read():
                            found.append(path)
        return found

    def assert_forgotten(self):
        self.assertEqual(self.files_with(SECRET), [])
        everything = git(self.repository, "cat-file", "--batch-all-objects", "--batch")
        self.assertNotIn(SECRET, everything)

    def fill(self):
        client = self.sandbox.login()
        for number in range(5):
            client.append("INBOX", None, None, b"Subject: %d\r\n\r\nbody\r\n" % number)
        client.append("INBOX", "(\\Flagged)", None, MESSAGE)
        for number in range(5):
            client.append("INBOX", None, None, b"Subject: more %d\r\n\r\nbody\r\n" % number)
        client.select("INBOX")
        client.uid("COPY", "6", "Archive")
        client.uid("FETCH", "1:*", "(ENVELOPE BODYSTRUCTURE BODY.PEEK[])")
        client.uid("SEARCH", "BODY", "please")
        return client

    def test_a_purge_beside_a_busy_server(self):
        client = self.fill()
        other = self.sandbox.login()
        other.select("INBOX")
        self.assertNotEqual(self.files_with(SECRET), [])
        told = admin(self.sandbox, "purge", "alice", "INBOX", "--uid", "6", "--reason",
                     "as asked").stdout.decode()
        self.assertIn("purged 1 message;", told)
        self.assertIn("Archive: 1 now", told)
        self.assertIn("INBOX: 1 now", told)
        self.assert_forgotten()
        client.noop()
        self.assertEqual(client.response("EXPUNGE")[1], [b"6"])
        other.noop()
        self.assertEqual(other.response("EXPUNGE")[1], [b"6"])
        uids = client.uid("SEARCH", None, "ALL")[1][0].split()
        self.assertEqual(uids, [b"1", b"2", b"3", b"4", b"5", b"7", b"8", b"9", b"10", b"11"])
        client.uid("STORE", "7", "+FLAGS", "(\\Seen)")
        client.append("INBOX", None, None, b"Subject: later\r\n\r\nbody\r\n")
        self.sandbox.in_git("alice", "INBOX")
        self.assert_forgotten()
        log = git(self.repository, "log", "--format=%s", "refs/annal/purged").decode()
        self.assertEqual(log, "PURGE 1 message of INBOX uid 6: as asked\n")
        self.assertNotIn(b"RECONCILE", git(self.repository, "log", "--format=%s", "INBOX"))
        self.sandbox.check()
        again = admin(self.sandbox, "purge", "alice", "INBOX", "--uid", "6", ok=False)
        self.assertEqual(again.returncode, 1)
        self.sandbox.restart()
        self.assert_forgotten()
        self.sandbox.check()

    def test_a_purge_without_a_server(self):
        self.fill().logout()
        self.sandbox.stop()
        dry = admin(self.sandbox, "purge", "alice", "INBOX", "--uid", "6", "--dry-run")
        self.assertIn(b"would purge 1 message", dry.stdout)
        self.assertNotEqual(self.files_with(SECRET), [])
        admin(self.sandbox, "purge", "alice", "INBOX", "--uid", "6")
        self.assert_forgotten()
        self.sandbox.start()
        client = self.sandbox.login()
        client.select("INBOX")
        self.assertEqual(len(client.uid("SEARCH", None, "ALL")[1][0].split()), 10)
        self.sandbox.check()

    def test_a_purge_after_a_crash(self):
        self.fill()
        self.sandbox.kill()
        admin(self.sandbox, "purge", "alice", "INBOX", "--uid", "6")
        self.assert_forgotten()
        self.sandbox.start()
        client = self.sandbox.login()
        client.select("INBOX")
        self.assertEqual(len(client.uid("SEARCH", None, "ALL")[1][0].split()), 10)
        self.sandbox.check()

    def interrupted(self, began, *arguments):
        """Runs a command and interrupts it when it has begun. Its status and what it said."""
        process = subprocess.Popen([PROGRAM, *arguments, "--data", self.sandbox.data],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE)
        while process.poll() is None and not began():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=120)[1]
        return process.returncode, said

    def test_long_work_shows_how_far_it_is(self):
        self.fill().logout()
        self.sandbox.in_git("alice", "INBOX")
        for command in (["gc", "alice"], ["purge", "alice", "INBOX", "--uid", "6", "--yes"]):
            shown = on_terminal([PROGRAM, *command, "--data", str(self.sandbox.data)])
            self.assertRegex(shown, r"\ralice: (looking|copying) +\d+%  \[[=> ]+\]  ")
            self.assertIn("\r\x1b[K", shown)

    def test_long_work_can_be_interrupted(self):
        self.fill().logout()
        self.sandbox.in_git("alice", "INBOX")
        purged = pathlib.Path(self.repository, "refs/annal/purged")
        # Both wait two seconds at first for others: a machine that stalls for as long is let off.
        for _ in range(5):
            status, said = self.interrupted(pathlib.Path(self.repository, "gc.pid").exists,
                                            "gc", "alice")
            if status != 0:
                break
        self.assertEqual(status, 1)
        self.assertIn(b"alice: interrupted; its packs are as they were", said)
        for uid in 6, 1, 2, 3, 4:
            status, said = self.interrupted(purged.exists, "purge", "alice", "INBOX", "--uid",
                                            str(uid))
            if status != 0:
                break
            git(self.repository, "update-ref", "-d", "refs/annal/purged")
        self.assertEqual(status, 1)
        self.assertIn(b"run annal gc alice to finish it", said)
        if uid == 6:
            self.assertNotEqual(self.files_with(SECRET), [])
        admin(self.sandbox, "gc", "alice")
        self.assert_forgotten()
        self.sandbox.check()

    def test_a_backup_from_before_a_purge_does_not_bring_it_back(self):
        client = self.fill()
        client.create("Old")
        client.uid("COPY", "5:7", "Old")
        client.append("Old", None, None, b"Subject: last\r\n\r\nbody\r\n")
        directory = self.sandbox.root / "backups"
        directory.mkdir()
        admin(self.sandbox, "backup", "alice", directory)
        before = list(directory.iterdir())
        client.delete("Old")
        self.sandbox.in_git("alice", "INBOX")
        grave = git(self.repository, "for-each-ref", "--format=%(refname)", "refs/deleted/Old")
        git(self.repository, "update-ref", "-d", grave.decode().strip())
        told = admin(self.sandbox, "purge", "alice", "INBOX", "--uid", "6").stdout
        self.assertIn(b"Backups and clones that were made before still have it", told)
        self.assert_forgotten()
        told = admin(self.sandbox, "backup", "alice", directory, "--incremental").stdout
        self.assertIn(b"all of it is in", told)
        after = [path for path in directory.iterdir() if path not in before]
        told = admin(self.sandbox, "backup", "alice", directory, "--incremental").stdout
        self.assertIn(b"what is new since " + bytes(after[0]), told)

        # One that is there, one that is gone with all its history, and all of them.
        admin(self.sandbox, "restore", "alice", "INBOX", "--from", *before, "--as", "Copy")
        self.assert_forgotten()
        client.select("Copy")
        self.assertEqual(len(client.uid("SEARCH", None, "ALL")[1][0].split()), 10)
        admin(self.sandbox, "restore", "alice", "Old", "--from", *before)
        self.assert_forgotten()
        client.select("Old")
        self.assertEqual(len(client.uid("SEARCH", None, "ALL")[1][0].split()), 3)
        log = git(self.repository, "log", "--format=%s", "Old").decode()
        self.assertIn("CREATE mailbox Old", log)
        self.sandbox.check()
        admin(self.sandbox, "restore", "alice", "--from", *before, "--replace")
        self.assert_forgotten()
        self.sandbox.check()

        # The new backup knows; what else is named does not count.
        client.logout()
        self.sandbox.stop()
        shutil.rmtree(self.repository)
        admin(self.sandbox, "restore", "alice", "--from", *before, *after)
        self.assert_forgotten()
        self.sandbox.start()
        client = self.sandbox.login()
        client.select("INBOX")
        self.assertEqual(len(client.uid("SEARCH", None, "ALL")[1][0].split()), 10)
        self.sandbox.check()

    def test_a_hold_stops_both(self):
        client = self.fill()
        self.sandbox.in_git("alice", "INBOX")
        admin(self.sandbox, "hold", "alice", "--reason", "a lawsuit")
        refused = admin(self.sandbox, "purge", "alice", "INBOX", "--uid", "6", ok=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn(b"on hold", refused.stderr)
        self.assertIn(b"on hold", admin(self.sandbox, "gc", "alice", "--history").stdout)
        self.assertIn(b"on hold", admin(self.sandbox, "verify", "alice").stdout)
        self.assertEqual(admin(self.sandbox, "hold", "alice", "--show").returncode, 0)
        admin(self.sandbox, "hold", "alice", "--release")
        self.assertEqual(admin(self.sandbox, "hold", "alice", "--show", ok=False).returncode, 1)
        trail = git(self.repository, "log", "--format=%s", "refs/annal/holds")
        self.assertEqual(trail, b"RELEASE the hold\nHOLD: a lawsuit\n")
        client.noop()

    def test_old_history_goes_and_git_still_works(self):
        client = self.fill()
        client.uid("STORE", "6", "+FLAGS", "(\\Deleted)")
        client.expunge()
        client.select("Archive")
        client.uid("STORE", "1", "+FLAGS", "(\\Deleted)")
        client.expunge()
        client.logout()
        self.sandbox.in_git("alice", "INBOX")
        self.sandbox.in_git("alice", "Archive")
        self.sandbox.stop()
        self.age(100)
        self.sandbox.start()
        told = admin(self.sandbox, "gc", "alice", "--history").stdout.decode()
        self.assertIn("let go what was before", told)
        self.assertEqual(git(self.repository, "rev-list", "--count", "INBOX"), b"1\n")
        everything = git(self.repository, "cat-file", "--batch-all-objects", "--batch")
        self.assertNotIn(SECRET, everything)
        git(self.repository, "fsck", "--strict")
        clone = self.sandbox.root / "clone"
        git(self.sandbox.root, "clone", "-q", f"file://{self.repository}", clone)
        self.assertEqual(git(clone, "log", "--oneline").count(b"\n"), 1)
        client = self.sandbox.login()
        client.select("INBOX")
        client.append("INBOX", None, None, b"Subject: new\r\n\r\nbody\r\n")
        self.assertEqual(len(client.uid("SEARCH", None, "ALL")[1][0].split()), 11)
        self.sandbox.check()

    def test_mailboxes_keep_as_long_as_they_are_told(self):
        client = self.fill()
        client.select("Archive")
        for flag in ("\\Seen", "\\Answered"):
            client.uid("STORE", "1", "+FLAGS", f"({flag})")
        client.logout()
        self.sandbox.in_git("alice", "Archive")
        self.sandbox.stop()
        self.age(100)
        git(self.repository, "commit-graph", "write", "--reachable")
        older = self.sandbox.root / "older"
        git(self.sandbox.root, "clone", "-q", f"file://{self.repository}", older)
        many = git(self.repository, "rev-list", "--count", "Archive")
        self.sandbox.start()
        # Known to a client from before the boundary: UIDVALIDITY, MODSEQ.
        client = self.sandbox.login()
        client.select("INBOX")
        validity = client.response("UIDVALIDITY")[1][0].decode()
        client.uid("STORE", "2", "+FLAGS", "(\\Deleted)")
        client.expunge()
        config = self.sandbox.root / "annal.conf"
        config.write_text(f'data = "{self.sandbox.data}"\nhistory_keep = 30\n'
                          'history_keep_of = {"Archive=forever"}\n')
        run(PROGRAM, "gc", "alice", "--history", "--config", config)
        self.assertEqual(git(self.repository, "rev-list", "--count", "Archive"), many)
        # The state at the boundary, and what came since.
        self.assertLess(int(git(self.repository, "rev-list", "--count", "INBOX")), 5)
        git(self.repository, "fsck", "--strict")
        # Also who cloned before goes on.
        git(older, "fetch", "-q", "--prune")
        git(older, "fsck", "--strict")
        self.assertEqual(git(older, "rev-parse", "origin/INBOX"),
                         git(self.repository, "rev-parse", "INBOX"))
        again = self.sandbox.login()
        again.enable("QRESYNC")
        again._simple_command("SELECT", f"INBOX (QRESYNC ({validity} 1))")
        gone = b" ".join(again.response("VANISHED")[1])
        self.assertRegex(gone, rb"^\(EARLIER\) (1:)?2$")
        self.assertEqual(len(again.response("FETCH")[1]), 10)
        self.sandbox.check()

    def test_checkpoints_prove_that_nothing_was_changed(self):
        self.fill().logout()
        self.sandbox.in_git("alice", "INBOX")
        key = self.sandbox.root / "key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key)
        public = (self.sandbox.root / "key.pub").read_text()
        signers = self.sandbox.root / "signers"
        signers.write_text(f'annal namespaces="git" {public}')
        config = self.sandbox.root / "annal.conf"
        config.write_text(f'data = "{self.sandbox.data}"\nsigning_key = "{key}"\n')

        def command(*arguments, **options):
            return run(PROGRAM, *arguments, "--config", config, **options)

        self.assertEqual(command("checkpoint", "alice").stdout, b"alice: signed\n")
        again = command("checkpoint", "alice").stdout
        self.assertIn(b"nothing has changed", again)
        git(self.repository, "-c", "gpg.format=ssh", "-c",
            f"gpg.ssh.allowedSignersFile={signers}", "verify-tag", "refs/annal/checkpoints/1")
        told = command("verify", "alice", "--signatures").stdout
        self.assertIn(b"alice: 1 checkpoints", told)
        command("verify", "alice", "--signatures", "--key", signers)
        command("purge", "alice", "INBOX", "--uid", "6")
        told = command("verify", "alice", "--signatures", "--key", str(key) + ".pub").stdout
        self.assertIn(b"2 were written anew by a purge", told)
        self.sandbox.stop()
        git(self.repository, "update-ref", "refs/heads/INBOX", "INBOX~3")
        changed = command("verify", "alice", "--signatures", ok=False)
        self.assertEqual(changed.returncode, 1)
        self.assertIn(b"which is not in the history", changed.stdout)
        self.sandbox.start()

    def test_a_server_tells_of_checkpoints_that_it_can_not_sign(self):
        key = self.sandbox.root / "key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key)
        config = self.sandbox.root / "annal.conf"
        config.write_text(f'signing_key = "{key}"\n')
        self.sandbox.stop()
        git(self.repository, "update-ref", "refs/annal/checkpoints/1", "refs/heads/INBOX")
        self.sandbox.arguments = ("--config", str(config))
        self.sandbox.start()
        wait_until(lambda: "event=checkpoint result=failed" in self.sandbox.log())
        self.assertRegex(self.sandbox.log(),
                         r'event=checkpoint result=failed accounts=1 last="?alice"? code="corrupt" '
                         r'reason="refs/annal/checkpoints/1 is no checkpoint"')
        config.write_text(f'signing_key = "{key}"\ndata = "{self.sandbox.data}"\n')
        wait_until(lambda: b"of 1 account can't be signed" in run(
            PROGRAM, "doctor", "--config", config, ok=False).stdout)
        git(self.repository, "update-ref", "-d", "refs/annal/checkpoints/1")
        run(PROGRAM, "checkpoint", "alice", "--config", config)
        self.sandbox.check()

    def test_an_increment_does_without_a_checkpoint_that_went(self):
        self.fill().logout()
        self.sandbox.in_git("alice", "INBOX")
        key = self.sandbox.root / "key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key)
        config = self.sandbox.root / "annal.conf"
        config.write_text(f'data = "{self.sandbox.data}"\nsigning_key = "{key}"\n')
        directory = self.sandbox.root / "backups"
        directory.mkdir()
        run(PROGRAM, "checkpoint", "alice", "--config", config)
        admin(self.sandbox, "backup", "alice", directory)
        self.sandbox.stop()
        git(self.repository, "update-ref", "-d", "refs/annal/checkpoints/1")
        git(self.repository, "gc", "-q", "--prune=now")
        told = admin(self.sandbox, "backup", "alice", directory, "--incremental").stdout
        self.assertIn(b"what is new since", told)
        self.sandbox.start()

    def age(self, days):
        """Writes all history anew as if it were so much older."""
        seconds = days * 86400
        exported = git(self.repository, "fast-export", "--all", "--signed-tags=strip")
        older = re.sub(rb"^((?:author|committer) .*> )(\d+)( \+0000)$",
                       lambda match: match[1] + b"%d" % (int(match[2]) - seconds) + match[3],
                       exported, flags=re.MULTILINE)
        git(self.repository, "fast-import", "--quiet", "--force", input=older)
        git(self.repository, "gc", "-q", "--prune=now")


if __name__ == "__main__":
    unittest.main()
