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
    """Without what may be set for sanitizers."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("CC", "CFLAGS", "LDFLAGS", "DESTDIR")}
    return pathlib.Path(run(SOURCE / "scripts" / "package", directory, env=environment,
                            timeout=500).stdout.decode().strip())


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
        return self.machine.text("systemctl", "show", "--value", "--property", what, unit)

    def journal(self):
        return self.machine.journal()

    def session(self):
        return int(self.machine.text("python3", "-c", SESSION))

    def install(self):
        inside = self.machine.path("/root/annal.deb")
        shutil.copyfile(self.package, inside)
        # Other packages' triggers, such as for all manual pages, take long.
        self.machine.run("dpkg", "--no-triggers", "--install", "/root/annal.deb")

    def test_from_the_first_installation_to_the_last(self):
        for step in (self.installed, self.made_a_user, self.started_by_a_connection,
                     self.confined, self.reloaded, self.ended_when_idle, self.killed,
                     self.upgraded, self.removed):
            step()

    def installed(self):
        self.install()
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
        self.machine.run("annal", "user", "add", "alice", "--password-stdin", input=b"secret\n")
        self.assert_all_is_the_servers()

    def assert_all_is_the_servers(self):
        self.assertEqual(self.machine.text("find", "/var/lib/annal", "!", "-user", "annal"), "")

    def started_by_a_connection(self):
        # The certificate is made at the first start, which this first connection causes.
        self.machine.run("python3", "-c", "import socket; s = socket.create_connection("
                         "('localhost', 993)); s.close()")
        wait_until(lambda: self.state("annal.service") == "active", 60,
                   "it is not started")
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
        self.assertNotIn("Operation not permitted", self.journal())

    def reloaded(self):
        pid = self.state("annal.service", "MainPID")
        with self.staying_session() as client:
            self.assertIn("alice", self.machine.text("annal", "who"))
            configuration = self.machine.path("/etc/annal/annal.conf")
            configuration.write_text(configuration.read_text() + "log_debug = true\n")
            self.machine.run("systemctl", "reload", "annal.service")
            wait_until(lambda: "event=reload option=log_debug value=new" in self.journal(), 30,
                       "no reload")
            wait_until(lambda: self.state("annal.service") == "active", 30, "it still reloads")
            self.end(client)
        self.assertEqual(self.state("annal.service", "MainPID"), pid)

    def staying_session(self):
        client = subprocess.Popen(
            ["nsenter", "--target", str(self.machine.pid), "--mount", "--pid", "--net",
             "--wdns=/root", "/usr/bin/python3", "-c", SESSION, "stay"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
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
