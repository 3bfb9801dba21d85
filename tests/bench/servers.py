"""The servers that are measured: how each is started, fed with users, watched and stopped."""
import grp
import os
import pathlib
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import time

START_LIMIT = 60  # seconds
START_TRIES = 5
PORTS = (10240, 32768)  # to choose from, where the kernel has its own choice elsewhere
STOP_LIMIT = 30
ANSWER_LIMIT = 120  # of what is not measured
TICK = os.sysconf("SC_CLK_TCK")
PASSWORD = "p"


class EndedEarly(Exception):
    """A server ended before it greeted."""


def ports_of_choice():
    """First and last port that no client's connection takes by itself."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        low, high = (int(part) for part in file.read().split())
    return PORTS[0], min(PORTS[1], low) if high > PORTS[0] else PORTS[1]


def free_port():
    """A port that nobody has. Not one of those that the kernel gives to connections: one of
    thousands of clients could have it when the server takes it, or takes it again."""
    first, end = ports_of_choice()
    for _ in range(1000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", random.randrange(first, end) if first < end else 0))
            except OSError:
                continue
            return probe.getsockname()[1]
    raise SystemExit("no free port on 127.0.0.1")


def greets(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return connection.recv(4) == b"* OK"
    except OSError:
        return False


def wait_for_greeting(port, process):
    """Returns once a server on this port greets."""
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end:
        # Asked afterwards, too: whoever has its port may greet in its place.
        if greets(port) and process.poll() is None:
            return
        if process.poll() is not None:
            raise EndedEarly
        time.sleep(0.02)
    raise TimeoutError


def tree_of(root):
    """The process ids of a process and all its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def process_seconds(pid):
    """Processor time of a process and of those of its children that have ended; 0 if it has itself.
    The kernel's usual clock has steps of 10 ms, the scheduler's counters of the tasks have not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    own = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", "rb") as file:
                own += int(file.read().split()[0]) / 1e9
    except OSError:
        own = sum(int(field) for field in fields[11:13]) / TICK
    return own + sum(int(field) for field in fields[13:15]) / TICK


class Server:
    """What all have in common. key names it in rows, title in tables."""

    durable = True  # an acknowledged change has reached the disk
    works_later = False  # some work for it is done after the acknowledgement

    def __init__(self, key, title, root):
        self.key = key
        self.title = title
        self.root = pathlib.Path(root)
        self.process = None
        self.stopping = False
        self.port = self.tls_port = self.lmtp_port = 0
        self.delivers = False
        self.log = self.root / "log"

    def command(self):
        """What starts it."""
        raise NotImplementedError

    def configure(self):
        """Writes its configuration, with its ports."""
        raise NotImplementedError

    def choose_ports(self):
        self.port, self.tls_port = free_port(), free_port()
        self.lmtp_port = free_port() if self.delivers else 0

    def start(self):
        """Runs it until it greets. If it ends before, somebody else may have been faster to take a
        port: then once more with others."""
        for _ in range(START_TRIES):
            self._spawn()
            try:
                wait_for_greeting(self.port, self.process)
                return
            except EndedEarly:
                self.process = None
                self.choose_ports()
                self.configure()
            except TimeoutError:
                break
        raise SystemExit(f"{self.title} does not start:\n{self.log_tail()}")

    def _spawn(self):
        self.stopping = False
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(part) for part in self.command()], stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL)

    def log_tail(self):
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""

    def begin_stop(self):
        """Tells it to stop; stop() waits until it has."""
        if self.process is not None and not self.stopping:
            self.stopping = True
            self.process.send_signal(signal.SIGTERM)
            self.go_on()

    def stop(self):
        if self.process is None:
            return
        self.begin_stop()
        try:
            self.process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def restart(self):
        self.stop()
        self.start()

    def stand_still(self):
        """What it has put off burdens nobody else: it does nothing until go_on()."""
        if self.works_later:
            self._signal(signal.SIGSTOP)

    def go_on(self):
        if self.works_later:
            self._signal(signal.SIGCONT)

    def _signal(self, number):
        if self.process is not None:
            self.process.send_signal(number)

    def last_words(self):
        """The last complaint in its log, for a note; or nothing."""
        found = re.findall(r".*(?:Panic|Fatal|Error|level=error).*",
                           self.log.read_text(errors="replace"))
        return f" ({found[-1][:200].strip()})" if found else ""

    def cpu_seconds(self):
        """Processor time of all its processes so far, those that have ended included."""
        return sum(process_seconds(pid) for pid in tree_of(self.process.pid))

    def wait_until_idle(self, limit=2):
        """Until it has used hardly any processor time for a while; at most limit seconds."""
        end, before = time.monotonic() + limit, self.cpu_seconds()
        quiet = 0
        while quiet < 3 and time.monotonic() < end:
            time.sleep(0.05)
            now = self.cpu_seconds()
            quiet = quiet + 1 if now - before < 0.002 else 0
            before = now

    def memory(self):
        """Octets of memory of all its processes, shared pages divided among their users."""
        total = 0
        for pid in tree_of(self.process.pid):
            try:
                with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                    total += sum(int(line.split()[1]) * 1024 for line in file
                                 if line.startswith("Pss:"))
            except OSError:
                continue
        return total


class Annal(Server):
    """annal serve with a data directory and a configuration of its own. relaxed: acknowledges
    flags before the disk has them."""

    works_later = True

    def __init__(self, program, root, relaxed=False):
        super().__init__("annal relaxed" if relaxed else "annal", "Annal*" if relaxed else "Annal",
                         root)
        self.program = program
        self.durable = not relaxed
        self.data = self.root / "data"
        self.users = 0
        self.delivers = True
        self.choose_ports()

    def prepare(self):
        """Makes the certificate and the one hash that all users have: hashing passwords at full
        cost is no part of any row."""
        command = [self.program, "sandbox", "--data", self.data, "--user", f"u0:{PASSWORD}"]
        sandbox = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL)
        if not sandbox.stdout.readline():
            raise SystemExit("annal sandbox does not start")
        sandbox.terminate()
        sandbox.communicate()
        file = self.data / "users"
        self.hash = file.read_text(encoding="ascii").strip().partition(":")[2]
        self.names = []
        self.configure()

    def configure(self):
        relaxed = "" if self.durable else "flags_sync = relaxed\n"
        (self.root / "annal.conf").write_text(
            f'data = "{self.data}"\n'
            f'imap = {{"127.0.0.1:{self.port}"}}\nimaps = {{"127.0.0.1:{self.tls_port}"}}\n'
            f'lmtp = {{"127.0.0.1:{self.lmtp_port}"}}\n'
            "cleartext_login = true\nconnections_per_user = 20000\n"
            f"connections_per_address = 20000\n{relaxed}", encoding="ascii")

    def knows_its_configuration(self):
        """False: this build has no such option."""
        return subprocess.run([self.program, "serve", "--check-config", "--config",
                               self.root / "annal.conf"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False).returncode == 0

    def command(self):
        return [self.program, "serve", "--config", self.root / "annal.conf"]

    def repository(self, user):
        return self.data / "mail" / f"{user}.git"

    def new_users(self, count):
        """The template of the names of count fresh users, who have no mail and no directory yet."""
        self.users += 1
        self.names += [f"u{self.users}x{number}" for number in range(count)]
        fresh = self.data / "users.new"
        fresh.write_text("".join(f"{name}:{self.hash}\n" for name in self.names), encoding="ascii")
        fresh.rename(self.data / "users")
        return f"u{self.users}x%c"


class Echo(Server):
    """Does nothing, see ceiling.py."""

    def __init__(self, program, root):
        super().__init__("echo", "echo", root)
        self.program = program
        self.durable = False
        self.delivers = True
        self.choose_ports()

    def prepare(self):
        self.root.mkdir()

    def configure(self):
        pass

    def command(self):
        return [self.program, "--port", self.port, "--lmtp-port", self.lmtp_port]

    def new_users(self, count):
        del count
        return "e%c"


DOVECOT = """\
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/log
protocols = {protocols}
listen = 127.0.0.1
ssl = yes
ssl_cert = <{certificate}/certificate.pem
ssl_key = <{certificate}/key.pem
disable_plaintext_auth = no
default_internal_user = {internal}
default_internal_group = {internal_group}
default_login_user = {login}
default_client_limit = 20000
default_process_limit = 12000
default_vsz_limit = 0
mail_location = {location}
mail_fsync = {fsync}
mail_max_userip_connections = 0
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={mail} gid={mail_group} home={homes}/%u allow_all_users=yes
}}
first_valid_uid = 0
first_valid_gid = 0
service imap-login {{
  service_count = 0
  process_min_avail = 2
  process_limit = 2
  chroot = {chroot}
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
}}
service anvil {{
  chroot =
}}
service imap {{
  process_min_avail = 4
  process_limit = 12000
}}
{lmtp}
namespace inbox {{
  inbox = yes
  separator = /
}}
"""


DOVECOT_LMTP = """\
service lmtp {{
  process_min_avail = 4
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
protocol lmtp {{
  postmaster_address = postmaster@example.org
}}
"""


class Dovecot(Server):
    """A private Dovecot of one mailbox format and one mail_fsync. Two of the same format share the
    homes, so that one can be fed through the faster of them."""

    TITLES = {"mdbox": "mdbox", "sdbox": "sdbox", "maildir": "Maildir"}

    def __init__(self, style, fsync, root, homes, certificate):
        mark = "" if fsync == "always" else "*"
        super().__init__(f"{style} {fsync}", self.TITLES[style] + mark, root)
        self.style, self.fsync = style, fsync
        self.durable = fsync == "always"
        self.homes, self.certificate = pathlib.Path(homes), certificate
        self.users = 0
        self.delivers = os.path.exists("/usr/lib/dovecot/lmtp")
        self.choose_ports()

    @staticmethod
    def program():
        return shutil.which("dovecot", path="/usr/sbin:/sbin:" + os.environ.get("PATH", ""))

    def prepare(self):
        self.root.mkdir(parents=True)
        self.homes.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            shutil.chown(self.homes, "mail", "mail")
        self.configure()

    def configure(self):
        if os.getuid() == 0:
            names = {"internal": "dovecot", "internal_group": "dovecot", "login": "dovenull",
                     "mail": "mail", "mail_group": "mail", "chroot": "login"}
        else:
            me = pwd.getpwuid(os.getuid())
            group = grp.getgrgid(os.getgid()).gr_name
            names = {"internal": me.pw_name, "internal_group": group, "login": me.pw_name,
                     "mail": me.pw_uid, "mail_group": os.getgid(), "chroot": ""}
        (self.root / "dovecot.conf").write_text(DOVECOT.format(
            root=self.root, certificate=self.certificate, location=f"{self.style}:~/{self.style}",
            fsync=self.fsync, homes=self.homes, port=self.port, tls_port=self.tls_port,
            protocols="imap lmtp" if self.lmtp_port else "imap",
            lmtp=DOVECOT_LMTP.format(port=self.lmtp_port) if self.lmtp_port else "", **names),
            encoding="ascii")

    def command(self):
        return [self.program(), "-F", "-c", self.root / "dovecot.conf"]

    def new_users(self, count):
        """As Annal's; any name is a user."""
        del count
        self.users += 1
        return f"{self.fsync[0]}{self.users}x%c"
