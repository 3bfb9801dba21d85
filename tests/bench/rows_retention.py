"""What it costs to keep less of the past, and what clients notice of it.

The account is made by history-bench: messages of 200 days, of which the last 90 are kept."""
import json
import os
import shutil
import statistics
import subprocess
import time

from measure import RunFailed
from rows import first_of, group, sized
from servers import process_seconds

MIB = 1024 * 1024
CLIENTS = 8
SETTLING = 1  # seconds after which `annal gc` waits only for operations that began before it


def run_tool(bench, *arguments):
    """A step of history-bench. Returns what it took."""
    done = subprocess.run([bench.tool("history-bench"), *(str(part) for part in arguments)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise RunFailed(f"history-bench: {done.stderr.decode(errors='replace').strip()}")
    return json.loads(done.stdout)


class Template:
    """An account with a past, to be copied. Made when it is needed first."""

    def __init__(self, bench):
        self.bench = bench
        self.root = bench.directory / "history"

    def make(self):
        if not self.root.exists():
            scale = self.bench.scale
            run_tool(self.bench, "make", self.root, "template", scale.large, scale.past_size,
                     scale.past_batch)
            os.sync()

    def copy(self, path):
        """A copy that nobody uses; the disk has it."""
        self.make()
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.root / "mail" / "template.git", path, symlinks=True)
        os.sync()
        return path


def packs(path):
    return sorted((path / "objects" / "pack").glob("*.pack"))


def milliseconds_to_copy(files, target):
    """How long the disk takes for a plain copy of these files, until it has them."""
    start = time.perf_counter()
    with open(target, "wb") as out:
        for file in files:
            with open(file, "rb") as source:
                shutil.copyfileobj(source, out, MIB)
        out.flush()
        os.fsync(out.fileno())
    took = time.perf_counter() - start
    target.unlink()
    return 1000 * took


def milliseconds_of_git(path, *arguments):
    start = time.perf_counter()
    done = subprocess.run(["git", "-C", str(path), *arguments], stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise RunFailed(f"git {arguments[0]}: {done.stderr.decode(errors='replace').strip()}")
    return 1000 * (time.perf_counter() - start)


class Steps:
    """The steps alone, each against what it can't do without."""

    def __init__(self, bench, template):
        self.bench, self.template = bench, template
        many = sized(bench.scale.large)
        self.cut, self.drop, self.purge = (
            bench.operation(f"{what}, {many}", "ms")
            for what in ("history: boundary moved", "history: dropped before it",
                         "history: one message purged"))
        self.walks, self.copies = [], []
        self.git = bench.operation(f"history: annal gc, {many}", "ms") \
            if bench.scale.everything else None
        self.git_took = []
        self.last_drop_seconds = 0
        bench.at_end(self.compare)

    def measure(self, _):
        path = self.template.copy(self.bench.directory / "steps" / "one.git")
        if self.git is not None:
            self.measure_git(path)
        self.record(self.cut, run_tool(self.bench, "cut", path))
        self.walks.append(milliseconds_of_git(path, "rev-list", "--count", "--all"))
        drop = run_tool(self.bench, "drop", path)
        self.record(self.drop, drop)
        self.last_drop_seconds = drop["seconds"]
        self.copies.append(milliseconds_to_copy(packs(path), self.bench.directory / "copy"))
        self.record(self.purge, run_tool(self.bench, "purge", path))
        shutil.rmtree(path)

    def measure_git(self, path):
        """The whole past in one pack, by git and by us."""
        other = self.template.copy(self.bench.directory / "steps" / "other.git")
        self.git_took.append(milliseconds_of_git(other, "-c", "gc.auto=0", "gc", "--quiet"))
        shutil.rmtree(other)
        self.record(self.git, run_tool(self.bench, "gc", path))

    def record(self, operation, took):
        operation.add("annal", 1000 * took["seconds"], cpu_us=1e6 * took["processor_seconds"])

    def compare(self):
        def against(operation, what, times):
            if times:
                operation.limits.append((what, statistics.median(times), None))

        against(self.cut, "git rev-list", self.walks)
        against(self.drop, "copy of what stays", self.copies)
        against(self.purge, "copy of what stays", self.copies)
        if self.git is not None:
            against(self.git, "git gc", self.git_took)


class Beside:
    """Clients of a server, with and without `annal gc --history` of their account beside them."""

    def __init__(self, bench, template, steps):
        self.bench, self.template, self.steps = bench, template, steps
        self.operation = bench.operation(
            f"APPEND and STORE, {CLIENTS} clients, while history is dropped", "commands/s")
        self.alone = []
        bench.at_end(self.compare)

    def measure(self, server):
        user = first_of(server.new_users(1))
        self.template.copy(server.repository(user))
        seconds = min(max(self.steps.last_drop_seconds, 0.3), self.bench.seconds(server))
        options = ["--user", user, "--clients", CLIENTS, "--warmup", 3, "--seconds", seconds,
                   "--prepare", "SELECT INBOX", "--range", self.bench.scale.large // 2,
                   "--do", "APPEND INBOX %m", "--do", r"STORE %r %fFLAGS (\Flagged)"]
        self.alone.append(self.bench.drive(server, *options, changes=True)["per_second"])
        started = []
        try:
            result = self.bench.drive(
                server, *options, changes=True,
                at_gate=lambda: started.append(begin_to_collect(server, user)))
        finally:
            complaints = [process.communicate()[1] for process in started]
        if any(process.returncode != 0 for process in started):
            raise RunFailed(f"annal gc: {complaints[0].decode(errors='replace').strip()}")
        self.bench.record(self.operation, server, result)

    def compare(self):
        if self.alone:
            self.operation.limits.append(("own without it", statistics.median(self.alone), None))


def begin_to_collect(server, user):
    """Starts `annal gc --history`; returns it when it does no longer wait but work."""
    process = subprocess.Popen([str(part) for part in (
        server.program, "gc", user, "--history", "--config", server.root / "annal.conf")],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(SETTLING)
    before = process_seconds(process.pid)
    while process.poll() is None and process_seconds(process.pid) < before + 0.005:
        time.sleep(0.005)
    return process


@group("retention")
def retention(bench):
    server = bench.servers[0]
    template = Template(bench)
    steps = Steps(bench, template)
    beside = Beside(bench, template, steps)
    bench.repeat("history dropped", [server], steps.measure)
    bench.repeat("clients while history is dropped", [server], beside.measure)
