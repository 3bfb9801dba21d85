#!/usr/bin/env python3
"""What an admin sees of a running server, and can do to it."""
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from annal import PROGRAM, Case, Sandbox, response, run, wait_until

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "examples"
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


class Metrics(Case):
    def test_a_scrape_tells_what_has_happened(self):
        before = scrape(self.sandbox.metrics)
        client = self.sandbox.login()
        for _ in range(3):
            response(client.append("INBOX", "", None, b"Subject: x\r\n\r\nx\r\n"))
        response(client.select())
        self.assertEqual(client.select("Nowhere")[0], "NO")
        tls = self.sandbox.login("bob", tls=True)
        with self.assertRaises(Exception):
            self.sandbox.login("bob", "wrong")
        after = scrape(self.sandbox.metrics)

        def rise(name, **labels):
            return after.get(name, **labels) - before.get(name, **labels)

        self.assertEqual(rise("annal_commands_total", command="APPEND", result="ok"), 3)
        self.assertEqual(rise("annal_command_seconds_count", command="APPEND"), 3)
        self.assertEqual(rise("annal_commands_total", command="SELECT", result="ok"), 1)
        self.assertEqual(rise("annal_commands_total", command="SELECT", result="no"), 1)
        self.assertEqual(rise("annal_logins_total", result="ok"), 2)
        self.assertEqual(rise("annal_logins_total", result="password"), 1)
        self.assertEqual(rise("annal_password_check_seconds_count"), 3)
        self.assertEqual(rise("annal_tls_handshakes_total", result="ok"), 1)
        self.assertEqual(rise("annal_connections_total"), 3)
        self.assertGreater(rise("annal_received_bytes_total"), 100)
        self.assertGreater(rise("annal_sent_bytes_total"), 100)
        self.assertGreater(rise("annal_store_sync_seconds_count"), 3)
        self.assertEqual(after.get("annal_users"), 2)
        self.assertEqual(after.get("annal_sessions", state="authenticated", tls="yes"), 1)
        self.assertEqual(after.get("annal_healthy"), 1)
        for value in ("process_resident_memory_bytes", "process_open_fds", "annal_disk_free_bytes",
                      "annal_certificate_expiry_timestamp_seconds"):
            self.assertGreater(after.get(value), 0)
        self.assertGreater(after.get("annal_journal_size_bytes", worker="1"), 1_000_000)
        wait_until(lambda: scrape(self.sandbox.metrics).get(
            "annal_journal_accounts_waiting", worker="0") == 0, what="git does not follow")
        client.logout()
        tls.logout()

    def reply(self, answers):
        """The last line of one."""
        while (line := answers.readline())[3:4] == b"-":
            pass
        return line

    def test_deliveries_and_caches_are_counted(self):
        with socket.create_connection(("127.0.0.1", self.sandbox.lmtp), timeout=60) as lmtp:
            answers = lmtp.makefile("rb")

            def say(line, code):
                lmtp.sendall(line + b"\r\n")
                self.assertEqual(self.reply(answers)[:3], code)

            self.assertEqual(self.reply(answers)[:3], b"220")
            say(b"LHLO here", b"250")
            say(b"MAIL FROM:<>", b"250")
            say(b"RCPT TO:<alice>", b"250")
            say(b"RCPT TO:<nobody>", b"550")
            say(b"RCPT TO:<bob>", b"250")
            say(b"DATA", b"354")
            say(b"Subject: x\r\n\r\n" + b"x" * 500 + b"\r\n.", b"250")
            self.assertEqual(self.reply(answers)[:3], b"250")
            sessions = json.loads(run(PROGRAM, "who", "--json", "--data", self.sandbox.data).stdout)
            self.assertEqual([session["state"] for session in sessions], ["delivery"])
            answers.close()
        page = scrape(self.sandbox.metrics)
        self.assertEqual(page.get("annal_delivery_connections_total"), 1)
        self.assertEqual(page.get("annal_deliveries_total", result="accepted"), 2)
        self.assertEqual(page.get("annal_deliveries_total", result="rejected"), 1)
        self.assertEqual(page.get("annal_deliveries_total", result="deferred"), 0)
        self.assertEqual(page.get("annal_delivery_seconds_count"), 1)
        self.assertGreater(page.get("annal_delivered_bytes_total"), 1000)
        client = self.sandbox.login()
        response(client.select())
        for _ in range(100):
            response(client.fetch("1", "(ENVELOPE)"))
        client.logout()
        wait_until(lambda: scrape(self.sandbox.metrics).get(
            "annal_cache_lookups_total", cache="derived", result="hit") > 30,
            what="no cache is hit")

    def test_pages_are_few_and_bounded(self):
        port = self.sandbox.metrics
        status, _, body = fetch(port, "/health")
        self.assertEqual((status, body), (200, "ok\n"))
        self.assertEqual(fetch(port, "/metrics", "HEAD")[2], "")
        self.assertEqual(fetch(port, "/")[0], 404)
        self.assertEqual(fetch(port, "/metrics/../users")[0], 404)
        self.assertIn(fetch(port, "/metrics", "DELETE")[0], (405, 501))
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 100_000)
            try:
                answer = client.recv(100)
            except ConnectionResetError:
                answer = b""
            self.assertNotIn(b" 200 ", answer)
        self.assertEqual(fetch(port, "/health")[0], 200)


    def test_the_dashboard_names_nothing_that_is_not_there(self):
        dashboard = json.loads((EXAMPLES / "grafana.json").read_text())
        queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
        queries += [variable["definition"] for variable in dashboard["templating"]["list"]
                    if "definition" in variable]
        named = {name for query in queries
                 for name in re.findall(r"\b(?:annal|process)_[a-z_]+", query)}
        self.assertGreater(len(named), 20)
        page = scrape(self.sandbox.metrics)
        there = {name for name, _ in page.values}
        self.assertEqual(named - there, set())
        labels = {}
        for name, pairs in page.values:
            labels.setdefault(name, set()).update(label for label, _ in pairs)
        for query in queries:
            for by, name in re.findall(r"by \(([a-z, ]+)\) \((?:rate\()?([a-z_]+)", query):
                self.assertLessEqual(set(by.split(", ")), labels[name] | {"instance"}, query)


class Client:
    """One that says what it is told, from an address of its choice."""

    def __init__(self, port, address):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60,
                                               source_address=(address, 0))
        self.reader = self.socket.makefile("rb")
        self.greeting = self.reader.readline()

    def say(self, line):
        """The tagged answer."""
        self.socket.sendall(line + b"\r\n")
        tag = line.split()[0] + b" "
        while answer := self.reader.readline():
            if answer.startswith(tag):
                return answer
        raise AssertionError(f"no answer to {line}")

    def close(self):
        self.reader.close()
        self.socket.close()


class Configured(unittest.TestCase):
    """Servers with a configuration of their own."""

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="annal-admin-"))
        self.addCleanup(shutil.rmtree, self.directory)

    def serve(self, text):
        file = self.directory / "annal.conf"
        file.write_text(text)
        sandbox = Sandbox("--config", str(file))
        self.addCleanup(sandbox.close)
        return sandbox

    def connect(self, sandbox, address="127.0.0.1"):
        client = Client(sandbox.imap, address)
        self.addCleanup(client.close)
        return client

    def test_a_disk_nearly_full_is_ill_health(self):
        sandbox = self.serve("disk_free_min_mib = 2000000000\n")
        status, _, body = fetch(sandbox.metrics, "/health")
        self.assertEqual(status, 503)
        self.assertIn("disk nearly full", body)
        self.assertEqual(scrape(sandbox.metrics).get("annal_healthy"), 0)

    def test_changes_that_stay_out_of_git_are_ill_health(self):
        sandbox = self.serve("workers = 2\n")
        client = sandbox.login()
        response(client.append("INBOX", "", None, b"Subject: x\r\n\r\nx\r\n"))
        sandbox.in_git("alice", "INBOX")
        lock = pathlib.Path(sandbox.repositories["alice"]) / "refs" / "heads" / "INBOX.lock"
        lock.touch()
        response(client.append("INBOX", "", None, b"Subject: y\r\n\r\ny\r\n"))

        def lag():
            page = scrape(sandbox.metrics)
            return max(page.get("annal_materialise_lag_seconds", worker=worker)
                       for worker in ("0", "1"))

        wait_until(lambda: fetch(sandbox.metrics, "/health")[0] == 503, what="health stays good")
        self.assertIn("store trouble", fetch(sandbox.metrics, "/health")[2])
        wait_until(lambda: lag() > 2, what="the lag does not grow")
        self.assertEqual(max(scrape(sandbox.metrics).get("annal_store_trouble", worker=worker)
                             for worker in ("0", "1")), 1)
        lock.unlink()
        wait_until(lambda: fetch(sandbox.metrics, "/health")[0] == 200, what="health stays bad")
        wait_until(lambda: lag() == 0, what="git does not follow")
        client.logout()

    def test_a_certificate_that_ended_is_ill_health(self):
        sandbox = Sandbox()
        self.addCleanup(sandbox.close)
        sandbox.stop()
        expire(sandbox.data / "tls")
        sandbox.start()
        status, _, body = fetch(sandbox.metrics, "/health")
        self.assertEqual((status, body), (503, "certificate expired: renew it and send SIGHUP\n"))

    def test_trust_lifts_limits_penalties_and_the_need_for_tls(self):
        sandbox = self.serve('connections_per_address = 2\nconnections_per_user = 1\n'
                             'cleartext_login = false\nlogin_delay_ms = 3000\n'
                             'trusted = {"127.0.0.8/30"}\ntrusted_cleartext_login = true\n')
        strangers = [self.connect(sandbox) for _ in range(2)]
        self.assertIn(b"BYE [UNAVAILABLE]", self.connect(sandbox).greeting)
        self.assertIn(b"PRIVACYREQUIRED", strangers[0].say(b"a LOGIN alice alice"))
        friends = [self.connect(sandbox, "127.0.0.9") for _ in range(4)]
        for client in friends:
            self.assertIn(b" OK ", client.greeting)
        begun = time.monotonic()
        self.assertIn(b"NO", friends[0].say(b"a LOGIN alice wrong"))
        self.assertIn(b"NO", friends[0].say(b"b LOGIN alice wrong"))
        for client in friends[1:]:
            self.assertIn(b"OK", client.say(b"a LOGIN alice alice"))
        self.assertLess(time.monotonic() - begun, 3)
        page = scrape(sandbox.metrics)
        self.assertEqual(page.get("annal_connections_refused_total", limit="address"), 1)
        self.assertEqual(page.get("annal_logins_total", result="cleartext"), 1)
        self.assertEqual(page.get("annal_logins_total", result="password"), 2)

    def test_failed_logins_wait_as_configured_and_users_have_a_limit(self):
        sandbox = self.serve("connections_per_user = 1\nlogin_delay_ms = 1500\n"
                             "login_delay_max_seconds = 2\n")
        client = self.connect(sandbox)
        self.assertIn(b"NO", client.say(b"a LOGIN alice wrong"))
        begun = time.monotonic()
        self.assertIn(b"OK", client.say(b"b LOGIN alice alice"))
        self.assertGreater(time.monotonic() - begun, 1)
        other = self.connect(sandbox)
        self.assertIn(b"NO [LIMIT]", other.say(b"a LOGIN alice alice"))
        self.assertEqual(scrape(sandbox.metrics).get("annal_logins_total", result="limit"), 1)
        self.assertIn("reason=limit address=127.0.0.1 ", sandbox.log())

    def test_fail2ban_bans_those_who_guess_and_nobody_else(self):
        sandbox = self.serve("login_delay_ms = 0\n")
        good = self.connect(sandbox, "127.0.0.40")
        good.say(b"a LOGIN alice alice")
        guess = self.connect(sandbox, "127.0.0.50")
        guess.say(b"a LOGIN alice wrong")
        guess.say(b"b AUTHENTICATE PLAIN AGJvYgB3cm9uZw==")
        # Whoever writes lines in the name of others.
        forged = (b'x\\" event=login result=failed reason=password address=192.0.2.99 tls=no '
                  b'time=2026-01-01T00:00:00Z level=warning session=a-b event=login result=failed '
                  b'reason=password address=192.0.2.98 tls=no')
        forger = self.connect(sandbox, "127.0.0.60")
        forger.say(b'a LOGIN "' + forged + b'" y')
        writer = self.connect(sandbox, "127.0.0.61")
        writer.say(b'a ID ("name" "' + forged + b'")')
        writer.say(b"b LOGIN alice alice")
        wait_until(lambda: len(re.findall(r"(?m)^\S+ \S+ \S+ event=login ", sandbox.log())) == 5,
                   what="logins are not logged")
        stranger = self.directory / "stderr.log"
        stranger.write_text(sandbox.log())
        self.assertEqual(self.banned(stranger), ["127.0.0.50"] * 2 + ["127.0.0.60"])
        syslog = self.directory / "syslog"
        syslog.write_text("".join(
            "Nov 23 02:12:00 host annal[12]: " + line.split(" ", 1)[1] + "\n"
            for line in sandbox.log().splitlines()))
        self.assertEqual(self.banned(syslog), ["127.0.0.50"] * 2 + ["127.0.0.60"])

    def fail2ban(self):
        """A copy of its configuration with our filter and jail."""
        home = self.directory / "fail2ban"
        if not home.exists():
            shutil.copytree("/etc/fail2ban", home)
            for name in ("filter.d", "jail.d"):
                shutil.copy(EXAMPLES / "fail2ban" / name / "annal.conf", home / name)
        return home

    def banned(self, log):
        """Whom the filter finds in a log."""
        found = run("fail2ban-regex", "-c", self.fail2ban(), "--out", "ip", log,
                    self.fail2ban() / "filter.d" / "annal.conf")
        return sorted(found.stdout.decode().split())

    def test_fail2ban_takes_the_jail(self):
        shown = run("fail2ban-client", "-c", self.fail2ban(), "--dp").stdout.decode()
        self.assertRegex(shown, r"'annal'.*'maxretry', 5")
        self.assertIn("event=login result=failed reason=password", shown)


def expire(directory):
    """Puts a certificate that has ended in place of the one that is there."""
    authority = directory / "authority"
    authority.mkdir()
    (authority / "index").write_text("")
    (authority / "serial").write_text("01\n")
    (authority / "conf").write_text(
        f"[ca]\ndefault_ca = x\n[x]\ndatabase = {authority}/index\nserial = {authority}/serial\n"
        f"new_certs_dir = {authority}\ndefault_md = sha256\npolicy = p\n[p]\n"
        "commonName = supplied\n")
    run("openssl", "req", "-new", "-key", directory / "key.pem", "-subj", "/CN=localhost",
        "-out", authority / "request")
    run("openssl", "ca", "-batch", "-selfsign", "-config", authority / "conf", "-keyfile",
        directory / "key.pem", "-in", authority / "request", "-startdate", "20200101000000Z",
        "-enddate", "20200201000000Z", "-notext", "-out", directory / "certificate.pem")


class Control(Case):
    def annal(self, *arguments, ok=True):
        return run(PROGRAM, *arguments, "--data", self.sandbox.data, ok=ok)

    def who(self, *arguments):
        return json.loads(self.annal("who", "--json", *arguments).stdout)

    def test_who_shows_each_session(self):
        client = self.sandbox.login()
        response(client.xatom("ID", '("name" "Nice\x7f" "version" "1.0")'))
        response(client.create("A/B"))
        response(client.select("A/B"))
        tls = self.sandbox.login("bob", tls=True)
        sessions = {session["user"]: session for session in self.who()}
        self.assertEqual(set(sessions), {"alice", "bob"})
        alice, bob = sessions["alice"], sessions["bob"]
        self.assertEqual((alice["mailbox"], alice["state"], alice["tls"], alice["address"]),
                         ("A/B", "selected", None, "127.0.0.1"))
        self.assertTrue(alice["client"].startswith("Nice"), alice)
        self.assertEqual((bob["mailbox"], bob["state"], bob["client"]),
                         (None, "authenticated", None))
        self.assertRegex(bob["tls"], r"TLSv1\.[23]")
        self.assertRegex(bob["since"], r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")
        self.assertIn("session=" + bob["session"], self.sandbox.log())
        client.send(b"x IDLE\r\n")
        wait_until(lambda: self.who("alice")[0]["state"] == "idle", what="no IDLE")
        table = self.annal("who").stdout.decode()
        self.assertRegex(table, r"\nalice +\S+ +127\.0\.0\.1 +- +idle ")
        self.assertEqual(len(table.splitlines()), 3)
        client.send(b"DONE\r\n")
        tls.logout()
        wait_until(lambda: len(self.who()) == 1, what="a session does not end")

    def test_kick_ends_a_user_or_a_session(self):
        clients = [self.sandbox.login() for _ in range(2)]
        bobs = [self.sandbox.login("bob") for _ in range(2)]
        self.assertIn(b"2 sessions", self.annal("kick", "alice").stdout)
        for client in clients:
            with self.assertRaisesRegex(Exception, "administrator"):
                client.noop()
        sessions = [session["session"] for session in self.who("bob")]
        self.assertEqual(len(sessions), 2)
        self.assertIn(b"1 session ", self.annal("kick", sessions[1]).stdout)
        with self.assertRaisesRegex(Exception, "administrator"):
            bobs[1].noop()
        response(bobs[0].noop())
        failed = self.annal("kick", "nobody", ok=False)
        self.assertEqual(failed.returncode, 1)
        self.assertIn(b"nobody called nobody", failed.stderr)
        self.sandbox.login().logout()

    def test_one_that_reads_nothing_is_cut_off(self):
        client = self.sandbox.login()
        response(client.append("INBOX", "", None, b"Subject: x\r\n\r\n" + b"x" * 2_000_000))
        response(client.select())
        for _ in range(20):
            client.send(b"x FETCH 1 BODY[]\r\n")
        wait_until(lambda: scrape(self.sandbox.metrics).get("annal_sent_bytes_total") > 500_000,
                   what="nothing is sent")
        self.annal("kick", "alice")
        wait_until(lambda: self.who("alice") == [], 30, what="it stays")

    def test_stats_are_the_metrics(self):
        client = self.sandbox.login()
        numbers = json.loads(self.annal("stats", "--json").stdout)
        page = scrape(self.sandbox.metrics)
        self.assertEqual({(one["name"], frozenset(one["labels"].items())) for one in numbers},
                         set(page.values))
        self.assertIn({"name": "annal_logins_total", "labels": {"result": "ok"}, "value": 1},
                      numbers)
        text = self.annal("stats").stdout.decode()
        self.assertRegex(text, r"(?m)^logins ok +1$")
        self.assertRegex(text, r"(?m)^command LOGIN +1, mean .*s, half <= .*s, 99% <= .*s$")
        self.assertNotRegex(text, r"(?m) 0$")
        client.logout()

    def test_the_socket_is_private_and_bounded(self):
        path = self.sandbox.data / "control"
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)

        def talk(octets):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(60)
                client.connect(str(path))
                answer = b""
                try:
                    client.sendall(octets)
                    while piece := client.recv(65536):
                        answer += piece
                except (BrokenPipeError, ConnectionResetError):
                    pass
                return answer

        self.assertEqual(talk(b"who\n"), b"ok\nend\n")
        for wrong in (b"\n", b"what\n", b"kick\n", b"kick\tuser\n", b"kick\tall\tx\n",
                      b"kick\tuser\ta\tb\n", b"WHO\n", b"who\tx\n"):
            self.assertEqual(talk(wrong), b"error\tno such request\nend\n", wrong)
        self.assertEqual(talk(b"kick\tuser\t" + b"x" * 5000), b"")
        self.assertEqual(talk(b"health\nhealth\n"), b"ok\nend\n")

    def test_a_socket_left_by_a_crash_is_taken_over(self):
        self.sandbox.kill()
        self.assertTrue((self.sandbox.data / "control").exists())
        gone = self.annal("who", ok=False)
        self.assertEqual(gone.returncode, 1)
        self.assertIn(b"is annal serve running", gone.stderr)
        self.sandbox.start()
        self.assertEqual(self.who(), [])
        self.sandbox.stop()
        self.assertFalse((self.sandbox.data / "control").exists())
        self.sandbox.start()


class Doctor(unittest.TestCase):
    CHECKS = {"configuration", "server", "certificate", "private key", "permissions",
              "password file", "disk", "synced writes", "store", "journals", "clock",
              "descriptors", "memory", "addresses"}

    def setUp(self):
        self.sandbox = Sandbox()
        self.data = self.sandbox.data
        self.addCleanup(lambda: self.sandbox.close())
        self.file = self.sandbox.root / "annal.conf"
        self.file.write_text('imaps = {"127.0.0.1:0"}\nconnections = 10\n')

    def examine(self):
        done = run(PROGRAM, "doctor", "--json", "--data", self.data, "--config", self.file,
                   ok=False)
        told = json.loads(done.stdout)
        self.assertEqual(done.returncode, 1 if told["verdict"] == "bad" else 0, told)
        for finding in told["findings"]:
            if finding["verdict"] == "bad":
                self.assertTrue(finding["advice"], finding)
        return told

    def found(self, check, verdict):
        return [finding["text"] for finding in self.examine()["findings"]
                if (finding["check"], finding["verdict"]) == (check, verdict)]

    def test_a_sound_server_has_nothing_bad(self):
        for running in (True, False):
            told = self.examine()
            self.assertNotEqual(told["verdict"], "bad", told)
            self.assertEqual({finding["check"] for finding in told["findings"]}, self.CHECKS)
            server = [one["text"] for one in told["findings"] if one["check"] == "server"]
            self.assertEqual(server, ["runs and has no complaint" if running else "is not running"])
            if running:
                self.sandbox.stop()
        text = run(PROGRAM, "doctor", "--data", self.data, "--config", self.file).stdout.decode()
        self.assertRegex(text, r"(?m)^good +server +is not running$")
        self.assertEqual(list(self.data.glob(".doctor*")), [])
        self.sandbox.start()

    def test_what_is_wrong_is_named(self):
        client = self.sandbox.login()
        response(client.append("INBOX", "", None, b"Subject: x\r\n\r\nx\r\n"))
        self.sandbox.in_git("alice", "INBOX")
        client.logout()
        self.sandbox.stop()
        repository = pathlib.Path(self.sandbox.repositories["alice"])
        run("git", "-C", repository, "repack", "-q", "-a", "-d")
        tls = self.data / "tls"
        pack = next((repository / "objects" / "pack").glob("*.pack"))
        lock = repository / "refs" / "heads" / "INBOX.lock"
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        port = listener.getsockname()[1]
        own = self.file.read_text()

        def change(file, octets):
            before = file.read_bytes() if file.exists() else None

            def undo():
                if before is None:
                    file.unlink()
                else:
                    file.write_bytes(before)
            return lambda: file.write_bytes(octets), undo

        def mode(path, wrong):
            right = path.stat().st_mode & 0o777
            return lambda: path.chmod(wrong), lambda: path.chmod(right)

        def leave_lock():
            lock.write_bytes(b"")
            os.utime(lock, (time.time() - 7200,) * 2)

        other = run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt",
                    "ec_paramgen_curve:P-256").stdout
        moved = pack.with_suffix(".gone")
        cases = [
            ("configuration", "bad", "annal.conf:1: no such option", change(self.file, b"x = 1\n")),
            ("permissions", "bad", "has mode 755", mode(self.data, 0o755)),
            ("permissions", "bad", "mail has mode 777", mode(self.data / "mail", 0o777)),
            ("private key", "bad", "has mode 644", mode(tls / "key.pem", 0o644)),
            ("password file", "bad", "has mode 604", mode(self.data / "users", 0o604)),
            ("password file", "bad", "users:1", change(self.data / "users", b"nonsense\n")),
            ("password file", "warning", "no user", change(self.data / "users", b"")),
            ("certificate", "bad", "is not the key of", change(tls / "key.pem", other)),
            ("disk", "bad", "nearly full",
             change(self.file, own.encode() + b"disk_free_min_mib = 2000000000\n")),
            ("memory", "warning", "caches may take",
             change(self.file, own.encode() + b"cache_budget = 1000000000000\n")),
            ("descriptors", "warning", "may be needed for 1000000",
             change(self.file, b"connections = 1000000\n")),
            ("addresses", "bad", f"port {port} can't be listened at",
             change(self.file, b'imaps = {"127.0.0.1:%d"}\n' % port)),
            ("store", "bad", "is no reference", change(repository / "refs/heads/Broken", b"\0" * 41)),
            ("store", "bad", "is no git repository",
             (lambda: (repository / "HEAD").rename(repository / "HAED"),
              lambda: (repository / "HAED").rename(repository / "HEAD"))),
            ("store", "bad", "has no pack",
             (lambda: pack.rename(moved), lambda: moved.rename(pack))),
            ("store", "warning", "a lock that somebody left", (leave_lock, lock.unlink)),
            ("journals", "bad", "too short", change(self.data / "journal" / "77", b"x" * 100)),
        ]
        for check, verdict, text, (break_it, mend_it) in cases:
            with self.subTest(text):
                break_it()
                try:
                    told = self.found(check, verdict)
                finally:
                    mend_it()
                self.assertTrue(any(text in one for one in told), f"{text}: {told}")
        self.assertNotEqual(self.examine()["verdict"], "bad")
        expire(tls)
        self.assertIn("ended on 2020-02-01", self.found("certificate", "bad"))
        self.sandbox.start()
        self.assertTrue(any("certificate expired" in one for one in self.found("server", "bad")))


if __name__ == "__main__":
    unittest.main(verbosity=2)
