#!/usr/bin/env python3
"""Sessions of a plain client: octets, flags, names, and the admin's tools beside them."""
import imaplib
import pathlib
import random
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from annal import PROGRAM, Case, bodies, flags, git, quote, response, run, wait_until

SAMPLE = pathlib.Path(__file__).parent.parent / "data" / "sample.mbox"

MESSAGES = {
    "CRLF": b"Subject: a\r\n\r\nline\r\nline\r\n",
    "bare LF": b"Subject: a\n\nline\nline\n",
    "bare CR": b"Subject: a\r\rline\rline\r",
    "mixed line ends": b"Subject: a\r\n\n\r\r\n\n\r",
    "8-bit": b"Subject: \xff\xfe\r\n\r\n" + bytes(range(1, 256)) * 20,
    "no final newline": b"Subject: a\r\n\r\nno end",
    "header only": b"Subject: a\r\n",
    "one octet": b"x",
    "looks like a literal": b"Subject: a\r\n\r\n{5}\r\n)\r\n* BYE\r\n",
    "looks like an mbox": b"From a\r\nFrom b\r\n\r\n>From c\r\n",
}


class Octets(Case):
    def append_all(self, messages):
        client = self.sandbox.login()
        for name, message in messages.items():
            # imaplib's append() mends line ends; this one must not.
            client.literal = message
            status, data = client._simple_command("APPEND", "INBOX")
            self.assertEqual(status, "OK", (name, data))
        return client

    def test_come_back_exactly(self):
        client = self.append_all(MESSAGES)
        found = bodies(client, "INBOX")
        self.assertEqual(len(found), len(MESSAGES))
        for (name, message), got in zip(MESSAGES.items(), found.values()):
            self.assertEqual(message, got, name)
        # The same octets stand in git, as blobs.
        repository = self.sandbox.repositories["alice"]
        self.sandbox.in_git("alice", "INBOX")
        for uid, message in found.items():
            path = "/".join(f"{uid:010d}"[i:i + 2] for i in range(0, 10, 2))
            self.assertEqual(git(repository, "cat-file", "blob", f"INBOX:{path}"), message)
        client.logout()
        # And after a restart.
        self.sandbox.restart()
        client = self.sandbox.login()
        self.assertEqual(bodies(client, "INBOX"), found)
        client.logout()

    def test_fifty_megabytes_come_back_exactly(self):
        generator = random.Random(50)
        block = bytes(generator.choices([b for b in range(1, 256)], k=1 << 20))
        message = b"Subject: large\r\n\r\n" + block * 50
        client = self.append_all({"large": message})
        self.assertEqual(list(bodies(client, "INBOX").values()), [message])
        response(client.select("INBOX", readonly=True))
        part = response(client.fetch("1", "(BODY.PEEK[]<30000000.1000>)"))[0][1]
        self.assertEqual(part, message[30000000:30001000])
        size = response(client.fetch("1", "(RFC822.SIZE)"))[0]
        self.assertIn(str(len(message)).encode(), size)
        client.logout()

    def test_nul_and_too_large_are_refused_and_the_session_goes_on(self):
        client = self.sandbox.login()
        for message in (b"Subject: a\r\n\r\nnul \0 nul\r\n", b""):
            client.send(b"z0 APPEND INBOX {%d+}\r\n%s\r\n" % (len(message), message))
            self.assertRegex(client.readline(), rb"^z0 (NO|BAD) ")
        self.assertEqual(response(client.select("INBOX")), [b"0"])
        client.send(b"z1 APPEND INBOX {99999999999}\r\n")
        line = client.readline()
        self.assertRegex(line, rb"^z1 (NO|BAD) ")
        self.assertEqual(client.noop()[0], "OK")
        client.logout()


class Sessions(Case):
    def test_two_clients_see_each_other(self):
        one, two = self.sandbox.login(tls=True), self.sandbox.login()
        for _ in range(3):
            response(one.append("INBOX", "", None, b"Subject: x\r\n\r\nx\r\n"))
        response(one.select())
        response(two.select())
        response(one.store("2", "+FLAGS", "(\\Flagged $label)"))
        response(two.noop())
        self.assertIn(b"\\Flagged", two.response("FETCH")[1][0])
        response(one.store("1", "+FLAGS.SILENT", "(\\Deleted)"))
        response(one.expunge())
        response(two.noop())
        self.assertEqual(two.response("EXPUNGE")[1], [b"1"])
        self.assertEqual(set(bodies(two, "INBOX")), {2, 3})
        self.assertEqual(flags(two, "INBOX")[2], {"\\Flagged", "$label"})
        one.logout()
        two.logout()

    def test_idle_tells_at_once(self):
        one, two = self.sandbox.login(), self.sandbox.login()
        response(one.select())
        one.send(b"i1 IDLE\r\n")
        self.assertTrue(one.readline().startswith(b"+"))
        response(two.append("INBOX", "", None, b"Subject: x\r\n\r\nx\r\n"))
        before = time.monotonic()
        self.assertEqual(one.readline(), b"* 1 EXISTS\r\n")
        self.assertLess(time.monotonic() - before, 5)
        one.send(b"DONE\r\nz2 NOOP\r\n")
        lines = []
        while not lines or not lines[-1].startswith(b"z2 OK"):
            lines.append(one.readline())
        self.assertTrue(any(line.startswith(b"i1 OK") for line in lines), lines)
        two.logout()
        one.shutdown()

    def test_names_in_any_language_are_branches(self):
        names = ["Père Noël", "日本語/受信箱", "a.b", "A", "A/B", "with space/und Ümläut", "x&y",
                 "100%", "~home", "-dash", "a_b", "quote\"d", "lock", "x.lock", "HEAD", "@", "{}"]
        client = self.sandbox.login()
        for name in names:
            response(client.create(quote(name)), name)
            response(client.append(quote(name), "", None, name.encode()), name)
        listed = b"\n".join(line if isinstance(line, bytes) else b" ".join(line)
                            for line in response(client.list()))
        for name in names:
            if '"' not in name:
                self.assertIn(name.encode("utf-7-imap"), listed)
            self.assertEqual(list(bodies(client, name).values()), [name.encode()])
        branches = git(self.sandbox.repositories["alice"], "branch", "--list").split()
        self.assertEqual(len([b for b in branches if b != b"*"]), len(names) + 6)
        response(client.rename(quote("A"), quote("Ä")))
        self.assertEqual(list(bodies(client, "Ä/B").values()), [b"A/B"])
        response(client.delete(quote("Ä/B")))
        self.assertEqual(client.select(quote("Ä/B"))[0], "NO")
        client.logout()

    def test_every_change_is_one_commit_that_says_what(self):
        client = self.sandbox.login()
        repository = self.sandbox.repositories["alice"]

        def count(branch):
            return int(git(repository, "rev-list", "--count", branch))

        before = count("INBOX")
        response(client.append("INBOX", "", None, b"Subject: Re: lunch?\r\n\r\nx\r\n"))
        response(client.select())
        response(client.store("1", "+FLAGS", "(\\Flagged)"))
        response(client.store("1", "+FLAGS", "(\\Flagged)"))  # changes nothing: no commit
        response(client.create("Kept"))
        kept = count("Kept")
        response(client._simple_command("MOVE", "1", "Kept"))
        self.sandbox.in_git("alice", "INBOX")
        self.sandbox.in_git("alice", "Kept")
        self.assertEqual(count("INBOX"), before + 3)
        self.assertEqual(count("Kept"), kept + 1)
        subjects = git(repository, "log", "--format=%s", "INBOX").decode().splitlines()
        self.assertRegex(subjects[2], "APPEND.*Re: lunch")
        self.assertRegex(subjects[1], r"STORE.*Flagged")
        self.assertRegex(subjects[0], "MOVE")
        client.logout()

    def test_many_connections_work_at_once(self):
        problems = []

        def work(number):
            try:
                user = ("alice", "bob")[number % 2]
                client = self.sandbox.login(user, tls=number % 3 == 0)
                for i in range(10):
                    response(client.append("INBOX", "", None, b"Subject: %d %d\r\n\r\n" %
                                           (number, i)))
                response(client.select())
                response(client.uid("SEARCH", "SUBJECT", f'"{number} "'))
                client.logout()
            except Exception as problem:  # told of by the main thread
                problems.append(problem)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(problems, [])
        for user in ("alice", "bob"):
            client = self.sandbox.login(user)
            found = bodies(client, "INBOX")
            self.assertEqual(len(found), 80)
            self.assertEqual(len(set(found.values())), 80)
            client.logout()


class Admin(Case):
    def annal(self, *arguments, ok=True, **options):
        return run(PROGRAM, *arguments, "--data", self.sandbox.data, ok=ok, **options)

    def test_users_come_and_go_while_the_server_runs(self):
        self.annal("user", "add", "zoë", "--password-stdin", input=b"secret\n")
        listed = self.annal("user", "list").stdout.decode().splitlines()
        self.assertEqual(listed, ["alice", "bob", "zoë"])
        self.annal("user", "add", "carl", "--password-stdin", input=b"one\n")
        self.sandbox.login("carl", "one").logout()
        self.annal("user", "passwd", "carl", "--password-stdin", input=b"two\n")
        self.sandbox.login("carl", "two").logout()
        with self.assertRaises(imaplib.IMAP4.error):
            self.sandbox.login("carl", "one")
        self.annal("user", "del", "carl")
        with self.assertRaises(imaplib.IMAP4.error):
            self.sandbox.login("carl", "two")
        again = self.annal("user", "add", "alice", "--password-stdin", input=b"x\n", ok=False)
        self.assertEqual(again.returncode, 1)
        self.assertIn(b"exists", again.stderr)

    def test_import_beside_a_running_session(self):
        client = self.sandbox.login()
        response(client.select())
        done = self.annal("import", "alice", "mbox", SAMPLE)
        self.assertIn(b"7 messages", done.stdout)
        wait_until(lambda: response(client.noop()) and self.count(client) == 7)
        found = flags(client, "INBOX")
        self.assertEqual(found[2], {"\\Seen", "\\Flagged"})
        self.assertEqual(found[3], {"lunch"})
        date = response(client.fetch("1", "(INTERNALDATE)"))[0]
        self.assertIn(b'" 3-Mar-2025 09:15:00 +0000"', date)
        structure = response(client.fetch("5", "(BODYSTRUCTURE)"))[0]
        self.assertIn(b'"alternative"', structure.lower())
        for message in bodies(client, "INBOX").values():
            self.assertNotIn(b"\n", message.replace(b"\r\n", b""))
        client.logout()
        log = self.annal("log", "alice", "INBOX", "--limit", "1").stdout.decode()
        self.assertIn("alice, annal import", log)

    @staticmethod
    def count(client):
        data = client.response("EXISTS")[1]
        return int(data[-1]) if data and data[-1] else 0

    def test_import_of_a_maildir_tree(self):
        maildir = self.sandbox.root / "maildir"
        for folder, name, text in (("", "cur/1.x:2,S", b"one\n"), (".A.B", "new/2.x", b"two"),
                                   (".Entw&APw-rfe", "cur/3.x:2,DF", b"three\r\n"),
                                   (".Empty", "cur/4.x:2,", b"")):
            for part in ("cur", "new", "tmp"):
                (maildir / folder / part).mkdir(parents=True, exist_ok=True)
            (maildir / folder / name).write_bytes(text)
        self.annal("import", "alice", "maildir", maildir, "--mailbox", "Old", "--keep-bytes")
        client = self.sandbox.login()
        self.assertEqual(list(bodies(client, "Old").values()), [b"one\n"])
        self.assertEqual(list(bodies(client, "Old/A/B").values()), [b"two"])
        self.assertEqual(list(bodies(client, "Old/Entwürfe").values()), [b"three\r\n"])
        self.assertEqual(list(bodies(client, "Old/Empty").values()), [b""])
        self.assertEqual(flags(client, "Old/Entwürfe"), {1: {"\\Draft", "\\Flagged"}})
        client.logout()

    def test_verify_finds_what_is_wrong(self):
        client = self.sandbox.login()
        response(client.append("INBOX", "", None, b"Subject: x\r\n\r\nx\r\n"))
        client.logout()
        self.sandbox.stop()
        repository = pathlib.Path(self.sandbox.repositories["alice"])
        tip = git(repository, "rev-parse", "INBOX").decode().strip()
        tree = git(repository, "ls-tree", "INBOX").decode()
        # A tree without the root's properties file.
        kept = "".join(line + "\n" for line in tree.splitlines() if "\t00" in line)
        made = git(repository, "mktree", input=kept.encode()).decode().strip()
        broken = git(repository, "commit-tree", made, "-p", tip, "-m", "broken").decode().strip()
        git(repository, "update-ref", "refs/heads/INBOX", broken)
        found = self.annal("verify", "alice", ok=False)
        self.assertEqual(found.returncode, 1)
        self.assertIn(b"INBOX", found.stdout)
        git(repository, "update-ref", "refs/heads/INBOX", tip)
        self.annal("verify", "--all")
        self.sandbox.start()

    def test_wrong_usage_is_told(self):
        for arguments in (["user"], ["import", "alice"], ["log"], ["quota"], ["verify"],
                          ["user", "add"], ["import", "alice", "tar", "x"]):
            self.assertEqual(self.annal(*arguments, ok=False).returncode, 2, arguments)
        self.assertEqual(run(PROGRAM, "nonsense", ok=False).returncode, 2)
        config = self.sandbox.root / "annal.conf"
        config.write_text("imaps = {\"0\"}\nidel_minutes = 30\n")
        bad = run(PROGRAM, "serve", "--check-config", "--config", config, ok=False)
        self.assertEqual(bad.returncode, 1)
        self.assertIn(b"annal.conf:2:", bad.stderr)
        config.write_text("imaps = {\"0\"}\nidle_minutes = 30\n")
        run(PROGRAM, "serve", "--check-config", "--config", config, "--data", self.sandbox.data)


if __name__ == "__main__":
    unittest.main(verbosity=2)
