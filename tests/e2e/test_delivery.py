#!/usr/bin/env python3
"""Mail comes in, by LMTP and by annal deliver, as far as the account has room.

A message that was answered with 250 is there, once, its octets after the trace lines as they were
sent.
"""
import json
import os
import pathlib
import random
import re
import shutil
import smtplib
import subprocess
import sys
import tempfile
import threading
import unittest
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from annal import PROGRAM, Case, Sandbox, bodies, flags, git, response, run, wait_until
from lmtp import Lmtp


class Delivery(Case):
    def setUp(self):
        super().setUp()
        self.clients = []

    def tearDown(self):
        # A server that stops waits a little for clients that are there.
        for client in self.clients:
            client.close()
        super().tearDown()

    def connect(self):
        self.clients.append(Lmtp(("127.0.0.1", self.sandbox.lmtp)))
        return self.clients[-1]

    def mail(self, user="alice", mailbox="INBOX"):
        client = self.sandbox.login(user)
        found = bodies(client, mailbox)
        client.logout()
        return [found[uid] for uid in sorted(found)]

    def test_each_recipient_has_an_answer(self):
        client = self.connect()
        message = b"Subject: four\r\n\r\n.a dot\r\n..two\r\n"
        replies = client.deliver(["alice@example.net", "nobody@example.net", "bob", "Alice@b"],
                                 message)
        self.assertEqual([reply[:9] for reply in replies],
                         ["250 2.0.0", "550 5.1.1", "250 2.0.0", "250 2.0.0"])
        (hers,) = self.mail()
        (his,) = self.mail("bob")
        self.assertRegex(hers, rb"\AReturn-Path: <sender@example\.org>\r\n"
                         rb"Delivered-To: alice@example\.net\r\nDelivered-To: Alice@b\r\n"
                         rb"Received: from client\.example\.org \(\[127\.0\.0\.1\]\)\r\n"
                         rb"\tby \S+ with LMTP id \S+;\r\n\t\w+, \d+ \w+ \d{4} [\d:]{8} \+0000\r\n"
                         rb"Subject: four\r\n")
        self.assertIn(b"Delivered-To: bob\r\n", his)
        for stored in (hers, his):
            self.assertTrue(stored.endswith(b"+0000\r\n" + message))

    def test_smtplib_delivers(self):
        with smtplib.LMTP("127.0.0.1", self.sandbox.lmtp) as client:
            client.sendmail("a@example.org", ["alice@example.net"], b"Subject: x\r\n\r\ny\r\n")
        self.assertEqual(len(self.mail()), 1)

    def test_line_ends_are_kept_and_end_nothing(self):
        client = self.connect()
        message = (b"Subject: ends\r\n\r\nbare\n.\nlf\r.\rcr\n.\r\nmixed\r\n.\nMAIL FROM:<x@y>\r"
                   b"\nlast\r\r\n")
        self.assertEqual(client.deliver(["alice"], message)[0][:3], "250")
        (stored,) = self.mail()
        self.assertTrue(stored.endswith(message), stored)

    def test_chunks_and_large_messages(self):
        client = self.connect()
        generator = random.Random(1)
        body = b"Subject: large\r\n\r\n" + generator.randbytes(3_000_000).replace(b"\0", b"x")
        client.command("MAIL FROM:<> SIZE=%d BODY=8BITMIME" % len(body))
        for recipient in ("alice", "alice+Archive", "bob"):
            client.command(f"RCPT TO:<{recipient}>")
        for start in range(0, len(body), 700_000):
            chunk = body[start:start + 700_000]
            last = " LAST" if start + len(chunk) == len(body) else ""
            client.send(b"BDAT %d%s\r\n" % (len(chunk), last.encode()) + chunk)
            replies = [client.reply()[0] for _ in range(3 if last else 1)]
            self.assertEqual({reply[:9] for reply in replies}, {"250 2.0.0"})
        for stored in (self.mail(), self.mail(mailbox="Archive"), self.mail("bob")):
            self.assertEqual(len(stored), 1)
            self.assertTrue(stored[0].startswith(b"Return-Path: <>\r\n"))
            self.assertTrue(stored[0].endswith(body))

    def test_transactions_are_pipelined(self):
        client = self.connect()
        client.send(b"".join(
            b"MAIL FROM:<s@x>\r\nRCPT TO:<%s>\r\nRCPT TO:<nobody>\r\nBDAT 9 LAST\r\n%07d\r\n"
            % (user, i) for i in range(50) for user in (b"alice", b"bob")) + b"QUIT\r\n")
        codes = []
        while reply := client.reply():
            codes.append(reply[-1][:3])
        self.assertEqual(codes, ["250", "250", "550", "250"] * 100 + ["221"])
        for user in ("alice", "bob"):
            self.assertEqual([stored[-9:] for stored in self.mail(user)],
                             [b"%07d\r\n" % i for i in range(50)])

    def test_a_client_that_leaves_takes_nothing_with_it(self):
        for i in range(20):
            client = self.connect()
            client.command("MAIL FROM:<s@x>")
            client.command("RCPT TO:<alice>")
            client.command("RCPT TO:<bob>")
            client.command("DATA")
            client.send(b"%07d\r\n.\r\n" % i if i % 2 == 0 else b"%07d\r\n." % i)
            client.close()
        whole = [b"%07d\r\n" % i for i in range(0, 20, 2)]
        for user in ("alice", "bob"):
            wait_until(lambda name=user: sorted(stored[-9:] for stored in self.mail(name)) == whole)

    def test_idling_client_sees_it_at_once(self):
        idler = self.sandbox.login()
        response(idler.select("INBOX"))
        idler.send(b"i IDLE\r\n")
        self.assertTrue(idler.readline().startswith(b"+"))
        self.assertEqual(self.connect().deliver(["alice"], b"Subject: now\r\n\r\n")[0][:3], "250")
        self.assertEqual(idler.readline(), b"* 1 EXISTS\r\n")
        idler.send(b"DONE\r\n")

    def test_what_comes_again_is_stored_once(self):
        stamped = b"Received: from a by mx with SMTP id 4711;\r\n\tnow\r\nSubject: s\r\n\r\nx\r\n"
        plain = b"Subject: s\r\n\r\nx\r\n"
        for _ in range(2):
            client = self.connect()
            self.assertEqual(client.deliver(["alice"], stamped)[0][:3], "250")
            self.assertEqual(client.deliver(["alice"], plain)[0][:3], "250")
        self.assertEqual(len(self.mail()), 3)
        for restart in (self.sandbox.restart, self.kill_and_start):
            restart()
            again = self.connect().deliver(["alice", "bob"], stamped)
            self.assertRegex(again[0], "^250 .*before")
            self.assertEqual(len(self.mail()), 3)
        self.assertEqual(self.connect().deliver(["alice"], stamped, "other@example.org")[0][:3],
                         "250")
        self.assertEqual(len(self.mail()), 4)
        self.assertEqual(len(self.mail("bob")), 1)

    def pipe(self, *arguments, message=b"Subject: piped\n\nx\n", **environment):
        """annal deliver: its exit status and what it complains of."""
        clean = {name: value for name, value in os.environ.items()
                 if name not in ("SENDER", "RECIPIENT")}
        done = run(PROGRAM, "deliver", *arguments, "--data", self.sandbox.data, input=message,
                   ok=False, env={**clean, **environment})
        return done.returncode, done.stderr.decode()

    def test_a_pipe_delivers(self):
        self.assertEqual(self.pipe("alice", SENDER="s@example.org", RECIPIENT="alice+Archive@x",
                                   message=b"From s@example.org Mon Nov 23 02:00:00 2026\n"
                                   b"Subject: piped\n\na\r\nb\n\nno end"), (0, ""))
        self.assertEqual(self.mail(mailbox="Archive"),
                         [b"Return-Path: <s@example.org>\r\nDelivered-To: alice+Archive@x\r\n"
                          b"Subject: piped\r\n\r\na\r\nb\r\n\r\nno end"])
        self.assertEqual(self.pipe("bob", "--mailbox", "Junk", "--flag", "\\Seen", "--flag", "Spam",
                                   "--sender", "", "--keep-bytes", message=b"From x\na\n"), (0, ""))
        self.assertEqual(self.mail("bob", "Junk"),
                         [b"Return-Path: <>\r\nDelivered-To: bob\r\nFrom x\na\n"])
        self.assertEqual(flags(self.sandbox.login("bob"), "Junk"), {1: {"\\Seen", "Spam"}})
        log = git(self.sandbox.repositories["bob"], "log", "-1", "Junk").decode()
        self.assertIn("DELIVER uid 1\n", log)
        self.assertIn("Client: annal deliver\n", log)
        self.assertIn("From: <>\n", log)
        told = run(PROGRAM, "log", "bob", "--action", "deliver", "--data", self.sandbox.data)
        self.assertIn(b"Junk", told.stdout)

    def test_a_pipe_says_what_a_mail_transfer_agent_understands(self):
        stamped = b"Received: by mx\nSubject: x\n\n"
        self.assertEqual(self.pipe("nobody")[0], 67)
        self.assertEqual(self.pipe("alice", "--mailbox", "Nowhere")[0], 73)
        self.assertEqual(self.pipe("alice", "--flag", "\\Deleted")[0], 64)
        self.assertEqual(self.pipe()[0], 64)
        self.assertEqual(self.pipe("alice", "--sender", "a\nb")[0], 64)
        self.assertEqual(self.pipe("alice", message=b"x" * (65 << 20))[0], 65)
        self.assertEqual(self.pipe("alice", "--config", "/nonexistent")[0], 75)
        for _ in range(2):
            self.assertEqual(self.pipe("alice", message=stamped), (0, ""))
        self.assertEqual(len(self.mail()), 1)

    def test_a_pipe_reads_what_has_no_lines(self):
        for message, stored in ((b"", b""), (b"\n", b"\r\n"), (b"a\r", b"a\r"), (b"From", b"From"),
                                (b"From \n", b""), (b"From x", b""), (b"\r\n\n\r\r\n", b"\r\n\r\n\r\r\n"),
                                (b"x" * 65530 + b"\r\n" * 9 + b"\n", b"x" * 65530 + b"\r\n" * 10),
                                (b"x" * 65540 + b"\n" * 9, b"x" * 65540 + b"\r\n" * 9)):
            self.assertEqual(self.pipe("alice", "--sender", "", message=message), (0, ""))
            self.assertEqual(self.mail()[-1],
                             b"Return-Path: <>\r\nDelivered-To: alice\r\n" + stored)
        # One line without an end: it is too big as soon as that can be told.
        with open("/dev/zero", "rb") as endless:
            done = subprocess.run([PROGRAM, "deliver", "alice", "--data", self.sandbox.data],
                                  stdin=endless, capture_output=True, timeout=120)
        self.assertEqual((done.returncode, done.stderr),
                         (65, b"annal: the message is too big (append_limit_mib)\n"))

    def test_a_pipe_finds_the_user_as_lmtp_does(self):
        for name in ("Alice", "alice@example.net", "ALICE@Example.net"):
            self.assertEqual(self.pipe(name), (0, ""))
        self.assertEqual(len(self.mail()), 3)
        # Whoever may not log in any more gets no mail either, though the mail is still there.
        run(PROGRAM, "user", "del", "bob", "--data", self.sandbox.data)
        self.assertEqual(self.pipe("bob"), (67, "annal: there is no user bob\n"))
        self.assertEqual(self.connect().deliver(["bob"], b"x\r\n")[0][:9], "550 5.1.1")
        run(PROGRAM, "user", "add", "bob", "--password-stdin", "--data", self.sandbox.data,
            input=b"bob\n")

    def test_a_pipe_needs_no_server(self):
        """Nor one that ended well: what it had acknowledged is there before and after."""
        for i in range(30):
            self.connect().deliver(["alice"], b"lmtp %d\r\n" % i)
        self.sandbox.kill()
        for i in range(3):
            self.assertEqual(self.pipe("alice", message=b"pipe %d\n" % i), (0, ""))
        self.sandbox.start()
        for i in range(3, 6):
            self.assertEqual(self.pipe("alice", message=b"pipe %d\n" % i), (0, ""))
        self.sandbox.stop()
        self.assertEqual(self.pipe("alice", message=b"pipe 6\n"), (0, ""))
        self.sandbox.start()
        expected = {b"lmtp %d" % i for i in range(30)} | {b"pipe %d" % i for i in range(7)}
        stored = [message.splitlines()[-1] for message in self.mail()]
        self.assertEqual(sorted(stored), sorted(expected))

    def test_pipes_and_a_server_deliver_at_once(self):
        answers = []

        def pipe(number):
            answers.extend(self.pipe("alice", message=b"pipe %d %d\n" % (number, i))
                           for i in range(4))

        pipes = [threading.Thread(target=pipe, args=(number,)) for number in range(3)]
        for thread in pipes:
            thread.start()
        client = self.connect()
        sent = 0
        while any(thread.is_alive() for thread in pipes):
            self.assertEqual(client.deliver(["alice"], b"lmtp %d\r\n" % sent)[0][:3], "250")
            sent += 1
        for thread in pipes:
            thread.join()
        self.assertEqual(answers, [(0, "")] * 12)
        expected = [b"lmtp %d" % i for i in range(sent)]
        expected += [b"pipe %d %d" % (number, i) for number in range(3) for i in range(4)]
        self.assertEqual(sorted(message.splitlines()[-1] for message in self.mail()),
                         sorted(expected))

    def kill_and_start(self):
        self.sandbox.kill()
        self.sandbox.start()


class Limits(unittest.TestCase):
    """Alice has the quota of the configuration, Bob one in the password file."""

    def setUp(self):
        warnings.simplefilter("ignore", ResourceWarning)
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="annal-quota-"))
        (self.directory / "conf").write_text("quota_mib = 1\nquota_messages = 5\n"
                                             "lmtp_connections = 3\n")
        self.sandbox = Sandbox("--config", str(self.directory / "conf"))
        users = self.sandbox.data / "users"
        users.write_text(re.sub(r"(?m)^(bob:.*)$", r"\1:quota_mib=0,quota_messages=2",
                                users.read_text()))

    def tearDown(self):
        self.sandbox.check()
        self.sandbox.close()
        shutil.rmtree(self.directory)

    def test_connections_are_limited(self):
        there = [Lmtp(("127.0.0.1", self.sandbox.lmtp)) for _ in range(3)]
        refused = Lmtp(("127.0.0.1", self.sandbox.lmtp), hello=False)
        self.assertEqual(refused.greeting, ["421 4.3.2 Too many connections"])
        self.assertEqual(refused.reply(), [])
        for client in (*there, refused):
            client.close()

        def is_let_in():
            client = Lmtp(("127.0.0.1", self.sandbox.lmtp), hello=False)
            client.close()
            return client.greeting[0].startswith("220 ")

        wait_until(is_let_in)

    def deliver(self, user, size=10):
        client = Lmtp(("127.0.0.1", self.sandbox.lmtp))
        reply = client.deliver([user], b"x" * size + b"\r\n")[0]
        client.close()
        return reply[:9]

    def test_a_full_account_takes_nothing_more(self):
        self.assertEqual([self.deliver("bob") for _ in range(3)],
                         ["250 2.0.0", "250 2.0.0", "452 4.2.2"])
        self.assertEqual(self.deliver("bob", 3_000_000), "452 4.2.2")
        self.assertEqual(self.deliver("alice", 1_100_000), "452 4.2.2")
        self.assertEqual(self.deliver("alice", 600_000), "250 2.0.0")
        self.assertEqual(self.deliver("alice", 600_000), "452 4.2.2")
        client = self.sandbox.login()
        for name in ("QUOTA", "QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE"):
            self.assertIn(name, client.capability()[1][0].decode().split())
        self.assertEqual(client.getquotaroot("INBOX"),
                         ("OK", [[b'INBOX ""'], [b'"" (STORAGE 587 1024 MESSAGE 1 5)']]))
        response(client.select("INBOX"))
        answer = client.append("INBOX", None, None, b"x" * 500_000)
        self.assertEqual(answer[0], "NO")
        self.assertIn(b"[OVERQUOTA]", answer[1][0])
        answer = client.copy("1", "Archive")
        self.assertEqual((answer[0], answer[1][0][:11]), ("NO", b"[OVERQUOTA]"))
        self.assertEqual(client.setquota('""', "(STORAGE 9999)")[0], "NO")
        # A move takes no room, and what is expunged gives it back.
        response(client._simple_command("MOVE", "1", "Archive"))
        self.assertEqual(client.getquota('""')[1], [b'"" (STORAGE 587 1024 MESSAGE 1 5)'])
        response(client.select("Archive"))
        response(client.store("1", "+FLAGS", "(\\Deleted)"))
        self.assertRegex(response(client.status("Archive", "(DELETED DELETED-STORAGE)"))[0],
                         rb"\(DELETED 1 DELETED-STORAGE 600\d\d\d\)")
        response(client.expunge())
        self.assertEqual(self.deliver("alice", 600_000), "250 2.0.0")
        self.sandbox.restart()
        self.assertEqual(self.deliver("alice", 600_000), "452 4.2.2")
        self.assertEqual(self.sandbox.login("bob").getquota('""')[1], [b'"" (MESSAGE 2 2)'])

    def ask(self, recipient, size=None):
        """What RCPT says."""
        client = Lmtp(("127.0.0.1", self.sandbox.lmtp))
        client.command("MAIL FROM:<s@x>" + (f" SIZE={size}" if size else ""))
        reply = client.command(f"RCPT TO:<{recipient}>")[0]
        client.close()
        return reply[:9]

    def test_a_full_account_is_refused_before_the_message_comes(self):
        self.assertEqual(self.ask("alice", 1_000_000), "250 2.1.5")
        self.assertEqual(self.ask("alice", 1_100_000), "452 4.2.2")
        self.assertEqual(self.ask("alice"), "250 2.1.5")
        for _ in range(2):
            self.assertEqual(self.ask("bob"), "250 2.1.5")
            self.deliver("bob")
        self.assertEqual(self.ask("bob"), "452 4.2.2")
        self.assertEqual(self.ask("bob+Archive"), "452 4.2.2")
        # What IMAP takes away, and puts there, is known at once.
        client = self.sandbox.login("bob")
        response(client.select("INBOX"))
        response(client.store("1", "+FLAGS", "(\\Deleted)"))
        response(client.expunge())
        self.assertEqual(self.ask("bob"), "250 2.1.5")
        response(client.append("Archive", None, None, b"Subject: x\r\n\r\n"))
        self.assertEqual(self.ask("bob"), "452 4.2.2")
        self.quota("bob", "--messages", "3")
        self.assertEqual(self.ask("bob"), "250 2.1.5")
        self.sandbox.restart()
        self.assertEqual(self.ask("bob"), "250 2.1.5")
        self.assertEqual(self.deliver("bob"), "250 2.0.0")
        self.sandbox.restart()
        self.assertEqual(self.ask("bob"), "452 4.2.2")

    def test_a_full_account_may_be_refused_for_good(self):
        with open(self.directory / "conf", "a") as file:
            file.write("quota_reply = permanent\n")
        self.sandbox.restart()
        self.assertEqual(self.ask("alice", 1_100_000), "552 5.2.2")
        self.assertEqual(self.deliver("alice", 1_100_000), "552 5.2.2")

    def test_imap_tells_what_the_quota_is(self):
        client = self.sandbox.login("bob")
        response(client.append("INBOX", None, None, b"Subject: x\r\n\r\n"))
        # A mailbox that isn't there would belong to the root, too (RFC 9208 4.1.2).
        for name in (b"INBOX", b"nowhere/at all", b"&AOQ-"):
            self.assertEqual(client.getquotaroot(b'"' + name + b'"'),
                             ("OK", [[b'%s ""' % (b'"%s"' % name if b" " in name else name)],
                                     [b'"" (MESSAGE 1 2)']]))
        self.assertNotIn("QUOTASET", client.capability()[1][0].decode().split())
        for root in ("INBOX", "bob", "User quota"):
            answer = client.getquota(f'"{root}"')
            self.assertEqual((answer[0], answer[1][0][:13]), ("NO", b"[NONEXISTENT]"))
        answer = client.setquota('""', "(STORAGE 9999)")
        self.assertEqual((answer[0], answer[1][0][:8]), ("NO", b"[NOPERM]"))
        self.quota("bob", "--messages", "0")
        self.assertEqual(client.getquotaroot("INBOX"), ("OK", [[b"INBOX"], [None]]))
        self.assertEqual(client.getquota('""')[0], "NO")
        client.logout()

    def test_two_clients_have_the_room_of_one(self):
        """Both may begin to send, as there is room for each."""
        clients = [self.sandbox.login("bob") for _ in range(2)]
        response(clients[0].append("INBOX", None, None, b"Subject: x\r\n\r\n"))
        for client in clients:
            client.send(b"a APPEND INBOX {4}\r\n")
            self.assertTrue(client.readline().startswith(b"+ "))
        answers = []
        for client in clients:
            client.send(b"a:\r\n\r\n")
            while not (line := client.readline()).startswith(b"a "):
                pass
            answers.append(line.split(b"] ")[0][:15])
        self.assertEqual([answers[0][:15], answers[1]], [b"a OK [APPENDUID", b"a NO [OVERQUOTA"])
        for client in clients:
            client.logout()

    def test_who_does_not_wait_for_the_server_has_no_more_room(self):
        client = self.sandbox.login("bob")
        for _ in range(2):
            response(client.append("INBOX", None, None, b"Subject: x\r\n\r\n"))
        for size in (1_000, 500_000):
            client.send(b"a APPEND INBOX {%d+}\r\n%b\r\n" % (size, b"x" * size))
            while not (line := client.readline()).startswith(b"a "):
                pass
            self.assertTrue(line.startswith(b"a NO [OVERQUOTA]"), line)
        self.assertEqual(response(client.select("INBOX")), [b"2"])
        client.logout()

    def quota(self, *arguments, ok=True):
        return run(PROGRAM, "quota", *arguments, "--data", self.sandbox.data, "--config",
                   self.directory / "conf", ok=ok)

    def test_the_admin_sets_limits_that_hold_at_once(self):
        self.deliver("alice")
        self.assertEqual(self.quota("alice").stdout, b"0.0 MiB of 1.0 MiB, 1 messages of 5\n")
        self.assertEqual(self.quota("alice", "--messages", "1").stdout,
                         b"0.0 MiB of 1.0 MiB, 1 messages of 1\n")
        self.assertEqual(self.deliver("alice"), "452 4.2.2")
        self.quota("alice", "--mib", "0")
        run(PROGRAM, "user", "passwd", "alice", "--password-stdin", "--data", self.sandbox.data,
            input=b"new\n")
        told = json.loads(self.quota("alice", "--json").stdout)
        self.assertEqual({name: told[name] for name in ("octets_limit", "messages_limit")},
                         {"octets_limit": 0, "messages_limit": 1})
        self.quota("alice", "--default")
        self.assertEqual(self.deliver("alice"), "250 2.0.0")
        self.assertEqual(self.quota("alice", "--mib", "x", ok=False).returncode, 1)
        self.assertEqual(self.quota("nobody", ok=False).returncode, 1)
        self.assertEqual(self.quota(ok=False).returncode, 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
