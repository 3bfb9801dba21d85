#!/usr/bin/env python3
"""The past, opened with the mail programs of Debian."""
import datetime
import pathlib
import re
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from annal import bodies, flags, git, quote, response, wait_until
from mail_clients import NAMES, Client, message, without_tuid


class Past(Client):
    def setUp(self):
        super().setUp()
        self.fill()
        self.moment = self.now()
        self.client = self.sandbox.login()

    def tearDown(self):
        self.client.logout()
        super().tearDown()

    @staticmethod
    def now():
        """This second, as a moment; what is done next is done in a later one."""
        second = int(time.time())
        wait_until(lambda: int(time.time()) > second)
        return datetime.datetime.fromtimestamp(second, datetime.timezone.utc).strftime(
            "%Y-%m-%dT%H:%M:%SZ")

    def past(self, name, moment=None):
        return f"History/{moment or self.moment}/{name}"

    def log(self, name):
        self.sandbox.in_git("alice", quote(name).strip('"'))
        return git(self.sandbox.repositories["alice"], "log", "--format=%s", name, "--").decode()

    def listed(self, *arguments):
        return [line.split(b' "/" ')[1].strip(b'"').decode()
                for line in response(self.client.list(*arguments)) if line]

    def say(self, *words):
        """A command as it stands, and its tagged response: imaplib has views of its own."""
        self.client.send(b"say " + " ".join(words).encode() + b"\r\n")
        answer = self.client.readline()
        while answer and not answer.startswith(b"say "):
            answer = self.client.readline()
        return answer

    def lose_much(self):
        client = self.client
        response(client.select("INBOX"))
        response(client.store("1:2", "+FLAGS", "(\\Deleted)"))
        response(client.expunge())
        response(client.store("1:2", "FLAGS", "(\\Flagged $Later)"))
        response(client.append("INBOX", "", None, message(8, "INBOX")))
        response(client.close())
        response(client.delete("Lists/bridge"))
        response(client.rename(quote("Entwürfe/Käse"), "Quark"))


class AnyClient(Past):
    def test_shows_what_was_and_brings_it_back(self):
        client = self.client
        before = {name: (bodies(client, name), flags(client, name),
                         response(client.status(quote(name), "(UIDVALIDITY UIDNEXT "
                                                "HIGHESTMODSEQ MESSAGES UNSEEN)"))[0].split(b"(")[1])
                  for name in NAMES}
        self.lose_much()

        def check():
            for name in NAMES:
                past = self.past(name)
                status = response(self.client.status(quote(past), "(UIDVALIDITY UIDNEXT "
                                                     "HIGHESTMODSEQ MESSAGES UNSEEN)"))[0]
                self.assertEqual((bodies(self.client, past), flags(self.client, past),
                                  status.split(b"(")[1]), before[name], name)

        check()
        # Renamed since: then it was not there under its new name, and is not under the old one now.
        self.assertEqual(client.select(quote(self.past("Quark")))[0], "NO")
        self.assertEqual(client.select(quote(self.past("Entwürfe/Käse", self.now())))[0], "NO")
        self.client.logout()
        self.sandbox.restart()
        self.client = client = self.sandbox.login(tls=True)
        check()
        # A deleted mailbox comes back, and what was expunged.
        response(client.create("Lists/bridge"))
        response(client.select(self.past("Lists/bridge"), readonly=True))
        response(client.copy("1:*", "Lists/bridge"))
        response(client.select(self.past("INBOX"), readonly=True))
        response(client.uid("COPY", "1:2", "INBOX"))
        self.assertEqual(list(bodies(client, "Lists/bridge").values()),
                         list(before["Lists/bridge"][0].values()))
        self.assertEqual(list(flags(client, "Lists/bridge").values()),
                         list(before["Lists/bridge"][1].values()))
        self.assertEqual(sorted(bodies(client, "INBOX")), [3, 4, 5, 6, 7])
        self.assertRegex(self.log("INBOX").splitlines()[0],
                         r"^COPY uid 1:2 from INBOX at \d{4}-\d\d-\d\d \([0-9a-f]{12}\) "
                         r"as uid 6:7$")
        check()

    def test_nothing_of_it_can_be_changed(self):
        name = self.past("INBOX")
        tips = self.commits()
        self.assertRegex(self.say("SELECT", quote(name)), rb"^\S+ OK \[READ-ONLY\] ")
        for attempt in (("STORE", "1", "+FLAGS", "(\\Deleted)"), ("EXPUNGE",),
                        ("COPY", "1", quote(name)), ("APPEND", quote(name), "{1+}\r\nx"),
                        ("DELETE", quote(name)), ("RENAME", quote(name), "Old"),
                        ("RENAME", "INBOX", quote(self.past("Old"))), ("MOVE", "1", "INBOX"),
                        ("CREATE", "History"), ("CREATE", quote(self.past("New"))),
                        ("SUBSCRIBE", quote(name))):
            self.assertRegex(self.say(*attempt), rb"^\S+ NO \[(READ-ONLY|NOPERM|CANNOT)\] ", attempt)
        self.assertRegex(self.say("CLOSE"), rb"^\S+ OK ")
        self.assertEqual(self.commits(), tips)

    def test_lists_days_and_what_was_then(self):
        self.lose_much()
        self.assertFalse([name for name in self.listed() if "History" in name])
        self.assertFalse([name for name in self.listed('""', "%") if "History" in name])
        today = self.listed('""', "History/%")[-1].removeprefix("History/")
        self.assertIn(today, (self.moment[:10], self.now()[:10]))
        then = self.listed('""', f'"History/{self.moment}/*"')
        for name in NAMES:
            self.assertIn(quote(self.past(name)).strip('"'), then)
        self.assertNotIn(self.past("Quark"), then)
        self.assertIn(self.past("Quark", today), self.listed(f'"History/{today}/"', "%"))
        (namespaces,) = response(self.client.namespace())
        self.assertEqual(namespaces, b'(("" "/")) NIL (("History/" "/"))')

    def test_opens_a_mailbox_at_a_commit(self):
        self.lose_much()
        self.sandbox.in_git("alice", "INBOX")
        ids = git(self.sandbox.repositories["alice"], "log", "--reverse", "--format=%H",
                  "INBOX").decode().split()
        self.assertEqual(len(ids), 9)
        for count, commit in enumerate(ids[:5]):
            for name in (f"History/{commit[:12]}", f"History/{commit}/INBOX"):
                self.assertEqual(response(self.client.select(name, readonly=True)), [b"%d" % count])
        self.assertEqual(response(self.client.list('""', f"History/{ids[3]}")),
                         [rb'(\HasChildren) "/" History/' + ids[3].encode()])
        self.assertIn(f"History/{ids[3]}/Archive", self.listed('""', f"History/{ids[3]}/%"))
        self.assertEqual(self.client.select("History/0123456")[0], "NO")


class MailPrograms(Past):
    def test_curl_reads_and_mutt_copies_back(self):
        self.lose_much()
        name = self.past("INBOX").replace("/", "%2F")
        self.assertEqual(self.curl(f"{name};UID=1").stdout, message(0, "INBOX"))
        self.assertEqual(self.curl(f"{name}?ALL").stdout.split(), b"* SEARCH 1 2 3 4".split())
        listed = self.curl("", "--request", f'LIST "History/{self.moment}/" "Lists%"').stdout
        self.assertEqual(listed.count(b"* LIST"), 1)
        deleted = self.past("Lists/bridge").replace("/", "%2F")
        self.assertEqual(self.curl(f"{deleted};UID=4").stdout, message(3, "Lists/bridge"))
        keys = f"<change-folder>={self.past('INBOX')}<enter>2<enter>" \
               "<copy-message>=INBOX<enter><quit>"
        self.mutt(keys, lambda: len(bodies(self.client, "INBOX")) == 4)
        found = bodies(self.client, "INBOX")
        self.assertEqual(found[max(found)], message(1, "INBOX"))
        self.assertEqual(flags(self.client, "INBOX")[max(found)], {"\\Seen"})

    def sync(self, text):
        (self.home / ".mbsyncrc").write_text(f"""
IMAPAccount annal
Host localhost
Port {self.sandbox.imaps}
User alice
Pass alice
SSLType IMAPS
CertificateFile {self.sandbox.certificate}

IMAPStore far
Account annal
{text}""")
        return self.run("mbsync", "--all")

    def test_mbsync_pulls_what_it_is_told_to_and_no_more(self):
        self.lose_much()
        then = self.home / "then"
        then.mkdir()
        tips = self.commits()
        for _ in range(2):
            self.sync(f"""
MaildirStore near
Path {self.home}/
Inbox {self.home}/unused

Channel then
Far ":far:{self.past("INBOX")}"
Near :near:then
Sync Pull New
Create Near
SyncState *
""")
            texts = sorted(without_tuid(path.read_bytes())
                           for part in ("cur", "new") for path in (then / part).iterdir())
            self.assertEqual(texts, sorted(message(n, "INBOX").replace(b"\r\n", b"\n")
                                           for n in range(4)))
        self.assertEqual(self.commits(), tips)
        mail = self.home / "mail"
        mail.mkdir()
        self.sync(f"""
MaildirStore near
Path {mail}/
Inbox {mail}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
SyncState *
""")
        names = {str(path.relative_to(mail)) for path in mail.rglob("*") if path.is_dir()}
        self.assertIn("Lists/bridge", names)
        self.assertFalse([name for name in names if re.search("History", name)])


if __name__ == "__main__":
    unittest.main(verbosity=2)
