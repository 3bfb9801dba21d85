#!/usr/bin/env python3
"""The mail programs of Debian, as people use them."""
import mailbox
import os
import pathlib
import pty
import re
import select
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from annal import PROGRAM, Case, bodies, flags, quote, response, run, wait_until

SAMPLE = pathlib.Path(__file__).parent.parent / "data" / "sample.mbox"
NAMES = ["INBOX", "Archive", "Lists", "Lists/bridge", "Lists/bridge/2025", "Entwürfe/Käse", "日本"]


def message(number, mailbox_name):
    text = f"Message-ID: <{number}.{hash(mailbox_name) & 0xffff}@example.org>\r\n" \
           f"From: a@example.org\r\nDate: Mon, 3 Mar 2025 10:15:{number:02d} +0100\r\n" \
           f"Subject: {number} in {mailbox_name}\r\n" \
           f"Content-Type: text/plain; charset=utf-8\r\n\r\nGrüße {number}\r\n"
    return text.encode()


class Client(Case):
    def setUp(self):
        super().setUp()
        self.home = self.sandbox.root / "home"
        self.home.mkdir()
        self.environment = dict(os.environ, HOME=str(self.home), LC_ALL="C.UTF-8",
                                TERM="xterm", XDG_CONFIG_HOME=str(self.home / ".config"),
                                XDG_DATA_HOME=str(self.home / ".local"))

    def run(self, *arguments, **options):
        # unittest calls run(result) on the case itself.
        if not arguments or not isinstance(arguments[0], str):
            return super().run(*arguments, **options)
        return run(*arguments, env=self.environment, cwd=self.home, **options)

    def fill(self):
        client = self.sandbox.login()
        for name in NAMES:
            if name not in ("INBOX", "Archive"):
                response(client.create(quote(name)))
            for number in range(4):
                response(client.append(quote(name), "(\\Seen)" if number % 2 else "",
                                       '" 3-Mar-2025 10:15:00 +0100"', message(number, name)))
        client.logout()

    def commits(self):
        """The tip of every branch."""
        return self.run("git", "-C", self.sandbox.repositories["alice"], "for-each-ref",
                        "refs/heads").stdout


class Curl(Client):
    def curl(self, path, *arguments, ok=True):
        return self.run("curl", "--silent", "--show-error", "--cacert", self.sandbox.certificate,
                        "--user", "alice:alice", *arguments,
                        f"imaps://localhost:{self.sandbox.imaps}/{path}", ok=ok)

    def test_lists_reads_sends_and_searches(self):
        upload = self.home / "message"
        upload.write_bytes(message(7, "INBOX"))
        self.curl("INBOX", "--upload-file", str(upload))
        self.assertIn(b"INBOX", self.curl("").stdout)
        self.assertEqual(self.curl("INBOX;MAILINDEX=1").stdout, message(7, "INBOX"))
        self.assertEqual(self.curl("INBOX;UID=1").stdout, message(7, "INBOX"))
        self.assertEqual(self.curl("INBOX;UID=1;SECTION=TEXT").stdout,
                         message(7, "INBOX").split(b"\r\n\r\n", 1)[1])
        found = self.curl("INBOX?SUBJECT%20INBOX").stdout
        self.assertEqual(found.split(), [b"*", b"SEARCH", b"1"])
        self.curl("", "--request", "CREATE Extra")
        self.assertIn(b"Extra", self.curl("", "--request", 'LIST "" "*"').stdout)
        self.assertNotEqual(self.curl("Missing;UID=1", ok=False).returncode, 0)

    def test_starttls_and_plain_login(self):
        done = self.run("curl", "--silent", "--show-error", "--ssl-reqd", "--cacert",
                        self.sandbox.certificate, "--user", "alice:alice",
                        f"imap://localhost:{self.sandbox.imap}/")
        self.assertIn(b"INBOX", done.stdout)
        refused = self.run("curl", "--silent", "--user", "alice:wrong",
                           f"imap://127.0.0.1:{self.sandbox.imap}/", ok=False)
        self.assertEqual(refused.returncode, 67)


def without_tuid(text):
    """Without the field that mbsync adds to a copy, to find it again after a crash."""
    return re.sub(rb"(?m)^X-TUID: .*\n", b"", text, count=1)


class Mbsync(Client):
    def setUp(self):
        super().setUp()
        self.mail = self.home / "mail"
        self.mail.mkdir()

    def configure(self):
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

MaildirStore near
Path {self.mail}/
Inbox {self.mail}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
CopyArrivalDate yes
SyncState *
""")

    def sync(self):
        self.configure()
        return self.run("mbsync", "--all")

    def near(self, name):
        folder = self.mail / name.encode("utf-7-imap").decode()
        found = {}
        for part in ("cur", "new"):
            for path in sorted((folder / part).iterdir()):
                found[path] = without_tuid(path.read_bytes())
        return found

    def compare(self):
        """Both sides have the same octets, but that mbsync writes LF."""
        client = self.sandbox.login()
        for name in NAMES:
            far = sorted(without_tuid(text.replace(b"\r\n", b"\n"))
                         for text in bodies(client, name).values())
            near = sorted(self.near(name).values())
            self.assertEqual(near, far, name)
        client.logout()

    def test_two_way(self):
        self.fill()
        self.sync()
        self.compare()
        tips = self.commits()
        self.sync()
        self.assertEqual(self.commits(), tips, "a second run changes nothing")

        # Changes on both sides: flags, a deletion, new mail, a new folder.
        paths = sorted(self.near("Lists/bridge"))
        paths[0].unlink()
        flagged = paths[1].name.split(":2,")[0]
        paths[1].rename(paths[1].parent.parent / "cur" / (flagged + ":2,FS"))
        (self.mail / "INBOX" / "new" / "1.new.host").write_bytes(
            message(9, "INBOX").replace(b"\r\n", b"\n"))
        folder = self.mail / "Neu"
        for part in ("cur", "new", "tmp"):
            (folder / part).mkdir(parents=True)
        (folder / "new" / "2.new.host").write_bytes(message(8, "Neu").replace(b"\r\n", b"\n"))
        client = self.sandbox.login()
        response(client.select(quote("日本")))
        response(client.store("1", "+FLAGS", "(\\Answered)"))
        response(client.store("2", "+FLAGS", "(\\Deleted)"))
        response(client.expunge())
        client.logout()
        self.sync()
        self.compare()
        client = self.sandbox.login()
        self.assertEqual(len(bodies(client, "INBOX")), 5)
        (new,) = bodies(client, "Neu").values()
        self.assertEqual(without_tuid(new), message(8, "Neu"))
        self.assertEqual(len(bodies(client, "Lists/bridge")), 3)
        self.assertIn({"\\Flagged", "\\Seen"}, flags(client, "Lists/bridge").values())
        client.logout()
        self.assertEqual(len(self.near("日本")), 3)
        self.assertEqual(len([p for p in self.near("日本") if "R" in p.name.split(":2,")[-1]]), 1)

    def test_goes_on_after_a_restart_of_the_server(self):
        self.fill()
        self.sync()
        self.sandbox.restart()
        tips = self.commits()
        self.sync()
        self.compare()
        self.assertEqual(self.commits(), tips)


class OfflineImap(Client):
    def sync(self):
        (self.home / ".offlineimaprc").write_text(f"""
[general]
accounts = annal
ui = quiet
metadata = {self.home}/.offlineimap

[Account annal]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {self.home}/mail

[Repository far]
type = IMAP
remotehost = localhost
remoteport = {self.sandbox.imaps}
remoteuser = alice
remotepass = alice
ssl = yes
sslcacertfile = {self.sandbox.certificate}
""")
        return self.run("offlineimap", "-o")

    def test_two_way(self):
        self.fill()
        self.sync()
        near = self.home / "mail"
        for name in NAMES:
            folder = near / name.encode("utf-7-imap").decode().replace("/", ".")
            texts = [path.read_bytes() for part in ("cur", "new")
                     for path in (folder / part).iterdir()]
            self.assertEqual(sorted(texts),
                             sorted(message(n, name).replace(b"\r\n", b"\n") for n in range(4)))
        tips = self.commits()
        self.sync()
        self.assertEqual(self.commits(), tips, "a second run changes nothing")
        box = mailbox.Maildir(str(near / "INBOX"), factory=None)
        key = box.keys()[0]
        changed = box[key]
        changed.set_flags("FS")
        box[key] = changed
        box.add(message(9, "INBOX").replace(b"\r\n", b"\n"))
        self.sync()
        client = self.sandbox.login()
        self.assertEqual(len(bodies(client, "INBOX")), 5)
        self.assertIn({"\\Flagged", "\\Seen"}, flags(client, "INBOX").values())
        client.logout()


class Mutt(Client):
    def mutt(self, keys, done):
        """mutt on a terminal of its own: keys are pushed once the mailbox is open."""
        (self.home / ".muttrc").write_text(f"""
set folder = "imaps://localhost:{self.sandbox.imaps}/"
set spoolfile = "+INBOX"
set imap_user = "alice"
set imap_pass = "alice"
set certificate_file = "{self.sandbox.certificate}"
set ssl_starttls = no
set ssl_verify_host = no
set quit = yes
set delete = yes
set confirmappend = no
set confirmcreate = no
set wait_key = no
set header_cache = "{self.home}/cache"
push "{keys}"
""")
        master, slave = pty.openpty()
        process = subprocess.Popen(["mutt"], stdin=slave, stdout=slave, stderr=slave,
                                   env=self.environment, cwd=self.home, start_new_session=True)
        os.close(slave)
        screen = b""
        limit = time.monotonic() + 90
        try:
            while process.poll() is None and time.monotonic() < limit:
                ready, _, _ = select.select([master], [], [], 0.2)
                if ready:
                    try:
                        screen += os.read(master, 65536)
                    except OSError:
                        break
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"mutt hangs: {screen[-3000:]!r}") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            os.close(master)
        try:
            wait_until(done, 10)
        except AssertionError:
            raise AssertionError(f"mutt: {screen[-3000:]!r}\n{self.sandbox.log()}") from None

    def test_reads_flags_copies_and_deletes(self):
        run(PROGRAM, "import", "alice", "mbox", SAMPLE, "--data", self.sandbox.data)
        client = self.sandbox.login()

        def inbox():
            return flags(client, "INBOX")

        # Open the fifth message, flag the sixth, save the second to Archive, delete the seventh.
        keys = "5<enter><display-message><exit>6<enter><flag-message>" \
               "2<enter><save-message>=Archive<enter>7<enter><delete-message>" \
               "<sync-mailbox><quit>"
        self.mutt(keys, lambda: len(inbox()) == 5)
        found = inbox()
        self.assertEqual(set(found), {1, 3, 4, 5, 6})
        self.assertIn("\\Seen", found[5])
        self.assertIn("\\Flagged", found[6])
        self.assertEqual(len(bodies(client, "Archive")), 1)
        self.assertIn(b"Berta", list(bodies(client, "Archive").values())[0].replace(b"=", b""))
        client.logout()


if __name__ == "__main__":
    unittest.main(verbosity=2)
