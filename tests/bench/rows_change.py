"""Rows of what changes mailboxes: delivery, flags, copies, removal."""
import shutil
import statistics

from rows import at_size, first_of, group, of, sized

KIB = 1024

# Octets in KiB, clients, whether each has a mailbox of its own, targets.
APPENDS = [
    (4, 1, True, [("mdbox always", 3), ("maildir always", 5)]),
    (4, 8, True, [("mdbox always", 8), ("maildir always", 8)]),
    (4, 64, True, [("mdbox always", 8), ("maildir always", 8)]),
    (4, 8, False, [("mdbox always", 8), ("maildir always", 8)]),
    (4, 64, False, [("mdbox always", 8), ("maildir always", 8)]),
    (16, 1, True, [("mdbox always", 2.5)]),
    (16, 8, True, [("mdbox always", 2.5)]),
    (16, 64, True, [("mdbox always", 2.5)]),
    (16, 8, False, [("mdbox always", 2.5)]),
    (16, 64, False, [("mdbox always", 2.5)]),
    (1024, 1, True, [("best", 0.9)]),
    (1024, 8, True, [("best", 0.9)]),
    (1024, 64, True, [("best", 0.9)]),
    (1024, 8, False, [("best", 0.9)]),
    (1024, 64, False, [("best", 0.9)]),
]
QUICK_APPENDS = ((4, 1, True), (4, 8, True), (4, 64, True), (4, 8, False), (16, 1, True),
                 (1024, 1, True))
LARGE_MESSAGES_NEED = 24 * KIB ** 3  # octets of free disk, for many clients with large messages


def append_options(bench, server, kib, clients, many):
    user = server.new_users(clients if many else 1)
    large = kib >= KIB
    if clients > 1 and not many:
        # Dovecot's processes may fail when several make one mdbox at the same time.
        bench.seed(server, user, 1, 1000)
    return ["--user", user if many else first_of(user), "--clients", clients, "--size", kib * KIB,
            "--seconds", bench.seconds(server) / (2 if large else 1), "--do", "APPEND INBOX %m",
            "--warmup", 1 if large else 3]


def measure_append(bench, kib, clients, many, targets, times=None):
    size = f"{kib} kB" if kib < KIB else "1 MB"
    where = "" if clients == 1 else (", own mailboxes" if many else ", one mailbox")
    operation = bench.operation(f"APPEND {size}, {of(clients)}{where}", "messages/s", *targets)
    # What the default does not sync is small beside a large message.
    taking_part = bench.scale.writers if kib < KIB else bench.scale.durable

    def measure(server):
        bench.record(operation, server, bench.drive(
            server, *append_options(bench, server, kib, clients, many), changes=True))
        if kib >= KIB and server.works_later:
            server.restart()  # or its next rows would be measured beside merging these

    servers = bench.bounded(operation, bench.chosen(*taking_part), clients, kib * KIB)
    bench.repeat(operation.name, servers, measure, times)
    if kib == 4 and many:
        bench.at_end(lambda: remember_latency(bench, operation, clients))


@group("append")
def append(bench):
    for kib, clients, many, targets in APPENDS:
        if not bench.scale.everything and (kib, clients, many) not in QUICK_APPENDS:
            continue
        if kib >= KIB and clients > 1 and \
                shutil.disk_usage(bench.directory).free < LARGE_MESSAGES_NEED:
            bench.notes.append(f"APPEND 1 MB, {of(clients)}: skipped, the disk has too little room")
            continue
        measure_append(bench, kib, clients, many, targets)


def remember_latency(bench, operation, clients):
    for server in bench.servers:
        details = operation.details.get(server.key)
        if details:
            bench.latency.setdefault(server.title, []).append(
                (clients, statistics.median(detail["p50_us"] for detail in details),
                 statistics.median(detail["p99_us"] for detail in details)))


def append_latency(bench):
    """Further points of the plot."""
    for clients in (2, 4, 16, 32):
        measure_append(bench, 4, clients, True, (), times=1)


@group("pipelined")
def append_pipelined(bench):
    operation = bench.operation("APPEND 4 kB, 1 client, pipeline of 32", "messages/s")

    def measure(server):
        bench.record(operation, server, bench.drive(
            server, "--user", server.new_users(1), "--pipeline", 32, "--do", "APPEND INBOX %m",
            "--seconds", bench.seconds(server), "--warmup", 3, changes=True))

    # The next messages may come while the earlier ones go to the disk.
    servers = bench.bounded(operation, bench.chosen(*bench.scale.writers), 32, 4 * KIB)
    bench.repeat(operation.name, servers, measure)


# --- flags ---

def measure_stores(bench, operation, servers, clients, durable=True):
    messages = bench.scale.small // (1 if bench.scale.everything else clients)

    def measure(server):
        user = server.new_users(clients)
        bench.seed(server, user, messages, 1000, clients=clients)
        bench.record(operation, server, bench.drive(
            server, "--user", user, "--clients", clients, "--prepare", "SELECT INBOX", "--do",
            r"STORE %s %fFLAGS (\Flagged)", "--range", messages, "--warmup", 3,
            "--seconds", bench.seconds(server), changes=True), server.key.partition(" relaxed")[0])

    servers = bench.bounded(operation, servers, clients, 4 * KIB if durable else 0)
    bench.repeat(operation.name, servers, measure)


@group("store")
def store_one(bench):
    for clients in (1, 8):
        operation = bench.operation(f"STORE one flag, {of(clients)}", "commands/s", ("best", 3))
        measure_stores(bench, operation, bench.chosen(*bench.scale.durable), clients)
    relaxed = [server for server in bench.servers if not server.durable and (
        server.key == "annal relaxed" or server.key in bench.scale.relaxed)]
    if any(server.key == "annal relaxed" for server in relaxed):
        for clients in (1, 8) if bench.scale.everything else (1,):
            operation = bench.operation(f"STORE one flag, {of(clients)}, unsynced", "commands/s",
                                        ("best default", 1))
            measure_stores(bench, operation, relaxed, clients, durable=False)


# --- many messages at once ---

@group("bulk")
def bulk(bench):
    many = sized(bench.scale.bulk)
    best = at_size(bench.scale.bulk, 10000, ("best", 5))
    store = bench.operation(f"STORE 1:* +FLAGS, {many}", "ms")
    copy = bench.operation(f"COPY 1:*, {many}", "ms", *best)
    move = bench.operation(f"MOVE 1:*, {many}", "ms", *best)
    expunge = bench.operation(f"EXPUNGE, {many}", "ms", *best)

    def measure(server):
        user = server.new_users(1)
        bench.seed(server, user, bench.scale.bulk, 2000)
        bench.time(store, server, user, r"STORE 1:* +FLAGS (\Flagged)",
                   prepare=["SELECT INBOX"], changes=True)
        bench.time(copy, server, user, "COPY 1:* Copied",
                   prepare=["CREATE Copied", "CREATE Moved", "SELECT INBOX"], changes=True)
        bench.time(move, server, user, "MOVE 1:* Moved", prepare=["SELECT INBOX"],
                   changes=True)
        bench.time(expunge, server, user, "EXPUNGE",
                   prepare=["SELECT Copied", r"STORE 1:* +FLAGS.SILENT (\Deleted)"],
                   changes=True)

    bench.repeat("bulk changes", bench.chosen(*bench.scale.bulk_peers), measure)
