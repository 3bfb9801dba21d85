"""The rows of the table: what is done to each server, and what ratio is aimed at.

A target ("mdbox always", 3) says: at least 3 times better than Dovecot with mdbox and
mail_fsync=always. "best" is the best Dovecot that acknowledges only what has reached the disk,
"best default" the best of those with mail_fsync's default.
"""
import imaplib
import re
import statistics
import subprocess
import threading
import time

import servers as parts

DURABLE = ("mdbox always", "sdbox always", "maildir always")
RELAXED = ("mdbox optimized", "sdbox optimized", "maildir optimized")
KIB = 1024


def sized(count):
    return f"{count // 1000}k" if count >= 1000 else str(count)


# --- delivery ---

# Octets, clients, whether each has a mailbox of its own, targets.
APPENDS = [
    (4, 1, True, [("mdbox always", 3), ("maildir always", 5)]),
    (4, 8, True, [("mdbox always", 8), ("maildir always", 8)]),
    (4, 64, True, [("mdbox always", 8), ("maildir always", 8)]),
    (4, 8, False, [("mdbox always", 8), ("maildir always", 8)]),
    (4, 64, False, [("mdbox always", 8), ("maildir always", 8)]),
    (16, 1, True, [("mdbox always", 2.5)]),
    (16, 8, True, [("mdbox always", 2.5)]),
    (16, 64, True, [("mdbox always", 2.5)]),
    (1024, 1, True, [("best", 0.9)]),
    (1024, 8, True, [("best", 0.9)]),
]


def append_options(bench, server, kib, clients, many):
    user = server.new_users(clients if many else 1)
    return ["--user", user if many else user.replace("%c", "0"), "--clients", clients,
            "--size", kib * KIB, "--seconds", bench.scale.seconds, "--do", "APPEND INBOX %m",
            "--warmup", 3]


def append(bench):
    for kib, clients, many, targets in APPENDS:
        if not bench.scale.all_appends and (kib, clients, many) in (
                (4, 64, False), (16, 8, True), (16, 64, True), (1024, 8, True)):
            continue
        size = f"{kib} kB" if kib < 1024 else "1 MB"
        where = "" if clients == 1 else (", own mailboxes" if many else ", one mailbox")
        name = f"APPEND {size}, {clients} client{'s' * (clients > 1)}{where}"
        operation = bench.operation(name, "messages/s", *targets)

        def measure(server, operation=operation, kib=kib, clients=clients, many=many):
            result = bench.drive(server, *append_options(bench, server, kib, clients, many))
            bench.record(operation, server, result)

        bench.repeat(name, bench.chosen(*bench.scale.writers), measure, bench.scale.row_seconds)
        if kib == 4 and many:
            remember_latency(bench, operation, clients)


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
        operation = bench.operation(f"APPEND 4 kB, {clients} clients, own mailboxes", "messages/s")

        def measure(server, operation=operation, clients=clients):
            result = bench.drive(server, *append_options(bench, server, 4, clients, True))
            bench.record(operation, server, result)

        bench.repeat(operation.name, bench.chosen(*bench.scale.writers), measure,
                     bench.scale.row_seconds, times=1)
        remember_latency(bench, operation, clients)


def append_pipelined(bench):
    operation = bench.operation("APPEND 4 kB, 1 client, pipeline of 32", "messages/s")

    def measure(server):
        result = bench.drive(server, "--user", server.new_users(1), "--pipeline", 32, "--do",
                             "APPEND INBOX %m", "--seconds", bench.scale.seconds, "--warmup", 3)
        bench.record(operation, server, result)

    bench.repeat(operation.name, bench.chosen(*bench.scale.writers), measure,
                 bench.scale.row_seconds)


# --- changes ---

def store_one(bench):
    for clients in (1, 8):
        targets = [("mdbox always", 3), ("maildir always", 3)]
        if clients == 1:
            targets.append(("best default", None))
        name = f"STORE one flag, {clients} client{'s' * (clients > 1)}"
        operation = bench.operation(name, "commands/s", *targets)

        def measure(server, operation=operation, clients=clients):
            user = server.new_users(clients)
            bench.seed(server, user, bench.scale.small, 1000, clients=clients)
            result = bench.drive(server, "--user", user, "--clients", clients, "--prepare",
                                 "SELECT INBOX", "--do", r"STORE %s %fFLAGS (\Flagged)", "--range",
                                 bench.scale.small, "--warmup", 3, "--seconds", bench.scale.seconds)
            bench.record(operation, server, result)

        bench.repeat(name, bench.chosen(*bench.scale.writers), measure, bench.scale.row_seconds)


def milliseconds(result, *numbers):
    """Median over commands by their place in the list given to the generator."""
    return statistics.median(result["commands"][number]["p50_us"] for number in numbers) / 1000


def listed(*commands):
    """Generator options: each command once, in this order."""
    options = ["--count", len(commands)]
    for command in commands:
        options += ["--do", command]
    return options


def bulk(bench):
    many = sized(bench.scale.bulk)
    best = [("best", 5)]
    store = bench.operation(f"STORE 1:* +FLAGS, {many}", "ms")
    copy = bench.operation(f"COPY 1:*, {many}", "ms", *best)
    move = bench.operation(f"MOVE 1:*, {many}", "ms", *best)
    expunge = bench.operation(f"EXPUNGE, {many}", "ms", *best)

    def measure(server):
        user = server.new_users(1)
        bench.seed(server, user, bench.scale.bulk, 2000)
        result = bench.drive(server, "--user", user, "--prepare", "CREATE Copied", "--prepare",
                             "CREATE Moved", "--prepare", "SELECT INBOX",
                             *listed(r"STORE 1:* +FLAGS (\Flagged)", "COPY 1:* Copied",
                                     "MOVE 1:* Moved"))
        for number, operation in enumerate((store, copy, move)):
            operation.add(server.key, milliseconds(result, number))
        result = bench.drive(server, "--user", user, "--prepare", "SELECT Copied", "--prepare",
                             r"STORE 1:* +FLAGS.SILENT (\Deleted)", *listed("EXPUNGE"))
        expunge.add(server.key, milliseconds(result, 0))

    bench.repeat("bulk changes", bench.chosen(*bench.scale.durable), measure,
                 bench.scale.row_seconds)


# --- reading ---

def highest_modseq(server, user):
    client = imaplib.IMAP4("127.0.0.1", server.port)
    client.login(user.replace("%c", "0"), parts.PASSWORD)
    client.enable("CONDSTORE")
    client.select("INBOX")
    modseq = int(client.response("HIGHESTMODSEQ")[1][0])
    client.store("1:100", "+FLAGS", r"\Answered")
    client.shutdown()
    return modseq


def reading(bench):
    many = sized(bench.scale.large)
    first = bench.operation(f"SELECT {many}, first after start", "ms", ("mdbox always", 4))
    again = bench.operation(f"SELECT {many}, again", "ms")
    flags = bench.operation(f"FETCH 1:* FLAGS, {many}", "ms", ("best", 3))
    envelope = bench.operation(f"FETCH 1:* ENVELOPE, {many}, first", "ms", ("best", 5))
    cached = bench.operation(f"FETCH 1:* ENVELOPE, {many}, again", "ms", ("best", 2))
    changes = bench.operation(f"UID FETCH 1:* CHANGEDSINCE, 100 of {many}", "ms")
    by_flag = bench.operation(f"SEARCH ANSWERED, {many}", "ms", ("best", 3))
    by_header = bench.operation(f"SEARCH SUBJECT, {many}", "ms", ("best", 3))

    def measure(server):
        user = server.new_users(1)
        bench.seed(server, user, bench.scale.large, 2000)
        for _ in range(3):
            server.restart()
            result = bench.drive(server, "--user", user, *listed(*["SELECT INBOX"] * 4))
            first.add(server.key, milliseconds(result, 0))
            again.add(server.key, milliseconds(result, 1, 2, 3))
        select = ["--user", user, "--prepare", "SELECT INBOX"]
        result = bench.drive(server, *select, *listed(*["FETCH 1:* FLAGS"] * 4,
                                                      *["FETCH 1:* ENVELOPE"] * 4))
        flags.add(server.key, milliseconds(result, 1, 2, 3))
        envelope.add(server.key, milliseconds(result, 4))
        cached.add(server.key, milliseconds(result, 5, 6, 7))
        modseq = highest_modseq(server, user)
        result = bench.drive(server, *select, *listed(
            *[f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq})"] * 4, *["SEARCH ANSWERED"] * 4,
            *['SEARCH SUBJECT "meeting 77"'] * 3))
        changes.add(server.key, milliseconds(result, 1, 2, 3))
        by_flag.add(server.key, milliseconds(result, 5, 6, 7))
        by_header.add(server.key, milliseconds(result, 9, 10))

    bench.repeat("reading", bench.chosen(*bench.scale.durable), measure, bench.scale.row_seconds)


def bodies(bench):
    many = sized(bench.scale.bulk)
    clear = bench.operation(f"FETCH 1:* BODY.PEEK[], {many}, clear", "ms", ("best", 2))
    tls = bench.operation(f"FETCH 1:* BODY.PEEK[], {many}, TLS", "ms", ("best", 1.5))
    search = bench.operation(f"SEARCH BODY, {many}", "ms")

    def measure(server):
        user = server.new_users(1)
        bench.seed(server, user, bench.scale.bulk, 4096)
        for operation, over_tls in ((clear, False), (tls, True)):
            result = bench.drive(server, "--user", user, "--prepare", "SELECT INBOX",
                                 *listed(*["FETCH 1:* BODY.PEEK[]"] * 4), tls=over_tls)
            operation.add(server.key, milliseconds(result, 1, 2, 3),
                          generator_share=result["own_cpu_share"])
        result = bench.drive(server, "--user", user, "--prepare", "SELECT INBOX",
                             *listed('SEARCH BODY "forty tables"'))
        search.add(server.key, milliseconds(result, 0))

    bench.repeat("bodies", bench.chosen(*bench.scale.durable), measure, bench.scale.row_seconds)


# --- sessions ---

def login(bench):
    for clients in (1, 16):
        name = f"LOGIN over TLS, {clients} client{'s' * (clients > 1)}"
        operation = bench.operation(name, "logins/s")

        def measure(server, operation=operation, clients=clients):
            result = bench.drive(server, "--user", server.new_users(clients), "--clients", clients,
                                 "--mode", "login", "--seconds", bench.scale.seconds, tls=True)
            bench.record(operation, server, result)

        bench.repeat(name, bench.chosen("mdbox always"), measure, bench.scale.row_seconds)


def idle_notice(bench):
    operation = bench.operation("IDLE: APPEND until another client knows", "ms")

    def measure(server):
        user = server.new_users(1).replace("%c", "0")
        result = bench.drive(server, "--user", user, "--clients", 2, "--mode", "idle", "--prepare",
                             "SELECT INBOX", "--do", "APPEND INBOX %m", "--size", 1000, "--count",
                             bench.scale.notices)
        operation.add(server.key, result["p50_us"] / 1000)

    bench.repeat(operation.name, bench.chosen("mdbox always", "maildir always"), measure,
                 bench.scale.row_seconds, times=1)


def idle_memory(bench):
    sessions = bench.scale.sessions
    operation = bench.operation(f"memory of an idle TLS session, {sessions:,}", "kB",
                                ("mdbox always", 20))
    operation.limits.append(("limit", 25, 1))

    def measure(server):
        user = server.new_users(min(sessions, 64))
        if sessions > 64:
            user = user.replace("%c", "0")
        server.restart()
        before = server.memory()
        after = []

        def at_gate():
            time.sleep(1)
            after.append(server.memory())

        bench.drive(server, "--user", user, "--clients", sessions, "--prepare", "SELECT INBOX",
                    tls=True, at_gate=at_gate)
        operation.add(server.key, (after[0] - before) / sessions / 1000)

    bench.repeat(operation.name, bench.chosen("mdbox always"), measure, bench.scale.row_seconds,
                 times=1)


# --- Annal against bounds and against itself ---

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


def visible(bench):
    light = bench.operation("commit in git log after the acknowledgement", "ms")
    light.limits.append(("limit", 200, 1))
    loaded = bench.operation("commit in git log while 64 clients append", "ms")
    loaded.limits.append(("limit", 1000, 1))
    server = bench.servers[0]

    def appends(operation, times):
        user = server.new_users(1).replace("%c", "0")
        client = imaplib.IMAP4("127.0.0.1", server.port)
        client.login(user, parts.PASSWORD)
        for _ in range(times):
            before = tip(server.repository(user))
            client.append("INBOX", None, None, b"Subject: visible\r\n\r\nyes?\r\n")
            operation.add("annal", 1000 * seconds_until_visible(server.repository(user), before))
            time.sleep(0.05)
        client.shutdown()

    def under_load(operation, times):
        options = append_options(bench, server, 4, 64, True)
        load = threading.Thread(target=bench.drive, args=(server, *options))
        load.start()
        time.sleep(bench.scale.seconds / 2)
        appends(operation, times)
        load.join()

    bench.repeat(light.name, [server], lambda _: appends(light, 10), 10, times=1)
    bench.repeat(loaded.name, [server], lambda _: under_load(loaded, 5), 10, times=1)


def growth(bench):
    server = bench.servers[0]
    user = server.new_users(1).replace("%c", "0")
    small = {}

    def cost(what, count, result, least):
        operation = bench.operation(f"{what}, mailbox of {sized(count)}", "ms")
        operation.add("annal", result["p50_us"] / 1000, p99_us=result["p99_us"])
        if what in small:
            operation.limits.append((f"own at {sized(small[what][0])}", small[what][1], least))
        else:
            small[what] = (count, result["p50_us"] / 1000)

    def stage(count, flag):
        present = bench.count(server, user)
        bench.seed(server, user, max(count - present, 1), 2000)
        server.restart()
        before = server.memory()
        after = []
        bench.drive(server, "--user", user, "--prepare", "SELECT INBOX", "--prepare",
                    "FETCH 1:* FLAGS", at_gate=lambda: after.append(server.memory()))
        memory = bench.operation(f"memory of a loaded mailbox of {sized(count)}", "MB")
        memory.add("annal", (after[0] - before) / 1e6)
        memory.limits.append(("limit", 64, 1))
        cost("STORE one flag", count, bench.drive(
            server, "--user", user, "--prepare", "SELECT INBOX", "--range", count, "--warmup", 3,
            "--do", f"STORE %s %fFLAGS ({flag})", "--seconds", bench.scale.seconds), 0.67)
        cost("APPEND 4 kB", count, bench.drive(
            server, "--user", user, "--do", "APPEND INBOX %m", "--warmup", 3, "--seconds",
            bench.scale.seconds), 0.67)
        server.restart()
        cost("SELECT first after start", count, bench.drive(
            server, "--user", user, *listed("SELECT INBOX")), 0.1 if count == 1000000 else None)
        if count == 100000:
            small["SELECT first after start"] = (count, bench.operations[-1].value("annal"))

    # Each stage sets a flag that no message has.
    for count, flag in zip(bench.scale.growth, (r"\Flagged", r"\Answered", r"\Draft")):
        bench.repeat(f"growth, {sized(count)}", [server],
                     lambda _, count=count, flag=flag: stage(count, flag), 1, times=1)


MIXTURE = (
    "APPEND INBOX %m", "FETCH %r (FLAGS ENVELOPE)", r"STORE %r %fFLAGS (\Seen)", "NOOP",
    "FETCH %r BODY.PEEK[]", "SEARCH UNSEEN", "FETCH 1:50 FLAGS", r"STORE %r %fFLAGS (\Flagged)",
    "STATUS INBOX (MESSAGES UNSEEN)", "FETCH %r BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)]",
)


def mixed(bench):
    operation = bench.operation("mixed load, 16 clients", "commands/s")

    def measure(server):
        user = server.new_users(16)
        bench.seed(server, user, 100, 2000, clients=16)
        commands = [part for command in MIXTURE for part in ("--do", command)]
        result = bench.drive(server, "--user", user, "--clients", 16, "--prepare", "SELECT INBOX",
                             "--range", 100, "--size", 2000, "--seconds", bench.scale.seconds,
                             "--warmup", len(MIXTURE), *commands)
        bench.record(operation, server, result)

    bench.repeat(operation.name, bench.chosen(*bench.scale.writers), measure,
                 bench.scale.row_seconds)


GROUPS = {
    "append": append, "pipelined": append_pipelined, "store": store_one, "bulk": bulk,
    "reading": reading, "bodies": bodies, "login": login, "idle": idle_notice,
    "memory": idle_memory, "mixed": mixed, "visible": visible, "growth": growth,
}


def groups_matching(pattern):
    return [name for name in GROUPS if re.search(pattern, name)]
