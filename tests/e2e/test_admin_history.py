#!/usr/bin/env python3
"""annal log, show, diff and blame on a real server's repositories while it runs."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from annal import PROGRAM, Sandbox, git, quote, response, run
from terminal import shown_on_terminal

ROOT = pathlib.Path(__file__).resolve().parents[2]
ESCAPES = b"=?UTF-8?Q?Gr=C3=BC=C3=9Fe?= \x1b[31mred\x1b]0;owned\x07 \xe2\x80\xaeidib \xc2\x9b5m"
ENCODED_ESCAPES = b"=?utf-8?b?G1s1bWhpZGRlbg==?= =?utf-8?q?=E2=80=AEabc=0D=0Anew_line?="
LONG = b"x" * 100_000
# What no output may hold: control characters (line ends aside), C1, bidi, and what hides.
HARMFUL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
                     "\ufeff]")


def message(subject, sender=b"Berta =?UTF-8?Q?Bl=C3=BCmel?= <berta@example.org>"):
    return b"From: " + sender + b"\r\nSubject: " + subject + b"\r\n\r\nbody\r\n"


class History(unittest.TestCase):
    """One server for all: the commands only read."""

    @classmethod
    def setUpClass(cls):
        cls.sandbox = Sandbox("--user", "alice:alice", "--user", "demo:demo")
        cls.addClassCleanup(cls.sandbox.close)
        cls.repository = cls.sandbox.repositories["alice"]
        client = cls.sandbox.login()
        response(client.xatom("ID", '("name" "Tester" "version" "1")'))
        for subject in (b"lunch", ESCAPES, ENCODED_ESCAPES, LONG):
            response(client.append("INBOX", "", None, message(subject)))
        response(client.select())
        response(client.uid("STORE", "1", "+FLAGS", "(\\Seen work)"))
        response(client._simple_command("MOVE", "2", "Archive"))
        response(client.uid("STORE", "3", "+FLAGS", "(\\Deleted)"))
        response(client.expunge())
        response(client.create(quote("Würste/Alt")))
        response(client.append(quote("Würste/Alt"), "", None, message(b"old name")))
        response(client.rename(quote("Würste/Alt"), quote("Würste/Neu")))
        response(client.create("Gone"))
        response(client.append("Gone", "(\\Flagged)", None, message(b"in a deleted mailbox")))
        cls.sandbox.in_git("alice", "Gone")
        response(client.delete("Gone"))
        response(client.subscribe("Archive"))
        client.logout()
        cls.sandbox.in_git("alice", "INBOX")
        cls.push_and_merge()

    @classmethod
    def tearDownClass(cls):
        cls.sandbox.check()

    @classmethod
    def push_and_merge(cls):
        """A branch whose newest commit has two parents, as a merge of changes from outside."""
        tree = git(cls.repository, "rev-parse", "Archive^{tree}").decode().strip()
        theirs = git(cls.repository, "commit-tree", tree, "-p", "Archive~1", "-m",
                     "made \x1b[7m outside").decode().strip()
        merge = git(cls.repository, "commit-tree", tree, "-p", "Archive", "-p", theirs, "-m",
                    "RECONCILE a change from outside").decode().strip()
        git(cls.repository, "update-ref", "refs/deleted/Merged/7", merge)

    def annal(self, *arguments, status=0, **options):
        done = run(PROGRAM, *arguments, "--data", self.sandbox.data, ok=False, **options)
        self.assertEqual(done.returncode, status, (arguments, done.stdout, done.stderr))
        text = done.stdout.decode()  # also: it is UTF-8
        self.assertIsNone(HARMFUL.search(text), text)
        self.assertIsNone(HARMFUL.search(done.stderr.decode()), done.stderr)
        self.assertEqual(done.stderr == b"", status == 0, done.stderr)
        return text if status == 0 else done.stderr.decode()

    def json(self, *arguments):
        text = self.annal(*arguments, "--json")
        self.assertTrue(text.isascii())
        return [json.loads(line) for line in text.splitlines()]

    def commits(self, branch):
        return git(self.repository, "rev-list", "--first-parent", branch).decode().split()

    # --- log

    def test_log_tells_the_commits_of_a_mailbox(self):
        entries = self.json("log", "alice", "INBOX")
        self.assertEqual([entry["commit"] for entry in entries], self.commits("INBOX"))
        self.assertEqual([entry["action"] for entry in entries],
                         ["EXPUNGE", "STORE", "MOVE", "STORE"] + 4 * ["APPEND"] + ["CREATE"])
        expunge, _, move, store = entries[:4]
        self.assertEqual((store["who"], store["command"], store["mailbox"], store["deleted"]),
                         ("alice", "UID STORE", "INBOX", False))
        self.assertIn("Tester", store["client"])
        self.assertEqual(store["changed"], 1)
        touched = store["messages"][0]
        self.assertEqual((touched["uid"], touched["change"], touched["subject"]),
                         (1, "changed", "lunch"))
        self.assertEqual(touched["from"], "Berta Blümel <berta@example.org>")
        self.assertEqual((touched["flags_before"], touched["flags_after"]), ([], ["\\Seen", "work"]))
        self.assertEqual([(m["uid"], m["change"]) for m in move["messages"]], [(2, "gone")])
        self.assertEqual([(m["uid"], m["change"]) for m in expunge["messages"]], [(3, "gone")])
        arrived = entries[4]["messages"][0]
        self.assertEqual((arrived["change"], arrived["uid"]), ("arrived", 4))
        self.assertEqual(arrived["subject"], "x" * 1000 + "...")

    def test_log_for_people(self):
        text = self.annal("log", "alice", "INBOX")
        short = self.commits("INBOX")[3][:12]
        self.assertRegex(text, f"(?m)^{short}  20[-0-9]+ [0-9:]+ \\+0000  STORE uid 1 ")
        self.assertIn('    ~ uid 1  "lunch" from Berta Blümel <berta@example.org>  +\\Seen  +work\n',
                      text)
        self.assertIn('    - uid 2  "Grüße ?[31mred?]0;owned? ', text)
        self.assertLess(max(map(len, text.splitlines())), 400)

    def test_log_of_the_whole_account(self):
        entries = self.json("log", "alice")
        told = [(entry["action"], entry["mailbox"], entry["deleted"]) for entry in entries]
        self.assertIn(("SUBSCRIBE", None, False), told)
        self.assertIn(("RENAME", "Würste/Neu", False), told)
        self.assertEqual([t for t in told if t[1] == "Gone"], [("DELETE", "Gone", True)])
        self.assertEqual(len({entry["commit"] for entry in entries}), len(entries))
        times = [entry["time"] for entry in entries]
        self.assertEqual(times, sorted(times, reverse=True))
        with_deleted = self.json("log", "alice", "--deleted")
        self.assertEqual([e["action"] for e in with_deleted if e["mailbox"] == "Gone"],
                         ["DELETE", "APPEND", "CREATE"])

    def test_log_filters(self):
        cases = {
            ("-n", "2"): ["EXPUNGE", "STORE"],
            ("--limit=1",): ["EXPUNGE"],
            ("--uid", "1"): ["STORE", "APPEND"],
            ("--uid", "2,3"): ["EXPUNGE", "STORE", "MOVE", "APPEND", "APPEND"],
            ("--uid", "*"): ["APPEND"],
            ("--uid", "17"): [],
            ("--action", "store,MOVE"): ["STORE", "MOVE", "STORE"],
            ("--action", "move", "--action", "create"): ["MOVE", "CREATE"],
            ("--uid", "3", "--action", "EXPUNGE"): ["EXPUNGE"],
            ("--since", "tomorrow"): None,
            ("--until", "yesterday"): [],
            ("--until", "2 hours ago"): [],
            ("--since", "2020-01-01", "--until", "now", "-n1"): ["EXPUNGE"],
            ("--since", "1 hour ago", "--action", "MOVE"): ["MOVE"],
        }
        for options, wanted in cases.items():
            with self.subTest(options=options):
                if wanted is None:
                    self.annal("log", "alice", "INBOX", *options, status=2)
                else:
                    self.assertEqual([entry["action"] for entry in
                                      self.json("log", "alice", "INBOX", *options)], wanted)

    def test_log_shows_so_many_messages_of_a_change(self):
        client = self.sandbox.login()
        response(client.create("Many"))
        mails = "".join(" {%d+}\r\n%s" % (len(f"Subject: {n}\r\n\r\n"), f"Subject: {n}\r\n\r\n")
                        for n in range(9))
        response(client._simple_command("APPEND", "Many" + mails))
        client.logout()
        self.sandbox.in_git("alice", "Many")
        change = self.json("log", "alice", "Many")[0]
        self.assertEqual((change["arrived"], len(change["messages"])), (9, 5))
        self.assertIn("4 more (in all 9 arrived, 0 gone, 0 changed)",
                      self.annal("log", "alice", "Many"))
        self.assertEqual(len(self.json("log", "alice", "Many", "--messages", "all")[0]["messages"]),
                         9)
        self.assertEqual(self.json("log", "alice", "Many", "--messages", "0")[0]["messages"], [])
        client = self.sandbox.login()
        response(client.delete("Many"))
        client.logout()

    def test_log_of_renamed_deleted_empty_and_merged_mailboxes(self):
        self.assertEqual([e["action"] for e in self.json("log", "alice", "Würste/Neu")],
                         ["RENAME", "APPEND", "CREATE"])
        self.assertIn("--deleted", self.annal("log", "alice", "Gone", status=1))
        self.assertEqual([e["action"] for e in self.json("log", "alice", "Gone", "--deleted")],
                         ["DELETE", "APPEND", "CREATE"])
        self.assertEqual([e["action"] for e in self.json("log", "alice", "Drafts")], ["CREATE"])
        merged = self.json("log", "alice", "Merged", "--deleted")
        self.assertEqual(sorted(e["action"] for e in merged),
                         ["CREATE", "MOVE", "OTHER", "RECONCILE"])
        self.assertEqual((merged[0]["action"], len(merged[0]["parents"])), ("RECONCILE", 2))
        other = next(e for e in merged if e["action"] == "OTHER")
        self.assertEqual((other["who"], other["text"]), ("outside", "made ?[7m outside"))

    # --- show

    def test_show_tells_all_of_a_change(self):
        commit = self.commits("INBOX")[3]
        for digits in (commit, commit[:9], commit[:12].upper()):
            shown, = self.json("show", "alice", "INBOX", digits)
            self.assertEqual(shown, self.json("log", "alice", "INBOX", "--uid", "1")[0])
        text = self.annal("show", "alice", "INBOX", commit)
        self.assertIn(f"change    {commit}\n", text)
        self.assertIn("command   UID STORE\n", text)
        self.assertIn("messages  0 arrived, 0 gone, 1 changed\n", text)
        merge = git(self.repository, "rev-parse", "refs/deleted/Merged/7").decode().strip()
        self.assertIn("merges    ", self.annal("show", "alice", "Merged", merge))
        self.assertIn("no change of this mailbox",
                      self.annal("show", "alice", "INBOX", merge, status=1))

    def test_show_tells_of_a_message(self):
        shown, = self.json("show", "alice", "INBOX", "--uid", "1")
        commits = self.commits("INBOX")
        self.assertEqual((shown["flags"], shown["arrived"], shown["changed"], shown["gone"]),
                         (["\\Seen", "work"], commits[7], commits[3], None))
        blob = git(self.repository, "rev-parse", "INBOX:00/00/00/00/01").decode().strip()
        self.assertEqual(shown["emailid"], blob)
        gone, = self.json("show", "alice", "INBOX", "--uid", "2")
        self.assertEqual((gone["gone"], gone["state"]), (commits[2], commits[3]))
        text = self.annal("show", "alice", "INBOX", "--uid", "3")
        self.assertIn("\nSubject: ?[5mhidden???abc", text)
        self.assertRegex(text, f"(?m)^gone      {commits[0][:12]}  .*  EXPUNGE, alice, ")
        text = self.annal("show", "alice", "INBOX", "--uid", "4")
        self.assertIn("flags     (none)\n", text)
        deleted, = self.json("show", "alice", "Gone", "--uid", "1", "--deleted")
        self.assertEqual((deleted["subject"], deleted["flags"]),
                         ("in a deleted mailbox", ["\\Flagged"]))
        self.annal("show", "alice", "INBOX", "--uid", "99", status=1)

    def test_show_a_message_as_it_was(self):
        before = self.commits("INBOX")[4]
        shown, = self.json("show", "alice", "INBOX", "--uid", "1", "--at", before)
        self.assertEqual((shown["flags"], shown["state"]), ([], before))
        self.annal("show", "alice", "INBOX", "--uid", "1", "--at", "2020-01-01", status=1)

    def test_show_raw_gives_the_exact_octets(self):
        for compressed in False, True:
            if compressed:
                run(PROGRAM, "gc", "alice", "--compress", "--data", self.sandbox.data)
            for mailbox, uid, subject in (("Archive", 1, ESCAPES), ("INBOX", 4, LONG),
                                          ("INBOX", 3, ENCODED_ESCAPES)):
                done = run(PROGRAM, "show", "alice", mailbox, "--uid", uid, "--raw", "--data",
                           self.sandbox.data)
                self.assertEqual(done.stdout, message(subject))
        refused, status = self.on_terminal("show", "alice", "Archive", "--uid", "1", "--raw")
        self.assertEqual(status, 1)
        self.assertIn(b"--force", refused)
        self.assertNotIn(b"\x1b", refused)
        shown, status = self.on_terminal("show", "alice", "Archive", "--uid", "1", "--raw",
                                         "--force")
        self.assertEqual(status, 0)
        self.assertIn(b"\x1b[31mred", shown)

    # --- diff

    def test_diff_counts_and_lists(self):
        base = self.commits("INBOX")[4]
        summary, *messages = self.json("diff", "alice", "INBOX", "--from", base)
        self.assertEqual((summary["arrived"], summary["gone"], summary["changed"]), (0, 2, 1))
        self.assertEqual(summary["before"]["commit"], base)
        self.assertEqual([(m["uid"], m["change"]) for m in messages],
                         [(1, "changed"), (2, "gone"), (3, "gone")])
        self.assertEqual(messages[0]["flags_after"], ["\\Seen", "work"])
        self.assertIn({"mailbox": "Archive", "uid": 1}, messages[1]["now_in"])
        self.assertEqual(messages[2]["now_in"], [])
        text = self.annal("diff", "alice", "INBOX", "--from", base)
        self.assertIn("0 arrived, 2 gone, 1 changed\n", text)
        self.assertIn("now in Archive (uid 1)", text)
        back, = self.json("diff", "alice", "INBOX", "--from", base, "--to", base)
        self.assertEqual((back["arrived"], back["gone"], back["changed"]), (0, 0, 0))

    def test_diff_between_times(self):
        summary, *messages = self.json("diff", "alice", "INBOX", "--from", "yesterday", "--to",
                                       "now")
        self.assertIsNone(summary["before"])
        self.assertEqual([(m["uid"], m["change"]) for m in messages],
                         [(1, "arrived"), (4, "arrived")])
        self.annal("diff", "alice", "Nothing", "--from", "yesterday", status=1)
        self.annal("diff", "alice", "INBOX", "--from", "yesterday", "--to", "yesterday", status=1)

    # --- blame

    def test_blame_names_who_brought_and_touched_each_message(self):
        commits = self.commits("INBOX")
        first, last = self.json("blame", "alice", "INBOX")
        self.assertEqual((first["uid"], first["arrived"]["commit"], first["changed"]["commit"]),
                         (1, commits[7], commits[3]))
        self.assertEqual((first["changed"]["action"], first["changed"]["who"]), ("STORE", "alice"))
        self.assertIn("Tester", first["changed"]["client"])
        self.assertEqual((last["uid"], last["arrived"], last["changed"]),
                         (4, last["changed"], last["arrived"]))
        self.assertEqual([b["uid"] for b in self.json("blame", "alice", "INBOX", "--uid", "2:*")],
                         [4])
        self.assertEqual(self.json("blame", "alice", "Drafts"), [])
        then = self.json("blame", "alice", "INBOX", "--uid", "1:3", "--at", commits[4])
        self.assertEqual([b["uid"] for b in then], [1, 2, 3])
        text = self.annal("blame", "alice", "INBOX", "--uid", "1")
        self.assertRegex(text, f"(?m)^    changed  {commits[3][:12]}  .*  STORE, alice, .*Tester")

    # --- all of them

    def test_bad_arguments_are_told(self):
        cases = (
            ("log",), ("log", "alice", "INBOX", "more"), ("log", "alice", "--uid", "1"),
            ("log", "alice", "INBOX", "--uid", "0"), ("log", "alice", "INBOX", "--uid", "a"),
            ("log", "alice", "-n", "x"), ("log", "alice", "-n", "-1"),
            ("log", "alice", "-n", "99999999999999999999999"), ("log", "alice", "--messages", ""),
            ("log", "alice", "--since", "soon"), ("log", "alice", "--since", "abcdef12"),
            ("log", "alice", "--action", "FETCH"), ("log", "alice", "--action", ""),
            ("log", "alice", "--color=blue"), ("log", "alice", "--strange"),
            ("show", "alice", "INBOX"), ("show", "alice", "INBOX", "xyz1"),
            ("show", "alice", "INBOX", "abc"), ("show", "alice", "INBOX", "abcd", "--raw"),
            ("show", "alice", "INBOX", "abcd", "--uid", "1"),
            ("show", "alice", "INBOX", "--uid", "0"), ("show", "alice", "INBOX", "--uid", "1,2"),
            ("show", "alice", "INBOX", "--uid", "4294967296"),
            ("show", "alice", "INBOX", "--uid", "1", "--at", "x"),
            ("show", "alice", "INBOX", "--uid", "1", "--raw", "--json"),
            ("diff", "alice", "INBOX"), ("diff", "alice", "--from", "yesterday"),
            ("diff", "alice", "INBOX", "--from", "x"),
            ("diff", "alice", "INBOX", "--from", "today", "--deleted"),
            ("blame", "alice"), ("blame", "alice", "INBOX", "--uid", "x"),
        )
        for arguments in cases:
            with self.subTest(arguments=arguments):
                self.annal(*arguments, status=2)

    def test_what_is_not_there_is_told(self):
        for arguments in (("log", "nobody"), ("log", "a/b"), ("log", "alice", "Nothing"),
                          ("log", "alice", "a//b"), ("blame", "alice", "Gone"),
                          ("show", "alice", "INBOX", "0000"), ("blame", "alice", "a\x1b[31m"),
                          ("blame", "alice", "INBOX", "--deleted")):
            with self.subTest(arguments=arguments):
                self.annal(*arguments, status=1)

    def test_help(self):
        for command in ("log", "show", "diff", "blame"):
            self.assertIn(f"usage: annal {command} USER", self.annal(command, "--help"))

    def test_a_reader_that_leaves_is_no_failure(self):
        for command in (("log", "alice"), ("blame", "alice", "INBOX"),
                        ("log", "alice", "--json", "--messages", "all")):
            process = subprocess.Popen([PROGRAM, *command, "--data", str(self.sandbox.data)],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            process.stdout.readline()
            process.stdout.close()
            problems = process.stderr.read()
            process.stderr.close()
            self.assertEqual((process.wait(60), problems), (0, b""))

    def test_a_full_disk_is_a_failure(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PROGRAM, "log", "alice", "--data", str(self.sandbox.data)],
                                  stdout=full, stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"writing failed", done.stderr)

    # --- on a terminal

    def on_terminal(self, *arguments, **variables):
        """What the command shows on a terminal, and its status."""
        environment = {name: value for name, value in os.environ.items()
                       if name not in ("PAGER", "LESS", "NO_COLOR", "TERM")}
        environment.update({"TERM": "xterm"}, **variables)
        shown, status, _ = shown_on_terminal(
            [PROGRAM, *arguments, "--data", str(self.sandbox.data)], environment=environment)
        return shown, status

    def test_a_pager_and_colours_are_for_terminals(self):
        with tempfile.TemporaryDirectory(prefix="annal-pager-") as directory:
            pager = pathlib.Path(directory) / "pager"
            pager.write_text('#!/bin/sh\necho "PAGED LESS=$LESS"\nexec cat\n')
            pager.chmod(0o700)
            log = ("log", "alice", "INBOX", "-n1")
            text = self.annal(*log, env=dict(os.environ, PAGER=str(pager)))
            self.assertNotIn("PAGED", text)
            shown, status = self.on_terminal(*log, PAGER=str(pager))
            self.assertEqual(status, 0)
            self.assertTrue(shown.startswith(b"PAGED LESS=FRX\r\n\x1b[33m"), shown)
            shown, _ = self.on_terminal(*log, PAGER=f"{pager} --flag", LESS="R", NO_COLOR="1")
            self.assertTrue(shown.startswith(b"PAGED LESS=R\r\n"), shown)
            self.assertNotIn(b"\x1b", shown)
            shown, _ = self.on_terminal(*log, "--no-pager", PAGER=str(pager))
            self.assertTrue(shown.startswith(b"\x1b[33m"), shown)
            shown, _ = self.on_terminal(*log, "--color=never", PAGER="cat")
            self.assertNotIn(b"\x1b", shown)
            shown, _ = self.on_terminal(*log, PAGER="", TERM="dumb")
            self.assertNotIn(b"\x1b", shown)
            shown, _ = self.on_terminal(*log, "--json", PAGER="")
            self.assertEqual(json.loads(shown)["action"], "EXPUNGE")

    def test_the_pager_may_be_left_or_missing(self):
        shown, status = self.on_terminal("log", "alice", "--messages", "all", PAGER="true")
        self.assertEqual((shown, status), (b"", 0))
        shown, status = self.on_terminal("log", "alice", "INBOX", "-n1", PATH="/nonexistent")
        self.assertEqual(status, 0)
        self.assertIn(b"EXPUNGE uid 3", shown)

    def test_colours_can_be_had_in_a_pipe(self):
        done = run(PROGRAM, "log", "alice", "INBOX", "-n1", "--color=always", "--data",
                   self.sandbox.data)
        self.assertTrue(done.stdout.startswith(b"\x1b[33m"))
        self.assertIn(b"\x1b[31m- uid 3\x1b[m", done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
