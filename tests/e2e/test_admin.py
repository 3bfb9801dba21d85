#!/usr/bin/env python3
"""What an admin sees of a running server, and can do to it."""
import json
import pathlib
import re
import socket
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from annal import PROGRAM, Case, response, run, wait_until
from openmetrics import fetch, scrape

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "examples"


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
        self.assertEqual(rise("annal_store_sync_seconds_count"), 3)
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
        self.assertRegex(text, r"(?m)^healthy +yes$")
        self.assertRegex(text, r"(?m)^certificate expiry +20..-..-.. ..:..:.. UTC$")
        self.assertRegex(text, r"(?m)^process resident memory +[0-9.]+ MiB$")
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

    def answered(self, octets):
        """What annal who makes of another's answer."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.sandbox.data / "control"))
            listener.listen()

            def answer():
                client = listener.accept()[0]
                client.recv(100)
                client.sendall(octets)
                client.close()

            thread = threading.Thread(target=answer)
            thread.start()
            told = self.annal("who", ok=False)
            thread.join()
        (self.sandbox.data / "control").unlink()
        return told

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
        for answer, problem in ((b"", b"cut off"), (b"ok\n", b"cut off"), (b"ok\nend", b"cut off"),
                                (b"ok\nx\ty\n", b"cut off"), (b"error\tno\nend\n", b"annal: no"),
                                (b"what\nend\n", b"annal: "), (b"\0" * 1000, b"cut off")):
            told = self.answered(answer)
            self.assertEqual(told.returncode, 1, answer)
            self.assertIn(problem, told.stderr)
        self.assertEqual(self.answered(b"ok\nx\ty\n\nend\n").stdout.count(b"\n"), 1)
        self.assertFalse((self.sandbox.data / "control").exists())
        self.sandbox.start()


if __name__ == "__main__":
    unittest.main(verbosity=2)
