"""Rows of delivery by LMTP."""
from rows import group, of

KIB = 1024


@group("lmtp")
def deliver(bench):
    for clients in (1, 8):
        operation = bench.operation(f"LMTP deliver 4 kB, {of(clients)}", "messages/s",
                                    ("mdbox always", 3), ("maildir always", 3))

        def measure(server, clients=clients, operation=operation):
            bench.record(operation, server, bench.drive(
                server, "--user", server.new_users(clients), "--clients", clients, "--size",
                4 * KIB, "--seconds", bench.seconds(server), "--warmup", 3, changes=True,
                lmtp=True))

        servers = [server for server in bench.chosen(*bench.scale.writers) if server.lmtp_port]
        servers = bench.bounded(operation, servers, clients, 4 * KIB)
        bench.repeat(operation.name, servers, measure)
