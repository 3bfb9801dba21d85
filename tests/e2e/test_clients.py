#!/usr/bin/env python3
"""The mail programs of Debian, as people use them."""
import mailbox
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from annal import PROGRAM, bodies, flags, quote, response, run
from mail_clients import NAMES, Client, message, without_tuid

SAMPLE = pathlib.Path(__file__).parent.parent / "data" / "sample.mbox"


class Curl(Client):
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
