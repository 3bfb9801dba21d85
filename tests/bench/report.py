"""What comes out of a run: the table, the JSON, the plot."""
import json
import math
import statistics
import sys


def median(values):
    return statistics.median(values) if values else None


class Operation:
    """One line of the table: samples by server key, and what is expected.

    unit: what a sample is; rate: more is better. targets: (server key or "best", least ratio);
    "best" is the best durable Dovecot, "best default" the best of the others.
    """

    def __init__(self, name, unit, targets=()):
        self.name, self.unit, self.targets = name, unit, list(targets)
        self.limits = []  # (what, value, least ratio): Annal against a bound or against itself
        self.rate = unit.endswith("/s")
        self.ceiling = None  # ceiling.Ceiling: what bounds any server
        self.samples = {}
        self.details = {}  # server key: list of dicts

    def add(self, key, value, **detail):
        self.samples.setdefault(key, []).append(value)
        self.details.setdefault(key, []).append(detail)

    def value(self, key):
        return median(self.samples.get(key, []))

    def resolve(self, peer):
        """The server key that a target's peer means here, or None."""
        if not peer.startswith("best"):
            return peer if peer in self.samples else None
        kind = "optimized" if peer.endswith("default") else "always"
        keys = [key for key in self.samples if key.endswith(kind)]
        if not keys:
            return None
        return (max if self.rate else min)(keys, key=self.value)

    def ratio(self, key):
        """How many times better Annal is."""
        annal, peer = self.value("annal"), self.value(key)
        if not annal or not peer:
            return None
        return annal / peer if self.rate else peer / annal

    def ceiling_ratio(self, key):
        """How many times better than this server any server can be at the most; None: not known."""
        rate = self.ceiling.rate() if self.rate and self.ceiling is not None else None
        return rate / self.value(key) if rate and self.value(key) else None

    def comparisons(self):
        """(peer, its server key, target) of each comparison with a server."""
        found = []
        for peer, target in self.targets or [("best", None), ("best default", None)]:
            key = self.resolve(peer)
            if key is not None and self.value("annal") is not None:
                found.append((peer, key, target))
        return found if self.targets else found[:1]

    def limit_ratio(self, value):
        return self.value("annal") / value if self.rate else value / self.value("annal")

    def rows(self, titles):
        """What the JSON says of it."""
        made = []
        for peer, key, target in self.comparisons():
            against = f"the best Dovecot ({titles[key]})" if peer.startswith("best") \
                else titles[key]
            made.append((against, self.value(key), self.ratio(key), target,
                         self.ceiling_ratio(key)))
        if self.value("annal"):
            made += [(what, value, self.limit_ratio(value), target, None)
                     for what, value, target in self.limits if value]
        return [{"name": f"{self.name}, against {against}", "annal": self.value("annal"),
                 "peer": value, "unit": self.unit, "ratio": ratio, "target": target,
                 "ceiling": most}
                for against, value, ratio, target, most in made]


def short(value):
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


COSTS = (("CPU us", "cpu_us"), ("written kB", "written_kb"), ("memory MB", "memory_mb"))


def judged(operation, titles):
    """(text, target or None, whether it is reached, the most that any server can reach or None) of
    each comparison and limit."""
    found = [(f"{operation.ratio(key):.2f} {titles[key]}", target,
              target is None or operation.ratio(key) >= target, operation.ceiling_ratio(key))
             for _, key, target in operation.comparisons() if operation.ratio(key) is not None]
    if operation.value("annal"):
        found += [(f"{operation.limit_ratio(value):.2f} {what} ({short(value)})", target,
                   target is None or operation.limit_ratio(value) >= target, None)
                  for what, value, target in operation.limits if value]
    return found


def cost(operation, key, field):
    """The median of a detail of a server's runs, or None."""
    return median([detail[field] for detail in operation.details.get(key, [])
                   if detail.get(field) is not None])


def cost_cells(operation):
    """What a command cost Annal and the server that it is compared with first."""
    keys = ["annal", *(key for _, key, _ in operation.comparisons()[:1])]
    cells = []
    for _, field in COSTS:
        costs = [cost(operation, key, field) for key in keys]
        cells.append(" / ".join(short(value) for value in costs)
                     if any(value is not None for value in costs) else "-")
    return cells


def table(operations, servers):
    """Text: a line an operation, a column a server; ratio and target of each comparison; costs."""
    titles = {server.key: server.title for server in servers}
    lines = [["operation", "unit", *titles.values(), "ratio", "target", "at most",
              *(title for title, _ in COSTS)]]
    for operation in operations:
        if not operation.samples:
            continue
        found = judged(operation, titles)
        lines.append([operation.name, operation.unit,
                      *(short(operation.value(key)) for key in titles),
                      ", ".join(text for text, *_ in found) or "-",
                      ", ".join("-" if target is None else f"{target:.3g}" + "!" * (not reached)
                                for _, target, reached, _ in found) or "-",
                      ", ".join(short(most) for *_, most in found if most is not None) or "-",
                      *cost_cells(operation)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    left = (0, 1, 2 + len(servers))
    text = []
    for line in lines:
        cells = [cell.ljust(width) if column in left else cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(line, widths))]
        text.append("  ".join(cells).rstrip())
    text.insert(1, "-" * max(len(line) for line in text))
    return "\n".join(text)


def shortfalls(operations, servers):
    """(names of the rows that miss a target, number of all targets, of the first: names of those
    where the target is more than any server can reach)."""
    titles = {server.key: server.title for server in servers}
    found = [(operation.name, *judgement[1:]) for operation in operations
             for judgement in judged(operation, titles) if judgement[1] is not None]
    missed = [(name, most is not None and most < target)
              for name, target, reached, most in found if not reached]
    return ([name for name, _ in missed], len(found),
            [name for name, impossible in missed if impossible])


def ceilings(operations):
    """Text: what bounds each operation on this machine, and how near Annal is."""
    lines = []
    for operation in operations:
        if operation.ceiling is not None and operation.ceiling.known() and operation.value("annal"):
            most = operation.ceiling.rate()
            lines.append(f"  {operation.name}: {short(most)} ({operation.ceiling.reason()}); Annal "
                         f"{short(operation.value('annal'))}, "
                         f"{operation.value('annal') / most:.0%}")
    return "\n".join(lines)


def detail_table(operations, servers, field):
    """Text: a cost of each operation, for all servers."""
    lines = []
    for operation in operations:
        cells = [f"{server.title} {short(cost(operation, server.key, field))}"
                 for server in servers if cost(operation, server.key, field) is not None]
        if cells:
            lines.append(f"{operation.name}: " + ", ".join(cells))
    return "\n".join(lines)


HEAVY = 0.3  # of the server's processor time


def generator_heavy(operations):
    """(name, its processor time, Annal's) where the load generator's share is considerable."""
    found = []
    for operation in operations:
        own = cost(operation, "annal", "generator_cpu_us")
        server = cost(operation, "annal", "cpu_us")
        if own and server and own > HEAVY * server:
            found.append((operation.name, own, server))
    return found


def as_json(operations, servers, about):
    titles = {server.key: server.title for server in servers}
    rows = [row for operation in operations for row in operation.rows(titles)]
    detail = [{"name": operation.name, "unit": operation.unit,
               "servers": {key: {"median": operation.value(key), "samples": samples,
                                 "details": operation.details[key]}
                           for key, samples in operation.samples.items()}}
              for operation in operations if operation.samples]
    return json.dumps({"rows": rows, "about": about, "operations": detail}, indent=1) + "\n"


COLOURS = ["#b3261e", "#1f5fa8", "#3a7d44", "#8a5a00", "#7fa8d8", "#8fc49a", "#d8b36a"]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 460, 70, 150, 50, 50


def plot(series, title):
    """SVG: series is {title: [(clients, p50 in us, p99 in us)]}; both axes are logarithmic."""
    points = [point for line in series.values() for point in line]
    if not points:
        return None
    least_x, most_x = (f(p[0] for p in points) for f in (min, max))
    low = math.floor(math.log10(max(min(p[1] for p in points), 1)))
    high = math.ceil(math.log10(max(p[2] for p in points)))
    span_x = math.log(most_x / least_x) or 1

    def x(clients):
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(clients / least_x) / span_x

    def y(microseconds):
        share = (math.log10(max(microseconds, 1)) - low) / max(high - low, 1)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           'font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="24" font-size="15">{title}</text>',
           f'<text x="{LEFT}" y="40" fill="#666">median solid, 99th percentile dashed; '
           '* acknowledges before the disk has it</text>']
    for power in range(low, high + 1):
        label = f"{10 ** power / 1000:g} ms"
        out.append(f'<path d="M{LEFT} {y(10 ** power):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 8}" y="{y(10 ** power) + 4:.1f}" '
                   f'text-anchor="end">{label}</text>')
    for clients in sorted({p[0] for p in points}):
        out.append(f'<text x="{x(clients):.1f}" y="{HEIGHT - BOTTOM + 18}" '
                   f'text-anchor="middle">{clients}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" '
               'text-anchor="middle">clients</text>')
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        for column, dash in ((1, ""), (2, ' stroke-dasharray="5 4"')):
            path = " ".join(f"{x(p[0]):.1f},{y(p[column]):.1f}" for p in sorted(line))
            out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" '
                       f'stroke-width="2"{dash}/>')
        out.append(f'<text x="{WIDTH - RIGHT + 12}" y="{TOP + 14 + 18 * number}" '
                   f'fill="{colour}">{name}</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


# --- the table of a document ---

COLUMNS = (("Annal", "annal"), ("mdbox", "mdbox always"), ("sdbox", "sdbox always"),
           ("Maildir", "maildir always"), ("mdbox*", "mdbox optimized"))


def markdown(figures):
    """What --json has written as a table: a line an operation, the ratio to the first server that
    it is compared with, and the most that it can be."""
    found = {operation["name"]: operation for operation in figures["operations"]
             if "annal" in operation["servers"]}
    columns = [(title, key) for title, key in COLUMNS
               if any(key in operation["servers"] for operation in found.values())]
    lines = [["operation", *(title for title, _ in columns), "better than Dovecot", "at most"],
             ["---"] * (len(columns) + 3)]
    for name, operation in found.items():
        servers = operation["servers"]
        rows = [row for row in figures["rows"] if row["name"].startswith(f"{name}, against ")]
        cells = [short(servers[key]["median"]) if key in servers else "" for _, key in columns]
        cells[0] += f" {operation['unit']}"
        against = rows[0]["name"].partition(", against ")[2] if rows else ""
        peers = [key for _, key in columns if rows and key != "annal" and key in servers
                 and servers[key]["median"] == rows[0]["peer"]]
        lines.append([name, *cells,
                      f"{rows[0]['ratio']:.2f}x" + (f" ({against})" if not peers else "")
                      if rows else "",
                      f"{rows[0]['ceiling']:.1f}x" if rows and rows[0]["ceiling"] else ""])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: report.py FIGURES.json")
    with open(sys.argv[1], encoding="utf-8") as figures_file:
        print(markdown(json.load(figures_file)))
