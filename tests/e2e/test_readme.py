#!/usr/bin/env python3
"""The guide, followed word by word: each command of the README that its sections have for this file,
and the examples of the manual pages, in a house of its own where paths, ports and users are what they
say; what needs systemd, on a machine of its own."""
import contextlib
import datetime
import functools
import imaplib
import json
import os
import pathlib
import pwd
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
import warnings

sys.path.insert(0, os.path.dirname(__file__))
import house
import machine
from annal import PROGRAM, bodies, response, wait_until
from house import shell, terminal
from openmetrics import fetch, scrape
from readme import SOURCE, Section, in_text, left_to_ci, prose

HOME = pathlib.Path(house.ENVIRONMENT["HOME"])
SOURCES = HOME / "annal"
DATA = pathlib.Path("/var/lib/annal")
PASSWORD = [("Password: ", "secret\n"), ("Again: ", "secret\n")]


@unittest.skipIf(house.missing(), house.missing())
def setUpModule():
    house.move_in()
    warnings.simplefilter("ignore", ResourceWarning)
    shutil.copytree(SOURCE, SOURCES, symlinks=True, ignore=lambda directory, names: [
        name for name in names if name == ".git" or
        directory == str(SOURCE) and name.startswith("build")])


@functools.lru_cache(maxsize=1)
def the_machine():
    """One with systemd, with what the guide installs from the sources."""
    made = machine.Machine()
    unittest.addModuleCleanup(made.close)
    shutil.copytree(SOURCES, made.path(str(SOURCES)), symlinks=True)
    with Section("From the sources") as section:
        made.shell(section.take("meson setup").text, SOURCES, timeout=500)
    return made


@functools.lru_cache(maxsize=1)
def build():
    """Makes what scripts/build makes, of which there is little to do if it has been done before."""
    if machine.missing() is None:
        shutil.copytree(the_machine().path(f"{SOURCES}/build-release"), SOURCES / "build")
    shell("scripts/build", SOURCES, timeout=500)


def config(text):
    """More of the configuration."""
    with open("/etc/annal/annal.conf", "a", encoding="utf-8") as file:
        file.write(text + "\n")


class Server:
    """The server of the guide, as its unit would start it."""

    def __init__(self):
        owner = pwd.getpwnam("annal")
        DATA.mkdir(mode=0o700, exist_ok=True)
        os.chown(DATA, owner.pw_uid, owner.pw_gid)
        self.output = tempfile.NamedTemporaryFile(prefix="annal-log-")
        self.process = subprocess.Popen(
            ["setpriv", "--reuid=annal", "--regid=annal", "--init-groups",
             "--inh-caps=-all,+net_bind_service", "--ambient-caps=-all,+net_bind_service",
             "annal", "serve"], stderr=self.output,
            env=dict(os.environ, **dict(house.ENVIRONMENT, HOME=str(DATA))), cwd="/")
        wait_until(lambda: "event=ready" in self.log() or self.process.poll() is not None, 60,
                   "the server does not start")
        if self.process.poll() is not None:
            raise AssertionError(self.log())

    def log(self):
        return pathlib.Path(self.output.name).read_text(errors="replace")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        if self.process.wait(60) != 0:
            raise AssertionError(self.log())


def login(user="alice", password="secret", port=993, data=DATA):
    context = ssl.create_default_context(cafile=data / "tls/certificate.pem")
    client = imaplib.IMAP4_SSL("localhost", port, ssl_context=context, timeout=60)
    client.login(user, password)
    return client


class Guide(unittest.TestCase):
    """A server with a new account, alice."""

    def setUp(self):
        shutil.rmtree(DATA, ignore_errors=True)
        shutil.copy(SOURCES / "scripts/system/annal.conf", "/etc/annal/annal.conf")
        self.server = None
        self.start()
        self.addCleanup(lambda: self.server.stop())
        self.add("alice")

    def start(self):
        self.server = Server()

    def restart(self):
        self.server.stop()
        self.start()

    @staticmethod
    def add(user):
        shell(f"annal user add {user} --password-stdin", input=b"secret\n")

    def each(self, block, directory=None, **replaced):
        """Every line of a block, one after the other; what they print."""
        said = []
        for line in block.text.splitlines():
            for name, text in replaced.items():
                line = line.replace(name, text)
            done = shell(line, directory, ok=False)
            # The machine of a test has no time service, say: doctor may find something.
            allowed = (0, 1) if line.startswith("annal doctor") else (0,)
            self.assertIn(done.returncode, allowed, f"{line}\n{done.stderr.decode()}")
            said.append(done.stdout.decode())
        return said


def days_ago(text):
    """A README's example days are this one: there is no other in a test's history."""
    return re.sub(r"2026-11-\d\d", datetime.datetime.now(datetime.timezone.utc).strftime(
        "%Y-%m-%d"), text)


class Tour(unittest.TestCase):
    """From scripts/run to the end of the history tour, with the demo account."""

    @classmethod
    def setUpClass(cls):
        cls.data = HOME / ".local/share/annal-demo"
        with Section("Two commands") as section:
            start, test = section.take("scripts/run").lines()
            left_to_ci(test)
            cls.prelude = section.take("PATH=").text
        build()
        output = tempfile.NamedTemporaryFile(prefix="annal-run-")
        runner = subprocess.Popen(["bash", "-c", f"exec {start}"], cwd=SOURCES, stdout=output,
                                  stderr=output, env=dict(os.environ, **house.ENVIRONMENT))

        def stop():
            runner.terminate()
            runner.wait(60)
        cls.addClassCleanup(stop)
        wait_until(lambda: "event=ready" in pathlib.Path(output.name).read_text() or
                   runner.poll() is not None, 60, "scripts/run serves nothing")
        cls.repository = cls.data / "mail/demo.git"

    def demo(self, text, directory=None):
        """In a shell where the guide's own preparations were made."""
        return shell(f"cd {SOURCES}; {self.prelude.strip().splitlines()[0]}\n"
                     f"{self.prelude.strip().splitlines()[1]}\ncd {directory or HOME}\n{text}")

    def test_follow_the_guide(self):
        self.assertIn("good", shell(self.prelude, SOURCES))
        self.connect_programs()
        self.work()
        self.read_the_repository()
        self.look_back()
        self.read_the_history()

    def connect_programs(self):
        with Section("Connecting a mail program") as section:
            told = section.take("Incoming server: IMAP").text
            fields = dict(re.findall(r"(Hostname|Port|Username): (\S+)", told))
            self.assertIn("Connection security: SSL/TLS", told)
            context = ssl.create_default_context()
            context.check_hostname = False  # which the certificate is confirmed for
            context.verify_mode = ssl.CERT_NONE
            client = imaplib.IMAP4_SSL(fields["Hostname"], int(fields["Port"]),
                                       ssl_context=context, timeout=60)
            client.login(fields["Username"], "demo")
            self.assertEqual(response(client.select("INBOX", readonly=True)), [b"7"])
            client.logout()
            (HOME / ".muttrc").write_text(section.take("set folder").text)
            screen = terminal("mutt -R -e 'set quit=yes delete=no' -e 'push <quit>'")
            self.assertIn("Selecting INBOX", screen)
            self.assertIn("Welcome to your mailbox", screen)
            (HOME / ".mbsyncrc").write_text(section.take("IMAPAccount").text)
            shell(section.take("mkdir").text)
            self.assertEqual(len(list((HOME / "Mail/INBOX").glob("[cn][ue][rw]/*"))), 7)

    def work(self):
        """What the README's account has been through; its commits in INBOX, the oldest first."""
        client = login("demo", "demo", 9993, self.data)
        response(client.xatom("ID", '("name" "Thunderbird" "version" "128.4")'))
        response(client.select())
        response(client.uid("STORE", "5", "+FLAGS", "(\\Seen)"))
        response(client.uid("STORE", "6", "+FLAGS", "(\\Flagged)"))
        response(client._simple_command("MOVE", "3", "Archive"))
        response(client.append("INBOX", "(\\Seen)", None,
                               b"From: demo@localhost\r\nSubject: Re: lunch?\r\n\r\nYes.\r\n"))
        client.logout()
        git = f"git -C {self.repository} "
        wait_until(lambda: "uid 8" in shell(git + "log -1 --format=%s INBOX"), what="no commit")
        self.ours = shell(git + "rev-list --reverse INBOX").split()

    def plain(self, text, commits):
        """With what differs from time to time made equal."""
        for number, commit in enumerate(commits):
            text = re.sub(rf"\b{commit[:7]}[0-9a-f]*", f"commit-{number}", text)
        text = re.sub(r"index [0-9a-f]{7}\.\.[0-9a-f]{7}", "index", text)
        text = re.sub(r"Date:   .*", "DATE", text)
        text = re.sub(r"202[6-9]-\d\d-\d\d[ T][:0-9]{8} ?\+0000", "TIME", text)
        text = re.sub(r"(?i)(session:? )[a-z2-7]+-[a-z2-7]+", r"\1S", text)
        text = re.sub(r"202[6-9]-\d\d-\d\d", "DAY", text)
        return re.sub(r"(?m)[ \r]+$", "", text).strip()

    def compare(self, command, told, said):
        """Up to where the README leaves something out."""
        said, told = self.plain(said, self.ours), self.plain(told, self.theirs)
        if told.endswith("[...]"):
            told = told[:-len("[...]")].strip()
            said = said[:len(told)]
        self.assertEqual(said, told, command)

    def read_the_repository(self):
        directory = HOME
        with Section("A tour of a mailbox's history") as section:
            blocks = list(section.all())
            log = next(block for block in blocks if "git log --oneline" in block.text)
            self.theirs = [line.split()[0] for line in
                           reversed(log.commands()[0][1].splitlines())]
            self.assertEqual(len(self.theirs), len(self.ours))
            for block in blocks:
                for command, told in block.commands():
                    if command.startswith("cd "):
                        directory = command[3:]
                        self.assertEqual(shell(f"cd {directory}; pwd").strip(),
                                         str(self.repository))
                    else:
                        self.compare(command, told, self.demo(command, directory))
        moved = self.demo(in_text("A tour of a mailbox's history", "git show INBOX"), directory)
        self.assertEqual(moved, self.demo("git show Archive:00/00/00/00/01", directory))

    def look_back(self):
        now = in_text("Looking back", "git rev-list").replace("TIME", "now")
        self.assertEqual(self.demo(now, self.repository).strip(), self.ours[-1])
        with Section("Looking back") as section:
            ((command, told),) = section.take("$ curl").commands()
            said = shell(command).replace("\r", "")
            self.assertEqual({self.plain(line, []) for line in said.splitlines()},
                             {self.plain(line, []) for line in told.splitlines()})
            with open(HOME / ".mbsyncrc", "a", encoding="utf-8") as file:
                file.write("\n" + days_ago(section.take("Channel").text))
            shell(section.take("mbsync").text)
            self.assertEqual(len(list((HOME / "Mail/then").glob("[cn][ue][rw]/*"))), 7)

    def read_the_history(self):
        soon = time.strftime("%Y-%m-%d %H:%M", time.gmtime(time.time() + 60))
        with Section("History tour") as section:
            for block in section.all():
                for command, told in block.commands():
                    for their, our in zip(self.theirs, self.ours):
                        command = command.replace(their, our[:len(their)])
                    command = command.replace("2026-11-22 20:57", soon)
                    said = self.demo(command)
                    if told:
                        self.compare(command, told, said)
        self.members_are_described()
        self.assertIn(b"<lunch.2@example.org>", pathlib.Path("/tmp/message.eml").read_bytes())


    def members_are_described(self):
        """What annal(1) says of --json, and nothing else."""
        page = (SOURCE / "server/man/annal.1").read_text().split("\n.Sh JSON\n")[1]
        told = set(re.findall(r"[a-z_]+", " ".join(re.findall(
            r"(?m)^\.(?:It )?Ic (.*)", page.split("\n.Sh FILES\n")[0]))))
        seen = set()

        def look(value):
            if isinstance(value, dict):
                seen.update(value)
            for part in value.values() if isinstance(value, dict) else value:
                if isinstance(part, (dict, list)):
                    look(part)

        for words in ("log demo --messages all", f"show demo INBOX {self.ours[1]}",
                      f"diff demo INBOX --from {self.ours[1]}", "show demo INBOX --uid 3",
                      "blame demo INBOX"):
            for line in self.demo(f"annal {words} --json").splitlines():
                look(json.loads(line))
        self.assertEqual(told - {"problem"}, seen)


class Running(Guide):
    @staticmethod
    def certify():
        tls = pathlib.Path("/etc/annal/tls")
        tls.mkdir(exist_ok=True)
        for name in ("certificate", "key"):
            shutil.copy(DATA / f"tls/{name}.pem", tls)

    def test_the_configuration_is_good(self):
        self.certify()
        with Section("Running it") as section:
            pathlib.Path("/etc/annal/annal.conf").write_text(section.take("data = ").text)
        shell("annal serve --check-config")

    def test_each_command_of_the_table_is_there(self):
        helped = shell("annal --help")
        told = re.findall(r"(?m)^\| (`.*?) \|", prose("Running it"))
        self.assertGreater(len(told), 8)
        for names in told:
            # "annal user" has the others of its line, otherwise each is a command.
            words = re.findall(r"`(?:annal )?([a-z ]+)", names)
            if words[0].startswith("user "):
                helped_user = shell("annal user --help")
                for word in words:
                    self.assertIn("annal user " + word.split()[-1], helped_user)
            else:
                for word in words:
                    self.assertRegex(helped, rf"(?m)^  {word} ")

    def test_watching(self):
        config('metrics_listen = {"9100"}')
        self.assertIn('metrics_listen = {"9100"}', prose("Watching it"))
        self.restart()
        self.add("bob")
        bob = login("bob")
        with Section("Watching it") as section:
            who, kick, _, doctor = self.each(section.take("annal who"))
            self.assertIn("bob", who)
            self.assertIn("1 session", kick)
            self.assertRegex(doctor, r"(?m)^good +configuration ")
            with self.assertRaises(Exception):
                bob.noop()
                bob.noop()
            target = re.search(r'targets: \["127.0.0.1:(\d+)"\]',
                               section.take("scrape_configs:").text)
            self.assertEqual(scrape(int(target[1])).get("annal_healthy"), 1)
            self.assertEqual(fetch(int(target[1]), "/health")[2], "ok\n")

    def test_tuning_and_troubleshooting(self):
        client = login()
        response(client.append("INBOX", "", None, b"Subject: x\r\n\r\nx\r\n"))
        for heading, begin in (("Tuning", "annal stats"), ("Troubleshooting", "annal serve")):
            with Section(heading) as section:
                self.each(section.take(begin))
            # In the text and its table, too: but not what needs a backup.
            for command in re.findall(r"`(annal (?:gc|quota|verify|log) [^`]+)`", prose(heading)):
                shell(command)
        self.assertRegex(shell("sudo -u annal " + in_text("Tuning", "git count-objects").replace(
            "git ", f"git -C {DATA}/mail/alice.git ")), "(?m)^in-pack: [1-9]")
        shell(in_text("Behind Postfix", "annal quota").replace("NAME", "alice"))
        self.assertRegex(shell("annal quota alice"), r"\b10,?000\b")
        client.logout()

    def test_the_benchmark_is_there(self):
        with Section("Measuring") as section:
            (command,) = section.take("scripts/bench").lines()
            left_to_ci(command)
            left_to_ci(in_text("Measuring", "meson test"))


@unittest.skipIf(machine.missing(), machine.missing())
class Systemd(unittest.TestCase):
    """What was installed from the sources, where systemd is process 1."""

    @classmethod
    def setUpClass(cls):
        cls.machine = the_machine()
        cls.machine.shell("annal user add alice --password-stdin", input=b"secret\n")

    def look(self, login="alice:secret"):
        """A short session of a mail program; its exit status and what it showed."""
        done = self.machine.run("curl", "-k", "-s", "--user", login, "imaps://127.0.0.1/", ok=False)
        return done.returncode, done.stdout.decode()

    def test_a_connection_starts_what_was_installed(self):
        self.machine.run("systemctl", "stop", "annal.service")
        self.assertEqual(self.machine.state("annal.socket"), "active")
        self.assertEqual(self.machine.state("annal.socket", "UnitFileState"), "enabled")
        self.assertEqual(self.machine.state("annal.socket", "Listen").splitlines(),
                         ["127.0.0.1:993 (Stream)", "[::1]:993 (Stream)"])
        self.assertEqual(self.machine.state("annal.service", "FragmentPath"),
                         "/usr/local/lib/systemd/system/annal.service")
        status, said = self.look()
        self.assertEqual(status, 0)
        self.assertIn('"/" INBOX', said)
        # Of the type notify: active is what has said that it is ready.
        self.assertEqual(self.machine.state("annal.service", "Type"), "notify")
        wait_until(lambda: self.machine.state("annal.service") == "active", 60, "it is not ready")
        server = self.machine.state("annal.service", "MainPID")
        self.assertEqual(self.machine.text("readlink", f"/proc/{server}/exe"),
                         "/usr/local/bin/annal")
        self.assertRegex(self.machine.text("annal", "doctor", ok=False), "(?m)^good +server +runs")
        self.machine.run("systemctl", "reload", "annal")
        log = in_text("Install", "journalctl")
        wait_until(lambda: "event=reloaded " in self.machine.shell(log), 60, "no reload")
        self.assertEqual(self.machine.state("annal.service", "MainPID"), server)
        self.machine.shell(in_text("Watching it", "sudo systemctl enable"))
        self.assertEqual(self.machine.state("annal.service", "UnitFileState"), "enabled")

    def test_manual_pages_are_found(self):
        for heading, page in (("Install", "man 8 annal"), ("Running it", "man annal.conf"),
                              ("Running it", "man annal-store"), ("History tour", "man annal")):
            self.assertIn(page.split()[-1].upper(), self.machine.shell(in_text(heading, page)))

    def test_failed_logins_and_fail2ban(self):
        self.machine.shell("touch /var/log/auth.log")  # which a jail of Debian's looks at
        self.machine.run("systemctl", "start", "fail2ban")
        wait_until(lambda: self.machine.run("fail2ban-client", "ping", ok=False).returncode == 0,
                   60, "fail2ban does not start")
        with Section("The log, and fail2ban") as section:
            told = section.take("level=warning").text.strip()
            self.machine.shell(section.take("sudo cp").text, SOURCES)
        self.assertIn("annal", self.machine.text("fail2ban-client", "status"))
        self.machine.run("fail2ban-client", "set", "annal", "ignoreself", "false")
        self.assertEqual(self.look("bob:wrong"), (67, ""))

        def plain(line):
            line = re.sub(r"\b\d+\.\d+\.\d+\.\d+\b", "ADDRESS", line)
            return re.sub(r"(session|mechanism)=\S+", r"\1", line)

        def logged():
            lines = self.machine.text("journalctl", "-u", "annal", "--output=cat").splitlines()
            return [plain(re.sub(r"^time=\S+ ", "", line)) for line in lines
                    if "event=login" in line and 'user="bob"' in line]

        wait_until(logged, 60, "nothing is logged")
        self.assertEqual(logged(), [plain(told)])
        wait_until(lambda: re.search(r"Total failed:\s+1$", self.machine.text(
            "fail2ban-client", "status", "annal"), re.M), 60, "fail2ban does not notice")


class Packages(unittest.TestCase):
    """What scripts/install leaves of a server that only tests want, with an apt that does what the
    package does."""

    APT = """#!/bin/sh
echo "$*" >>/tmp/apt
case "$*" in
*install*)
    /usr/sbin/policy-rc.d dovecot start; echo "may start: $?" >>/tmp/apt
    ln -sf /lib/systemd/system/dovecot.service /etc/systemd/system/multi-user.target.wants/ ;;
esac
"""
    QUERY = """#!/bin/sh
case "$*" in
-W*) /usr/bin/dpkg-query "$@" | grep -v '^dovecot-core ' ;;
*) exec /usr/bin/dpkg-query "$@" ;;
esac
"""

    def test_a_server_that_is_installed_for_tests_does_not_run_later(self):
        wanted = pathlib.Path("/etc/systemd/system/multi-user.target.wants")
        wanted.mkdir(parents=True, exist_ok=True)
        other = wanted / "other.service"
        other.symlink_to("/dev/null")
        policy = pathlib.Path("/usr/sbin/policy-rc.d")
        policy.unlink(missing_ok=True)
        for name, text in (("apt-get", self.APT), ("dpkg-query", self.QUERY)):
            tool = HOME / "bin" / name
            tool.parent.mkdir(exist_ok=True)
            tool.write_text(text)
            tool.chmod(0o755)
        shell(f"PATH={HOME}/bin:$PATH scripts/install test", SOURCES)
        self.assertEqual(pathlib.Path("/tmp/apt").read_text().splitlines(), [
            "-qq update", "-qq install -y --no-install-recommends dovecot-core", "may start: 101"])
        self.assertFalse((wanted / "dovecot.service").is_symlink())
        self.assertTrue(other.is_symlink())
        self.assertFalse(policy.exists())


class Manuals(Guide):
    """The examples of the manual pages."""

    @staticmethod
    def examples(page):
        text = (SOURCE / "server/man" / page).read_text().split("\n.Sh EXAMPLES\n")[1]
        text = text.split("\n.Sh ")[0].replace("\\-", "-") + "\n"
        blocks = re.findall(r"(?ms)^\.Bd .*?\n(.*?)^\.Ed|^\.Dl (.*?\n)", text)
        return "".join(block + line for block, line in blocks)

    def test_work(self):
        client = login()
        response(client.append("INBOX", "", None, b"Subject: x\r\n\r\nx\r\n"))
        client.logout()
        wait_until(lambda: "APPEND" in shell("annal log alice INBOX"), what="no commit")
        shell("annal user del alice")
        commands = self.examples("annal.1").splitlines()
        self.assertGreater(len(commands), 4)
        for command in commands:
            if command != "annal serve":  # it runs
                terminal(command, PASSWORD if command.startswith("annal user add") else [])
        for command in self.examples("annal-store.5").splitlines():
            # Of another mailbox, whose second-last command was no EXPUNGE.
            command = command.replace("00/00/01/20", "00/00/00/00").replace("00/06", "00/01")
            command = command.replace("INBOX~1:", "INBOX~0:")
            self.assertTrue(shell(f"cd {DATA}/mail/alice.git; sudo -u annal {command}"), command)
        Running.certify()
        pathlib.Path("/etc/annal/annal.conf").write_text(self.examples("annal.conf.5"))
        self.assertIn("history_keep_of", self.examples("annal.conf.5"))
        shell("annal serve --check-config")


class Sandbox(unittest.TestCase):
    def test_the_example_works(self):
        with Section("A server for your tests") as section:
            file = SOURCES / "example.py"
            file.write_text(section.take("import imaplib").text)
        build()
        shell("/usr/bin/python3 example.py", SOURCES)


class Moving(Guide):
    """What the guide finds at the places that it names."""

    MBOX = ("From a@example.org Mon Mar  3 10:00:00 2025\nSubject: {0}\nX-Gmail-Labels: Inbox\n\n"
            "body\n\n")

    def maildir(self, path, subject):
        for part in ("cur", "new", "tmp"):
            (path / part).mkdir(parents=True)
        (path / "cur/1612415167.M1P1.host:2,S").write_text(f"Subject: {subject}\n\nbody\n")

    @contextlib.contextmanager
    def dovecot(self):
        """A Dovecot as one would find it, and mail of alice in it."""
        shell("sudo adduser --system --group --home /srv/vmail vmail")
        pathlib.Path("/etc/dovecot/dovecot.conf").write_text(
            "protocols =\nssl = no\nmail_location = mdbox:~/mdbox\nlog_path = /dev/stderr\n"
            "first_valid_uid = 1\npassdb {\n  driver = static\n  args = nopassword=y\n}\nuserdb {\n  driver = static\n"
            "  args = uid=vmail gid=vmail home=/srv/vmail/%u\n}\n")
        server = subprocess.Popen(["dovecot", "-F"], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: os.path.exists("/run/dovecot/auth-userdb"), 60, "no Dovecot")
            shell("doveadm save -u alice -m INBOX", input=b"Subject: dovecot\n\nbody\n")
            yield
        finally:
            server.terminate()
            server.wait(60)

    def test_follow_the_guide(self):
        shell("annal user del alice")
        self.server.stop()
        shutil.rmtree(DATA / "mail/alice.git")
        self.start()
        with Section("Move from Dovecot, mbox, Gmail") as section:
            self.maildir(pathlib.Path("/home/alice/Maildir"), "maildir")
            terminal(section.take("annal user add").text, PASSWORD)
            self.assertIn("1 there already", self.each(section.take("annal import alice maildir"))[0])
            self.from_dovecot(section.take("doveadm"))
            self.from_mbox(section.take("annal import alice mbox"))
            for name in ("All mail Including Spam and Trash.mbox", "All.mbox"):
                (HOME / name).write_text(self.MBOX.format(name))
            self.each(section.take("annal import alice takeout"))
            self.from_elsewhere(section)
            self.away(section.take("annal export"))
        client = login()
        found = {re.search(rb"Subject: (.*)\r", text)[1].decode()
                 for text in bodies(client, "INBOX").values()}
        self.assertGreaterEqual(found, {"maildir", "dovecot", "var", "All.mbox", "elsewhere",
                                        "All mail Including Spam and Trash.mbox"})
        client.logout()

    def from_dovecot(self, block):
        backup, take_in = block.text.splitlines()
        with self.dovecot():
            shell(backup)
        shell(take_in)
        shutil.rmtree("/var/tmp/alice")

    def from_mbox(self, block):
        os.makedirs("/home/alice/mail")
        for path, subject in (("/var/mail/alice", "var"), ("/home/alice/mail/Lists", "list"),
                              (HOME / "old.mbox", "old")):
            pathlib.Path(path).write_text(self.MBOX.format(subject))
        self.each(block)
        client = login()
        self.assertEqual(len(bodies(client, "Lists")), 1)
        self.assertEqual(len(bodies(client, "Old/1999")), 1)
        client.logout()

    def from_elsewhere(self, section):
        """Another server, under the name that the guide has for it, which a public authority has
        certified."""
        (HOME / "move.mbsyncrc").write_text(section.take("IMAPAccount").text)
        (HOME / "old-password").write_text("old secret\n")
        with open("/etc/hosts", "a", encoding="utf-8") as hosts:
            hosts.write("127.0.0.1 imap.example.org\n")
        shell("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
              "-subj /CN=imap.example.org -addext subjectAltName=DNS:imap.example.org "
              "-keyout /tmp/old-key.pem -out /tmp/old.pem 2>/dev/null; "
              "cat /tmp/old.pem >>/etc/ssl/certs/ca-certificates.crt")
        self.server.stop()
        shell("annal user add alice@example.org --password-stdin --data /tmp/old",
              input=b"old secret\n")
        message = b"Subject: elsewhere\n\nbody\n"
        shell("annal deliver alice@example.org --data /tmp/old", input=message)
        old = subprocess.Popen(
            ["annal", "serve", "--data", "/tmp/old", "--imaps", "127.0.0.1:993", "--certificate",
             "/tmp/old.pem", "--private-key", "/tmp/old-key.pem"],
            stderr=subprocess.PIPE, env=dict(os.environ, **house.ENVIRONMENT))
        try:
            for line in old.stderr:
                if b"event=ready" in line:
                    break
            fetch_all, take_in = section.take("mkdir ~/move").text.rstrip().rsplit("\n", 1)
            shell(fetch_all)
        finally:
            old.terminate()
            old.communicate(timeout=60)
        self.start()
        shell(take_in)

    def away(self, block):
        client = login()
        response(client.create("Work/2024"))
        client.logout()
        self.each(block, **{"2026-11-17": datetime.datetime.now(
            datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")})
        self.assertIn(b"Subject: maildir", (HOME / "inbox.mbox").read_bytes())
        self.assertEqual(sorted(os.listdir("/var/tmp/mboxes"))[0], "INBOX.mbox")


class Keeping(Guide):
    def fill(self, client, mailbox="INBOX", count=5):
        for number in range(count):
            response(client.append(mailbox, "", None, b"From: berta@example.org\r\nSubject: lunch "
                                   b"%d\r\n\r\nbody %d\r\n" % (number, number)))

    def expunge(self, client, uids):
        response(client.select())
        response(client.uid("STORE", uids, "+FLAGS", "(\\Deleted)"))
        response(client.expunge())

    def test_backup_and_restore_drill(self):
        client = login()
        response(client.create("Work"))
        self.fill(client)
        self.fill(client, "Work", 2)
        time.sleep(1.1)
        then = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        time.sleep(1.1)
        self.expunge(client, "2:3")
        response(client.delete("Work"))
        client.logout()
        with Section("Backup and restore drill") as section:
            self.assertEqual(self.each(section.take("annal undelete"), **{
                '"2 hours ago"': then, "yesterday": then})[0].count("lunch"), 2)
            self.each(section.take("mkdir -p -m 700"))
            said = self.each(section.take("git bundle"))
            self.assertIn("refs/heads/INBOX", said[0])
            self.assertIn("Subject: lunch 0", said[2])
            first = min(pathlib.Path("/var/backups/annal").glob("alice-*.bundle"))
            shell(in_text("Backup and restore drill", "annal backup alice FILE").replace(
                "FILE", "/var/tmp/since.bundle").replace("EARLIER.bundle", str(first)))
            self.each(section.take("annal restore alice Work --from"))
            # An empty server.
            self.server.stop()
            shutil.rmtree(DATA)
            self.start()
            terminal(section.take("annal restore alice --from").text, PASSWORD)
        client = login()
        self.assertEqual(len(bodies(client, "INBOX")), 5)
        self.assertEqual(len(bodies(client, "Work")), 2)
        client.logout()
        shell("annal verify --all")

    def test_pushing_back(self):
        client = login()
        self.fill(client)
        self.expunge(client, "2")
        shell("annal verify alice")
        wait_until(lambda: "EXPUNGE" in shell("annal log alice -n 1"), what="no commit")
        with Section("Pushing back") as section:
            shell(section.take("sudo").text)
        wait_until(lambda: response(client.noop()) and response(client.select()) == [b"5"],
                   what="the message does not come back")
        client.logout()

    def test_retention_erasure_proof(self):
        self.assertIn('signing_key = "/var/lib/annal/signing"',
                      prose("Retention, erasure, proof"))
        client = login()
        self.fill(client)
        client.logout()
        # A git of somebody else, of which the server's user can't know what it reads.
        git = subprocess.Popen(["git", "hash-object", "--stdin"], stdin=subprocess.PIPE,
                               stdout=subprocess.DEVNULL)
        self.addCleanup(git.communicate)
        with Section("Retention, erasure, proof") as section:
            self.each(section.take("annal gc"))
            would, done = self.each(section.take("annal purge"), **{"4711": "3"})
            self.assertIn("would purge 1 message", would)
            self.assertIn("purged 1 message", done)
            told = in_text("Retention, erasure, proof", "git log refs/")
            self.assertIn("request of 3 May",
                          shell(f"cd {DATA}/mail/alice.git; sudo -u annal {told}"))
            self.assertIn("the hold is released", self.each(section.take("annal hold"))[1])
            shell(section.take("sudo -u annal ssh-keygen").text)
            config('signing_key = "/var/lib/annal/signing"')
            self.restart()
            self.assertIn("1 checkpoint", shell(section.take("annal checkpoint").text))
            shell(in_text("Troubleshooting", "annal checkpoint"))
        client = login()
        self.assertEqual(len(bodies(client, "INBOX")), 4)
        client.logout()


if __name__ == "__main__":
    unittest.main(verbosity=2)
