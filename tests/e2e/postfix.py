"""A Postfix of its own below a temporary directory, on free loopback ports; the system's is never
touched. It needs root, as Postfix does: its processes run as the user postfix."""
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from annal import run, wait_until

POSTFIX = "/usr/sbin/postfix"

MAIN = """
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
mail_owner = postfix
maillog_file = {root}/log/mail
maillog_file_prefixes = {root}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.example.org
mydestination =
mynetworks = 127.0.0.0/8
smtpd_peername_lookup = no
alias_maps =
alias_database =
local_recipient_maps =
in_flow_delay = 0
smtpd_client_connection_count_limit = 0
# A dead server is tried again soon: a test can't wait for five minutes. Not within the same second:
# who is tried again while the agent that failed has it still open waits for a minute.
queue_run_delay = 1s
minimal_backoff_time = 2s
maximal_backoff_time = 2s
transport_retry_time = 1s
bounce_queue_lifetime = 1h
smtp_tls_security_level = none
smtpd_tls_security_level = none
{options}
"""

MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
# The wakeup is what looks at those that waited so, which are in the incoming queue.
qmgr unix n - n 2 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def usable():
    return os.path.exists(POSTFIX) and os.geteuid() == 0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Postfix:
    """options: lines of main.cf."""

    def __init__(self, options):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="annal-postfix-"))
        self.root.chmod(0o755)
        self.port = free_port()
        self.pid = None
        for name in ("etc", "queue", "data", "log"):
            (self.root / name).mkdir(mode=0o755)
        owner = pwd.getpwnam("postfix")
        os.chown(self.root / "data", owner.pw_uid, owner.pw_gid)
        (self.root / "data").chmod(0o700)
        self.etc = self.root / "etc"
        (self.etc / "main.cf").write_text(MAIN.format(root=self.root, options=options))
        (self.etc / "master.cf").write_text(MASTER.format(port=self.port))
        for name in ("postfix-files", "dynamicmaps.cf"):
            if os.path.exists(f"/etc/postfix/{name}"):
                shutil.copy(f"/etc/postfix/{name}", self.etc / name)
        try:
            self.start()
        except BaseException:
            self.close(False)
            raise

    def command(self, name, *arguments, **options):
        return run(f"/usr/sbin/{name}", "-c", self.etc, *arguments, **options)

    def start(self):
        pid_file = self.root / "queue/pid/master.pid"
        self.command("postfix", "start")
        wait_until(lambda: pid_file.exists() and pid_file.read_text().strip(), 60,
                   "Postfix does not start")
        self.pid = int(pid_file.read_text())
        wait_until(self.answers, 60, "Postfix does not answer")

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as probe:
                return probe.recv(4) == b"220 "
        except OSError:
            return False

    def queue(self):
        """The ids of the messages that have not left it."""
        return [line.split()[0] for line in
                self.command("postqueue", "-j").stdout.decode().splitlines()]

    def log(self):
        path = self.root / "log/mail"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self, good=True):
        try:
            if self.pid is not None:
                os.kill(self.pid, signal.SIGTERM)
                wait_until(lambda: not os.path.exists(f"/proc/{self.pid}"), 60,
                           "Postfix does not stop")
        finally:
            if good:
                shutil.rmtree(self.root)
            else:
                print(f"kept for a look: {self.root}")
