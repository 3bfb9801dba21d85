"""Reads the server's pages: the OpenMetrics text format 1.0, strictly."""
import http.client
import re

LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (-?[0-9]+(?:\.[0-9]+)?)')
SUFFIXES = {"counter": {"_total"}, "gauge": {""}, "histogram": {"_bucket", "_count", "_sum"}}


class OpenMetrics:
    """A scrape, read as strictly as the specification of the text format 1.0 allows."""

    def __init__(self, text):
        self.types = {}
        self.values = {}
        self._units = {}
        self._family = None
        if not text.endswith("\n# EOF\n"):
            raise AssertionError("no end: " + text[-40:])
        for line in text[:-len("# EOF\n")].splitlines():
            if line.startswith("# "):
                self._metadata(line)
            else:
                self._sample(line)
        for name, kind in self.types.items():
            if kind == "histogram":
                self._check_histogram(name)

    def _metadata(self, line):
        _, keyword, name, rest = line.split(" ", 3)
        if keyword == "TYPE":
            if name in self.types:
                raise AssertionError(f"{name} comes twice")
            self.types[name] = rest
            self._family = name
        elif keyword == "UNIT":
            if not name.endswith("_" + rest):
                raise AssertionError(line)
        elif keyword != "HELP" or not rest.endswith(".") and not rest:
            raise AssertionError(line)
        if name != self._family:
            raise AssertionError(f"{line} in {self._family}")

    def _sample(self, line):
        found = SAMPLE.fullmatch(line)
        if not found:
            raise AssertionError(f"no sample: {line}")
        name, inner, value = found.groups()
        suffix = name[len(self._family):]
        if not name.startswith(self._family) or suffix not in SUFFIXES[self.types[self._family]]:
            raise AssertionError(f"{line} in {self._family}")
        labels = []
        while inner:
            label = LABEL.match(inner)
            if not label:
                raise AssertionError(f"labels: {line}")
            labels.append((label.group(1), label.group(2)))
            inner = inner[label.end():]
        key = (name, frozenset(labels))
        if len(dict(labels)) != len(labels) or key in self.values:
            raise AssertionError(f"twice: {line}")
        self.values[key] = float(value)

    def _check_histogram(self, family):
        series = {}
        for (name, labels), value in self.values.items():
            if name == family + "_bucket":
                rest = frozenset(label for label in labels if label[0] != "le")
                series.setdefault(rest, []).append((float(dict(labels)["le"]), value))
        for labels, buckets in series.items():
            if buckets != sorted(buckets) or buckets[-1][0] != float("inf"):
                raise AssertionError(f"{family} {labels}: {buckets}")
            counts = [count for _, count in buckets]
            if counts != sorted(counts) or counts[-1] != self.values[family + "_count", labels]:
                raise AssertionError(f"{family} {labels}: {counts}")
            if self.values[family + "_sum", labels] < 0:
                raise AssertionError(f"{family} {labels}: a negative sum")

    def get(self, name, **labels):
        return self.values[name, frozenset(labels.items())]


def fetch(port, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, answer.getheader("Content-Type"), body


def scrape(port):
    status, kind, body = fetch(port, "/metrics")
    if status != 200 or kind != "application/openmetrics-text; version=1.0.0; charset=utf-8":
        raise AssertionError(f"{status} {kind}")
    return OpenMetrics(body)
