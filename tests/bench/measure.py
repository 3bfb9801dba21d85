"""Runs of the load generator, repeated and interleaved over the servers."""
import imaplib
import json
import os
import subprocess
import sys
import time

import ceiling
import report
from servers import ANSWER_LIMIT, PASSWORD


class RunFailed(Exception):
    """A server refused or broke off; the row goes on without it."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def device_written(directory):
    """Octets written so far to the block device below a directory, or None if it is none."""
    device = os.stat(directory).st_dev
    wanted = (str(os.major(device)), str(os.minor(device)))
    with open("/proc/diskstats", encoding="ascii") as file:
        for line in file:
            fields = line.split()
            if tuple(fields[:2]) == wanted:
                return int(fields[9]) * 512
    return None


def touch_memory(octets):
    """Makes the kernel (and below it a hypervisor) provide memory that no one has used yet."""
    script = f"b = bytearray({octets})\nb[::4096] = b'x' * len(b[::4096])"
    subprocess.run([sys.executable, "-c", script], check=False)


class Repeated:
    """What is measured in rounds: of each server in turn, each round in another order."""

    def __init__(self, name, servers, measure, times):
        self.name, self.servers, self.measure, self.times = name, servers, measure, times
        self.done = 0
        self.longest = 0  # seconds of a round
        self.failed = set()

    def turns(self):
        turn = self.done % len(self.servers)
        return [server for server in self.servers[turn:] + self.servers[:turn]
                if server.key not in self.failed]


class Bench:
    """The servers, the generator, the operations measured so far."""

    def __init__(self, generator, servers, directory, scale, end):
        self.generator = str(generator)
        self.lmtp_generator = f"{generator}-lmtp"
        self.servers = servers
        self.directory = directory
        self.scale = scale  # sizes and durations, see bench.py
        self.end = end      # time.monotonic() after which no further round begins
        self.last = end + 3 * scale.limit  # after which nothing at all begins
        self.repeated = []
        self.echo = None    # a server that does nothing, see ceiling.py
        self.best = {}      # shared by all ceilings
        self.conclusions = []
        self.operations = []
        self.notes = []
        self.failed = False  # Annal refused something, or a row was not measured
        self.latency = {}   # server title: [(clients, p50, p99)]

    def tool(self, name):
        """The path of another program of the benchmark."""
        return os.path.join(os.path.dirname(self.generator), name)

    # --- operations ---

    def operation(self, name, unit, *targets):
        operation = report.Operation(name, unit, targets)
        self.operations.append(operation)
        return operation

    def chosen(self, *keys):
        """The servers among these keys that take part; Annal always does."""
        return [server for server in self.servers if server.key in ("annal", *keys)]

    def repeat(self, name, servers, measure, times=None):
        """Calls measure(server) for each server, now once and later, see further_rounds(), until it
        was done so often (by default as the scale says)."""
        work = Repeated(name, servers, measure, times or self.scale.rounds)
        self.repeated.append(work)
        if time.monotonic() > self.last:
            self.notes.append(f"{name}: skipped, out of time")
            self.failed = True
            return
        self.one_round(work)

    def one_round(self, work):
        start = time.monotonic()
        for server in work.turns():
            try:
                server.go_on()
                work.measure(server)
            except (RunFailed, OSError, imaplib.IMAP4.error) as problem:
                work.failed.add(server.key)
                self.failed = self.failed or server.key.startswith("annal")
                self.notes.append(f"{work.name}: {server.title}: {problem}{server.last_words()}")
            finally:
                server.stand_still()
        work.done += 1
        took = time.monotonic() - start
        work.longest = max(work.longest, took)
        say(f"  {work.name}: {took:.1f} s" + f" (round {work.done})" * (work.times > 1))

    def further_rounds(self):
        """When every row has been measured: second rounds of all, then third ones, the shortest
        first and as far as each ends in time. So no row waits for its first round, and what
        disturbs the machine for a while disturbs one round."""
        for done in range(1, self.scale.rounds):
            for work in sorted(self.repeated, key=lambda work: work.longest):
                if work.done == done < work.times and work.turns() and \
                        time.monotonic() + work.longest < self.end:
                    self.one_round(work)

    def at_end(self, conclude):
        """Calls conclude() when all rounds are over."""
        self.conclusions.append(conclude)

    # --- ceilings ---

    def bounded(self, operation, servers, under_way, octets):
        """Gives the operation a ceiling. Returns the servers and the echo, to take turns."""
        if self.echo is None:
            return servers
        operation.ceiling = ceiling.Ceiling(under_way, octets, os.cpu_count(), self.best)
        return [*servers, self.echo]

    def bound(self, operation, result):
        """Takes a run against the echo as a part of the operation's ceiling."""
        found = operation.ceiling
        write_us = ceiling.synced_write_us(self.directory, found.octets) if found.octets else None
        found.add(result, write_us, self.round_trip_us() if found.under_way > 1 else None)

    def round_trip_us(self):
        """Of a shortest command of one client alone, microseconds."""
        return self.drive(self.echo, "--do", "NOOP", "--seconds", 0.1, "--warmup", 10)["p50_us"]

    # --- runs ---

    def seconds(self, server):
        """How long a run takes that is limited by time."""
        if server is self.echo:
            return self.scale.seconds / 2
        return self.scale.steady if server.works_later else self.scale.seconds

    def drive(self, server, *options, tls=False, at_gate=None, changes=False, lmtp=False):
        """One run of the generator (lmtp: of the one that delivers). at_gate is called when all
        clients are there; without it what the run cost is looked at, too. With no --do that is all
        there is. changes: the run changes mailboxes, so what the server does about it later is a
        cost of the run."""
        if lmtp:
            command = [self.lmtp_generator, "--gate", "--port", server.lmtp_port, *options]
        else:
            command = [self.generator, "--gate", "--port", server.tls_port if tls else server.port,
                       *(["--tls"] if tls else []), "--patience", self.scale.patience, *options]
        os.sync()  # nobody pays for what another one left to write
        process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            if process.stdout.readline() != b"ready\n":
                raise RunFailed(self._complaint(process))
            if at_gate is not None:
                at_gate()
            written = device_written(self.directory)
            cpu = server.cpu_seconds()
            process.stdin.write(b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise RunFailed(self._complaint(process))
            result = json.loads(line)
            if changes and server.works_later:
                server.wait_until_idle()
            result["cpu_seconds"] = server.cpu_seconds() - cpu
            if at_gate is None:
                result["memory"] = server.memory()
            if written is not None:
                os.sync()
                result["written"] = device_written(self.directory) - written
            return result
        finally:
            process.stdin.close()
            process.wait()
            process.stdout.close()
            process.stderr.close()

    @staticmethod
    def _complaint(process):
        process.stdin.close()
        lines = process.stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "the generator ended"

    def seed(self, server, user, messages, size, clients=1, mailbox="INBOX"):
        """Fills the mailboxes of fresh users. Several messages a command, and where there is a
        faster door to the same mail it is taken: this is not measured."""
        if server is self.echo:
            return
        batch = min(messages, 500)
        self.drive(getattr(server, "feeder", server), "--user", user, "--clients", clients,
                   "--do", f"APPEND {mailbox} %b", "--batch", batch, "--size", size,
                   "--each", messages // batch)
        found, expected = self.count(server, user, mailbox), messages // batch * batch
        if found < expected:
            raise RunFailed(f"{found} messages instead of {expected}")

    @staticmethod
    def count(server, user, mailbox="INBOX"):
        """How many messages the first user has there."""
        client = imaplib.IMAP4("127.0.0.1", server.port, timeout=ANSWER_LIMIT)
        try:
            client.login(user.replace("%c", "0"), PASSWORD)
            return int(client.select(mailbox, readonly=True)[1][0])
        finally:
            client.shutdown()

    def record(self, operation, server, result, key=None):
        """Operations a second of a run."""
        if server is self.echo:
            self.bound(operation, result)
            return
        operation.add(key or server.key, result["per_second"], **costs(result))

    def record_time(self, operation, server, result):
        """Milliseconds of an operation: the median of the run."""
        operation.add(server.key, result["p50_us"] / 1000, **costs(result))

    def time(self, operation, server, user, command, times=1, warmup=0, prepare=(), tls=False,
             changes=False):
        """Runs a command, measures how long it takes."""
        prepared = [part for text in prepare for part in ("--prepare", text)]
        self.record_time(operation, server, self.drive(
            server, "--user", user, *prepared, "--do", command, "--count", times, "--warmup",
            warmup, tls=tls, changes=changes))


def costs(result):
    """What a run cost, for an operation."""
    count = max(result["operations"], 1)
    return {"p50_us": result["p50_us"], "p99_us": result["p99_us"],
            "generator_share": result["own_cpu_share"],
            "generator_cpu_us": result["own_cpu_seconds"] * 1e6 / count,
            "cpu_us": result["cpu_seconds"] * 1e6 / count,
            "written_kb": result["written"] / 1000 / count if "written" in result else None,
            "memory_mb": result["memory"] / 1e6 if "memory" in result else None}
