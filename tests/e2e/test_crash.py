#!/usr/bin/env python3
"""kill -9 under concurrent writers: what was acknowledged stands, once, under its UID.

Every message carries a token of its own. A client notes what it was told (OK) before it goes on, so
that at the moment of the kill at most one command a client is in doubt. After each round the mail is
read back and compared:
- a token whose APPEND or MOVE was acknowledged is where it was acknowledged to be, exactly once;
- a token whose EXPUNGE was acknowledged is nowhere; one in doubt is in one of its two states;
- no UID that was ever seen for a token is seen for another one.
"""
import pathlib
import random
import re
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from annal import Case, bodies, flags, response

ROUNDS = 20
CLIENTS = 4
MAILBOXES = ("INBOX", "Archive")
TOKEN = re.compile(rb"Token: (\S+)\r\n")


class Client(threading.Thread):
    """Works in mailboxes shared with the others, but only on messages of its own."""

    def __init__(self, sandbox, name, state, seed):
        super().__init__()
        self.sandbox = sandbox
        self.name = name
        self.state = state  # token -> set of acceptable places: mailbox, or None for nowhere
        self.flagged = {}  # token -> set of acceptable answers to "is it \\Flagged?"
        self.generator = random.Random(seed)
        self.problem = None
        self.done = 0

    def run(self):
        try:
            self.work(self.sandbox.login())
        except (OSError, EOFError) as _:
            pass  # the kill
        except Exception as problem:
            if "EOF" not in str(problem) and "abort" not in type(problem).__name__:
                self.problem = problem

    def find(self, client, mailbox, token):
        response(client.select(mailbox))
        data = response(client.uid("SEARCH", "HEADER", "Token", token))
        return data[0].split()[0].decode()

    def work(self, client):
        number = 0
        while True:
            kind = self.generator.choice(("append", "append", "store", "move", "expunge"))
            settled = [t for t, places in self.state.items()
                       if len(places) == 1 and places != {None}]
            if kind == "append" or not settled:
                token = f"{self.name}-{number}."  # none is a part of another: SEARCH finds parts
                number += 1
                self.state[token] = {"INBOX", None}
                self.flagged[token] = {False}
                text = f"Token: {token}\r\nSubject: x\r\n\r\n" + "y" * self.generator.randrange(3000)
                response(client.append("INBOX", "", None, text.encode()))
                self.state[token] = {"INBOX"}
            else:
                token = self.generator.choice(settled)
                (place,) = self.state[token]
                uid = self.find(client, place, token)
                if kind == "store":
                    self.flagged[token] = {True, False}
                    response(client.uid("STORE", uid, "+FLAGS.SILENT", "(\\Flagged)"))
                    self.flagged[token] = {True}
                elif kind == "move":
                    other = MAILBOXES[1 - MAILBOXES.index(place)]
                    self.state[token] = {place, other}
                    response(client.uid("MOVE", uid, other))
                    self.state[token] = {other}
                else:
                    self.flagged[token] = {True, False}
                    response(client.uid("STORE", uid, "+FLAGS.SILENT", "(\\Deleted)"))
                    self.state[token] = {place, None}
                    response(client.uid("EXPUNGE", uid))
                    self.state[token] = {None}
            self.done += 1


class Crash(Case):
    def setUp(self):
        super().setUp()
        self.owners = {mailbox: {} for mailbox in MAILBOXES}  # UID -> token, for ever
        self.uid_next = dict.fromkeys(MAILBOXES, 0)

    def compare(self, clients):
        reader = self.sandbox.login()
        places = {}
        flagged = {}
        for mailbox in MAILBOXES:
            found = bodies(reader, mailbox)
            marks = flags(reader, mailbox)
            self.assertEqual(set(found), set(marks))
            for uid, text in found.items():
                token = TOKEN.match(text).group(1).decode()
                self.assertEqual(self.owners[mailbox].setdefault(uid, token), token,
                                 f"UID {uid} of {mailbox} is used again")
                places.setdefault(token, []).append(mailbox)
                flagged[token] = "\\Flagged" in marks[uid]
            status = response(reader.status(mailbox, "(UIDNEXT)"))[0]
            uid_next = int(re.search(rb"UIDNEXT (\d+)", status).group(1))
            self.assertGreaterEqual(uid_next, self.uid_next[mailbox])
            self.assertGreater(uid_next, max(found, default=0))
            self.uid_next[mailbox] = uid_next
        for client in clients:
            for token, acceptable in client.state.items():
                found = places.pop(token, [])
                self.assertLessEqual(len(found), 1, f"{token} is doubled: {found}")
                place = found[0] if found else None
                self.assertIn(place, acceptable, f"{token} is lost or back")
                client.state[token] = {place}
                if place is not None and client.flagged.get(token):
                    self.assertIn(flagged[token], client.flagged[token], token)
                    client.flagged[token] = {flagged[token]}
        self.assertEqual(places, {}, "messages of nobody")
        reader.logout()

    def test_twenty_rounds(self):
        generator = random.Random(20)
        states = [({}, {}) for _ in range(CLIENTS)]
        commands = 0
        for number in range(ROUNDS):
            clients = [Client(self.sandbox, f"r{number}c{i}", states[i][0], generator.random())
                       for i in range(CLIENTS)]
            for client, (_, flagged) in zip(clients, states):
                client.flagged = flagged
                client.start()
            threading.Event().wait(generator.uniform(0.3, 1.5))
            self.sandbox.kill()
            for client in clients:
                client.join()
                self.assertIsNone(client.problem)
                commands += client.done
            self.sandbox.start()
            self.compare(clients)
            self.sandbox.check()
        print(f"{commands} acknowledged commands in {ROUNDS} rounds")
        self.assertGreater(commands, ROUNDS * CLIENTS)


if __name__ == "__main__":
    unittest.main(verbosity=2)
