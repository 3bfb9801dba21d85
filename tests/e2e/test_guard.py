#!/usr/bin/env python3
"""What keeps a server safe and sound: limits, trust, fail2ban, health, annal doctor."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from annal import PROGRAM, Sandbox, response, run, wait_until
from openmetrics import fetch, scrape

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "examples"


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

    def test_trust_changes_with_the_configuration(self):
        file = self.directory / "annal.conf"
        common = f'data = "{self.directory}/data"\nimaps = {{}}\nimap = {{"127.0.0.1:0"}}\n' \
                 "workers = 1\nmime_workers = 1\njournal_mib = 1\n"
        file.write_text(common)
        run(PROGRAM, "user", "add", "alice", "--password-stdin", "--config", file, input=b"alice\n")
        log = self.directory / "log"
        with open(log, "wb") as out:
            server = subprocess.Popen([PROGRAM, "serve", "--config", file], stderr=out)
        try:
            wait_until(lambda: "event=ready" in log.read_text(), 60, "the server does not start")
            port = int(re.search(r"port=(\d+) tls=no", log.read_text()).group(1))
            login = b"a LOGIN alice alice"
            for trusted, answer in (("", b"NO [PRIVACYREQUIRED]"), ("127.0.0.0/8", b"OK"),
                                    ("127.0.0.1", b"OK"), ("127.0.0.2", b"NO [PRIVACYREQUIRED]")):
                before = log.read_text().count("event=reloaded")
                file.write_text(common + f'trusted = {{"{trusted}"}}\n' * bool(trusted) +
                                "trusted_cleartext_login = true\n")
                server.send_signal(signal.SIGHUP)
                wait_until(lambda: log.read_text().count("event=reloaded") > before,
                           what="nothing is read again")
                client = Client(port, "127.0.0.1")
                self.assertTrue(client.say(login).startswith(b"a " + answer), trusted)
                client.close()
        finally:
            server.terminate()
            self.assertEqual(server.wait(60), 0, log.read_text())

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

    def test_a_server_that_hangs_is_named(self):
        self.sandbox.process.send_signal(signal.SIGSTOP)
        try:
            told = self.found("server", "bad")
        finally:
            self.sandbox.process.send_signal(signal.SIGCONT)
        self.assertEqual(len(told), 1, told)
        self.assertIn("does not answer within 10 seconds", told[0])

    def test_packs_that_were_merged_may_wait(self):
        """They lose their index first; only what nobody takes away is worth a word."""
        self.sandbox.in_git("alice", "INBOX")
        pack = next(pathlib.Path(self.sandbox.repositories["alice"]).glob("objects/pack/*.pack"))
        merged = pack.with_name(f"pack-{'1' * 40}.pack")
        shutil.copyfile(pack, merged)
        self.assertEqual(self.found("store", "warning"), [])
        os.utime(merged, (time.time() - 7200,) * 2)
        told = self.found("store", "warning")
        self.assertEqual(len(told), 1, told)
        self.assertIn("has 1 pack without an index", told[0])

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
