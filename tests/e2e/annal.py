"""What the end-to-end tests share: a throw-away server, and the checks of what it leaves behind."""
import imaplib
import json
import os
import pathlib
import re
import select
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import unittest
import warnings

PROGRAM = os.environ["ANNAL"]
START_LIMIT = 30  # seconds; sanitizers on a busy machine are slow
imaplib._MAXLINE = 10_000_000


def run(*command, ok=True, timeout=300, **options):
    """Runs a command and returns what it did, its output as bytes; ok: it must succeed."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=timeout, check=False, **options)
    if ok and done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout.decode()}\n"
                             f"{done.stderr.decode()}")
    return done


def git(repository, *arguments, **options):
    environment = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null",
                       GIT_AUTHOR_NAME="outside", GIT_AUTHOR_EMAIL="outside@example.org",
                       GIT_COMMITTER_NAME="outside", GIT_COMMITTER_EMAIL="outside@example.org")
    return run("git", "-C", repository, *arguments, env=environment, **options).stdout


class Sandbox:
    """A server with a directory of its own that outlives it, until close()."""

    def __init__(self, *arguments):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="annal-e2e-"))
        self.arguments = arguments
        self.data = self.root / "data"
        self.process = None
        self.start()

    def start(self):
        with open(self.root / "log", "ab") as log:
            self.process = subprocess.Popen([PROGRAM, "sandbox", "--data", str(self.data),
                                             *self.arguments],
                                            stdout=subprocess.PIPE, stderr=log)
        ready, _, _ = select.select([self.process.stdout], [], [], START_LIMIT)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the server did not start:\n" + self.log())
        answer = json.loads(line)
        self.imap = answer["imap"]
        self.imaps = answer["imaps"]
        self.lmtp = answer["lmtp"]
        self.metrics = answer["metrics"]
        self.certificate = answer["certificate"]
        self.repositories = answer["repositories"]
        return self

    def in_git(self, user, mailbox):
        """Waits until git has what the server has acknowledged."""
        client = self.login(user)
        status = response(client.status(mailbox, "(HIGHESTMODSEQ)"))[0]
        modseq = re.search(rb"HIGHESTMODSEQ (\d+)", status).group(1)
        client.logout()
        wait_until(lambda: b"\nhighestmodseq %s\n" % modseq in git(
            self.repositories[user], "show", f"{mailbox}:mailbox"), what="git does not follow")

    def log(self):
        return (self.root / "log").read_text(errors="replace")

    def stop(self):
        """As an admin stops it: it must leave soon, and with success."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            # The thread sanitizer loses one signal in some hundred that come while a program goes
            # to sleep for the first time (GCC 12; ten lines of libevent show it, too).
            if "TSAN_OPTIONS" in os.environ:
                try:
                    self.process.wait(5)
                except subprocess.TimeoutExpired:
                    self.process.send_signal(signal.SIGTERM)
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the server does not stop:\n" + self.log()) from None
        finally:
            self.process.stdout.close()
        if status != 0:
            raise AssertionError(f"the server ended with {status}:\n" + self.log())

    def kill(self):
        """As a power switch for the process: no cleaning up."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def restart(self):
        self.stop()
        self.start()

    def alive(self):
        return self.process.poll() is None

    def login(self, user="alice", password=None, tls=False):
        if tls:
            context = ssl.create_default_context(cafile=self.certificate)
            client = imaplib.IMAP4_SSL("localhost", self.imaps, ssl_context=context, timeout=120)
        else:
            client = imaplib.IMAP4("127.0.0.1", self.imap, timeout=120)
        client.login(user, password or user)
        return client

    def check(self):
        """What must hold after every scenario: stock git and annal verify agree with the store."""
        if not self.alive():
            raise AssertionError("the server is gone:\n" + self.log())
        for user, repository in self.repositories.items():
            check_repository(repository)
            verified = run(PROGRAM, "verify", user, "--data", self.data, ok=False)
            if verified.returncode != 0:
                raise AssertionError(f"annal verify {user}:\n" + verified.stdout.decode() +
                                     verified.stderr.decode())

    def close(self, good=True):
        try:
            if self.alive():
                self.stop()
        finally:
            if good:
                shutil.rmtree(self.root)
            else:
                print(f"kept for a look: {self.root}")


class Case(unittest.TestCase):
    """A scenario on a server of its own; what it leaves behind is checked after it."""

    def setUp(self):
        # A client that was refused leaves its socket to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        self.sandbox = Sandbox()

    def tearDown(self):
        good = False
        try:
            if self._outcome.success:
                self.sandbox.check()
                good = True
        finally:
            self.sandbox.close(good)


def check_repository(repository):
    found = run("git", "-C", repository, "fsck", "--strict", "--no-dangling")
    if found.stdout.strip():
        raise AssertionError(f"git fsck: {found.stdout.decode()}")
    branches = git(repository, "for-each-ref", "--format=%(refname)", "refs/heads").split()
    for branch in branches:
        if not git(repository, "log", "--oneline", branch.decode(), "--").strip():
            raise AssertionError(f"{branch} has no history")
    with tempfile.TemporaryDirectory(prefix="annal-clone-") as directory:
        run("git", "clone", "--quiet", "--bare", "--no-local", repository, directory)
        cloned = git(directory, "for-each-ref", "--format=%(refname)", "refs/heads").split()
    if branches != cloned:
        raise AssertionError(f"the clone has {cloned}, not {branches}")


def response(answer, what=""):
    """The data of an imaplib answer that must be OK."""
    status, data = answer
    if status != "OK":
        raise AssertionError(f"{what} {status} {data}")
    return data


def bodies(client, mailbox):
    """UID to octets of every message, read with EXAMINE."""
    response(client.select(quote(mailbox), readonly=True))
    found = {}
    for part in response(client.uid("FETCH", "1:*", "(UID BODY.PEEK[])")):
        if isinstance(part, tuple):
            words = part[0].split()
            found[int(words[words.index(b"(UID") + 1])] = part[1]
        elif part and (short := re.search(rb"UID (\d+).*BODY\[\] \"([^\"\\]*)\"", part)):
            found[int(short.group(1))] = short.group(2)
    return found


def flags(client, mailbox):
    """UID to the set of flags (\\Recent aside) of every message."""
    response(client.select(quote(mailbox), readonly=True))
    found = {}
    for line in response(client.uid("FETCH", "1:*", "(UID FLAGS)")):
        if line:
            words = line.replace(b"(", b" ").replace(b")", b" ").split()
            uid = int(words[words.index(b"UID") + 1])
            after = words[words.index(b"FLAGS") + 1:]
            end = after.index(b"UID") if b"UID" in after else len(after)
            found[uid] = {word.decode() for word in after[:end]} - {"\\Recent"}
    return found


def quote(name):
    """A mailbox name as a quoted string in modified UTF-7."""
    return '"' + name.encode("utf-7-imap").decode().replace("\\", "\\\\").replace('"', '\\"') + '"'


def wait_until(condition, seconds=20, what="it does not happen"):
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            raise AssertionError(what)
        time.sleep(0.05)


def _register_modified_utf7():
    import base64
    import codecs

    def encode(text, errors="strict"):
        out = []
        shifted = ""

        def flush():
            nonlocal shifted
            if shifted:
                coded = base64.b64encode(shifted.encode("utf-16-be")).decode().rstrip("=")
                out.append("&" + coded.replace("/", ",") + "-")
                shifted = ""

        for char in text:
            if " " <= char <= "~":
                flush()
                out.append("&-" if char == "&" else char)
            else:
                shifted += char
        flush()
        return "".join(out).encode("ascii"), len(text)

    def search(name):
        if name.replace("_", "-") != "utf-7-imap":
            return None
        return codecs.CodecInfo(encode, None, name=name)

    codecs.register(search)


_register_modified_utf7()
