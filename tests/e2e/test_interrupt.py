#!/usr/bin/env python3
"""Backups and restores that take long: what they show meanwhile, and what is left when they are
ended before they are done."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from annal import PROGRAM, check_repository, git, run, wait_until
from terminal import on_terminal

# Whoever started us in the background may have had them ignored, which the command would keep to.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

GIT = shutil.which("git")
MESSAGES = 400
# In git's place: it says that it has begun, and stays, so that it can be ended just then.
STAYS = f"""#!/bin/sh
case $1 in
    {{command}})
        {{before}}
        : >"{{mark}}"
        exec sleep 300 ;;
esac
exec {GIT} "$@"
"""
# Slow with the middle, for longer than commands keep quiet.
SLOW = f"""#!/bin/sh
case $1 in
    index-pack)
        printf 'Receiving objects:  10%% (1/10)\\r' >&2
        {{ dd bs=1000 count=20 status=none; sleep 3.5; cat; }} | {GIT} "$@" ;;
    pack-objects)
        printf 'Writing objects:  10%% (1/10)\\r' >&2
        {GIT} "$@" 2>/dev/null | {{
            dd bs=1000 count=20 iflag=fullblock status=none; sleep 3.5; cat; }} ;;
    *)
        exec {GIT} "$@" ;;
esac
"""
BAR = r"\ralice: %s +\d+%%  (\[[=> ]+\]  )?[\d.]+ MB of [\d.]+ MB  [\d.]+ MB/s  0:\d\d left"


class Interrupt(unittest.TestCase):
    """No server runs: one account, and a backup of it."""

    @classmethod
    def setUpClass(cls):
        cls.base = pathlib.Path(tempfile.mkdtemp(prefix="annal-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.base)
        mbox = cls.base / "mbox"
        mbox.write_bytes(b"".join(
            b"From a@example.org Thu Feb  4 05:06:07 2021\nSubject: %d\n\n%s\n\n" % (
                i, os.urandom(100).hex().encode()) for i in range(MESSAGES)))
        data = cls.base / "data"
        data.mkdir(mode=0o700)
        run(PROGRAM, "user", "add", "alice", "--password-stdin", "--data", data,
            input=b"secret\n")
        run(PROGRAM, "import", "alice", "mbox", mbox, "--data", data)
        cls.bundle = cls.base / "alice.bundle"
        run(PROGRAM, "backup", "alice", cls.bundle, "--data", data)
        cls.origin = data

    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="annal-e2e-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.data = self.root / "data"
        self.data.mkdir(mode=0o700)
        self.repository = self.data / "mail" / "alice.git"
        self.mark = self.root / "begun"

    def annal(self, *arguments, **options):
        return run(PROGRAM, *arguments, "--data", self.data, **options)

    def with_account(self):
        shutil.rmtree(self.data)
        shutil.copytree(self.origin, self.data)

    def path_with_git(self, script, **words):
        """A PATH in which this is git."""
        directory = self.root / "bin"
        directory.mkdir(exist_ok=True)
        (directory / "git").write_text(script.format(mark=self.mark, **words) if words else script)
        (directory / "git").chmod(0o700)
        return f"{directory}:{os.environ['PATH']}"

    def end(self, number, arguments, command, before=":", everybody=False):
        """Sends a signal to the command while git is at work on its behalf: to nobody else, or to
        everybody, as a terminal does. Its status and what it said."""
        path = self.path_with_git(STAYS, command=command, before=before)
        self.mark.unlink(missing_ok=True)
        process = subprocess.Popen([PROGRAM, *arguments, "--data", self.data],
                                   env=dict(os.environ, PATH=path), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   start_new_session=True)
        wait_until(lambda: self.mark.exists() or process.poll() is not None, 60)
        if everybody:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        process.wait(120)
        try:
            os.killpg(process.pid, signal.SIGKILL)  # whom a SIGKILL has left alone
        except ProcessLookupError:
            pass
        return process.returncode, process.communicate()[1].decode()

    def check(self, messages=MESSAGES):
        check_repository(self.repository)
        self.annal("verify", "alice")
        listed = git(self.repository, "ls-tree", "-r", "--name-only", "INBOX").split()
        self.assertEqual(sum(name[-2:].isdigit() for name in listed), messages)

    def accounts(self):
        return sorted(path.name for path in (self.data / "mail").iterdir())

    def files(self):
        return sorted(path.relative_to(self.repository) for path in self.repository.rglob("*"))

    # --- what is shown

    def test_bars_with_rate_and_time_left(self):
        path = self.path_with_git(SLOW)
        shown = on_terminal([PROGRAM, "restore", "alice", "--from", str(self.bundle), "--data",
                             str(self.data)], environment={"PATH": path})
        self.assertRegex(shown, BAR % "unpacking")
        self.assertIn("\r\x1b[Kalice: restored, ", shown)
        self.check()
        copy = self.root / "copy.bundle"
        shown = on_terminal([PROGRAM, "backup", "alice", str(copy), "--data", str(self.data)],
                            environment={"PATH": path})
        self.assertRegex(shown, BAR % "copying")
        self.assertIn(f"alice: all of it is in {copy}", shown)
        run("git", "bundle", "verify", copy, cwd=self.repository)

    def test_nothing_where_nobody_looks(self):
        environment = dict(os.environ, PATH=self.path_with_git(SLOW))
        done = self.annal("restore", "alice", "--from", self.bundle, env=environment)
        self.assertEqual(done.stderr, b"")
        self.assertEqual(done.stdout.count(b"\n"), 2)  # the second one tells of the password
        done = self.annal("backup", "alice", self.root / "copy.bundle", env=environment)
        self.assertEqual(done.stderr, b"")
        self.assertEqual(done.stdout.count(b"\n"), 1)

    def test_what_git_complains_of_is_told(self):
        path = self.path_with_git("#!/bin/sh\necho 'error: no room' >&2\nexit 1\n")
        done = self.annal("restore", "alice", "--from", self.bundle, ok=False,
                          env=dict(os.environ, PATH=path))
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.decode().splitlines(),
                         ["annal: git: error: no room",
                          f"annal: {self.bundle}: git could not unpack it"])
        self.assertEqual(self.accounts(), [])

    # --- what is left

    def test_a_new_account_is_there_or_not(self):
        restore = ["restore", "alice", "--from", self.bundle]
        for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL:
            for before in ":", f'{GIT} "$@"':
                status, said = self.end(number, restore, "index-pack", before,
                                        everybody=before == ":")
                self.assertFalse(self.repository.exists())
                if number == signal.SIGKILL:
                    self.assertEqual(status, -number)
                    continue
                self.assertEqual((status, said),
                                 (1, "annal: alice: interrupted; there is no account yet, nothing "
                                     "is left of it\n"))
                self.assertEqual(self.accounts(), [])
        self.assertEqual(len(self.accounts()), 2)
        for name in self.accounts():
            os.utime(self.data / "mail" / name / "refs", (0, 0))
        self.annal(*restore)
        self.assertEqual(self.accounts(), ["alice.git"])
        self.check()

    def test_an_account_stays_as_it_was(self):
        self.with_account()
        before = self.files()
        restore = ["restore", "alice", "INBOX", "--from", self.bundle, "--as", "Copy"]
        for work in ":", f'{GIT} "$@"':
            status, said = self.end(signal.SIGINT, restore, "index-pack", work)
            self.assertEqual((status, said),
                             (1, "annal: alice: interrupted; its mailboxes are as they were\n"))
            self.assertEqual(self.files(), before)
            self.assertEqual(self.end(signal.SIGKILL, restore, "index-pack", work)[0], -9)
            self.check()
            left = list((self.repository / "objects").glob("tmp_objdir-*"))
            self.assertEqual(len(left), 1)
            os.utime(left[0], (0, 0))
            # The next one that unpacks something clears it away.
            self.end(signal.SIGINT, restore, "index-pack", work)
            self.assertEqual(self.files(), before)
        self.annal(*restore)
        self.check()
        self.assertEqual(list(self.repository.rglob("*.keep")), [])

    def test_ended_at_any_moment(self):
        """Early and late, in steps of so many milliseconds; what is there is whole."""
        restore = [PROGRAM, "restore", "alice", "--from", self.bundle, "--data", self.data]
        done = 0
        pause = 0.01
        for attempt in range(40):
            number = signal.SIGKILL if attempt % 2 else signal.SIGINT
            process = subprocess.Popen(restore, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, start_new_session=True)
            try:
                process.wait(pause)
            except subprocess.TimeoutExpired:
                process.send_signal(number)
                process.wait(120)
            if self.repository.exists():
                done += 1
                self.check()
                shutil.rmtree(self.repository)
                if done == 2:
                    break
            pause *= 1.4
        else:
            self.annal("restore", "alice", "--from", self.bundle)
            self.check()

    def test_no_half_backup(self):
        self.with_account()
        directory = self.root / "backups"
        directory.mkdir()
        single = self.root / "single.bundle"
        single.write_bytes(b"an earlier one")
        for number in signal.SIGINT, signal.SIGTERM, signal.SIGKILL:
            for arguments in (["alice", directory, "--incremental"], ["--all", directory],
                              ["alice", single, "--replace"]):
                status, said = self.end(number, ["backup", *arguments], "pack-objects",
                                        f'{GIT} "$@"')
                self.assertEqual(single.read_bytes(), b"an earlier one")
                if number == signal.SIGKILL:
                    self.assertEqual(status, -number)
                else:
                    self.assertEqual((status, said), (1, "annal: alice: interrupted; no backup was "
                                                         "written\n"))
                if number != signal.SIGKILL or self.has_nameless_files(directory):
                    self.assertEqual(list(directory.iterdir()), [])
                    self.assertEqual(list(self.root.glob("single.bundle?*")), [])
        self.annal("backup", "alice", directory, "--incremental")
        self.annal("backup", "alice", single, "--replace")
        for path in [single, *directory.iterdir()]:
            run("git", "bundle", "verify", path, cwd=self.repository)

    def has_nameless_files(self, directory):
        try:
            os.close(os.open(directory, os.O_RDWR | os.O_TMPFILE))
        except OSError:
            return False
        return True


if __name__ == "__main__":
    unittest.main(verbosity=2)
