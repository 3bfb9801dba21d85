"""Manual pages and completion say what the program says, and all of it."""
import contextlib
import os
import pathlib
import re
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(__file__))
import readme
from annal import PROGRAM, run
from terminal import on_terminal

SOURCE = pathlib.Path(__file__).resolve().parents[2]
MANUALS = SOURCE / "server" / "man"
SYSTEM = SOURCE / "scripts" / "system"
COMMON = {"--data", "--config", "--help"}  # told once for all commands


def commands():
    return re.findall(r"^  ([a-z][a-z-]*) ", run(PROGRAM, "--help").stdout.decode(), re.M)


def options(command):
    text = run(PROGRAM, command, "--help").stdout.decode()
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def plain(page):
    """A manual page's source with its options as one writes them."""
    text = (MANUALS / page).read_text().replace("\\-", "-")
    return re.sub(r"\bFl (-?)", r"-\1", text)


def sections(page):
    parts = re.split(r"^\.Ss annal ([a-z-]+)$", plain(page).split("\n.Sh JSON\n")[0],
                     flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def known_options():
    """Of the configuration."""
    return set(re.findall(r'CFG_\w+\("(\w+)"', (SOURCE / "server/config.c").read_text()))


class GuideTest(unittest.TestCase):
    """What README.md shows is run by tests; what it mentions is there."""

    def test_every_block_belongs_to_a_test(self):
        headings = {block.heading for block in readme.blocks()}
        self.assertEqual(headings, set(readme.RUN_BY))
        listed = (SOURCE / "tests/meson.build").read_text()
        for heading, file in readme.RUN_BY.items():
            # It takes the section; that it leaves no block of it is seen when it runs.
            test = (SOURCE / "tests/e2e" / file).read_text()
            self.assertTrue(f'"{heading}"' in test, f"{heading}: not in {file}")
            self.assertIn(f"['{file[len('test_'):-len('.py')]}', ", listed)

    def test_a_block_that_nobody_takes_is_a_failure(self):
        with self.assertRaisesRegex(AssertionError, "no test runs this"):
            with readme.Section("Behind Postfix") as section:
                section.take("virtual_mailbox_domains")
        with self.assertRaisesRegex(AssertionError, "no block begins with"):
            readme.Section("Behind Postfix").take("no such thing")

    def test_what_no_test_can_run_is_run_before_a_change_is_taken(self):
        """That is what .ci/run is for: here it works on nothing, with tools that only take notes."""
        commands = ("scripts/test", "scripts/bench --quick", "meson test -C build --benchmark")
        for failing in (None, *commands):
            with tempfile.TemporaryDirectory(prefix="annal-ci-") as directory:
                root = pathlib.Path(directory)
                notes = root / "notes"
                for path in ("scripts/test", "scripts/bench", "bin/meson", "bin/ninja"):
                    tool = root / path
                    tool.parent.mkdir(exist_ok=True)
                    name = path.removeprefix("bin/")
                    tool.write_text(f'#!/bin/sh\nset -- {name} "$@"\necho "$*" >>{notes}\n'
                                    f'[ "$*" != "{failing}" ]\n')
                    tool.chmod(0o755)
                (root / ".ci").mkdir()
                shutil.copy(SOURCE / ".ci/run", root / ".ci")
                done = run(root / ".ci/run", ok=False, cwd="/", env=dict(
                    os.environ, PATH=f"{root}/bin:{os.environ['PATH']}"))
                noted = notes.read_text().splitlines()
            self.assertEqual(done.returncode, 0 if failing is None else 1, done.stderr)
            for command in commands if failing is None else [failing]:
                self.assertIn(command, noted)
                readme.left_to_ci(command)
        with self.assertRaisesRegex(AssertionError, "no line"):
            readme.left_to_ci("scripts/bench")

    def test_commands_in_the_text_are_there(self):
        text = re.sub(r"(?m)^    .*\n", "", readme.README.read_text())
        codes = {re.sub(r"\s+", " ", code) for code in re.findall(r"`([^`]+)`", text)}
        seen = 0
        for code in codes:
            words = code.removeprefix("sudo ").split(" ")
            if words[0] == "annal" and words[1:] and words[1] != "...":
                known = options(words[1]) | COMMON
                self.assertEqual({word for word in words if word.startswith("--")} - known, set(),
                                 code)
                seen += 1
            elif words[0] == "man":
                self.assertTrue(list(MANUALS.glob(f"{words[-1]}.[1-8]")), code)
            elif re.fullmatch(r"annal-\w+\.socket", code):
                self.assertTrue((SYSTEM / code).exists(), code)
            elif code.startswith(("scripts/", "store/", "server/", "protocol/", "tests/")):
                self.assertTrue((SOURCE / code).exists(), code)
            elif re.fullmatch(r"[a-z]+(_[a-z]+)+( = .*)?", code):
                name = code.split(" = ")[0]
                if not name.startswith("annal_") and name not in self.postfix_options():
                    self.assertIn(name, known_options(), code)
                    seen += 1
        self.assertGreater(seen, 30)

    @staticmethod
    def postfix_options():
        """What the guide names of Postfix's."""
        return set(re.findall(r"\w+_\w+", readme.Section("Behind Postfix").take(
            "virtual_mailbox_domains").text))


class ManualTest(unittest.TestCase):
    def test_every_command_and_option_is_described(self):
        described = sections("annal.1")
        self.assertEqual(sorted(described), sorted(commands()))
        for command in commands():
            written = set(re.findall(r"--[a-z][a-z-]*", described[command]))
            self.assertEqual(options(command) - COMMON - written, set(), command)
            self.assertEqual(written - options(command), set(), command)

    def test_every_option_of_the_configuration_is_described(self):
        read = known_options()
        reloaded = dict(re.findall(r'OPTION\("(\w+)", \w+, \w+, (true|false)\)',
                                   (SOURCE / "server/reload.c").read_text()))
        described = dict(re.findall(r"^\.It Ic (\w+)( No \*)?$",
                                    (MANUALS / "annal.conf.5").read_text(), re.M))
        self.assertGreater(len(read), 20)
        self.assertEqual(set(described), read)
        self.assertEqual(set(reloaded), read)
        # The asterisk says what can change at run time.
        self.assertEqual({name for name, mark in described.items() if mark},
                         {name for name, live in reloaded.items() if live == "true"})

    def test_the_example_of_the_configuration_is_good(self):
        text = (SYSTEM / "annal.conf").read_text()
        told = re.sub(r"^#(\w+ = )", r"\1", text, flags=re.M)
        self.assertGreater(told.count(" = "), 8)
        with tempfile.TemporaryDirectory(prefix="annal-configuration-") as directory:
            for number, configuration in enumerate((text, told)):
                # No certificate of that name is here.
                configuration = re.sub(r"^(certificate|private_key) = .*\n", "", configuration,
                                       flags=re.M)
                file = pathlib.Path(directory) / f"{number}.conf"
                file.write_text(configuration)
                run(PROGRAM, "serve", "--check-config", "--config", file, "--data", directory)

    def test_the_pages_are_well_formed(self):
        for page in MANUALS.iterdir():
            if shutil.which("mandoc"):
                # Of other packages' pages it knows nothing.
                said = run("mandoc", "-Tlint", "-Wwarning", page, ok=False).stdout.decode()
                self.assertEqual([line for line in said.splitlines() if "STYLE" not in line], [])
            if shutil.which("man"):
                done = run("man", "--warnings", "--local-file", page,
                           env=dict(os.environ, MANWIDTH="100", LC_ALL="C.UTF-8"))
                self.assertEqual(done.stderr, b"")
                self.assertGreater(len(done.stdout.splitlines()), 50)


@contextlib.contextmanager
def mailboxes():
    """A data directory with mailboxes of a user, alice, whose names are not all simple."""
    with tempfile.TemporaryDirectory(prefix="annal-completion-") as data:
        run(PROGRAM, "user", "add", "alice", "--password-stdin", "--data", data, input=b"secret\n")
        mbox = pathlib.Path(data) / "mbox"
        mbox.write_text("From a@example.org Mon Mar  3 10:00:00 2025\nSubject: x\n\nbody\n")
        for name in ("Sent Items", "Work", "Work/100%", "Entwürfe v1.0"):
            run(PROGRAM, "import", "alice", "mbox", mbox, "--mailbox", name, "--data", data)
        yield data


class BashTest(unittest.TestCase):
    """The words that bash would offer."""

    def offered(self, *words, directory=None):
        script = (f'. "{SYSTEM}/annal.bash"\nCOMP_WORDS=("$@")\nCOMP_CWORD=$(($# - 1))\n_annal\n'
                  'printf "%s\\n" "${COMPREPLY[@]}"\n')
        done = run("bash", "-c", script, "bash", PROGRAM, *words, cwd=directory)
        self.assertEqual(done.stderr, b"")
        return set(done.stdout.decode().split("\n")) - {""}

    def test_commands(self):
        self.assertEqual(self.offered(""), set(commands()) | {"--help", "--version"})
        self.assertEqual(self.offered("ser"), {"serve"})
        self.assertEqual(self.offered("no-such-command", ""), set())

    def test_options(self):
        for command in commands():
            self.assertEqual(self.offered(command, "--"), options(command) | {"--help"}, command)
        self.assertEqual(self.offered("serve", "--check"), {"--check-config"})

    def test_users_where_they_may_be_read(self):
        with tempfile.TemporaryDirectory(prefix="annal-completion-") as data:
            for user in ("alice", "albert", "bob"):
                run(PROGRAM, "user", "add", user, "--password-stdin", "--data", data,
                    input=b"secret\n")
            for command in ("log", "verify", "export", "backup", "hold"):
                self.assertEqual(self.offered(command, "--data", data, "al"), {"alice", "albert"},
                                 command)
            self.assertEqual(self.offered("verify", "--data", data, "alice", "b"), {"bob"})
            self.assertEqual(self.offered("user", "passwd", "--data", data, "b"), {"bob"})
            self.assertEqual(self.offered("user", "add", "--data", data, "b"), set())
        self.assertEqual(self.offered("log", "--data", "/nowhere", ""), set())

    def test_mailboxes_where_they_may_be_read(self):
        with mailboxes() as data:
            for words in (("log",), ("diff",), ("restore",), ("purge",), ("export",)):
                self.assertEqual(self.offered(*words, "--data", data, "alice", "Se"),
                                 {"Sent", "Sent Items"}, words)
            self.assertEqual(self.offered("show", "--data", data, "alice", "W"),
                             {"Work", "Work/100%"})
            self.assertEqual(self.offered("show", "--data", data, "alice", "Work", "W"), set())
            self.assertEqual(self.offered("export", "--data", data, "alice", "Sent", "Entw"),
                             {"Entwürfe v1.0"})
            self.assertEqual(self.offered("deliver", "alice", "--data", data, "--mailbox", "Ar"),
                             {"Archive"})
            self.assertEqual(self.offered("log", "--data", data, "alice", "Sent\\ I"),
                             {"Sent Items"})
            configuration = pathlib.Path(data) / "annal.conf"
            configuration.write_text(f'workers = 1\ndata = "{data}" # there\n')
            self.assertEqual(self.offered("log", "--config", configuration, "alice", "Dr"),
                             {"Drafts"})
        self.assertEqual(self.offered("log", "--data", "/nowhere", "alice", ""), set())

    def test_on_a_terminal(self):
        """With the key that asks for it."""
        with mailboxes() as data, tempfile.TemporaryDirectory(prefix="annal-path-") as path:
            os.symlink(PROGRAM, f"{path}/annal")
            ready = "ready> "
            typed = [(ready, f'. "{SYSTEM}/annal.bash"\n')]
            for line in ("annal verif", "annal gc --comp", f"annal log --data {data} ali",
                         f"annal log --data {data} alice Sent\\ "):
                # A word in front lets the shell show the line in place of running it.
                typed.append((ready, f"{line}\t\x01printf '<%s>\\n' \n"))
            shown = on_terminal(["bash", "--norc", "--noprofile", "-i"],
                                [*typed, (ready, "exit\n")],
                                environment={"PATH": f"{path}:{os.environ['PATH']}",
                                             "PS1": ready, "TERM": "dumb", "HISTFILE": "",
                                             "INPUTRC": "/dev/null"})
            for word in ("verify", "--compress", "alice", "Sent Items"):
                self.assertIn(f"\n<{word}>", shown.replace("\r", ""))

    def test_words_and_files(self):
        self.assertEqual(self.offered("user", ""), {"add", "passwd", "list", "del"})
        self.assertEqual(self.offered("import", "alice", "m"), {"maildir", "mbox"})
        with tempfile.TemporaryDirectory(prefix="annal-completion-") as directory:
            (pathlib.Path(directory) / "a file").touch()
            (pathlib.Path(directory) / "a directory").mkdir()
            for words in (("import", "alice", "mbox", "a"), ("serve", "--config", "a"),
                          ("restore", "alice", "--from", "a")):
                self.assertEqual(self.offered(*words, directory=directory),
                                 {"a file", "a directory"}, words)
            self.assertEqual(self.offered("serve", "--data", "a", directory=directory),
                             {"a directory"})


@unittest.skipUnless(shutil.which("zsh"), "zsh is not installed")
class ZshTest(unittest.TestCase):
    """The words that the completion hands to zsh."""

    def offered(self, *words):
        script = (
            'compadd() { [[ $1 == -a ]] && print -l -- ${(P)2} || { [[ $1 == -- ]] && shift; '
            'print -l -- $@ } }\n'
            "_files() { print -- files $@ }\n"
            "_describe() { print -l -- ${${(P)2}%%:*} }\n"
            f'words=("$@"); CURRENT=$#words; source "{SYSTEM}/_annal"\n')
        done = run("zsh", "-f", "-c", script, "zsh", PROGRAM, *words, ok=False)
        self.assertEqual(done.stderr, b"")
        return set(done.stdout.decode().split("\n")) - {""}

    def test_it_offers_what_bash_offers(self):
        self.assertEqual(self.offered(""), set(commands()) | {"--help", "--version"})
        for command in commands():
            self.assertEqual(self.offered(command, "-"), options(command) | {"--help"}, command)
        self.assertEqual(self.offered("user", ""), {"add", "passwd", "list", "del"})
        self.assertEqual(self.offered("import", "alice", ""), {"maildir", "mbox", "takeout"})
        self.assertEqual(self.offered("import", "alice", "mbox", ""), {"files"})
        self.assertEqual(self.offered("serve", "--data", ""), {"files -/"})
        with tempfile.TemporaryDirectory(prefix="annal-completion-") as data:
            run(PROGRAM, "user", "add", "alice", "--password-stdin", "--data", data,
                input=b"secret\n")
            self.assertEqual(self.offered("log", "--data", data, ""), {"alice"})
            self.assertEqual(self.offered("verify", "--data", data, "alice", ""), {"alice"})
        with mailboxes() as data:
            everything = {"Archive", "Drafts", "Entwürfe v1.0", "INBOX", "Junk", "Sent",
                          "Sent Items", "Trash", "Work", "Work/100%"}
            for words in (("log", "alice"), ("export", "alice", "Sent"),
                          ("deliver", "alice", "--mailbox")):
                self.assertEqual(self.offered(words[0], "--data", data, *words[1:], ""),
                                 everything, words)


if __name__ == "__main__":
    unittest.main()
