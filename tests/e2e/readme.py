"""README.md in its indented blocks, each of which belongs to one test that runs it.

A test takes the blocks of its section by their first words and runs them as they stand, but the
lines that are left_to_ci(); whatever is left over at its end is a failure. RUN_BY says which test file
that is for which section: a section with blocks that is not named here is a failure, too
(test_documentation).
"""
import pathlib
import re
import shlex

SOURCE = pathlib.Path(__file__).resolve().parents[2]
README = SOURCE / "README.md"
# For root there is not much to it.
SUDO = """#!/bin/sh
[ "$1" = -u ] || exec "$@"
user=$2
shift 2
HOME=$(getent passwd "$user" | cut -d : -f 6)
export HOME
exec runuser -u "$user" -- "$@"
"""
RUN_BY = {
    "Two commands": "test_readme.py",
    "Connecting a mail program": "test_readme.py",
    "A tour of a mailbox's history": "test_readme.py",
    "Looking back": "test_readme.py",
    "History tour": "test_readme.py",
    "Install": "test_package.py",
    "From the sources": "test_readme.py",
    "Running it": "test_readme.py",
    "Behind Postfix": "test_package.py",
    "A socket of the server's own": "test_postfix.py",
    "Through a pipe": "test_package.py",
    "Watching it": "test_readme.py",
    "The log, and fail2ban": "test_readme.py",
    "Move from Dovecot, mbox, Gmail": "test_readme.py",
    "Backup and restore drill": "test_readme.py",
    "Pushing back": "test_readme.py",
    "Retention, erasure, proof": "test_readme.py",
    "Tuning": "test_readme.py",
    "Troubleshooting": "test_readme.py",
    "A server for your tests": "test_readme.py",
    "Measuring": "test_readme.py",
}


def left_to_ci(command):
    """What no test can run, for it runs the tests, or wants the machine to itself: .ci/run does, by
    these very words (see test_documentation)."""
    if command not in (SOURCE / ".ci/run").read_text().splitlines():
        raise AssertionError(f".ci/run has no line {command!r}")


class Block:
    def __init__(self, heading, text):
        self.heading = heading
        self.text = text

    def commands(self):
        """The commands of a block that shows what they print: (command, output) each."""
        found = re.findall(r"(?m)^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", self.text)
        if not found or not self.text.startswith("$ "):
            raise AssertionError(f"no commands: {self.text}")
        return [(command, output.rstrip("\n")) for command, output in found]

    def lines(self):
        """The commands of a block that is one a line, without remarks."""
        return [" ".join(map(shlex.quote, words)) if (words := shlex.split(line, comments=True))
                else "" for line in self.text.splitlines()]


def blocks():
    """All of them, in order. A fenced block would be one that nobody runs."""
    text = README.read_text()
    if re.search(r"(?m)^ {0,3}(```|~~~)|^\t", text):
        raise AssertionError("README.md: blocks are indented by four spaces, not fenced")
    heading = None
    found = []
    block = []
    for line in [*text.splitlines(), "end"]:
        if line.startswith("    ") or not line and block:
            block.append(line[4:])
            continue
        if block:
            found.append(Block(heading, "\n".join(block).strip("\n") + "\n"))
            block = []
        if line.startswith("#"):
            heading = line.lstrip("#").strip()
    return found


def prose(heading):
    """What stands in a section beside its blocks."""
    parts = re.split(r"(?m)^#+ (.*)\n", README.read_text())
    text = dict(zip(parts[1::2], parts[2::2]))[heading]
    return re.sub(r"(?m)^    .*\n", "", text)


def in_text(heading, begins):
    """The one command among what stands in a section beside its blocks that begins so."""
    found = {re.sub(r"\s+", " ", code) for code in re.findall(r"`([^`]+)`", prose(heading))}
    found = [code for code in found if code.startswith(begins)]
    if len(found) != 1:
        raise AssertionError(f"README.md, {heading}: {begins} is {found}")
    return found[0]


class Section:
    """The blocks of one section, for the test that runs them; close() at its end."""

    def __init__(self, heading):
        self.left = [block for block in blocks() if block.heading == heading]
        if not self.left:
            raise AssertionError(f"README.md has no such section, or no block in it: {heading}")

    def take(self, begins):
        """The block that begins so: the one who takes it runs it."""
        for block in self.left:
            if block.text.startswith(begins):
                self.left.remove(block)
                return block
        raise AssertionError(f"README.md: no block begins with {begins!r} here")

    def all(self):
        """Takes what is left, one after the other."""
        while self.left:
            yield self.left.pop(0)

    def close(self):
        if self.left:
            raise AssertionError("README.md: no test runs this:\n" +
                                 "\n".join(block.text for block in self.left))

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.close()
