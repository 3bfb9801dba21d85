"""The benchmark runs to its end at a tiny size, and its arithmetic is right."""
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
import ceiling  # noqa: E402
import measure  # noqa: E402
import report  # noqa: E402
import servers  # noqa: E402


class Peer:
    def __init__(self, key, title):
        self.key, self.title = key, title
        self.stands = False

    def stand_still(self):
        self.stands = True

    def go_on(self):
        self.stands = False


SERVERS = [Peer("annal", "Annal"), Peer("mdbox always", "mdbox"), Peer("sdbox always", "sdbox"),
           Peer("mdbox optimized", "mdbox*")]


def operation(unit, targets, **samples):
    made = report.Operation("work", unit, targets)
    for key, values in samples.items():
        for value in values:
            made.add(key.replace("_", " "), value)
    return made


class Arithmetic(unittest.TestCase):
    def test_a_ratio_says_how_many_times_better(self):
        rate = operation("messages/s", [], annal=[100, 300, 200], mdbox_always=[50])
        time = operation("ms", [], annal=[2], mdbox_always=[10])
        self.assertEqual(rate.ratio("mdbox always"), 4)
        self.assertEqual(time.ratio("mdbox always"), 5)

    def test_the_best_peer_is_the_fastest_durable_one(self):
        rate = operation("messages/s", [("best", 3)], annal=[100], mdbox_always=[20],
                         sdbox_always=[40], mdbox_optimized=[80])
        time = operation("ms", [("best", 3)], annal=[1], mdbox_always=[20], sdbox_always=[40],
                         mdbox_optimized=[2])
        self.assertEqual(rate.comparisons(), [("best", "sdbox always", 3)])
        self.assertEqual(time.comparisons(), [("best", "mdbox always", 3)])

    def test_json_has_a_row_for_each_comparison(self):
        operations = [
            operation("messages/s", [("mdbox always", 3), ("best", 2)], annal=[100],
                      mdbox_always=[25], sdbox_always=[50]),
            operation("ms", [], annal=[5], mdbox_always=[10]),
            operation("ms", [("best", 2)], mdbox_always=[10])]
        rows = json.loads(report.as_json(operations, SERVERS, {}))["rows"]
        self.assertEqual([(row["annal"], row["peer"], row["ratio"], row["target"])
                          for row in rows], [(100, 25, 4, 3), (100, 50, 2, 2), (5, 10, 2, None)])
        self.assertEqual(set(rows[0]), {"name", "annal", "peer", "unit", "ratio", "target",
                                        "ceiling"})
        self.assertEqual({row["ceiling"] for row in rows}, {None})

    def test_a_limit_is_a_comparison_too(self):
        memory = operation("kB", [("mdbox always", 20)], annal=[20], mdbox_always=[500])
        memory.limits.append(("limit", 25, 1))
        rows = json.loads(report.as_json([memory], SERVERS, {}))["rows"]
        self.assertEqual([(row["peer"], row["ratio"], row["target"]) for row in rows],
                         [(500, 25, 20), (25, 1.25, 1)])

    def test_the_table_shows_every_server_and_what_is_missing(self):
        lines = report.table([operation("ms", [("mdbox always", 3)], annal=[2],
                                        mdbox_always=[10])], SERVERS).splitlines()
        self.assertEqual(lines[0].split(), ["operation", "unit", "Annal", "mdbox", "sdbox",
                                            "mdbox*", "ratio", "target", "at", "most", "CPU",
                                            "us", "written",
                                            "kB", "memory", "MB"])
        self.assertEqual(lines[2].split(), ["work", "ms", "2.00", "10.0", "-", "-", "5.00",
                                            "mdbox", "3", "-", "-", "-", "-"])

    def test_the_table_marks_what_falls_short(self):
        work = operation("ms", [("mdbox always", 3), ("sdbox always", 3)], annal=[2],
                         mdbox_always=[5], sdbox_always=[6])
        work.limits.append(("limit", 1, 1))
        line = report.table([work], SERVERS).splitlines()[2]
        self.assertIn("2.50 mdbox, 3.00 sdbox, 0.50 limit (1.00)  3!, 3, 1!", line)
        self.assertEqual(report.shortfalls([work], SERVERS), (["work", "work"], 3, []))

    def test_costs_are_those_of_annal_and_of_the_first_peer(self):
        work = report.Operation("work", "ms", [("sdbox always", None)])
        work.add("annal", 1, cpu_us=10, written_kb=4, memory_mb=None)
        work.add("annal", 1, cpu_us=30, written_kb=4)
        work.add("mdbox always", 1, cpu_us=50)
        work.add("sdbox always", 1, cpu_us=70, written_kb=None)
        self.assertEqual(report.cost_cells(work), ["20.0 / 70.0", "4.00 / -", "-"])
        self.assertEqual(report.detail_table([work], SERVERS, "cpu_us"),
                         "work: Annal 20.0, mdbox 50.0, sdbox 70.0")

    def test_a_generator_that_works_much_is_told_of(self):
        work = report.Operation("work", "ms")
        work.add("annal", 1, cpu_us=100, generator_cpu_us=31)
        idle = report.Operation("idle", "ms")
        idle.add("annal", 1, cpu_us=100, generator_cpu_us=30)
        self.assertEqual(report.generator_heavy([work, idle]), [("work", 31, 100)])


def bounded(under_way, octets, **values):
    """An operation of a rate, with a ceiling of one run: 1,000 operations in which the generator
    used 20 us each and the echo 10."""
    made = operation("commands/s", [("mdbox always", 3), ("sdbox always", 3)], **values)
    made.ceiling = ceiling.Ceiling(under_way, octets, 2, {})
    made.ceiling.add({"operations": 1000, "p50_us": 70, "own_cpu_seconds": 0.02,
                      "cpu_seconds": 0.01}, 100, 50 if under_way > 1 else None)
    return made


class Ceilings(unittest.TestCase):
    def test_one_client_waits_for_a_round_trip_and_the_disk(self):
        self.assertAlmostEqual(bounded(1, 4096).ceiling.rate(), 1e6 / 170)
        self.assertAlmostEqual(bounded(1, 0).ceiling.rate(), 1e6 / 70)

    def test_many_clients_are_bounded_by_the_processors_or_their_number(self):
        # 20 us are more than (20 + 10) / 2.
        self.assertAlmostEqual(bounded(64, 4096).ceiling.rate(), 50000)
        self.assertAlmostEqual(bounded(2, 4096).ceiling.rate(), 2e6 / 150)

    def test_the_best_round_counts(self):
        work = bounded(1, 4096)
        run = {"operations": 10, "p50_us": 60, "own_cpu_seconds": 1, "cpu_seconds": 1}
        work.ceiling.add(run, 140)
        self.assertAlmostEqual(work.ceiling.rate(), 1e6 / 160)
        # The disk is the same for all.
        other = ceiling.Ceiling(1, 4096, 2, work.ceiling.best)
        other.add(run, 90)
        self.assertAlmostEqual(work.ceiling.rate(), 1e6 / 150)

    def test_rows_say_what_is_possible(self):
        work = bounded(1, 4096, annal=[4000], mdbox_always=[2500], sdbox_always=[1000])
        self.assertEqual([round(row["ceiling"], 2) for row in work.rows(
            {server.key: server.title for server in SERVERS})], [2.35, 5.88])
        line = report.table([work], SERVERS).splitlines()[2]
        self.assertIn("3!, 3", line)
        self.assertIn("2.35, 5.88", line)
        self.assertEqual(report.shortfalls([work], SERVERS), (["work"], 2, ["work"]))
        self.assertEqual(report.ceilings([work]),
                         "  work: 5,882 (round trip 70 + synced write 100 us); Annal 4,000, 68%")

    def test_what_was_not_measured_bounds_nothing(self):
        work = operation("commands/s", [("mdbox always", 3)], annal=[2], mdbox_always=[1])
        work.ceiling = ceiling.Ceiling(1, 4096, 2, {})
        self.assertIsNone(work.ceiling_ratio("mdbox always"))
        self.assertEqual(report.ceilings([work]), "")

    def test_the_disk_takes_a_while(self):
        with tempfile.TemporaryDirectory(prefix="annal-test-") as directory:
            for octets in (1, 4096, 100000):
                self.assertGreater(ceiling.synced_write_us(directory, octets, 0.01), 0)

    def test_figures_become_a_table(self):
        work = bounded(1, 4096, annal=[4000], mdbox_always=[2500])
        alone = operation("ms", [], annal=[5])
        alone.name = "step"
        alone.limits.append(("a copy", 10, None))
        figures = json.loads(report.as_json([work, alone], SERVERS, {}))
        self.assertEqual(report.markdown(figures).splitlines(), [
            "| operation | Annal | mdbox | better than Dovecot | at most |",
            "| --- | --- | --- | --- | --- |",
            "| work | 4,000 commands/s | 2,500 | 1.60x | 2.4x |",
            "| step | 5.00 ms |  | 2.00x (a copy) |  |"])


class Scale:
    limit, rounds = 100, 3


class Rounds(unittest.TestCase):
    def bench(self, seconds_left=100):
        return measure.Bench("annal-bench", SERVERS, ".", Scale, time.monotonic() + seconds_left)

    def test_every_row_is_measured_before_any_is_measured_again(self):
        bench, seen = self.bench(), []
        for name in "ab":
            bench.repeat(name, SERVERS[:1], lambda _, name=name: seen.append(name))
        bench.repeat("once", SERVERS[:1], lambda _: seen.append("once"), times=1)
        self.assertEqual(seen, ["a", "b", "once"])
        bench.further_rounds()
        self.assertEqual(sorted(seen[3:5]) + sorted(seen[5:]), ["a", "b", "a", "b"])

    def test_servers_take_turns_in_another_order(self):
        bench, seen = self.bench(), []
        bench.repeat("a", SERVERS[:3], lambda server: seen.append(server.title))
        bench.further_rounds()
        self.assertEqual(seen, ["Annal", "mdbox", "sdbox", "mdbox", "sdbox", "Annal", "sdbox",
                                "Annal", "mdbox"])

    def test_all_but_the_one_that_is_measured_stand_still(self):
        bench, standing = self.bench(), []
        peers = [Peer(key, key) for key in "abc"]
        for peer in peers:
            peer.stand_still()
        bench.repeat("a", peers, lambda _: standing.append(
            "".join(peer.key for peer in peers if peer.stands)))
        self.assertEqual(standing, ["bc", "ac", "ab"])
        self.assertTrue(all(peer.stands for peer in peers))

    def test_no_further_round_that_would_end_too_late(self):
        bench, seen = self.bench(seconds_left=-1), []
        bench.repeat("a", SERVERS[:1], seen.append)
        bench.further_rounds()
        self.assertEqual(len(seen), 1)

    def test_a_row_that_nobody_has_time_for_is_a_failure(self):
        bench, seen = self.bench(seconds_left=-3 * Scale.limit - 1), []
        bench.repeat("a", SERVERS[:1], seen.append)
        self.assertEqual((seen, bench.notes), ([], ["a: skipped, out of time"]))
        self.assertTrue(bench.failed)

    def test_a_server_that_fails_is_left_out_and_told_of(self):
        bench, seen = self.bench(), []

        def work(server):
            seen.append(server.title)
            if server.title == "mdbox":
                raise ConnectionResetError("gone")

        for server in SERVERS:
            server.last_words = lambda: ""
        bench.repeat("a", SERVERS[:2], work)
        bench.further_rounds()
        self.assertEqual(seen, ["Annal", "mdbox", "Annal", "Annal"])
        self.assertEqual(bench.notes, ["a: mdbox: gone"])
        self.assertFalse(bench.failed)


LISTENER = """\
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    connection = listener.accept()[0]
    connection.sendall(b"* OK\\r\\n")
    connection.close()
"""


class Listener(servers.Server):
    """A server that greets, and ends if its port is taken."""

    def __init__(self, root):
        super().__init__("listener", "Listener", root)
        self.choose_ports()

    def command(self):
        return [sys.executable, "-c", LISTENER, self.port]

    def configure(self):
        pass


class Broken(Listener):
    def command(self):
        return [sys.executable, "-c", "raise SystemExit('no such option')"]


class Starting(unittest.TestCase):
    def test_a_port_that_somebody_took_is_replaced(self):
        with tempfile.TemporaryDirectory(prefix="annal-test-") as directory, \
                socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            server = Listener(directory)
            server.port = taken.getsockname()[1]
            server.start()
            try:
                self.assertNotEqual(server.port, taken.getsockname()[1])
                self.assertTrue(servers.greets(server.port))
            finally:
                server.stop()

    def test_one_that_never_starts_is_given_up_with_its_log(self):
        with tempfile.TemporaryDirectory(prefix="annal-test-") as directory:
            with self.assertRaisesRegex(SystemExit, "(?s)Listener does not start.*no such option"):
                Broken(directory).start()

    def test_one_that_stands_still_goes_on_and_stops(self):
        def state(server):
            stat = pathlib.Path(f"/proc/{server.process.pid}/stat").read_text(encoding="ascii")
            return stat.rpartition(")")[2].split()[0]

        def wait_for(server, states):
            end = time.monotonic() + 10
            while state(server) not in states and time.monotonic() < end:
                time.sleep(0.01)
            self.assertIn(state(server), states)

        with tempfile.TemporaryDirectory(prefix="annal-test-") as directory:
            server = Listener(directory)
            server.works_later = True
            server.start()
            server.stand_still()
            wait_for(server, "T")
            server.go_on()
            wait_for(server, "SR")
            server.stand_still()
            wait_for(server, "T")
            begin = time.monotonic()
            server.stop()
            self.assertLess(time.monotonic() - begin, servers.STOP_LIMIT)

    def test_ports_are_not_those_that_connections_take(self):
        first, end = servers.ports_of_choice()
        port = servers.free_port()
        self.assertTrue(first >= end or first <= port < end)


class Processes(unittest.TestCase):
    def test_processor_time_counts_all_threads_and_ended_children(self):
        script = ("import os, subprocess, sys, threading, time\n"
                  "def burn(until):\n"
                  "    while time.thread_time() < until: pass\n"
                  "    time.sleep(60)\n"
                  "subprocess.run([sys.executable, '-c',"
                  " 'import time\\nwhile time.process_time() < 0.2: pass'])\n"
                  "threading.Thread(target=burn, args=(0.2,), daemon=True).start()\n"
                  "while time.process_time() < 0.25: pass\n"
                  "print(time.process_time(), flush=True)\n"
                  "sys.stdin.read()\n")
        with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            seconds = servers.process_seconds(process.pid)
            process.stdin.close()
        self.assertGreater(seconds, 0.43)  # 0.25 and the child's 0.2
        self.assertEqual(servers.process_seconds(process.pid), 0)


class WholeRun(unittest.TestCase):
    def test_every_row_is_measured_on_a_server(self):
        with tempfile.TemporaryDirectory(prefix="annal-test-") as directory:
            figures, drawing = (pathlib.Path(directory) / name for name in ("j", "svg"))
            done = subprocess.run(
                [sys.executable, HERE / "bench.py", "--tiny", "--no-dovecot", "--annal",
                 os.environ["ANNAL"], "--generator", os.environ["ANNAL_BENCH"], "--directory",
                 directory, "--json", figures, "--plot", drawing],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=280)
            said = done.stdout.decode()
            self.assertEqual(done.returncode, 0, said)
            result = json.loads(figures.read_text())
            self.assertEqual(result["about"]["notes"], [], said)
            for measured in result["operations"]:
                self.assertGreater(measured["servers"]["annal"]["median"], 0, measured["name"])
            self.assertEqual(xml.etree.ElementTree.parse(drawing).getroot().tag,
                             "{http://www.w3.org/2000/svg}svg")
            table = subprocess.run([sys.executable, HERE / "report.py", figures],
                                   stdout=subprocess.PIPE, check=True).stdout.decode()
            self.assertEqual(len(table.splitlines()), len(result["operations"]) + 2)
            names = " ".join(measured["name"] for measured in result["operations"])
            for what in ("history: boundary moved", "history: dropped", "history: one message",
                         "while history is dropped", "as it was", "LMTP", "mixed", "IDLE", "LOGIN"):
                self.assertIn(what, names)
            for when in ("before", "after"):
                self.assertGreater(result["about"][when]["round_trip_us"], 0)
                self.assertGreater(result["about"][when]["synced_writes_per_second"], 0)
            # What it made is gone again.
            self.assertEqual(sorted(os.listdir(directory)), ["j", "svg"])

    def test_the_echo_answers_whatever_the_generators_say(self):
        with tempfile.TemporaryDirectory(prefix="annal-test-") as directory:
            echo = servers.Echo(os.environ["ANNAL_BENCH"] + "-echo", pathlib.Path(directory) / "e")
            echo.prepare()
            echo.start()
            try:
                for options in (["--do", "NOOP"],
                                ["--do", "STORE %s %fFLAGS (x)", "--clients", "9"],
                                ["--do", "APPEND INBOX %m", "--size", "300001", "--clients", "3"],
                                ["--do", "APPEND INBOX %b", "--batch", "7", "--size", "65537"],
                                ["--do", "APPEND INBOX %m", "--pipeline", "32"]):
                    self.assert_driven("", echo.port, *options, "--prepare", "SELECT INBOX",
                                       "--count", "200")
                for options in (["--clients", "1"], ["--clients", "5", "--size", "300001"]):
                    self.assert_driven("-lmtp", echo.lmtp_port, *options, "--seconds", "0.1")
            finally:
                echo.stop()

    def assert_driven(self, suffix, port, *options):
        done = subprocess.run([os.environ["ANNAL_BENCH"] + suffix, "--port", str(port), *options],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                              timeout=60)
        self.assertEqual(done.returncode, 0, (options, done.stderr))
        self.assertGreater(json.loads(done.stdout)["operations"], 0)

    def test_the_generator_reports_refusals(self):
        done = subprocess.run([os.environ["ANNAL_BENCH"], "--port", "1", "--do", "NOOP", "--count",
                               "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"refused", done.stderr)


if __name__ == "__main__":
    unittest.main()
