#!/usr/bin/env python3
"""Large messages, in and out: octet for octet, and without ever being held in memory."""
import os
import pathlib
import random
import socket
import ssl
import sys
import time
import unittest
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from annal import PROGRAM, Case, bodies, response, wait_until

MEGABYTE = 1 << 20
SIZE = 24 * MEGABYTE
SANITIZED = b"__asan_init" in pathlib.Path(PROGRAM).read_bytes()
# What a session may have under way, twice over; sanitizers keep what was freed for a while.
GROWTH = (300 if SANITIZED else 4) * MEGABYTE


def large_message(number, size=SIZE):
    head = b"Subject: large %d\r\n\r\n" % number
    block = random.Random(number).randbytes(1 << 16).translate(bytes.maketrans(b"\0\r\n", b"012"))
    body = bytearray()
    while len(body) < size - len(head):
        body += b"%016d" % len(body)
        body += block
    return head + bytes(body[:size - len(head)])


class Wire:
    """A connection whose octets are read when the test says so."""

    def __init__(self, sandbox, tls=False):
        port = sandbox.imaps if tls else sandbox.imap
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        if tls:
            context = ssl.create_default_context(cafile=sandbox.certificate)
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.inflate = self.deflate = None
        self.held = b""
        self.line()
        self.command(b"l LOGIN alice alice")
        self.command(b"s SELECT INBOX")

    def send(self, data):
        if self.deflate:
            data = self.deflate.compress(data) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
        self.socket.sendall(data)

    def compress(self):
        self.command(b"c COMPRESS DEFLATE")
        self.inflate = zlib.decompressobj(-15)
        self.deflate = zlib.compressobj(1, zlib.DEFLATED, -15)

    def read(self, most=MEGABYTE):
        """Some octets; none at the end."""
        if self.held:
            data, self.held = self.held[:most], self.held[most:]
            return data
        data = self.socket.recv(most)
        while self.inflate and data:
            out = self.inflate.decompress(data)
            if out:
                return out
            data = self.socket.recv(most)
        return data

    def line(self):
        data = b""
        while b"\r\n" not in data:
            more = self.read()
            if not more:
                raise AssertionError(f"the connection ended after {data[-100:]}")
            data += more
        line, _, rest = data.partition(b"\r\n")
        self.held = rest + self.held
        return line

    def command(self, text):
        self.send(text + b"\r\n")
        tag = text.split()[0]
        while not (line := self.line()).startswith(tag):
            pass
        if not line.startswith(tag + b" OK"):
            raise AssertionError(line)

    def expect(self, octets, most=MEGABYTE, pause=0.0, watch=lambda: None):
        """Reads exactly these octets."""
        view = memoryview(octets)
        at = 0
        while at < len(octets):
            data = self.read(most)
            if not data:
                raise AssertionError(f"the connection ended at {at}")
            take = min(len(data), len(octets) - at)
            if data[:take] != view[at:at + take]:
                raise AssertionError(f"other octets near {at}")
            self.held = data[take:] + self.held
            at += take
            if pause:
                time.sleep(pause)
            watch()

    def close(self):
        self.socket.close()


class Streaming(Case):
    def memory(self):
        """Octets of the server's own memory, mapped files left out."""
        file = pathlib.Path(f"/proc/{self.sandbox.process.pid}/status")
        status = file.read_text(encoding="ascii")
        return 1024 * int(status.partition("RssAnon:")[2].split()[0])

    def append(self, *messages):
        client = self.sandbox.login()
        for message in messages:
            response(client.append("INBOX", "", None, message))
        client.logout()

    def fetch_slowly(self, wire, message, copies):
        before = self.memory()
        most = before

        def watch():
            nonlocal most
            most = max(most, self.memory())

        for number in range(copies):
            wire.send(b"f%d FETCH 1 BODY.PEEK[]\r\n" % number)
        for _ in range(10):
            time.sleep(0.1)
            watch()
        for number in range(copies):
            self.assertEqual(wire.line(), b"* 1 FETCH (BODY[] {%d}" % len(message))
            slow = 2 * MEGABYTE if number == 0 else 0
            wire.expect(message[:slow], most=1 << 16, pause=0.005, watch=watch)
            wire.expect(message[slow:])
            watch()
            self.assertEqual(wire.line(), b")")
            self.assertTrue(wire.line().startswith(b"f%d OK" % number))
        self.assertLess(most - before, GROWTH)
        wire.close()

    def test_a_message_is_sent_as_it_is_read(self):
        message = large_message(1)
        self.append(message)
        self.fetch_slowly(Wire(self.sandbox), message, 20)
        self.fetch_slowly(Wire(self.sandbox, tls=True), message, 8)
        wire = Wire(self.sandbox)
        wire.compress()
        self.fetch_slowly(wire, message, 1)

    def test_many_that_do_not_read_cost_little(self):
        message = large_message(1)
        self.append(message)
        before = self.memory()
        wires = [Wire(self.sandbox, tls=number % 2 == 0) for number in range(16)]
        for wire in wires:
            wire.send(b"f FETCH 1 (BODY.PEEK[] BODY.PEEK[TEXT] RFC822.HEADER)\r\n" * 20)
        time.sleep(1.5)
        self.assertLess(self.memory() - before, len(wires) * MEGABYTE + GROWTH)
        for wire in wires:
            wire.close()

    def test_several_in_one_command_and_one_that_is_there_already(self):
        messages = [large_message(number, 3 * MEGABYTE + number) for number in range(4)]
        messages.append(messages[1])
        wire = Wire(self.sandbox)
        wire.send(b"a APPEND INBOX")
        for message in messages:
            wire.send(b" {%d+}\r\n" % len(message) + message)
        wire.send(b"\r\n")
        while not (line := wire.line()).startswith(b"a "):
            pass
        self.assertTrue(line.startswith(b"a OK [APPENDUID "), line)
        self.append(messages[0])
        wire.close()
        client = self.sandbox.login()
        found = bodies(client, "INBOX")
        client.logout()
        self.assertTrue(found == dict(enumerate(messages + [messages[0]], 1)), "other octets")
        self.assertEqual(self.leftovers(), [])

    def leftovers(self):
        repository = pathlib.Path(self.sandbox.repositories["alice"])
        self.assertEqual(list(repository.glob("objects/**/*.tmp")), [])  # a clone would copy them
        return [name for name in os.listdir(repository) if name.endswith(".tmp")]

    def test_nothing_is_left_of_a_message_that_does_not_come_whole(self):
        message = large_message(1)
        wire = Wire(self.sandbox)
        wire.send(b"a APPEND INBOX {%d+}\r\n" % len(message) + message[:len(message) // 2])
        wait_until(lambda: len(self.leftovers()) == 1, what="no file")
        wire.close()
        wait_until(lambda: self.leftovers() == [], what="the file stays")
        wire = Wire(self.sandbox)
        wire.send(b"a APPEND INBOX {%d+}\r\n" % len(message) + message[:-1] + b"\0\r\n")
        line = wire.line()
        self.assertTrue(line.startswith(b"a BAD"), line)
        self.assertEqual(self.leftovers(), [])
        wire.close()
        self.append(message)
        self.fetch_slowly(Wire(self.sandbox), message, 1)


if __name__ == "__main__":
    unittest.main()
