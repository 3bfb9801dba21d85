"""Rows of what reads mailboxes."""
from rows import at_size, group, session, sized

RESTARTS = 3


def measure_selects(bench, first, again, server, user):
    for _ in range(RESTARTS):
        server.restart()
        bench.time(first, server, user, "SELECT INBOX")
        bench.time(again, server, user, "SELECT INBOX", times=3, warmup=1)


def select_operations(bench, count):
    many = sized(count)
    return (bench.operation(f"SELECT {many}, first after start", "ms",
                            *at_size(count, 100000, ("mdbox always", 4))),
            bench.operation(f"SELECT {many}, again", "ms"))


@group("select")
def select(bench):
    """Of sizes that are not read otherwise."""
    for count in bench.scale.selects:
        first, again = select_operations(bench, count)

        def measure(server, count=count, first=first, again=again):
            user = server.new_users(1)
            bench.seed(server, user, count, 1000)
            measure_selects(bench, first, again, server, user)

        # With a file a message, a million takes too long to make and to remove.
        peers = bench.scale.readers if count < 1000000 else ("mdbox always",)
        bench.repeat(f"SELECT {sized(count)}", bench.chosen(*peers), measure, times=1)


def change_some(server, user):
    """Changes 100 messages. Returns the HIGHESTMODSEQ of the time before."""
    client = session(server, user)
    client.enable("CONDSTORE")
    client.select("INBOX")
    modseq = int(client.response("HIGHESTMODSEQ")[1][0])
    client.store("1:100", "+FLAGS", r"\Answered")
    client.shutdown()
    return modseq


@group("reading")
def reading(bench):
    count = bench.scale.large
    many = sized(count)
    first, again = select_operations(bench, count)

    def operation(name, *targets):
        return bench.operation(name, "ms", *at_size(count, 100000, *targets))

    flags = operation(f"FETCH 1:* FLAGS, {many}", ("best", 3))
    envelope = operation(f"FETCH 1:* ENVELOPE, {many}, first", ("best", 5))
    cached = operation(f"FETCH 1:* ENVELOPE, {many}, again", ("best", 2))
    changes = operation(f"UID FETCH 1:* CHANGEDSINCE, 100 of {many}")
    by_flag = operation(f"SEARCH ANSWERED, {many}", ("best", 3))
    by_header = operation(f"SEARCH SUBJECT, {many}", ("best", 3))

    def measure(server):
        user = server.new_users(1)
        bench.seed(server, user, count, 2000)
        measure_selects(bench, first, again, server, user)

        def read(operation, command, times=3, warmup=1):
            bench.time(operation, server, user, command, times, warmup, ["SELECT INBOX"])

        read(flags, "FETCH 1:* FLAGS")
        read(envelope, "FETCH 1:* ENVELOPE", times=1, warmup=0)
        read(cached, "FETCH 1:* ENVELOPE")
        modseq = change_some(server, user)
        read(changes, f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq})")
        read(by_flag, "SEARCH ANSWERED")
        read(by_header, 'SEARCH SUBJECT "meeting 77"')

    bench.repeat("reading", bench.chosen(*bench.scale.readers), measure)


@group("bodies")
def bodies(bench):
    many = sized(bench.scale.bulk)
    clear = bench.operation(f"FETCH 1:* BODY.PEEK[], {many}, clear", "ms",
                            *at_size(bench.scale.bulk, 10000, ("best", 2)))
    tls = bench.operation(f"FETCH 1:* BODY.PEEK[], {many}, TLS", "ms",
                          *at_size(bench.scale.bulk, 10000, ("best", 1.5)))
    search = bench.operation(f"SEARCH BODY, {many}", "ms")

    def measure(server):
        user = server.new_users(1)
        bench.seed(server, user, bench.scale.bulk, 4096)
        for operation, over_tls in ((clear, False), (tls, True)):
            bench.time(operation, server, user, "FETCH 1:* BODY.PEEK[]", 3, 1, ["SELECT INBOX"],
                       tls=over_tls)
        bench.time(search, server, user, 'SEARCH BODY "forty tables"', prepare=["SELECT INBOX"])

    bench.repeat("bodies", bench.chosen(*bench.scale.bulk_peers), measure)
