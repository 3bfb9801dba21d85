"""Runs of the load generator, repeated and interleaved over the servers."""
import imaplib
import json
import os
import subprocess
import sys
import time

import report
from servers import PASSWORD


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


def synced_writes(directory, seconds=0.5):
    """How many synced 4 kB overwrites a second the disk takes, one after the other."""
    path = os.path.join(directory, "synced-writes")
    block = os.urandom(4096)
    with open(path, "wb") as file:
        file.write(block * 256)
        os.fsync(file.fileno())
    descriptor = os.open(path, os.O_WRONLY | os.O_DSYNC)
    try:
        count, start = 0, time.monotonic()
        while time.monotonic() - start < seconds:
            os.pwrite(descriptor, block, count % 256 * 4096)
            count += 1
        return count / (time.monotonic() - start)
    finally:
        os.close(descriptor)


def touch_memory(octets):
    """Makes the kernel (and below it a hypervisor) provide memory that no one has used yet."""
    script = f"b = bytearray({octets})\nb[::4096] = b'x' * len(b[::4096])"
    subprocess.run([sys.executable, "-c", script], check=False)


class Bench:
    """The servers, the generator, the operations measured so far."""

    def __init__(self, generator, servers, directory, scale, end):
        self.generator = str(generator)
        self.lmtp_generator = f"{generator}-lmtp"
        self.servers = servers
        self.directory = directory
        self.scale = scale  # sizes and durations, see bench.py
        self.end = end      # time.monotonic() after which nothing new begins
        self.operations = []
        self.notes = []
        self.failed = False  # Annal refused something
        self.latency = {}   # server title: [(clients, p50, p99)]

    # --- operations ---

    def operation(self, name, unit, *targets):
        operation = report.Operation(name, unit, targets)
        self.operations.append(operation)
        return operation

    def chosen(self, *keys):
        """The servers among these keys that take part; Annal always does."""
        return [server for server in self.servers if server.key in ("annal", *keys)]

    def repeat(self, name, servers, measure, seconds, times=None):
        """Calls measure(server) for each server in turn, each round in another order, until it was
        done often enough or has taken these seconds."""
        start = time.monotonic()
        failed = set()
        for number in range(times or self.scale.rounds):
            if number > 0 and time.monotonic() - start > seconds:
                break
            if time.monotonic() > self.end:
                self.notes.append(f"{name}: out of time, {number} of {self.scale.rounds} rounds")
                break
            turn = number % len(servers)
            for server in servers[turn:] + servers[:turn]:
                if server.key in failed:
                    continue
                try:
                    measure(server)
                except RunFailed as problem:
                    failed.add(server.key)
                    self.failed = self.failed or server.key.startswith("annal")
                    self.notes.append(f"{name}: {server.title}: {problem}{server.last_words()}")
        say(f"  {name}: {time.monotonic() - start:.1f} s")

    # --- runs ---

    def seconds(self, server):
        """How long a run takes that is limited by time."""
        return self.scale.steady if server.works_later else self.scale.seconds

    def drive(self, server, *options, tls=False, at_gate=None, changes=False, lmtp=False):
        """One run of the generator (lmtp: of the one that delivers). at_gate is called when all clients are there; without it what
        the run cost is looked at, too. With no --do that is all there is. changes: the run changes
        mailboxes, so what the server does about it later is a cost of the run."""
        if lmtp:
            command = [self.lmtp_generator, "--gate", "--port", server.lmtp_port, *options]
        else:
            command = [self.generator, "--gate", "--port", server.tls_port if tls else server.port,
                       *(["--tls"] if tls else []), *options]
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
        client = imaplib.IMAP4("127.0.0.1", server.port)
        try:
            client.login(user.replace("%c", "0"), PASSWORD)
            return int(client.select(mailbox, readonly=True)[1][0])
        finally:
            client.shutdown()

    def record(self, operation, server, result, key=None):
        """Operations a second of a run."""
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
