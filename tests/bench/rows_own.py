"""Rows of Annal against bounds and against itself."""
import concurrent.futures
import subprocess
import threading
import time

import measure
from rows import at_size, first_of, group, session, sized
from rows_change import append_options

LOAD_SECONDS = 3
# Operations of a round: few, for a small mailbox shall stay small.
GROWTH_STORES, GROWTH_APPENDS = 200, 100
FLAT = 1 / 1.5


# --- commits in view ---

def tip(repository):
    """What stock git shows as the newest commit."""
    done = subprocess.run(["git", "-C", str(repository), "log", "-1", "--format=%H", "INBOX"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return done.stdout


def seconds_until_visible(repository, before):
    start = time.monotonic()
    while time.monotonic() - start < 30:
        if tip(repository) != before:
            break
    return time.monotonic() - start


def measure_visible(operation, server, times, going_on=lambda: True):
    user = first_of(server.new_users(1))
    client = session(server, user)
    for _ in range(times):
        before = tip(server.repository(user))
        client.append("INBOX", None, None, b"Subject: visible\r\n\r\nyes?\r\n")
        took = seconds_until_visible(server.repository(user), before)
        if not going_on():
            break
        operation.add("annal", 1000 * took)
        time.sleep(0.05)
    client.shutdown()


def measure_visible_under_load(bench, operation, server, times):
    options = append_options(bench, server, 4, 64, True)
    options[options.index("--seconds") + 1] = LOAD_SECONDS
    ready = threading.Event()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        load = pool.submit(bench.drive, server, *options, at_gate=ready.set)
        while not load.done() and not ready.wait(0.1):
            pass
        time.sleep(LOAD_SECONDS / 10)
        measure_visible(operation, server, times, lambda: not load.done())
        load.result()


@group("visible")
def visible(bench):
    light = bench.operation("commit in git log after the acknowledgement", "ms")
    light.limits.append(("limit", 200, 1))
    loaded = bench.operation("commit in git log while 64 clients append", "ms")
    loaded.limits.append(("limit", 1000, 1))
    server = bench.servers[0]
    bench.repeat(light.name, [server], lambda _: measure_visible(light, server, 10), times=1)
    bench.repeat(loaded.name, [server], lambda _: measure_visible_under_load(
        bench, loaded, server, 5), times=1)


# --- growth ---

class Growing:
    """A mailbox of one size and what its operations cost."""

    def __init__(self, bench, count):
        self.bench, self.server, self.count = bench, bench.servers[0], count
        self.user = first_of(self.server.new_users(1))
        many = sized(count)
        self.memory = bench.operation(f"memory of a loaded mailbox of {many}", "MB")
        self.memory.limits += at_size(count, 1000000, ("limit", 64, 1))
        self.store, self.store_cpu, self.append, self.append_cpu = (
            bench.operation(f"{what}, mailbox of {many}", unit)
            for what, unit in (("STORE one flag", "ms"), ("processor time of STORE", "us"),
                               ("APPEND 4 kB", "ms"), ("processor time of APPEND", "us")))
        self.select = bench.operation(f"SELECT, first after start, mailbox of {many}", "ms")

    def fill(self):
        self.bench.seed(self.server, self.user, self.count, 1000)
        # Merging the packs of the filling is not what a hundred changes cost.
        subprocess.run([self.server.program, "gc", self.user, "--config",
                        self.server.root / "annal.conf"], stdout=subprocess.DEVNULL, check=True)
        self.server.restart()
        before = self.server.memory()
        after = []
        self.bench.drive(self.server, "--user", self.user, "--prepare", "SELECT INBOX", "--prepare",
                         "FETCH 1:* FLAGS", at_gate=lambda: after.append(self.server.memory()))
        self.memory.add("annal", (after[0] - before) / 1e6)

    def change(self, number):
        """A round: messages all over the mailbox get a keyword that hardly any has, so that the
        commands change something; a few new ones arrive."""
        self.measure(self.store, self.store_cpu, "--prepare", "SELECT INBOX", "--range", self.count,
                     "--do", f"STORE %r +FLAGS (round{number})", "--count", GROWTH_STORES)
        self.measure(self.append, self.append_cpu, "--do", "APPEND INBOX %m", "--count",
                     GROWTH_APPENDS)

    def measure(self, operation, processor, *options):
        result = self.bench.drive(self.server, "--user", self.user, "--warmup", 3, *options,
                                  changes=True)
        self.bench.record_time(operation, self.server, result)
        processor.add("annal", measure.costs(result)["cpu_us"])

    def select_first(self):
        self.bench.time(self.select, self.server, self.user, "SELECT INBOX")

    def compare(self, small, middle):
        """Its cost with that of the smaller ones."""
        # Processor time has no target: whatever the server does meanwhile is in it.
        for own, other, target in ((self.store, small.store, FLAT),
                                   (self.store_cpu, small.store_cpu, None),
                                   (self.append, small.append, FLAT),
                                   (self.append_cpu, small.append_cpu, None)):
            if self is not small:
                own.limits.append((f"own at {sized(small.count)}", other.value("annal"), target))
        if middle is not None and self.count > middle.count:
            self.select.limits.append((f"own at {sized(middle.count)}",
                                       middle.select.value("annal"), 0.1))


@group("growth")
def growth(bench):
    """All sizes take turns, so that the disk's mood is the same for all of them."""
    server = bench.servers[0]
    mailboxes = [Growing(bench, count) for count in bench.scale.growth]
    bench.repeat("growing mailboxes", [server],
                 lambda _: [mailbox.fill() for mailbox in mailboxes], times=1)
    numbers = iter(range(1000))

    def turn(_):
        number = next(numbers)
        for mailbox in mailboxes[number % len(mailboxes):] + mailboxes[:number % len(mailboxes)]:
            mailbox.change(number)
        server.restart()
        for mailbox in mailboxes:
            mailbox.select_first()

    bench.repeat("growth", [server], turn)
    middle = next((mailbox for mailbox in mailboxes if mailbox.count == 100000), None)
    for mailbox in mailboxes:
        bench.at_end(lambda mailbox=mailbox: mailbox.compare(mailboxes[0], middle))
