"""Mail programs of Debian, driven as people use them."""
import os
import pty
import re
import select
import subprocess
import time

from annal import Case, quote, response, run, wait_until

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

    def curl(self, path, *arguments, ok=True):
        return self.run("curl", "--silent", "--show-error", "--cacert", self.sandbox.certificate,
                        "--user", "alice:alice", *arguments,
                        f"imaps://localhost:{self.sandbox.imaps}/{path}", ok=ok)

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


def without_tuid(text):
    """Without the field that mbsync adds to a copy, to find it again after a crash."""
    return re.sub(rb"(?m)^X-TUID: .*\n", b"", text, count=1)
