"""Rows of sessions: logins, notices, memory, a mixture of everything."""
import resource
import time

from rows import first_of, group, of

DESCRIPTORS_ELSE = 1000  # what a server and the generator need beside their connections
DOVECOT_SESSION = 800 * 1000  # octets of memory, more than enough


def sessions_possible(wanted):
    """(for any server, for Dovecot): how many sessions this machine lets us have."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - DESCRIPTORS_ELSE
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        low, high = (int(part) for part in file.read().split())
    with open("/proc/meminfo", encoding="ascii") as file:
        free = next(int(line.split()[1]) * 1024 for line in file
                    if line.startswith("MemAvailable:"))
    with open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
        processes = int(file.read())
    for_any = max(min(wanted, descriptors, (high - low) * 3 // 4), 1)
    return for_any, max(min(for_any, free // 2 // DOVECOT_SESSION, processes // 2), 1)


def measure_idle_memory(bench, wanted, users):
    """users: 1, or as many as sessions."""
    sessions, with_dovecot = sessions_possible(wanted)
    judged = users == 1 and wanted >= 1000  # what a few cost is no measure
    whose = "" if users == 1 else ", each another user's"
    fewer = f" (Dovecot: {with_dovecot:,})" if with_dovecot < sessions and \
        len(bench.chosen("mdbox always")) > 1 else ""
    operation = bench.operation(f"memory of an idle TLS session, {sessions:,}{whose}{fewer}", "kB",
                                *([("mdbox always", 20)] if judged else []))
    if judged:
        operation.limits.append(("limit", 25, 1))

    def measure(server):
        count = sessions if server.key == "annal" else with_dovecot
        user = server.new_users(users)
        server.restart()
        before = server.memory()
        after = []

        def at_gate():
            time.sleep(1)
            after.append(server.memory())

        bench.drive(server, "--user", user if users > 1 else first_of(user), "--clients", count,
                    "--prepare", "SELECT INBOX", tls=True, at_gate=at_gate)
        operation.add(server.key, (after[0] - before) / count / 1000,
                      memory_mb=after[0] / 1e6)
        if server.key != "annal":
            server.restart()  # which waits until its many processes have ended

    bench.repeat(operation.name, bench.chosen("mdbox always"), measure, times=1)


@group("memory")
def idle_memory(bench):
    for sessions in bench.scale.sessions:
        measure_idle_memory(bench, sessions, 1)
    if bench.scale.owners:
        measure_idle_memory(bench, bench.scale.owners, bench.scale.owners)


@group("login")
def login(bench):
    for clients in (1, 16) if bench.scale.everything else (16,):
        operation = bench.operation(f"LOGIN over TLS, {of(clients)}", "logins/s")

        def measure(server, operation=operation, clients=clients):
            bench.record(operation, server, bench.drive(
                server, "--user", server.new_users(clients), "--clients", clients, "--mode",
                "login", "--seconds", bench.scale.seconds, tls=True))

        bench.repeat(operation.name, bench.chosen("mdbox always"), measure)


@group("idle")
def idle_notice(bench):
    operation = bench.operation("IDLE: APPEND until another client knows", "ms")

    def measure(server):
        bench.record_time(operation, server, bench.drive(
            server, "--user", first_of(server.new_users(1)), "--clients", 2, "--mode", "idle",
            "--prepare", "SELECT INBOX", "--do", "APPEND INBOX %m", "--size", 1000, "--count",
            bench.scale.notices))

    bench.repeat(operation.name, bench.chosen("mdbox always", "maildir always"), measure, times=1)


MIXTURE = (
    "APPEND INBOX %m", "FETCH %r (FLAGS ENVELOPE)", r"STORE %r %fFLAGS (\Seen)", "NOOP",
    "FETCH %r BODY.PEEK[]", "SEARCH UNSEEN", "FETCH 1:50 FLAGS", r"STORE %r %fFLAGS (\Flagged)",
    "STATUS INBOX (MESSAGES UNSEEN)", "FETCH %r BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)]",
)


@group("mixed")
def mixed(bench):
    operation = bench.operation("mixed load, 16 clients", "commands/s")

    def measure(server):
        user = server.new_users(16)
        bench.seed(server, user, 100, 2000, clients=16)
        commands = [part for command in MIXTURE for part in ("--do", command)]
        bench.record(operation, server, bench.drive(
            server, "--user", user, "--clients", 16, "--prepare", "SELECT INBOX", "--range", 100,
            "--size", 2000, "--seconds", bench.seconds(server), "--warmup", len(MIXTURE), *commands,
            changes=True))

    bench.repeat(operation.name, bench.chosen(*bench.scale.writers), measure)
