"""Under a service manager: readiness, watchdog, sockets that are handed over, the end of a server
that nobody uses, a new reading of its configuration. This test is the manager, as systemd is one."""
import fcntl
import imaplib
import os
import pathlib
import pwd
import re
import select
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import warnings

sys.path.insert(0, os.path.dirname(__file__))
from annal import PROGRAM, check_repository, run, wait_until

SYSTEM = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "system"
START_LIMIT = 60  # seconds; sanitizers on a busy machine are slow
# Gives the program descriptors 3 and on, and the variables that say so.
LAUNCHER = """
next=3
for fd in $FDS; do eval "exec $next<&$fd $fd<&-"; next=$((next + 1)); done
unset FDS
[ -z "${LISTEN_FDS:-}" ] || export LISTEN_PID=$$
exec "$@"
"""


class Manager:
    """Has the sockets, starts the server when somebody connects, hears what it says."""

    def __init__(self, names=("imaps", "imap"), watchdog=0.0, configuration=""):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="annal-service-"))
        self.names = names
        self.watchdog = watchdog
        self.process = None
        self.starts = 0
        self.statuses = []
        self.said = []  # (time, line)
        self.sockets = [socket.create_server(("127.0.0.1", 0), backlog=128) for _ in names]
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(self.root / "notify"))
        self.notify.setblocking(False)
        self.file = self.root / "annal.conf"
        self.configure(configuration)
        for user in ("alice", "bob"):
            run(PROGRAM, "user", "add", user, "--password-stdin", "--config", self.file,
                input=user.encode() + b"\n")

    def configure(self, more):
        listens = "" if self.names else 'imaps = {"127.0.0.1:0"}\nimap = {"127.0.0.1:0"}\n'
        self.file.write_text(f'data = "{self.root}/data"\ncleartext_login = true\nworkers = 2\n'
                             f"mime_workers = 1\njournal_mib = 4\n{listens}{more}\n")

    def port(self, name):
        return self.sockets[self.names.index(name)].getsockname()[1]

    def start(self, *arguments):
        # High numbers, so that none of them is in the way of 3 and on.
        fds = [fcntl.fcntl(one.fileno(), fcntl.F_DUPFD, 100) for one in self.sockets]
        environment = dict(os.environ, NOTIFY_SOCKET=str(self.root / "notify"),
                           FDS=" ".join(map(str, fds)))
        if fds:
            environment.update(LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=":".join(self.names))
        if self.watchdog:
            environment["WATCHDOG_USEC"] = str(int(self.watchdog * 1_000_000))
        with open(self.root / "log", "ab") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", LAUNCHER, "launcher", PROGRAM, "serve", "--config", str(self.file),
                 *arguments], pass_fds=fds, env=environment, stdout=log, stderr=log)
        for fd in fds:
            os.close(fd)
        self.starts += 1

    def hear(self):
        while True:
            try:
                text = self.notify.recv(4096).decode()
            except BlockingIOError:
                return
            self.said.extend((time.monotonic(), line) for line in text.splitlines())

    def wait_for(self, line, count=1, seconds=START_LIMIT):
        def heard():
            self.hear()
            return [said for _, said in self.said].count(line) >= count

        limit = time.monotonic() + seconds
        while not heard():
            if time.monotonic() > limit or self.process.poll() is not None:
                raise AssertionError(f"{line} is not said, but {self.said}:\n{self.log()}")
            time.sleep(0.02)

    def start_on_demand(self, until):
        """What systemd does until the event is set: a connection that waits starts the server."""
        while not until.is_set():
            self.hear()
            if self.process is not None and self.process.poll() is not None:
                self.statuses.append(self.process.returncode)
                self.process = None
            if self.process is None:
                if select.select(self.sockets, [], [], 0.05)[0]:
                    self.start()
            else:
                time.sleep(0.005)

    def wait(self, seconds=START_LIMIT):
        status = self.process.wait(seconds)
        self.process = None
        return status

    def log(self):
        return (self.root / "log").read_text(errors="replace")

    def wait_for_log(self, pattern):
        wait_until(lambda: re.search(pattern, self.log()), 30, f"no {pattern} in the log")

    def login(self, user="alice", port=None):
        client = imaplib.IMAP4("127.0.0.1", port or self.port("imap"), timeout=START_LIMIT)
        client.login(user, user)
        return client

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for one in [*self.sockets, self.notify]:
            one.close()
        shutil.rmtree(self.root)


def bound_to(pid, processors):
    """The processors that a process has threads bound to, once for each thread."""
    masks = [os.sched_getaffinity(int(task)) for task in os.listdir(f"/proc/{pid}/task")]
    return sorted(number for mask in masks if len(mask) < len(processors) for number in mask)


class ServiceTest(unittest.TestCase):
    def setUp(self):
        warnings.simplefilter("ignore", ResourceWarning)

    def manager(self, *arguments, **options):
        manager = Manager(*arguments, **options)
        self.addCleanup(manager.close)
        return manager

    def test_it_says_when_it_is_ready_and_when_it_stops(self):
        manager = self.manager()
        manager.start()
        manager.wait_for("READY=1")
        manager.login().logout()
        manager.process.send_signal(signal.SIGTERM)
        manager.wait_for("STOPPING=1")
        self.assertEqual(manager.wait(), 0)
        self.assertEqual([line for _, line in manager.said if "=1" in line],
                         ["READY=1", "STOPPING=1"])

    def test_a_start_that_fails_is_never_ready(self):
        manager = self.manager(names=("imaps", "pop3"))
        manager.start()
        self.assertEqual(manager.wait(), 1)
        manager.hear()
        self.assertEqual(manager.said, [])
        self.assertIn("a socket that was handed over is called pop3", manager.log())

    def test_workers_have_processors_of_their_own_where_there_are_as_many(self):
        processors = sorted(os.sched_getaffinity(0))
        for workers in (0, len(processors), len(processors) + 1):
            with self.subTest(workers=workers):
                manager = self.manager(configuration=f"workers = {workers}\n")
                manager.start()
                manager.wait_for("READY=1")
                manager.login().logout()
                one_each = len(processors) > 1 and workers <= len(processors)
                wait_until(lambda: bound_to(manager.process.pid, processors) ==
                           (processors if one_each else []))

    def test_the_variables_reach_no_other_process(self):
        manager = self.manager()
        manager.start()
        manager.wait_for("READY=1")
        children = run("pgrep", "-P", manager.process.pid).stdout.split()
        self.assertTrue(children, "there is no process that parses messages")
        for child in children:
            environment = pathlib.Path(f"/proc/{int(child)}/environ").read_bytes()
            self.assertEqual(environment, b"")
            links = [os.readlink(entry) for entry in
                     pathlib.Path(f"/proc/{int(child)}/fd").iterdir()]
            listening = {f"socket:[{os.fstat(one.fileno()).st_ino}]" for one in manager.sockets}
            self.assertFalse(listening & set(links), "a child has the listening sockets")

    def test_inherited_sockets_replace_those_of_the_configuration(self):
        manager = self.manager(configuration='imap = {"127.0.0.1:1"}')  # could not be opened
        manager.start()
        manager.wait_for("READY=1")
        context = ssl.create_default_context(cafile=str(manager.root / "data/tls/certificate.pem"))
        client = imaplib.IMAP4_SSL("localhost", manager.port("imaps"), ssl_context=context,
                                   timeout=START_LIMIT)
        client.login("alice", "alice")
        client.logout()
        manager.login("bob").logout()
        self.assertEqual(len(re.findall(r"event=listen .*socket=inherited", manager.log())), 2)

    def test_an_inherited_socket_takes_deliveries(self):
        manager = self.manager(names=("imap", "lmtp"), configuration='lmtp = {"127.0.0.1:1"}')
        manager.start()
        manager.wait_for("READY=1")
        with smtplib.LMTP("127.0.0.1", manager.port("lmtp"), timeout=START_LIMIT) as sender:
            sender.sendmail("sender@example.org", ["alice@example.org"],
                            b"Subject: delivered\r\n\r\nyes\r\n")
        client = manager.login()
        self.assertEqual(client.select("INBOX")[1], [b"1"])
        client.logout()

    def test_the_watchdog_hears_of_a_server_at_work(self):
        manager = self.manager(watchdog=1.2)
        manager.start()
        manager.wait_for("WATCHDOG=1", 5)
        self.assertIsNone(manager.process.poll())

    def test_the_watchdog_hears_nothing_from_a_server_with_a_worker_that_is_stuck(self):
        manager = self.manager(watchdog=0.8)
        manager.start()
        manager.wait_for("WATCHDOG=1", 2)
        client = manager.login()
        many = b"".join(b"--b\r\n\r\npart\r\n" for _ in range(2000))
        client.append("INBOX", None, None, b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" +
                      many + b"--b--\r\n")
        client.select("INBOX")
        # A worker waits for the process that parses such a message, for some seconds.
        parser = int(run("pgrep", "-P", manager.process.pid).stdout)
        os.kill(parser, signal.SIGSTOP)
        answer = []
        fetch = threading.Thread(
            target=lambda: answer.extend(client.fetch("1", "(BODYSTRUCTURE)")))
        fetch.start()
        try:
            manager.wait_for_log("event=watchdog reason=")
            manager.hear()
            before = [line for _, line in manager.said].count("WATCHDOG=1")
            time.sleep(1)  # more than the watchdog's time
            manager.hear()
            after = [line for _, line in manager.said].count("WATCHDOG=1")
            self.assertEqual(after, before)
        finally:
            os.kill(parser, signal.SIGCONT)
            fetch.join()
        self.assertEqual(answer[0], "OK")
        manager.wait_for("WATCHDOG=1", after + 2)

    def test_an_idle_server_ends_and_no_connection_is_lost(self):
        manager = self.manager(configuration="idle_exit = 1")
        done = threading.Event()
        starter = threading.Thread(target=manager.start_on_demand, args=(done,))
        starter.start()
        try:
            for number in range(6):
                client = manager.login("alice" if number % 2 else "bob")
                client.append("INBOX", None, None, b"Subject: %d\r\n\r\n" % number)
                client.logout()
                # Around the moment when the server decides to end.
                time.sleep(1.0 + 0.1 * number)
            wait_until(lambda: manager.process is None, START_LIMIT, "an idle server stays")
        finally:
            done.set()
            starter.join()
        self.assertGreaterEqual(manager.starts, 2)
        self.assertEqual(set(manager.statuses), {0}, manager.log())
        self.assertEqual(manager.log().count("reason=idle"), manager.starts)
        for user in ("alice", "bob"):
            check_repository(manager.root / "data" / "mail" / f"{user}.git")

    def test_connections_of_the_last_moment_are_served_by_the_next_process(self):
        """Connections that come while the server is already ending: thousands of tries would be
        needed to hit that by chance, so it is held there."""
        manager = self.manager(configuration="idle_exit = 1")
        manager.start()
        manager.wait_for("STOPPING=1")
        clients = [socket.create_connection(("127.0.0.1", manager.port("imap"))) for _ in range(20)]
        self.assertEqual(manager.wait(), 0)
        manager.start()
        for client in clients:
            client.settimeout(START_LIMIT)
            self.assertTrue(client.recv(100).startswith(b"* OK"))
            client.close()

    def test_a_server_in_use_stays(self):
        manager = self.manager(configuration="idle_exit = 1")
        manager.start()
        manager.wait_for("READY=1")
        client = manager.login()
        time.sleep(2.5)  # twice the time and more
        self.assertEqual(client.noop()[0], "OK")
        self.assertIsNone(manager.process.poll())
        client.logout()
        self.assertEqual(manager.wait(), 0)

    def test_an_idle_server_stays_where_nobody_has_all_of_its_sockets(self):
        managers = [self.manager(names=(), configuration="idle_exit = 1")]
        for option in ("metrics_listen", "lmtp"):
            managers.append(self.manager(
                configuration=f'idle_exit = 1\n{option} = {{"127.0.0.1:0"}}'))
        for manager in managers:
            manager.start()
        for manager in managers:
            manager.wait_for("READY=1")
            manager.wait_for_log("event=idle-exit-unused")
        time.sleep(1.6)
        self.assertEqual([manager.process.poll() for manager in managers], [None] * 3)


def new_certificate(directory, name):
    """A self-signed pair of its own: paths of certificate and key."""
    certificate, key = directory / f"{name}.pem", directory / f"{name}-key.pem"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost",
        "-keyout", key, "-out", certificate)
    return certificate, key


class ReloadTest(unittest.TestCase):
    def setUp(self):
        warnings.simplefilter("ignore", ResourceWarning)
        self.manager = Manager()
        self.addCleanup(self.manager.close)
        self.manager.start()
        self.manager.wait_for("READY=1")
        self.reloads = 1

    def reload(self, configuration):
        self.manager.configure(configuration)
        self.manager.process.send_signal(signal.SIGHUP)
        self.reloads += 1
        self.manager.wait_for("READY=1", self.reloads)

    def presented(self):
        with socket.create_connection(("127.0.0.1", self.manager.port("imaps"))) as plain:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            with context.wrap_socket(plain) as secured:
                return ssl.DER_cert_to_PEM_cert(secured.getpeercert(binary_form=True))

    def test_the_manager_is_told(self):
        self.reload("")
        lines = [line.split("=")[0] for _, line in self.manager.said]
        start = lines.index("RELOADING")
        self.assertEqual(lines[start:], ["RELOADING", "MONOTONIC_USEC", "READY"])

    def test_a_new_certificate_is_for_new_connections(self):
        before = imaplib.IMAP4_SSL("127.0.0.1", self.manager.port("imaps"),
                                   ssl_context=ssl._create_unverified_context())
        before.login("alice", "alice")
        certificate, key = new_certificate(self.manager.root, "other")
        self.assertNotEqual(self.presented(), certificate.read_text())
        self.reload(f'certificate = "{certificate}"\nprivate_key = "{key}"')
        self.assertEqual(self.presented(), certificate.read_text())
        self.assertEqual(before.select("INBOX")[0], "OK")
        # The same files with other content: what a renewal does.
        renewed, renewed_key = new_certificate(self.manager.root, "renewed")
        os.replace(renewed_key, key)
        os.replace(renewed, certificate)
        self.reload(f'certificate = "{certificate}"\nprivate_key = "{key}"')
        self.assertEqual(self.presented(), certificate.read_text())
        self.assertEqual(before.noop()[0], "OK")
        before.logout()

    def test_limits_change_for_what_comes(self):
        before = self.manager.login()
        self.reload("connections_per_user = 1\nappend_limit_mib = 1\nlog_debug = true")
        for option in ("connections_per_user", "append_limit_mib", "log_debug"):
            self.assertIn(f"event=reload option={option} value=new", self.manager.log())
        with self.assertRaises(imaplib.IMAP4.error):
            self.manager.login()
        other = self.manager.login("bob")
        self.assertIn(b"APPENDLIMIT=1048576", other.capability()[1][0])
        self.assertEqual(before.noop()[0], "OK")
        before.logout()
        other.logout()
        self.reload("")
        self.manager.login().logout()

    def test_what_needs_a_restart_is_named_and_kept(self):
        self.reload('workers = 3\nusers = "/nowhere"\nimap = {"127.0.0.1:1"}\ncache_budget = 2000000')
        for option in ("workers", "users", "imap", "cache_budget"):
            self.assertIn(f"event=reload option={option} value=kept", self.manager.log())
        self.manager.login().logout()

    def test_a_configuration_with_a_problem_changes_nothing(self):
        before = self.presented()
        for bad, reason in (("connections_per_user = 1\nno_such_option = 1", "no such option"),
                            ("idle_minutes = 3", "idle_minutes must be"),
                            ('certificate = "/nowhere"\nprivate_key = "/nowhere"', "/nowhere")):
            self.reload(bad)
            self.manager.wait_for_log(f"event=reload-failed .*{reason}")
        self.assertEqual(self.presented(), before)
        clients = [self.manager.login() for _ in range(2)]
        for client in clients:
            client.logout()


@unittest.skipUnless(os.geteuid() == 0, "only root can become somebody else")
class OwnerTest(unittest.TestCase):
    """Root's tools on a data directory that belongs to the server's user."""

    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="annal-owner-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.root.chmod(0o755)
        self.data = self.root / "data"
        self.data.mkdir(mode=0o700)
        self.owner = pwd.getpwnam("nobody")
        os.chown(self.data, self.owner.pw_uid, self.owner.pw_gid)
        self.annal("user", "add", "alice", "--password-stdin", input=b"alice\n")

    def annal(self, *command, **options):
        return run(PROGRAM, *command, "--data", self.data, **options)

    def tearDown(self):
        for path in [self.data, *self.data.rglob("*")]:
            self.assertEqual(path.lstat().st_uid, self.owner.pw_uid, path)
            self.assertEqual(path.lstat().st_gid, self.owner.pw_gid, path)

    def test_what_they_make_is_the_owners(self):
        private = self.root / "private"
        private.mkdir(mode=0o700)
        mail = private / "mail.mbox"
        mail.write_bytes(b"From a@example.org Mon Mar  3 10:00:00 2025\nSubject: x\n\nbody\n")
        mail.chmod(0o600)
        self.annal("import", "alice", "mbox", mail)
        self.annal("backup", "alice", private / "alice.bundle")
        self.assertEqual((private / "alice.bundle").stat().st_uid, self.owner.pw_uid)
        self.annal("gc", "alice", "--now")
        self.annal("verify", "--all")

    def test_a_server_keeps_few_rights_and_its_children_none(self):
        with open(self.root / "log", "wb") as log:
            server = subprocess.Popen([PROGRAM, "serve", "--data", str(self.data), "--imaps",
                                       "127.0.0.1:0"], stderr=log)
        try:
            wait_until(lambda: "event=ready" in (self.root / "log").read_text(), START_LIMIT,
                       "it does not start")
            # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_NET_BIND_SERVICE
            self.assertEqual(self.status(server.pid, "CapEff"), 1 << 1 | 1 << 2 | 1 << 10)
            self.assertEqual(self.status(server.pid, "CapPrm"), 1 << 1 | 1 << 2 | 1 << 10)
            children = run("pgrep", "-P", server.pid).stdout.split()
            self.assertTrue(children)
            for child in children:
                self.assertEqual(self.status(int(child), "CapPrm"), 0)
        finally:
            server.terminate()
            self.assertEqual(server.wait(START_LIMIT), 0)

    def status(self, pid, name):
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
        return int(re.search(rf"^{name}:\s*(\w+)$", text, re.M).group(1), 16)


class UnitTest(unittest.TestCase):
    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd is not installed")
    def test_the_hardening_of_the_unit_leaves_little_exposed(self):
        text = (SYSTEM / "annal.service.in").read_text().replace("@bindir@", "/usr/bin")
        with tempfile.TemporaryDirectory(prefix="annal-unit-") as directory:
            unit = pathlib.Path(directory) / "annal.service"
            unit.write_text(text)
            said = run("systemd-analyze", "security", "--no-pager", "--offline=true", unit)
            self.assertNotIn(b"ignoring", said.stderr)
        found = re.search(r"Overall exposure level for annal.service: ([0-9.]+)",
                          said.stdout.decode())
        self.assertLessEqual(float(found.group(1)), 1.5)


if __name__ == "__main__":
    unittest.main()
