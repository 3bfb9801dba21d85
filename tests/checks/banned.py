#!/usr/bin/env python3
"""No function that is unsafe, or that belongs to a part of GLib the project does not use."""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1])
BANNED = {
    "strcpy", "strcat", "sprintf", "vsprintf", "gets", "strtok", "atoi", "atol", "atoll", "alloca",
    "g_alloca", "g_newa", "system", "popen", "tmpnam", "mktemp", "strncpy", "strncat",
}
# GObject, GIO, GThread, the main loop, and GLib's own file, process and log functions.
BANNED_PREFIXES = re.compile(
    r"\bg_(object|type|signal|value|main|io|file|thread|mutex|rec_mutex|rw_lock|cond|once|async"
    r"|source|idle|timeout|spawn|log|message|warning|critical|error|print|printerr|dir"
    r"|build_filename|build_path|mkdir|remove|unlink|rename|open|fopen|key|option|regex|date"
    r"|time_zone|timer|variant|module|thread_pool)(_\w+)?\s*\(")
CALL = re.compile(r"\b(" + "|".join(sorted(BANNED)) + r")\s*\(")
GMIME_FILES = re.compile(r"(protocol/mime|tests/test_mime|tests/fuzz_mime)")
MARKERS = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK"]) + r")\b")


def without_comments_and_strings(text):
    """The same lines with the insides of comments, strings and characters blanked."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def main():
    found = []
    for directory in ("protocol", "store", "server", "tests"):
        for file in sorted((ROOT / directory).rglob("*.[ch]")):
            path = file.relative_to(ROOT)
            raw = file.read_text()
            code = without_comments_and_strings(raw)
            for number, line in enumerate(code.splitlines(), 1):
                for match in CALL.finditer(line):
                    found.append(f"{path}:{number}: {match.group(1)}() is banned")
                if directory != "tests" and not GMIME_FILES.match(str(path)):
                    for match in BANNED_PREFIXES.finditer(line):
                        found.append(f"{path}:{number}: {match.group().rstrip('( ')}() is banned")
            for number, line in enumerate(raw.splitlines(), 1):
                for match in MARKERS.finditer(line):
                    found.append(f"{path}:{number}: unfinished: {match.group()}")
    print("\n".join(found) or "good")
    return 1 if found else 0


sys.exit(main())
