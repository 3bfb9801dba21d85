"""The benchmark's orchestration; scripts/bench says what it measures and how."""
import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import ceiling
import measure
import report
import rows
import rows_change
import rows_delivery  # noqa: F401 - registers its groups, as the next ones do
import rows_read  # noqa: F401
import rows_own  # noqa: F401
import rows_past  # noqa: F401
import rows_retention  # noqa: F401
import rows_session  # noqa: F401
from servers import Annal, Dovecot, Echo


@dataclasses.dataclass
class Scale:
    """How much is done."""

    limit: float          # seconds in all, if the first rounds of all rows take less
    seconds: float        # of a run that is limited by time
    steady: float         # the same, for a server that does some of its work later
    rounds: int           # of each row
    everything: bool      # also the rows that a quick run leaves out
    small: int            # messages of the mailbox for single flags
    bulk: int             # of COPY, MOVE, EXPUNGE, bodies
    large: int            # of SELECT and FETCH of metadata
    selects: tuple        # further sizes of SELECT
    sessions: tuple       # idle ones, of one user
    owners: int           # idle ones, each another user's
    notices: int
    past_size: int        # octets of the messages of a long past
    past_batch: int       # of them, in a commit
    growth: tuple         # messages of mailboxes that are compared
    touch: int            # octets of memory to touch at first
    patience: int = 60    # seconds without any answer after which a server has failed
    writers: tuple = rows.DURABLE + rows.RELAXED
    relaxed: tuple = rows.RELAXED  # of unsynced flags
    durable: tuple = rows.DURABLE
    readers: tuple = rows.DURABLE  # of the large mailbox
    bulk_peers: tuple = rows.DURABLE


MIB = 1024 * 1024
MILLION = 1000000
FULL = Scale(limit=1740, seconds=1.2, steady=2.5, rounds=3, everything=True,
             small=1000, bulk=10000, large=100000, selects=(10000, MILLION), sessions=(1000, 10000),
             owners=1000, notices=10, past_size=4096, past_batch=10,
             growth=(1000, 10000, 100000, MILLION), touch=4096 * MIB, patience=300)
QUICK = Scale(limit=155, seconds=0.4, steady=1.2, rounds=3, everything=False,
              small=1000, bulk=10000, large=100000, selects=(10000,), sessions=(1000,), owners=0,
              notices=3, past_size=1000, past_batch=100, growth=(1000, 10000, 100000),
              touch=1024 * MIB, writers=("mdbox always", "maildir always"),
              relaxed=("mdbox optimized",), durable=("mdbox always", "maildir always"),
              # The best of them at this; a file a message takes long to make and to remove.
              readers=("mdbox always",), bulk_peers=("mdbox always",))
TINY = Scale(limit=250, seconds=0.1, steady=0.1, rounds=1, everything=False,
             small=50, bulk=200, large=200, selects=(100,), sessions=(20,), owners=10, notices=2,
             past_size=200, past_batch=10, growth=(100, 200), touch=MIB)


def arguments():
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measures Annal against a private Dovecot on loopback.")
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--quick", action="store_true", help="about 3 minutes; full takes up to 30")
    scale.add_argument("--tiny", action="store_true", help="seconds; proves only that it runs")
    parser.add_argument("--json", metavar="FILE", help="write all figures")
    parser.add_argument("--plot", metavar="FILE", help="write an SVG of latency against clients")
    parser.add_argument("--rows", metavar="REGEX", default="",
                        help="only these groups: " + ", ".join(rows.GROUPS))
    parser.add_argument("--million", action="store_true", help="mailboxes of a million messages, "
                        "which a full run has anyway; some minutes and gigabytes more")
    parser.add_argument("--no-dovecot", action="store_true", help="measure Annal alone")
    parser.add_argument("--directory", metavar="DIR", help="where the mail goes, on the disk to be "
                        "measured (default: TMPDIR, or /var/tmp)")
    parser.add_argument("--annal", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--generator", required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def make_servers(options, scale, root):
    """Annal and the Dovecots that the scale's rows need, started."""
    annal = Annal(options.annal, root / "annal")
    relaxed = Annal(options.annal, root / "annal-relaxed", relaxed=True)
    servers = [annal, relaxed]
    for server in servers:
        server.root.mkdir()
        server.prepare()
    if not relaxed.knows_its_configuration():
        measure.say("this annal has no flags_sync: no rows of unsynced flags")
        servers.remove(relaxed)
    if not options.no_dovecot:
        if Dovecot.program() is None:
            raise SystemExit("there is no dovecot; scripts/bench installs it, or use --no-dovecot")
        wanted = dict.fromkeys(scale.writers + scale.durable + scale.relaxed)
        styles = dict.fromkeys(key.split()[0] for key in wanted)
        pairs = [(style, fsync) for fsync in ("always", "optimized") for style in styles]
        pairs += [(style, "never") for style in styles]
        by_key = {}
        for style, fsync in pairs:
            dovecot = Dovecot(style, fsync, root / f"{style}-{fsync}", root / "homes" / style,
                              annal.data / "tls")
            dovecot.prepare()
            by_key[dovecot.key] = dovecot
            servers.append(dovecot)
        # What is not measured goes in through the same format's fastest server.
        for style in styles:
            for fsync in ("always", "optimized"):
                by_key[f"{style} {fsync}"].feeder = by_key[f"{style} never"]
    return servers


def about(options, started):
    version = subprocess.run([Dovecot.program(), "--version"], stdout=subprocess.PIPE,
                             check=False).stdout.decode().split()[:1] \
        if not options.no_dovecot else []
    return {"dovecot": version[0] if version else None, "processors": os.cpu_count(),
            "load_before": os.getloadavg()[0], "started": started}


def machine(bench):
    """How fast what all servers need is at this moment."""
    return {"synced_writes_per_second": round(1e6 / ceiling.synced_write_us(bench.directory, 1)),
            "round_trip_us": bench.round_trip_us()}


def print_report(bench, facts):
    used = [server for server in bench.servers
            if any(server.key in operation.samples for operation in bench.operations)]
    print(report.table(bench.operations, used))
    print("\n* mail_fsync=optimized, Dovecot's default: flags, copies and mdbox metadata are "
          "acknowledged\n  before the disk has them. All others acknowledge what the disk has, "
          "Annal too but in rows\n  called unsynced.\n"
          "Medians. ratio: how many times better Annal is; target: what it should be at least, "
          "with ! where\nit is not. CPU (of all the server's processes) and written (by the disk, "
          "others' writes too) are per\ncommand, memory at the end of the run (PSS, mapped files "
          "included), of Annal and of the first server\nthat the ratio names.")
    short, wanted, impossible = report.shortfalls(bench.operations, used)
    print(f"{wanted - len(short)} of {wanted} targets are reached."
          + (f" Of the others {len(impossible)} lie above what any server can reach here."
             if impossible else ""))
    bounds = report.ceilings(bench.operations)
    if bounds:
        print("\nThe most that any server can reach, operations a second (\"at most\": how many "
              "times better than\nthe other server that is; the head of scripts/bench says what "
              f"bounds them):\n{bounds}")
    print("\nProcessor time of all servers, microseconds a command (--json has the other costs):")
    print(report.detail_table(bench.operations, used, "cpu_us"))
    print_generator(bench, facts)
    print_machine(facts)
    for note in bench.notes:
        print(f"Note: {note}")


def print_machine(facts):
    def both(key, unit):
        before, after = facts["before"][key], facts["after"][key]
        return f"{report.short(before)} {unit} before, {report.short(after)} after"

    print(f"The disk took {both('synced_writes_per_second', 'synced 4 kB writes a second')}; a "
          f"round trip to a server\nthat does nothing took {both('round_trip_us', 'us')}. "
          f"Dovecot {facts['dovecot'] or '-'}.")
    rates = [facts[when]["synced_writes_per_second"] for when in ("before", "after")]
    if max(rates) > 1.5 * min(rates):
        print("The disk's speed changed during the run: others use it; run it again.")


def print_generator(bench, facts):
    """Whether the generator held anybody back."""
    shares = [detail["generator_share"] for operation in bench.operations
              for details in operation.details.values() for detail in details
              if "generator_share" in detail]
    if shares:
        print(f"\nThe generator used at most {max(shares):.0%} of one processor "
              f"(median {report.median(shares):.0%}) of {facts['processors']}; load before the run "
              f"{facts['load_before']:.1f}.")
    busy = report.generator_heavy(bench.operations)
    if busy:
        print("Rows where it used over 30 % of what Annal used, microseconds a command (what the "
              "server\nsaves there shows less in the ratio):")
        for name, own, server in busy:
            print(f"  {name}: {report.short(own)}, Annal {report.short(server)}")


def write_files(options, bench, facts):
    if options.json:
        facts["notes"] = bench.notes
        pathlib.Path(options.json).write_text(
            report.as_json(bench.operations, bench.servers, facts), encoding="utf-8")
    if options.plot:
        drawing = report.plot(bench.latency, "APPEND 4 kB to own mailboxes")
        if drawing:
            pathlib.Path(options.plot).write_text(drawing, encoding="utf-8")


def run(options, scale, root):
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    end = time.monotonic() + scale.limit
    servers = make_servers(options, scale, root)
    bench = measure.Bench(options.generator, servers, root, scale, end)
    bench.echo = Echo(f"{options.generator}-echo", root / "echo")
    bench.echo.prepare()
    try:
        for server in (*servers, bench.echo):
            server.start()
        measure.touch_memory(scale.touch)
        facts = about(options, started) | {"before": machine(bench)}
        measure.say(f"  ready: {time.monotonic() - end + scale.limit:.1f} s")
        for name in rows.groups_matching(options.rows):
            rows.GROUPS[name](bench)
        if options.plot:
            rows_change.append_latency(bench)
        bench.further_rounds()
        for conclude in bench.conclusions:
            conclude()
        facts["after"] = machine(bench)
    finally:
        for server in (*servers, bench.echo):
            server.begin_stop()
        for server in (*servers, bench.echo):
            server.stop()
    print_report(bench, facts)
    write_files(options, bench, facts)
    return 1 if bench.failed else 0


def remove(root):
    """Removes all that a run has made. A file may cost a request to the disk, so many at a time."""
    users = [path for pattern in ("homes/*/*", "*/data/mail/*") for path in root.glob(pattern)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for path in users:
            pool.submit(shutil.rmtree, path, ignore_errors=True)
    shutil.rmtree(root, ignore_errors=True)


def main():
    options = arguments()
    scale = QUICK if options.quick else TINY if options.tiny else FULL
    if options.million:
        scale = dataclasses.replace(
            scale, growth=tuple(dict.fromkeys((*scale.growth, MILLION))),
            selects=tuple(dict.fromkeys((*scale.selects, MILLION))), limit=scale.limit + 900)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Dovecot's mail processes are another user: they must be able to pass.
    root = pathlib.Path(tempfile.mkdtemp(
        prefix="annal-bench-", dir=options.directory or os.environ.get("TMPDIR") or "/var/tmp"))
    root.chmod(0o711)
    try:
        return run(options, scale, root)
    finally:
        remove(root)


if __name__ == "__main__":
    sys.exit(main())
