"""The benchmark runs to its end at a tiny size, and its arithmetic is right."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
import report  # noqa: E402
import servers  # noqa: E402


class Peer:
    def __init__(self, key, title):
        self.key, self.title = key, title


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
            # What it made is gone again.
            self.assertEqual(sorted(os.listdir(directory)), ["j", "svg"])

    def test_the_generator_reports_refusals(self):
        done = subprocess.run([os.environ["ANNAL_BENCH"], "--port", "1", "--do", "NOOP", "--count",
                               "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"refused", done.stderr)


if __name__ == "__main__":
    unittest.main()
