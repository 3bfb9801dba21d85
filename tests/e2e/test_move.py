#!/usr/bin/env python3
"""Mail that moves: from Dovecot, mbox files and Gmail's export, and away again."""
import imaplib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from annal import PROGRAM, Case, bodies, check_repository, flags, git, quote, response, run, wait_until

NASTY = [
    b"Subject: plain\r\n\r\nplain\r\n",
    b"Subject: no last line end\r\n\r\nend",
    b"Subject: bare line feeds\n\nFrom here\n>From there\n",
    b"Subject: mixed\r\n\r\none\ntwo\r\nthree\rfour\n",
    b"Subject: 8 bit \xff\xfe\r\n\r\n" + bytes(range(1, 256)) * 40,
    b"\r\n\r\n\r\n",
    b"\n",
    b"no header at all",
    b"Subject: long line\r\n\r\n" + b"x" * 200_000 + b"\r\n",
    b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 60_000,
    b"From me to you\r\nStatus: R\r\nX-UID: 17\r\n\r\nFrom \r\n>From \r\n",
]


def maildir(folder, messages=(), uidlist=None, keywords=None):
    """A folder as Dovecot leaves it: messages are (part, name, octets, time)."""
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True)
    for part, name, octets, time in messages:
        path = folder / part / name
        path.write_bytes(octets)
        os.utime(path, (time, time))
    if uidlist:
        (folder / "dovecot-uidlist").write_text(uidlist)
    if keywords:
        (folder / "dovecot-keywords").write_text(keywords)


def dates(client, mailbox):
    """UID to INTERNALDATE."""
    response(client.select(quote(mailbox), readonly=True))
    found = {}
    for line in response(client.uid("FETCH", "1:*", "(UID INTERNALDATE)")):
        match = line and re.search(rb'UID (\d+).*INTERNALDATE "([^"]+)"', line)
        if match:
            found[int(match.group(1))] = match.group(2).decode().strip()
    return found


def status(client, mailbox, item):
    line = response(client.status(quote(mailbox), f"({item})"))[0]
    return int(re.search(item.encode() + rb" (\d+)", line).group(1))


class Move(Case):
    def annal(self, *arguments, ok=True):
        return run(PROGRAM, *arguments, "--data", self.sandbox.data, ok=ok)

    def user(self, name):
        """A user, new if need be, whom the running server knows at once."""
        if name in self.sandbox.repositories:
            return name
        run(PROGRAM, "user", "add", name, "--password-stdin", "--data", self.sandbox.data,
            input=name.encode())
        self.sandbox.repositories[name] = self.sandbox.data / "mail" / f"{name}.git"
        return name

    def tree(self, user, mailbox):
        """What a mailbox's branch holds of messages: path and blob."""
        lines = git(self.sandbox.repositories[user], "ls-tree", "-r", mailbox).decode().splitlines()
        return [line for line in lines if not line.endswith(("index", "mailbox"))]

    def flags_in_git(self, user, mailbox):
        """UIDs and flags, by git alone."""
        found = {}
        repository = self.sandbox.repositories[user]
        for path in git(repository, "ls-tree", "-r", "--name-only", mailbox).decode().split():
            if path.endswith("index"):
                for line in git(repository, "show", f"{mailbox}:{path}").decode().splitlines():
                    words = line.split(" ")
                    found[int(words[0])] = (words[2], set(words[4:]))
        return found


class FromDovecot(Move):
    def write(self, root):
        one = b"Subject: one\n\nfirst\n"
        maildir(root, [
            ("cur", "1612415167.M1P1.host,S=19,W=22:2,FSa", one, 1612415167),
            ("cur", "1612415168.M2P1.host,S=19:2,Tb", b"Subject: two\n\nother\n", 1612415168),
            ("new", "1612415169.M3P1.host", b"Subject: three\r\n\r\nx\r\n", 1612415169),
            ("new", "1612415170.M4P1.host", b"Subject: not listed\n\n", 1612415170),
        ], "3 V1275660208 N25023 G3085f01b7f11094c501100008c4a11c1\n"
           "25006 :1612415168.M2P1.host,S=19\n"
           "25010 W22 S19 :1612415167.M1P1.host,S=19,W=22:2,S\n"
           "25020 :1612415169.M3P1.host\n",
            "0 $Forwarded\n1 work\n")
        maildir(root / ".Sent Items", [
            ("cur", "1.S.host:2,S", b"Subject: sent\n\n", 1000000000)],
            "1 1275660300 8\n7 1.S.host\n")
        maildir(root / ".Gr&APYA3w-e.B&-C")
        (root / "subscriptions").write_text("V\t2\n\nSent Items\nGr&APYA3w-e\tB&-C\n")

    def test_clients_keep_what_they_have(self):
        root = self.sandbox.root / "Maildir"
        self.write(root)
        early = self.sandbox.login()
        response(early.select("INBOX"))
        done = self.annal("import", "alice", "maildir", root)
        with self.assertRaisesRegex(imaplib.IMAP4.abort, "another one now"):
            for _ in range(100):
                early.noop()
        self.assertIn(b"5 messages", done.stdout)
        self.assertIn(b"Sent Items is for \\Sent now", done.stderr)
        client = self.sandbox.login()
        self.assertEqual(status(client, "INBOX", "UIDVALIDITY"), 1275660208)
        self.assertEqual(status(client, "INBOX", "UIDNEXT"), 25024)
        self.assertEqual(status(client, "Sent Items", "UIDVALIDITY"), 1275660300)
        self.assertEqual(status(client, "Sent Items", "UIDNEXT"), 8)
        self.assertEqual(bodies(client, "INBOX"), {
            25006: b"Subject: two\r\n\r\nother\r\n", 25010: b"Subject: one\r\n\r\nfirst\r\n",
            25020: b"Subject: three\r\n\r\nx\r\n", 25023: b"Subject: not listed\r\n\r\n"})
        self.assertEqual(flags(client, "INBOX"), {
            25006: {"\\Deleted", "work"}, 25010: {"\\Flagged", "\\Seen", "$Forwarded"},
            25020: set(), 25023: set()})
        self.assertEqual(dates(client, "INBOX")[25010], "4-Feb-2021 05:06:07 +0000")
        listed = b"\n".join(response(client.lsub('""', '"*"')))
        self.assertIn(quote("Größe/B&C").strip('"').encode(), listed)
        self.assertIn(b"Sent Items", listed)
        self.assertIn(b"\\Sent", next(line for line in response(client.list('""', '"*"'))
                                      if b"Sent Items" in line))
        client.logout()

        # One that has its MODSEQs from there, and knows one UID too many, is told of all flags.
        client = self.sandbox.login()
        response(client.enable("QRESYNC"))
        client.untagged_responses.clear()
        response(client._simple_command("SELECT", "INBOX",
                                        "(QRESYNC (1275660208 5000 25000:25022))"))
        self.assertEqual(client.untagged_responses["VANISHED"],
                         [b"(EARLIER) 25000:25005,25007:25009,25011:25019,25021:25022"])
        self.assertEqual(len(client.untagged_responses["FETCH"]), 3)
        client.logout()

        # Once more: nothing is doubled, and what was deleted here since does not come back.
        client = self.sandbox.login()
        response(client.select("INBOX"))
        response(client.expunge())
        client.logout()
        self.sandbox.in_git("alice", "INBOX")
        again = self.annal("import", "alice", "maildir", root)
        self.assertIn(b"0 messages", again.stdout)
        self.assertIn(b"4 there already", again.stdout)
        self.assertIn(b"deleted or moved here since, left out: 1\n", again.stdout)
        client = self.sandbox.login()
        self.assertEqual(sorted(bodies(client, "INBOX")), [25010, 25020, 25023])
        client.logout()

    def test_a_second_import_follows_the_source(self):
        """Mail moves in two runs: the first while the old server works, the second after the switch,
        when mail is delivered and read here already."""
        root = self.sandbox.root / "Maildir"
        messages = [("cur", f"{i}.M.host:2,", b"Subject: %d\n\n" % i, 1600000000 + i)
                    for i in range(1, 9)]
        uidlist = "3 V1275660208 N%d\n" + "".join(f"{i} :{i}.M.host\n" for i in range(1, 9))
        maildir(root, messages, uidlist % 9, "0 work\n")
        self.annal("import", "alice", "maildir", root)
        client = self.sandbox.login()
        idle = self.idle()
        response(client.select("INBOX"))
        response(client.uid("STORE", "2,3", "+FLAGS", "(\\Flagged)"))
        response(client.uid("STORE", "4", "+FLAGS", "(\\Deleted)"))
        response(client.expunge())
        response(client.append("INBOX", None, None, b"Subject: delivered\r\n\r\n"))

        # There: 1 is read and gets a keyword, 2 is read, 3, 5 and 6 go, 9 and 10 come.
        cur = root / "cur"
        (cur / "1.M.host:2,").rename(cur / "1.M.host:2,Sa")
        (cur / "2.M.host:2,").rename(cur / "2.M.host:2,S")
        for i in (3, 5, 6):
            (cur / f"{i}.M.host:2,").unlink()
        for i in (9, 10):
            path = root / "new" / f"{i}.M.host"
            path.write_bytes(b"Subject: %d\n\n" % i)
            os.utime(path, (1600000000 + i,) * 2)
        (root / "dovecot-uidlist").write_text(uidlist % 11 + "9 :9.M.host\n10 :10.M.host\n")

        self.told(idle, b" 8 EXISTS")
        told = self.annal("import", "alice", "maildir", root).stdout
        self.assertIn(b"2 messages", told)
        self.told(idle, b" 10 EXISTS", b"UID 1 ", b"work")
        self.assertIn(b"got the flags that they have in the source now: 1\n", told)
        self.assertIn(b"flags were changed here since, left as they are: 1\n", told)
        self.assertIn(b"deleted or moved here since, left out: 1\n", told)
        self.assertIn(b"gone in the source, left (--delete-gone removes them): 2\n", told)
        told = self.annal("import", "alice", "maildir", root, "--delete-gone").stdout
        self.assertIn(b"0 messages", told)
        self.assertIn(b"gone in the source, removed: 2\n", told)
        self.told(idle, b" EXPUNGE")
        idle.shutdown()
        expected = {1: {"\\Seen", "work"}, 2: {"\\Flagged"}, 3: {"\\Flagged"}, 7: set(), 8: set(),
                    9: set(), 10: set(), 11: set()}
        # 9 was given to what was delivered here.
        wait_until(lambda: flags(client, "INBOX") == expected, what="the client does not see it")
        subjects = {uid: octets[9:].split(b"\r")[0] for uid, octets in bodies(client, "INBOX").items()}
        self.assertEqual(subjects, {1: b"1", 2: b"2", 3: b"3", 7: b"7", 8: b"8", 9: b"delivered",
                                    10: b"10", 11: b"9"})
        client.logout()
        log = self.annal("log", "alice", "INBOX", "--json").stdout.decode()
        self.assertIn("EXPUNGE uid 5:6", log)
        self.assertIn('"import"', log)

    def idle(self):
        """A client that waits for what happens to INBOX."""
        client = self.sandbox.login()
        response(client.enable("QRESYNC"))
        response(client.select("INBOX"))
        client.send(b"X1 IDLE\r\n")
        self.assertTrue(client.readline().startswith(b"+"))
        return client

    def told(self, client, *expected):
        """Reads until all of these have come."""
        wanted = list(expected)
        said = b""
        while wanted:
            line = client.readline()
            self.assertTrue(line, said)
            said += line
            if b"VANISHED" in line:
                line += b" EXPUNGE"
            wanted = [text for text in wanted if text not in line]

    def test_what_is_acknowledged_meanwhile_is_there(self):
        """INBOX takes the source's UIDs over while its very first messages arrive."""
        root = self.sandbox.root / "Maildir"
        messages = [("cur", f"{i}.M.host:2,", b"Subject: imported %d\n\n" % i, 1600000000 + i)
                    for i in range(1, 4)]
        maildir(root, messages, "3 V1275660208 N4\n" +
                "".join(f"{i} :{i}.M.host\n" for i in range(1, 4)))
        for attempt in range(3):
            user = self.user(f"racer{attempt}")
            client = self.sandbox.login(user)
            process = subprocess.Popen([PROGRAM, "import", user, "maildir", root, "--data",
                                        self.sandbox.data], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE)
            acknowledged = set()
            while process.poll() is None or len(acknowledged) < 3:
                subject = b"Subject: mine %d" % len(acknowledged)
                if client.append("INBOX", None, None, subject + b"\r\n\r\n")[0] == "OK":
                    acknowledged.add(subject)
            told = process.communicate()[1]
            self.assertEqual(process.returncode, 0, told)
            client.logout()
            client = self.sandbox.login(user)
            subjects = [octets.split(b"\r")[0] for octets in bodies(client, "INBOX").values()]
            client.logout()
            self.assertEqual(sorted(subjects), sorted([*acknowledged] + [
                b"Subject: imported %d" % i for i in range(1, 4)]))
            self.assertEqual(git(self.sandbox.repositories[user], "for-each-ref", "refs/deleted"),
                             b"")

    def test_mailboxes_with_mail_get_new_uids_and_say_so(self):
        root = self.sandbox.root / "Maildir"
        self.write(root)
        client = self.sandbox.login()
        response(client.append("INBOX", None, None, b"Subject: here first\r\n\r\n"))
        client.logout()
        self.sandbox.in_git("alice", "INBOX")
        refused = self.annal("import", "alice", "maildir", root, "--uids", "require", ok=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn(b"can't be kept: the mailbox has messages; nothing", refused.stderr)
        done = self.annal("import", "alice", "maildir", root)
        self.assertIn(b"INBOX: its UIDs (UIDVALIDITY 1275660208) can't be kept", done.stderr)
        self.assertIn(b"messages get new UIDs", done.stderr)
        client = self.sandbox.login()
        self.assertEqual(sorted(bodies(client, "INBOX")), [1, 2, 3, 4, 5])
        client.logout()
        self.assertIn(b"0 messages", self.annal("import", "alice", "maildir", root).stdout)

    def end_import(self, user, root, number):
        """Ends an import after a part of INBOX: it waits for a lock to make Other, for some seconds
        (so that a machine that stalls may be too late)."""
        repository = self.sandbox.repositories[user]
        run(PROGRAM, "import", user, "maildir", root / "none", "--data", self.sandbox.data, ok=False)
        lock = repository / "refs" / "heads" / "Other.lock"
        lock.write_bytes(b"")
        process = subprocess.Popen(
            [PROGRAM, "import", user, "maildir", root, "--progress", "plain", "--data",
             self.sandbox.data], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_until(lambda: b"\nuidnext 501\n" in git(repository, "show", "INBOX:mailbox"), 60)
        late = process.poll() is not None
        process.send_signal(number)
        lock.unlink()
        told = process.communicate(timeout=120)[1]
        return None if late else process.returncode, told

    def test_interrupted_goes_on(self):
        root = self.sandbox.root / "Maildir"
        messages = [("cur", f"{i}.M.host:2,", b"Subject: %d\n\n" % i, 1600000000 + i)
                    for i in range(1, 531)]
        uidlist = "3 V1275660208 N800\n" + "".join(f"{i} :{i}.M.host\n" for i in range(1, 531))
        maildir(root, messages, uidlist)
        maildir(root / ".Other", messages)
        for number in (signal.SIGINT, signal.SIGKILL):
            for attempt in range(3):
                user = self.user(f"user{number}.{attempt}")
                repository = self.sandbox.repositories[user]
                ended, told = self.end_import(user, root, number)
                if ended == (1 if number == signal.SIGINT else -number):
                    break
            self.assertEqual(ended, 1 if number == signal.SIGINT else -number, told)
            if number == signal.SIGINT:
                self.assertIn(b"interrupted; what was imported is kept", told)
            done = self.annal("import", user, "maildir", root)
            there = int(re.search(rb"(\d+) there already", done.stdout).group(1))
            self.assertGreaterEqual(there, 500)
            self.assertIn(b"%d messages" % (1060 - there), done.stdout)
            self.assertEqual(len(self.tree(user, "INBOX")), 530)
            self.assertEqual(len(self.tree(user, "Other")), 530)
            check_repository(repository)
        client = self.sandbox.login(user)
        self.assertEqual(status(client, "INBOX", "UIDNEXT"), 800)
        client.logout()

    def test_mbox_with_uids(self):
        path = self.sandbox.root / "mbox"
        path.write_bytes(
            b"From a@x Thu Feb  4 05:06:07 2021\nX-IMAPbase: 1234567890 0000000012 $Junk\nX-UID: 5\n"
            b"X-Keywords: $Junk\nStatus: RO\nSubject: one\n\n>From 1\n\n"
            b"From a@x Thu Feb  4 05:06:08 2021\nX-UID: 7\nX-Status: F\nSubject: two\n\n2\n")
        self.annal("import", "alice", "mbox", path, "--mailbox", "Old/mail")
        client = self.sandbox.login()
        self.assertEqual(status(client, "Old/mail", "UIDVALIDITY"), 1234567890)
        self.assertEqual(status(client, "Old/mail", "UIDNEXT"), 13)
        self.assertEqual(bodies(client, "Old/mail"), {
            5: b"Subject: one\r\n\r\nFrom 1\r\n", 7: b"Subject: two\r\n\r\n2\r\n"})
        self.assertEqual(flags(client, "Old/mail"), {5: {"\\Seen", "$Junk"}, 7: {"\\Flagged"}})
        self.assertEqual(dates(client, "Old/mail")[5], "4-Feb-2021 05:06:07 +0000")
        client.logout()


class BesideDovecot(Move):
    """Mail that Dovecot itself has written, and what its IMAP says of it."""

    NAMES = ["Work", "Work/2024", "Work/2024/Q1", "Sent Items", "Größe & mehr", "日本語/メール",
             "with 'quotes\"", "back\\slash", "tilde~", "percent%star*"]

    def start(self, layout):
        root = self.sandbox.root
        root.chmod(0o755)
        mail = root / "dovecot"
        mail.mkdir()
        settings = root / "dovecot.conf"
        settings.write_text(f"mail_location = maildir:{mail}/Maildir{layout}\nssl = no\n"
                            f"protocols =\nbase_dir = {root}/run\nlog_path = {root}/dovecot.log\n"
                            "namespace inbox {\n  inbox = yes\n  separator = /\n}\n")
        command = f"env HOME={mail} USER=nobody"
        if os.getuid() == 0:
            shutil.chown(mail, "nobody", "nogroup")
            command += " setpriv --reuid nobody --regid nogroup --clear-groups"
        self.far = imaplib.IMAP4_stream(f"{command} /usr/lib/dovecot/imap -c {settings} "
                                       f"2>{root}/imap.log")
        self.mail = mail / "Maildir"

    def fill(self):
        texts = [text for text in NASTY if b"\0" not in text] + [b"Subject: \xe4\r\n\r\n\xf6\r\n"]
        for name in self.NAMES:
            response(self.far.create(quote(name)))
        for name in self.NAMES[::2]:
            response(self.far.subscribe(quote(name)))
        for i, name in enumerate(["INBOX", *self.NAMES] * 3):
            given = [(), ("\\Seen",), ("\\Flagged", "$Forwarded"), ("\\Answered", "own", "\\Draft"),
                     ("\\Deleted", "$Junk")][i % 5]
            response(self.far.append(quote(name), "(" + " ".join(given) + ")",
                                     f'" 3-Mar-20{i % 30 + 1:02} 10:15:{i:02} +0530"',
                                     texts[i % len(texts)]))
        response(self.far.select("INBOX"))
        response(self.far.uid("COPY", "1:2", quote("Work")))
        response(self.far.uid("STORE", "1", "+FLAGS", "(\\Deleted)"))
        response(self.far.expunge())

    @staticmethod
    def seconds(line):
        return imaplib.Internaldate2tuple(line)

    def state(self, client):
        """All that a client sees."""
        found = {}
        listed = response(client.list('""', '"*"'))
        literals = [part for part in listed if isinstance(part, tuple)]
        self.assertEqual(literals, [])
        subscribed = {line.split(b'"/" ')[1].strip(b'"') for line in response(client.lsub('""', '"*"'))}
        for line in listed:
            if b"\\Noselect" in line or b"\\NonExistent" in line:
                continue
            name = line.split(b'"/" ')[1]
            wire = name if name.startswith(b'"') else b'"' + name + b'"'
            response(client.select(wire.decode(), readonly=True))
            validity = client.response("UIDVALIDITY")[1]
            uid_next = client.response("UIDNEXT")[1]
            messages = {}
            for part in response(client.uid("FETCH", "1:*",
                                            "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")):
                part = part if isinstance(part, tuple) else part and (part, None)
                uid = part and re.search(rb"UID (\d+)", part[0])
                if not uid:
                    continue
                empty = part[1] is None and re.search(rb'BODY\[\] "(.*)"\)', part[0], re.S)
                messages[int(uid.group(1))] = (
                    set(imaplib.ParseFlags(part[0])) - {b"\\Recent"}, self.seconds(part[0]),
                    re.search(rb"RFC822.SIZE (\d+)", part[0]).group(1),
                    part[1] if part[1] is not None else empty.group(1) if empty else None)
            found[wire] = (validity, uid_next, messages, wire.strip(b'"') in subscribed)
        return found

    def compare(self):
        here = self.sandbox.login()
        ours, theirs = self.state(here), self.state(self.far)
        here.logout()
        for name in list(ours):
            if name.strip(b'"') in (b"Archive", b"Drafts", b"Junk", b"Sent", b"Trash"):
                del ours[name]
        self.assertEqual(set(ours), set(theirs))
        self.assertGreater(len(theirs), len(self.NAMES))
        self.assertGreater(sum(len(messages) for _, _, messages, _ in theirs.values()), 30)
        for name, there in theirs.items():
            self.assertEqual(ours[name], there, name)

    def move(self, layout):
        self.start(layout)
        self.fill()
        self.annal("import", "alice", "maildir", self.mail, "--uids", "require")
        self.compare()

        # Dovecot goes on, and the second import follows.
        response(self.far.select("INBOX"))
        response(self.far.uid("STORE", "1:*", "-FLAGS", "(\\Seen)"))
        response(self.far.uid("STORE", "2", "+FLAGS", "(\\Answered later)"))
        response(self.far.select("Work"))
        response(self.far.uid("STORE", "2", "+FLAGS", "(\\Deleted)"))
        response(self.far.expunge())
        response(self.far.append("Work", "(new)", None, b"Subject: late\r\n\r\n"))
        response(self.far.create("Late"))
        response(self.far.append("Late", None, None, b"Subject: later\r\n\r\n"))
        self.annal("import", "alice", "maildir", self.mail, "--uids", "require", "--delete-gone")
        self.compare()
        self.far.logout()

    def test_maildirpp(self):
        self.move("")

    def test_directories_in_directories(self):
        self.move(":LAYOUT=fs")


class FromGmail(Move):
    MBOX = (b"From 1@xxx Thu Feb 04 05:06:07 +0000 2021\nX-GM-THRID: 1\n"
            b"X-Gmail-Labels: =?UTF-8?Q?Inbox,Unread,Gr=C3=BC=C3=9Fe/2021?=\nSubject: a\n\na\n\n"
            b"From 2@xxx Thu Feb 04 05:06:08 +0000 2021\nX-Gmail-Labels: Sent,Starred,Opened\n"
            b"Subject: b\n\nb\n\n"
            b"From 3@xxx Thu Feb 04 05:06:09 +0000 2021\nX-Gmail-Labels: Important\n"
            b"Subject: c\n\nc\n")

    def test_labels_are_mailboxes(self):
        path = self.sandbox.root / "All mail.mbox"
        path.write_bytes(self.MBOX)
        for expected in (b"4 messages", b"0 messages"):
            self.assertIn(expected, self.annal("import", "alice", "takeout", path).stdout)
        client = self.sandbox.login()
        self.assertEqual(bodies(client, "INBOX"), {1: b"Subject: a\r\n\r\na\r\n"})
        self.assertEqual(flags(client, "INBOX"), {1: set()})
        self.assertEqual(flags(client, "Sent"), {1: {"\\Seen", "\\Flagged"}})
        self.assertEqual(flags(client, "Archive"), {1: {"\\Seen", "$Important"}})
        self.assertEqual(flags(client, "Grüße/2021"), {1: set()})
        client.logout()
        self.assertEqual(self.tree("alice", "INBOX"), self.tree("alice", "Grüße.2021"))

    def test_labels_are_keywords(self):
        path = self.sandbox.root / "All mail.mbox"
        path.write_bytes(self.MBOX)
        self.annal("import", "alice", "takeout", path, "--labels", "keywords", "--label",
                   "Starred=\\Unread")
        client = self.sandbox.login()
        self.assertEqual(flags(client, "INBOX"), {1: {"Gr=C3=BC=C3=9Fe/2021"}})
        self.assertEqual(flags(client, "Sent"), {1: set()})
        client.logout()


class Export(Move):
    def test_round_trip_is_exact(self):
        root = self.sandbox.root
        mark = root / "in"
        maildir(mark, [("cur", f"{i}.n.host:2,{'S' * (i % 2)}", octets, 1600000000 + i)
                       for i, octets in enumerate(NASTY + [b""], 1)])
        (mark / "annal-export").write_text("")
        self.annal("import", "alice", "maildir", mark)
        client = self.sandbox.login()
        for name in ("a.b/c", "cur", "Größe & mehr", ".x", "back\\slash", "~", "a.b/c/日本/%*.lock",
                     "dovecot-uidlist", "subscriptions/annal-export", "x/new/tmp", "INBOX/below"):
            response(client.create(quote(name)))
            response(client.append(quote(name), "(\\Answered \\Draft $One Two)",
                                   '" 3-Mar-2025 10:15:00 -1130"', NASTY[1]))
        response(client.append("cur", None, '" 3-Mar-1925 10:15:00 +0045"', NASTY[1]))
        response(client.subscribe(quote("a.b/c")))
        client.logout()
        for name in ("a%2Eb.c", "cur"):
            wait_until(lambda: self.tree("alice", name))
        for layout in ("maildir++", "fs"):
            out = root / f"out-{layout}"
            user = self.user("bob" if layout == "fs" else "carol")
            first = self.annal("export", "alice", "--maildir", out, "--layout", layout)
            self.assertIn(b" 0 there already", first.stdout)
            before = sorted(path.name for path in out.rglob("*"))
            again = self.annal("export", "alice", "--maildir", out, "--layout", layout)
            self.assertIn(b"0 messages, 0 octets", again.stdout)
            self.assertEqual(sorted(path.name for path in out.rglob("*")), before)
            self.annal("import", user, "maildir", out)
            branches = git(self.sandbox.repositories["alice"], "branch",
                           "--format=%(refname:short)").decode().split("\n")
            for branch in filter(None, branches):
                self.assertEqual(self.tree(user, branch), self.tree("alice", branch), branch)
                self.assertEqual(self.flags_in_git(user, branch),
                                 self.flags_in_git("alice", branch), branch)
            self.assertEqual(git(self.sandbox.repositories[user], "show",
                                 "refs/annal/account:subscriptions"), b"a.b/c\n")

    def test_flags_follow_and_strangers_are_left_alone(self):
        out = self.sandbox.root / "out"
        client = self.sandbox.login()
        for i in range(3):
            response(client.append("INBOX", None, None, b"Subject: %d\r\n\r\n" % i))
        self.sandbox.in_git("alice", "INBOX")
        self.annal("export", "alice", "INBOX", "--maildir", out)
        response(client.select("INBOX"))
        response(client.store("1", "+FLAGS", "(\\Flagged)"))
        response(client.store("2", "+FLAGS", "(\\Deleted)"))
        response(client.expunge())
        client.logout()
        self.sandbox.in_git("alice", "INBOX")
        told = self.annal("export", "alice", "INBOX", "--maildir", out).stderr
        self.assertIn(b"1 files of an earlier export are not in the mailbox any more", told)
        names = sorted(path.name for path in (out / "cur").iterdir())
        self.assertTrue(names[0].endswith(":2,F"), names)
        self.assertEqual(len(names), 3)
        other = self.sandbox.root / "other"
        other.mkdir()
        (other / "file").write_text("mine")
        refused = self.annal("export", "alice", "--maildir", other, ok=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn(b"neither empty nor made by an earlier export", refused.stderr)

    def test_mbox_and_back(self):
        client = self.sandbox.login()
        for octets in NASTY[:4] + NASTY[8:]:
            response(client.append("INBOX", "(\\Flagged word)", '" 4-Feb-2021 05:06:07 +0000"',
                                   octets))
        response(client.create("Sub/deep"))
        client.logout()
        self.sandbox.in_git("alice", "INBOX")
        self.annal("export", "alice", "--mbox", self.sandbox.root / "out", "--uids")
        self.assertTrue((self.sandbox.root / "out" / "Sub" / "deep.mbox").exists())
        self.user("bob")
        self.annal("import", "bob", "mbox", self.sandbox.root / "out")
        client = self.sandbox.login()
        ours = bodies(client, "INBOX")
        client.logout()
        client = self.sandbox.login("bob")
        theirs = bodies(client, "INBOX")
        self.assertEqual(flags(client, "INBOX"), {uid: {"\\Flagged", "word"} for uid in ours})
        client.logout()
        self.assertEqual(list(ours), list(theirs))
        own = re.compile(rb"(?m)^(Status|X-UID): .*\n")
        for uid, octets in ours.items():
            text = re.sub(rb"\r?\n", b"\r\n", octets)
            text = text if text.endswith(b"\n") else text + b"\r\n"
            head, body = text.split(b"\r\n\r\n", 1)
            self.assertEqual(theirs[uid], own.sub(b"", head + b"\r\n") + b"\r\n" + body, uid)

    def test_the_past(self):
        client = self.sandbox.login()
        response(client.append("INBOX", None, None, b"Subject: gone\r\n\r\n"))
        self.sandbox.in_git("alice", "INBOX")
        commit = git(self.sandbox.repositories["alice"], "rev-parse", "INBOX").decode().strip()
        response(client.select("INBOX"))
        response(client.store("1", "+FLAGS", "(\\Deleted)"))
        response(client.expunge())
        client.logout()
        self.sandbox.in_git("alice", "INBOX")
        path = self.sandbox.root / "past.mbox"
        self.annal("export", "alice", "INBOX", "--mbox", path, "--at", commit)
        self.assertIn(b"Subject: gone\n", path.read_bytes())
        self.annal("export", "alice", "INBOX", "--mbox", path)
        self.assertEqual(path.read_bytes(), b"")

    def test_usage(self):
        for arguments in (["export"], ["export", "alice"], ["export", "alice", "--mbox", ""],
                          ["export", "alice", "--mbox", "a", "--maildir", "b"],
                          ["import", "alice", "maildir"], ["import", "alice", "zip", "x"],
                          ["import", "alice", "mbox", "x", "--uids", "some"]):
            self.assertEqual(self.annal(*arguments, ok=False).returncode, 2, arguments)
        self.assertEqual(self.annal("export", "nobody", "--maildir", self.sandbox.root / "x",
                                    ok=False).returncode, 1)
        self.assertEqual(self.annal("import", "alice", "mbox", "/nowhere", ok=False).returncode, 1)


class Mbsync(Move):
    """A client that has synchronised with the server before must find nothing new at the next."""

    def sync(self, account):
        home = self.sandbox.root / "home"
        (home / "mail").mkdir(parents=True, exist_ok=True)
        (home / ".mbsyncrc").write_text(f"""
IMAPAccount far
{account}

IMAPStore far
Account far

MaildirStore near
Path {home}/mail/
Inbox {home}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
SyncState *
""")
        told = run("mbsync", "--all", env=dict(os.environ, HOME=str(home)), cwd=home)
        self.assertNotIn(b"UIDVALIDITY", told.stderr)
        return {path.name: path.stat().st_ino for path in (home / "mail").rglob("*")
                if path.parent.name in ("cur", "new")}

    def annal_account(self, user):
        return (f"Host localhost\nPort {self.sandbox.imaps}\nUser {user}\nPass {user}\n"
                f"SSLType IMAPS\nCertificateFile {self.sandbox.certificate}")

    def test_from_one_annal_to_another(self):
        client = self.sandbox.login()
        response(client.create("Work"))
        for i in range(5):
            for name in ("INBOX", "Work"):
                response(client.append(name, "(\\Seen)" if i % 2 else None, None,
                                       b"Subject: %d\r\n\r\n" % i))
        response(client.select("INBOX"))
        response(client.store("2", "+FLAGS", "(\\Deleted)"))
        response(client.expunge())
        client.logout()
        self.sandbox.in_git("alice", "INBOX")
        self.sandbox.in_git("alice", "Work")
        before = self.sync(self.annal_account("alice"))
        self.assertEqual(len(before), 9)
        out = self.sandbox.root / "out"
        self.annal("export", "alice", "--maildir", out)
        self.annal("import", self.user("bob"), "maildir", out, "--uids", "require")
        self.assertEqual(self.sync(self.annal_account("bob")), before)

    def dovecot(self, form):
        """Dovecot's programs without a server: its settings, its mail, how to run one."""
        root = self.sandbox.root
        root.chmod(0o755)
        mail = root / "dovecot"
        mail.mkdir()
        settings = root / "dovecot.conf"
        settings.write_text(f"mail_location = {form}:{mail}\nssl = no\nprotocols =\n"
                            f"base_dir = {root}/run\nlog_path = /dev/stderr\n")
        environment = ["env", f"HOME={mail}", "USER=nobody"]
        if os.getuid() == 0:
            shutil.chown(mail, "nobody", "nogroup")
            environment += ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
        return settings, mail, environment

    def test_from_dovecot_by_its_own_backup(self):
        settings, mail, environment = self.dovecot("mdbox")
        doveadm = [*environment, "doveadm", "-c", settings]
        run(*doveadm, "mailbox", "create", "-s", "Work/Sub")
        for i in range(4):
            run(*doveadm, "save", "-m", ("INBOX", "Work/Sub")[i % 2],
                input=b"Subject: %d\n\nbody\n" % i)
        run(*doveadm, "expunge", "mailbox", "INBOX", "uid", "1")
        run(*doveadm, "backup", f"maildir:{mail}/copy:LAYOUT=fs")
        self.annal("import", "alice", "maildir", mail / "copy", "--uids", "require")
        told = run(*doveadm, "mailbox", "status", "uidvalidity uidnext", "*").stdout.decode()
        client = self.sandbox.login()
        for line in told.splitlines():
            match = re.fullmatch(r"(\S+) uidnext=(\d+) uidvalidity=(\d+)", line)
            self.assertEqual(status(client, match.group(1), "UIDVALIDITY"), int(match.group(3)))
            self.assertEqual(status(client, match.group(1), "UIDNEXT"), int(match.group(2)))
        self.assertEqual(list(bodies(client, "INBOX")), [2])
        client.logout()

    def test_from_dovecot(self):
        root = self.sandbox.root
        settings, mail, environment = self.dovecot("maildir")
        doveadm = [*environment, "doveadm", "-c", settings]
        run(*doveadm, "mailbox", "create", "-s", "Work", "Größe & mehr")
        for i in range(6):
            run(*doveadm, "save", "-m", ("INBOX", "Work")[i % 2],
                input=b"Subject: %d\n\nGr\xc3\xbc\xc3\x9fe\n" % i)
        run(*doveadm, "flags", "add", "\\Seen $Forwarded own", "mailbox", "INBOX", "uid", "2")
        run(*doveadm, "expunge", "mailbox", "INBOX", "uid", "1")
        tunnel = " ".join([*environment, "/usr/lib/dovecot/imap", "-c", str(settings)])
        before = self.sync(f'Tunnel "{tunnel}"')
        self.assertEqual(len(before), 5)
        self.annal("import", "alice", "maildir", mail, "--uids", "require")
        self.assertEqual(self.sync(self.annal_account("alice")), before)
        client = self.sandbox.login()
        self.assertEqual(flags(client, "INBOX"), {2: {"\\Seen", "$Forwarded", "own"}, 3: set()})
        client.logout()

        # And back: Dovecot takes an export over.
        out = root / "out"
        self.annal("export", "alice", "--maildir", out)
        for path in [out, *out.rglob("*")]:
            if os.getuid() == 0:
                shutil.chown(path, "nobody", "nogroup")
        settings.write_text(settings.read_text().replace(str(mail), str(out)))
        self.assertEqual(self.sync(f'Tunnel "{tunnel}"'), before)

    def test_mail_of_any_server_through_mbsync(self):
        """As the README tells: into a Maildir, and from there."""
        client = self.sandbox.login()
        response(client.append("INBOX", "(\\Flagged)", '" 4-Feb-2021 05:06:07 +0000"', NASTY[0]))
        response(client.create("Work/Sub"))
        response(client.append("Work/Sub", None, None, NASTY[0]))
        client.logout()
        home = self.sandbox.root / "home"
        home.mkdir()
        (home / "move.mbsyncrc").write_text(f"""
IMAPAccount old
{self.annal_account("alice")}

IMAPStore old
Account old

MaildirStore files
Path {home}/move/
Inbox {home}/move/INBOX
SubFolders Verbatim

Channel move
Far :old:
Near :files:
Patterns *
Create Near
Sync Pull
CopyArrivalDate yes
SyncState *
""")
        (home / "move").mkdir()
        run("mbsync", "-c", home / "move.mbsyncrc", "move")
        self.annal("import", self.user("bob"), "maildir", home / "move")
        client = self.sandbox.login("bob")
        ((uid, octets),) = bodies(client, "INBOX").items()
        self.assertEqual(re.sub(rb"X-TUID: .*\r\n", b"", octets), NASTY[0])
        self.assertEqual(flags(client, "INBOX"), {uid: {"\\Flagged"}})
        self.assertEqual(dates(client, "INBOX")[uid], "4-Feb-2021 05:06:07 +0000")
        self.assertEqual(len(bodies(client, "Work/Sub")), 1)
        client.logout()


if __name__ == "__main__":
    unittest.main()
