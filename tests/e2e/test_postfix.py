#!/usr/bin/env python3
"""Many messages through a Postfix of its own, configured as the README has it, and the server killed
and started again on the way: everything arrives exactly once."""
import os
import pathlib
import re
import shutil
import smtplib
import sys
import tempfile
import threading
import time
import unittest
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import postfix
import readme
from annal import Sandbox, bodies, wait_until

MESSAGES = int(os.environ.get("ANNAL_POSTFIX_MESSAGES", "1000"))
CONNECTIONS = 20  # into Postfix
KILLS = 3
TOKEN = re.compile(rb"^Subject: token (\S+)\r$", re.M)


@unittest.skipUnless(postfix.usable(), "Postfix is not installed, or this is not root")
class ThroughPostfix(unittest.TestCase):
    """Many messages by many connections, the server killed and started again on the way."""

    def setUp(self):
        warnings.simplefilter("ignore", ResourceWarning)
        self.good = False
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="annal-lmtp-"))
        self.directory.chmod(0o755)
        path = str(self.directory / "lmtp")
        own = readme.Section("A socket of the server's own")
        self.addCleanup(own.close)
        (self.directory / "conf").write_text(own.take("lmtp = ").text)
        self.addCleanup(shutil.rmtree, self.directory)
        self.sandbox = Sandbox("--lmtp", path, "--config", str(self.directory / "conf"))
        self.addCleanup(lambda: self.sandbox.close(self.good))
        transport = own.take("virtual_transport").text
        options = readme.Section("Behind Postfix").take("virtual_mailbox_domains").text.replace(
            "virtual_transport = lmtp:unix:private/annal\n",
            transport.replace("/run/annal/lmtp", path))
        self.assertIn(path, options)
        # So that nobody is spared the question whether there is such a user.
        self.postfix = postfix.Postfix(options + "mynetworks =\naddress_verify_poll_delay = 1s\n")
        self.addCleanup(lambda: self.postfix.close(self.good))
        for command in own.take("sudo adduser").text.splitlines():
            self.prepare(command)

    def prepare(self, command):
        """What is done to the system once, done to this Postfix; users are left as they are."""
        sudo, program, *arguments = command.split()
        self.assertEqual(sudo, "sudo")
        if program == "adduser":
            self.assertEqual(arguments, ["annal", "postfix"])
        else:
            self.assertEqual(program, "postconf")
            self.postfix.command(program, *arguments)
            self.assertIn("lmtp/unix/chroot = n", self.postfix.command(
                "postconf", "-F", "lmtp/unix/chroot").stdout.decode())

    def ask(self, recipient):
        """What Postfix says to it, when it has asked Annal."""
        with smtplib.SMTP("127.0.0.1", self.postfix.port, timeout=120) as client:
            client.ehlo_or_helo_if_needed()
            client.mail("sender@example.com")
            return client.rcpt(recipient)[0]

    def send(self, number):
        with smtplib.SMTP("127.0.0.1", self.postfix.port, timeout=120) as client:
            for i in range(number, MESSAGES, CONNECTIONS):
                user = ("alice", "bob")[i % 2]
                extension = "+Archive" if i % 10 == 0 else ""
                text = b"Subject: token %d.\r\n\r\n" % i + b"line\r\n" * (i % 700)
                client.sendmail("sender@example.com", [f"{user}{extension}@example.org"], text)

    def there(self):
        """Token to the number of messages that have it."""
        found = {}
        for user in ("alice", "bob"):
            client = self.sandbox.login(user)
            for mailbox in ("INBOX", "Archive"):
                for stored in bodies(client, mailbox).values():
                    token = int(TOKEN.search(stored).group(1).rstrip(b"."))
                    self.assertEqual(user, ("alice", "bob")[token % 2])
                    self.assertEqual(mailbox, "Archive" if token % 10 == 0 else "INBOX")
                    self.assertTrue(stored.endswith(b"line\r\n" * (token % 700)))
                    found[token] = found.get(token, 0) + 1
            client.logout()
        return found

    def test_everything_arrives_exactly_once(self):
        for user in ("alice", "bob", "alice+Archive", "bob+Archive"):
            wait_until(lambda name=user: self.ask(f"{name}@example.org") == 250, 120,
                       "Postfix does not take what Annal takes")
        wait_until(lambda: self.ask("nobody@example.org") == 550, 120,
                   "Postfix takes what Annal refuses")
        senders = [threading.Thread(target=self.send, args=(i,)) for i in range(CONNECTIONS)]
        for sender in senders:
            sender.start()
        for number in range(1, KILLS + 1):
            wait_until(lambda share=number: self.postfix.log().count("status=sent") >=
                       share * MESSAGES // (KILLS + 1), 120, "Postfix does not deliver")
            self.sandbox.kill()
            time.sleep(0.2)  # that Postfix meets a server that is not there
            self.sandbox.start()
        for sender in senders:
            sender.join()
        wait_until(lambda: not self.postfix.queue(), 120, "Postfix keeps messages")
        found = self.there()
        self.assertEqual(set(found), set(range(MESSAGES)))
        self.assertEqual({count for count in found.values()}, {1})
        log = self.postfix.log()
        print(f"{MESSAGES} messages, {KILLS} kills; 250 was lost of "
              f"{log.count('Delivered before')}")
        self.assertNotIn("status=bounced", log)
        self.sandbox.check()
        self.good = True


if __name__ == "__main__":
    unittest.main(verbosity=2)
