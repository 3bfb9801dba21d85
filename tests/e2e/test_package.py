"""The Debian package: built, installed on a machine with systemd, used, upgraded, removed."""
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(__file__))
import machine
from annal import run, wait_until
from readme import Section, prose
from terminal import on_terminal

SOURCE = pathlib.Path(__file__).resolve().parents[2]
# Runs in the machine: a session over TLS that needs all parts of the server.
SESSION = r"""
import imaplib, ssl, sys
context = ssl.create_default_context(cafile="/var/lib/annal/tls/certificate.pem")
client = imaplib.IMAP4_SSL("localhost", 993, ssl_context=context, timeout=60)
client.login("alice", "secret")
parts = b"".join(b"--b\r\n\r\npart\r\n" for _ in range(2000))  # for a process that parses
message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + parts + b"--b--\r\n"
assert client.append("INBOX", None, None, message)[0] == "OK"
count = int(client.select("INBOX")[1][0])
assert b"MIXED" in client.fetch(str(count), "(BODYSTRUCTURE)")[1][0].upper()
assert client.fetch(str(count), "(BODY.PEEK[])")[1][0][1] == message
if "stay" in sys.argv:
    print("logged in", flush=True)
    sys.stdin.readline()
    assert client.noop()[0] == "OK"
client.logout()
print(count)
"""


def build(directory):
    """In a copy of the sources, as one who has just got them; without what may be set for
    sanitizers. The package's path."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("CC", "CFLAGS", "LDFLAGS", "DESTDIR")}
    command, _ = Section("Install").take("scripts/package").lines()
    copy = directory / "annal"
    shutil.copytree(SOURCE, copy, symlinks=True, ignore=lambda parent, names: [
        name for name in names if name == ".git" or
        parent == str(SOURCE) and name.startswith("build")])
    told = run(*command.split(), cwd=copy, env=environment, timeout=500).stdout.decode()
    return pathlib.Path(told.strip())


@functools.lru_cache(maxsize=1)
def the_package():
    """Built once, for all tests here."""
    if shutil.which("dpkg-shlibdeps") is None:
        raise unittest.SkipTest("dpkg-dev is not installed")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="annal-package-"))
    unittest.addModuleCleanup(shutil.rmtree, directory)
    return build(directory)


class PackageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.package = the_package()

    def field(self, name):
        return run("dpkg-deb", "--field", self.package, name).stdout.decode().strip()

    def contents(self):
        lines = run("dpkg-deb", "--contents", self.package).stdout.decode().splitlines()
        return {line.split()[5].lstrip("."): (line.split()[0], line.split()[1]) for line in lines}

    def test_it_depends_on_the_libraries_that_the_program_needs(self):
        with tempfile.TemporaryDirectory(prefix="annal-unpacked-") as root:
            run("dpkg-deb", "--extract", self.package, root)
            needed = re.findall(r"NEEDED +(\S+)", run(
                "objdump", "-p", pathlib.Path(root) / "usr/bin/annal").stdout.decode())
        depends = {part.split()[0] for part in self.field("Depends").split(",")}
        self.assertGreater(len(needed), 5)
        for library in needed:
            owners = run("dpkg-query", "-S", f"*/{library}").stdout.decode()
            self.assertTrue(depends & {line.split(":")[0] for line in owners.splitlines()}, library)
        # Every dependency can be had from Debian 12, as far as this machine knows its packages.
        if run("apt-cache", "--names-only", "search", "^libgit2-1.5$").stdout:
            run("apt-get", "--simulate", "-o", "Dir::State::status=/dev/null",
                "--no-install-recommends", "install", self.package)

    def test_it_has_what_an_installation_has(self):
        contents = self.contents()
        for path in ("/usr/bin/annal", "/usr/lib/systemd/system/annal.service",
                     "/usr/lib/systemd/system/annal.socket", "/etc/annal/annal.conf",
                     "/usr/share/doc/annal/copyright", "/usr/share/doc/annal/changelog.gz",
                     "/usr/share/doc/annal/README.md", "/usr/share/man/man1/annal.1.gz",
                     "/usr/share/man/man5/annal.conf.5.gz", "/usr/share/man/man8/annal.8.gz",
                     "/usr/share/bash-completion/completions/annal",
                     "/usr/share/zsh/vendor-completions/_annal"):
            self.assertIn(path, contents)
        for path, (mode, owner) in contents.items():
            self.assertEqual(owner, "root/root", path)
            self.assertNotIn("w", mode[5] + mode[8], path)
            self.assertNotIn("s", mode, path)
        with tempfile.TemporaryDirectory(prefix="annal-control-") as directory:
            run("dpkg-deb", "--control", self.package, directory)
            control = pathlib.Path(directory)
            self.assertEqual((control / "conffiles").read_text(), "/etc/annal/annal.conf\n")
            sums = (control / "md5sums").read_text().splitlines()
            self.assertEqual({"/" + line.split()[1] for line in sums},
                             {path for path, (mode, _) in contents.items()
                              if mode[0] == "-" and path.startswith("/usr/")})


class PrefixTest(unittest.TestCase):
    def test_an_installation_is_where_the_prefix_says(self):
        environment = {name: value for name, value in os.environ.items()
                       if name not in ("CC", "CFLAGS", "LDFLAGS", "DESTDIR")}
        with tempfile.TemporaryDirectory(prefix="annal-prefix-") as directory:
            run("meson", "setup", directory, SOURCE, "--prefix=/opt/annal", env=environment)
            unit = (pathlib.Path(directory) / "scripts/system/annal.service").read_text()
            installed = set(json.loads(run("meson", "introspect", "--installed",
                                           directory).stdout).values())
        self.assertIn("\nExecStart=/opt/annal/bin/annal serve\n", unit)
        for path in ("bin/annal", "lib/systemd/system/annal.service", "share/man/man1/annal.1",
                     "lib/systemd/system/annal.socket", "share/doc/annal/README.md",
                     "share/bash-completion/completions/annal"):
            self.assertIn(f"/opt/annal/{path}", installed)

    def test_an_admins_configuration_is_kept(self):
        script = SOURCE / "scripts" / "system" / "install-configuration"
        with tempfile.TemporaryDirectory(prefix="annal-destination-") as directory:
            environment = dict(os.environ, DESTDIR=directory)
            configuration = pathlib.Path(directory) / "etc/annal/annal.conf"
            shipped = SOURCE / "scripts" / "system" / "annal.conf"
            run(script, shipped, "/etc/annal/annal.conf", env=environment)
            self.assertEqual(configuration.read_text(), shipped.read_text())
            configuration.write_text("workers = 3\n")
            run(script, shipped, "/etc/annal/annal.conf", env=environment)
            self.assertEqual(configuration.read_text(), "workers = 3\n")


@unittest.skipIf(machine.missing(), machine.missing())
class InstallationTest(unittest.TestCase):
    """One machine, from the first installation to the last."""

    @classmethod
    def setUpClass(cls):
        cls.package = the_package()
        cls.machine = machine.Machine()
        cls.addClassCleanup(cls.machine.close)

    def state(self, unit, what="ActiveState"):
        return self.machine.state(unit, what)

    def journal(self):
        return self.machine.journal()

    def session(self):
        return int(self.machine.text("python3", "-c", SESSION))

    def shell(self, text):
        """Commands of the guide, as they stand there."""
        return self.machine.shell(text, "/root/annal")

    def install(self):
        inside = self.machine.path("/root/annal.deb")
        shutil.copyfile(self.package, inside)
        # Other packages' triggers, such as for all manual pages, take long.
        self.machine.run("dpkg", "--no-triggers", "--install", "/root/annal.deb")

    def test_from_the_first_installation_to_the_last(self):
        with Section("Install") as self.guide:
            for step in (self.installed, self.made_a_user, self.started_by_a_connection,
                         self.confined, self.opened_to_others, self.reloaded):
                step()
        for step in (self.ended_when_idle, self.killed, self.behind_postfix, self.upgraded,
                     self.removed):
            step()

    def installed(self):
        # As in install().
        self.machine.path("/etc/apt/apt.conf.d/no-triggers").write_text(
            'DPkg::Options {"--no-triggers";};\n')
        there = self.machine.path("/root/annal/build-package")
        there.mkdir(parents=True)
        shutil.copyfile(self.package, there / self.package.name)
        self.shell(self.guide.take("scripts/package").text.splitlines()[1])
        self.assertEqual(self.machine.text("annal", "--version"),
                         "annal " + run("dpkg-deb", "--field", self.package,
                                        "Version").stdout.decode().strip())
        self.assertEqual(self.machine.text("stat", "-c", "%U:%G %a", "/var/lib/annal"),
                         "annal:annal 700")
        self.assertEqual(self.state("annal.socket"), "active")
        self.assertEqual(self.machine.text("systemctl", "is-enabled", "annal.socket"), "enabled")
        self.assertEqual(self.state("annal.service"), "inactive")
        self.machine.run("annal", "serve", "--check-config")

    def made_a_user(self):
        """As root, for a server that is somebody else."""
        self.terminal(self.guide.take("sudo annal user add").text,
                      [("Password: ", "secret\n"), ("Again: ", "secret\n")])
        self.assert_all_is_the_servers()

    def terminal(self, text, answers=()):
        return on_terminal([*self.machine.inside(), "bash", "-euc", text], answers,
                           environment=machine.ENVIRONMENT)

    def assert_all_is_the_servers(self):
        self.assertEqual(self.machine.text("find", "/var/lib/annal", "!", "-user", "annal"), "")

    def started_by_a_connection(self):
        # The certificate is made at the first start, which this first connection causes.
        look, doctor = self.guide.take("curl").lines()
        self.assertIn('"/" INBOX', self.terminal(look, [("'alice':", "secret\n")]))
        self.assertEqual(self.state("annal.service"), "active")
        self.assertRegex(self.shell(doctor), "(?m)^good +server +runs")
        self.assertEqual(self.session(), 1)
        self.assertEqual(self.session(), 2)
        self.assertEqual(self.state("annal.service", "NRestarts"), "0")
        self.assertIn("socket=inherited", self.journal())
        # Root's tools beside it, with files that only root can reach.
        self.machine.run("annal", "backup", "alice", "/root/alice.bundle")
        self.machine.run("git", "bundle", "list-heads", "/root/alice.bundle")
        self.machine.run("annal", "export", "alice", "INBOX", "--mbox", "/root/alice.mbox")
        self.machine.run("annal", "import", "alice", "mbox", "/root/alice.mbox", "--mailbox",
                         "Copy")
        self.machine.run("annal", "verify", "--all")
        self.machine.run("annal", "doctor")
        self.assert_all_is_the_servers()

    def confined(self):
        status = self.machine.path(f"/proc/{self.state('annal.service', 'MainPID')}/status")
        facts = dict(line.split(":\t", 1) for line in status.read_text().splitlines()
                     if ":\t" in line)
        self.assertEqual(facts["Seccomp"], "2")
        self.assertEqual(facts["NoNewPrivs"], "1")
        for capabilities in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
            self.assertEqual(int(facts[capabilities], 16), 0, capabilities)
        self.assertNotEqual(facts["Uid"].split()[0], "0")
        said = self.machine.text("systemd-analyze", "security", "--no-pager", "annal.service")
        exposure = re.search(r"Overall exposure level for annal.service: ([0-9.]+)", said)
        self.assertLessEqual(float(exposure.group(1)), 1.5)
        self.assertIn(f"(`systemd-analyze security annal` says {exposure.group(1)})",
                      re.sub(r"\s+", " ", prose("Install")))
        self.assertNotIn("Operation not permitted", self.journal())

    def opened_to_others(self):
        drop_in = self.machine.path("/root/drop-in")
        drop_in.write_text(self.guide.take("[Socket]").text)
        editor = self.machine.path("/root/editor")
        editor.write_text('#!/bin/sh\nsed -i "2r /root/drop-in" "$1"\n')
        editor.chmod(0o755)
        self.terminal("export SYSTEMD_EDITOR=/root/editor\n" +
                      self.guide.take("sudo systemctl edit").text)
        self.shell(self.guide.take("sudo systemctl stop").text)
        listens = self.machine.text("systemctl", "show", "--property=Listen", "annal.socket")
        self.assertEqual(listens, "Listen=[::]:993 (Stream)")
        self.session()
        read = re.search(r"`(sudo -u annal git [^`]+)`", prose("Install")).group(1)
        self.assertIn("APPEND uid 1\n", self.shell(read))

    def reloaded(self):
        pid = self.state("annal.service", "MainPID")
        with self.staying_session() as client:
            self.assertIn("alice", self.machine.text("annal", "who"))
            configuration = self.machine.path("/etc/annal/annal.conf")
            configuration.write_text(configuration.read_text() + "log_debug = true\n")
            self.shell(self.guide.take("annal serve --check-config").text)
            wait_until(lambda: "event=reload option=log_debug value=new" in self.journal(), 30,
                       "no reload")
            wait_until(lambda: self.state("annal.service") == "active", 30, "it still reloads")
            self.end(client)
        self.assertEqual(self.state("annal.service", "MainPID"), pid)

    def staying_session(self):
        client = subprocess.Popen(
            [*self.machine.inside(), "/usr/bin/python3", "-c", SESSION, "stay"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(client.kill)
        self.assertEqual(client.stdout.readline(), b"logged in\n")
        return client

    def end(self, client):
        client.communicate(b"\n", timeout=60)
        self.assertEqual(client.returncode, 0)

    def ended_when_idle(self):
        configuration = self.machine.path("/etc/annal/annal.conf")
        text = configuration.read_text()
        self.assertIn("\nidle_exit = 600\n", text)
        configuration.write_text(text.replace("idle_exit = 600", "idle_exit = 1"))
        self.machine.run("systemctl", "reload", "annal.service")
        wait_until(lambda: self.state("annal.service") == "inactive", 60, "an idle server stays")
        self.assertEqual(self.state("annal.service", "Result"), "success")
        self.assertEqual(self.state("annal.socket"), "active")
        before = self.session()  # starts it
        self.assertEqual(self.session(), before + 1)
        configuration.write_text(text)
        self.machine.run("systemctl", "reload", "annal.service")

    def killed(self):
        before = self.session()
        self.machine.run("systemctl", "kill", "--signal=KILL", "annal.service")
        wait_until(lambda: self.state("annal.service", "NRestarts") == "1", 60, "no restart")
        self.assertEqual(self.session(), before + 1)

    def behind_postfix(self):
        """Debian's Postfix, with what the guide adds to it."""
        main, master = (self.machine.path(f"/etc/postfix/{name}.cf") for name in ("main", "master"))
        if not main.exists() or not master.exists():
            self.skipTest("Postfix is not installed")
        # Names of hosts can't be looked up here.
        main.write_text("compatibility_level = 3.6\nmyhostname = mx.example.org\nmydestination =\n"
                        "smtpd_peername_lookup = no\nalias_maps =\nalias_database =\n"
                        "maillog_file = /var/log/mail.log\n")
        self.machine.run("systemctl", "start", "postfix.service")
        with Section("Behind Postfix") as guide:
            self.shell(guide.take("sudo systemctl stop").text)
            with open(main, "a", encoding="utf-8") as file:
                file.write(guide.take("virtual_mailbox_domains").text)
            self.shell(guide.take("sudo postfix check").text)
        self.assertEqual(self.state("annal.service"), "inactive")
        self.deliver("by LMTP")
        self.assertEqual(self.state("annal.service"), "active")
        with Section("Through a pipe") as guide:
            with open(master, "a", encoding="utf-8") as file:
                file.write(guide.take("annal unix").text)
            self.assertIn("`virtual_transport = annal`", prose("Through a pipe"))
            self.shell("postconf virtual_transport=annal; systemctl reload postfix")
        self.deliver("by a pipe")

    def deliver(self, subject):
        self.machine.run("python3", "-c", "import smtplib, sys\n"
                         "with smtplib.SMTP('127.0.0.1', 25, timeout=60) as client:\n"
                         "    client.sendmail('', ['alice@example.org'],\n"
                         "                    'Subject: ' + sys.argv[1] + '\\r\\n\\r\\nx\\r\\n')",
                         subject)
        wait_until(lambda: subject in self.machine.text("annal", "log", "alice", "INBOX", "-n1"),
                   60, f"nothing is delivered {subject}")

    def upgraded(self):
        self.session()
        pid = self.state("annal.service", "MainPID")
        kept = self.machine.path("/etc/annal/annal.conf").read_text()
        self.install()
        wait_until(lambda: self.state("annal.service") == "active", 60, "it does not come back")
        self.assertNotEqual(self.state("annal.service", "MainPID"), pid)
        self.assertEqual(self.machine.path("/etc/annal/annal.conf").read_text(), kept)
        self.session()

    def removed(self):
        self.machine.run("dpkg", "--no-triggers", "--remove", "annal")
        self.assertNotIn(self.state("annal.service"), ("active", "activating"))
        self.assertNotEqual(self.state("annal.socket"), "active")
        self.assertTrue(self.machine.path("/etc/annal/annal.conf").exists())
        self.machine.run("dpkg", "--no-triggers", "--purge", "annal")
        self.assertFalse(self.machine.path("/etc/annal/annal.conf").exists())
        self.machine.run("git", "-c", "safe.directory=*", "-C", "/var/lib/annal/mail/alice.git",
                         "fsck", "--strict")
        self.install()
        wait_until(lambda: self.state("annal.socket") == "active", 30, "no ports after removal")
        self.session()


if __name__ == "__main__":
    unittest.main()
