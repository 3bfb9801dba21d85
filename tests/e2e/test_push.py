#!/usr/bin/env python3
"""An admin clones an account, edits it with stock git, and pushes."""
import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from annal import bodies, flags, git, response, run, wait_until
from test_restore import Restore, message

INDEX = "00/00/00/00/index"


class Push(Restore):
    def setUp(self):
        super().setUp()
        self.expunge(2)
        self.sandbox.in_git("alice", "INBOX")
        self.work = self.sandbox.root / "work"
        run("git", "clone", "--quiet", "--branch", "INBOX", self.repository, self.work)

    def edit(self, path, old, new):
        file = self.work / path
        text = file.read_text()
        self.assertIn(old, text)
        file.write_text(text.replace(old, new, 1))

    def push(self, *arguments, ok=True):
        """What git says."""
        if ok or not arguments:
            git(self.work, "add", "--all")
            git(self.work, "commit", "--quiet", "--allow-empty", "--message", "by hand")
        done = subprocess.run(["git", "-C", self.work, "push", "origin", *(arguments or ["INBOX"])],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
                              check=False)
        self.assertEqual(done.returncode == 0, ok, done.stdout)
        return done.stdout.decode()

    def refused(self, reason):
        self.assertIn(reason, self.push(ok=False))
        self.assertEqual(len(bodies(self.client, "INBOX")), 4)
        response(self.client.append("Drafts", "", None, message(1)))  # the server goes on

    def test_a_reverted_expunge_comes_back_under_a_fresh_uid(self):
        git(self.work, "config", "user.name", "admin")
        git(self.work, "config", "user.email", "admin@example.org")
        git(self.work, "revert", "--no-edit", "HEAD")
        self.push()

        def told():
            response(self.client.noop())
            return bodies(self.client, "INBOX") == {1: message(1), 3: message(3), 4: message(4),
                                                    5: message(5), 6: message(2)}

        wait_until(told, what="the message is not there, or not under a fresh UID")
        subjects = git(self.repository, "log", "-3", "--format=%s", "INBOX").decode()
        self.assertIn("RECONCILE", subjects)
        self.assertIn("Revert", git(self.repository, "log", "-5", "--format=%s", "INBOX").decode())

    def test_the_hook_renumbers_where_no_server_runs(self):
        git(self.work, "config", "user.name", "admin")
        git(self.work, "config", "user.email", "admin@example.org")
        git(self.work, "revert", "--no-edit", "HEAD")
        self.client.logout()
        self.sandbox.stop()
        self.push()
        paths = git(self.repository, "ls-tree", "-r", "--name-only", "INBOX").decode().split()
        self.assertIn("00/00/00/00/06", paths)
        self.assertNotIn("00/00/00/00/02", paths)
        self.sandbox.start()
        self.client = self.sandbox.login()
        self.assertEqual(bodies(self.client, "INBOX")[6], message(2))

    def test_an_edited_flag_is_served(self):
        line = re.search(r"^4 .*\n", (self.work / INDEX).read_text(), re.MULTILINE).group(0)
        self.edit(INDEX, line, line.rstrip("\n") + " \\Answered\n")
        self.push()
        wait_until(lambda: flags(self.client, "INBOX")[4] == {"\\Answered"})

    def reset(self):
        git(self.work, "reset", "--quiet", "--hard", "origin/INBOX")

    def test_what_would_break_a_mailbox_is_refused(self):
        self.edit(INDEX, "3 ", "3  ")
        self.refused("malformed")
        self.reset()
        with open(self.work / "00/00/00/00/04", "ab") as file:
            file.write(b"more")
        self.refused("uid 4 names another message")
        self.reset()
        (self.work / "00/00/00/00/06").write_bytes(b"Subject: new\r\n\r\n")
        text = (self.work / INDEX).read_text()
        (self.work / INDEX).write_text(text + "6 100 2026-11-17T10:00:00+0100 999\n")
        self.edit("mailbox", "uidnext 6", "uidnext 7")
        highest = re.search(r"highestmodseq (\d+)", (self.work / "mailbox").read_text()).group(1)
        self.edit("mailbox", f"highestmodseq {highest}", "highestmodseq 100")
        self.refused("uid 6 has 16 octets, its line says 999")
        self.reset()
        (self.work / "00/00/00/00/02").write_bytes(b"other")
        lines = (self.work / INDEX).read_text().splitlines()
        lines.insert(1, "2 3 2026-11-17T10:00:00+0100 5")
        (self.work / INDEX).write_text("\n".join(lines) + "\n")
        self.refused("uid 2 was that of another message")
        self.reset()
        (self.work / "00/00/00/00/03").unlink()
        self.refused("refs/heads/INBOX")
        self.reset()
        self.edit("mailbox", "format 1", "format 7")
        self.refused("format")
        self.reset()
        self.edit("mailbox", "uidvalidity 1", "uidvalidity 2")
        self.refused("must stay as they are")

    def test_one_bad_branch_does_not_keep_the_others_out(self):
        git(self.work, "fetch", "--quiet")
        git(self.work, "checkout", "--quiet", "Drafts")
        git(self.work, "commit", "--quiet", "--allow-empty", "--message", "good")
        good = git(self.work, "rev-parse", "HEAD").decode().strip()
        git(self.work, "checkout", "--quiet", "INBOX")
        self.edit(INDEX, "3 ", "3  ")
        git(self.work, "commit", "--quiet", "--all", "--message", "bad")
        self.push("INBOX", "Drafts", ok=False)
        git(self.repository, "merge-base", "--is-ancestor", good, "Drafts")

    def test_what_only_annal_may_do_is_refused(self):
        self.assertIn("non-fast-forward", self.push("--force", "HEAD~1:INBOX", ok=False))
        self.assertIn("deletion prohibited", self.push("--delete", "Drafts", ok=False))
        git(self.repository, "config", "receive.denyNonFastForwards", "false")
        git(self.repository, "config", "receive.denyDeletes", "false")
        self.assertIn("not built on", self.push("--force", "HEAD~1:INBOX", ok=False))
        self.assertIn("deletes no mailbox", self.push("--delete", "Drafts", ok=False))
        self.assertIn("mailboxid", self.push("HEAD:refs/heads/Copy", ok=False))
        self.assertIn("only Annal", self.push("HEAD:refs/deleted/X/1", ok=False))
        self.assertIn("no mailbox can be called that",
                      self.push("HEAD:refs/heads/a%41", ok=False))
        self.push("HEAD:refs/tags/mine", ok=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
