"""What it costs to look back: a large mailbox as it was, many changes ago."""
import shutil
import time

from rows import at_size, first_of, group, sized

RESTARTS = 3
CLIENTS = 16


def later_second():
    """The second that has just ended, as a moment: what comes next is after it."""
    second = int(time.time())
    while int(time.time()) == second:
        time.sleep(0.01)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


@group("past")
def past(bench):
    count = bench.scale.large
    changes = count // 4 if bench.scale.everything else count // 40
    many = sized(count)
    cold = bench.operation(f"SELECT {many}, first after start, without its cache", "ms")
    back = bench.operation(f"SELECT {many} as it was {sized(changes)} changes ago", "ms")
    server = bench.servers[0]

    def measure(_):
        user = first_of(server.new_users(1))
        bench.seed(server, user, count, 1000)
        moment = later_second()
        for flag in r"\Flagged", r"\Answered":
            bench.drive(server, "--user", user, "--clients", CLIENTS, "--prepare", "SELECT INBOX",
                        "--range", count, "--do", f"STORE %r +FLAGS.SILENT ({flag})", "--each",
                        max(changes * 2 // 3 // CLIENTS, 1), changes=True)
        for _ in range(RESTARTS):
            server.stop()
            shutil.rmtree(server.data / "cache" / user / "snapshots", ignore_errors=True)
            server.start()
            bench.time(cold, server, user, "SELECT INBOX")
            server.restart()
            bench.time(back, server, user, f'EXAMINE "History/{moment}/INBOX"')

    bench.repeat("past", [server], measure, times=1)
    bench.at_end(lambda: back.limits.extend(at_size(
        count, 100000, ("own SELECT without its cache", cold.value("annal"), 1))))
