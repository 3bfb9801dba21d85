#!/usr/bin/env python3
"""No function over 100 lines, no file over 1000, unless size-exceptions.txt gives a reason."""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1])
FUNCTION_MAX = 100
FILE_MAX = 1000
EXCEPTIONS = ROOT / "tests" / "checks" / "size-exceptions.txt"


def functions(lines):
    """Name and length of each function: house style puts its braces in the first column."""
    start = name = None
    for number, line in enumerate(lines):
        if line == "{":
            start = number
            # The name stands before the first parenthesis of the lines above.
            above = []
            for earlier in reversed(lines[:number]):
                if not earlier or earlier.startswith(("}", "#", "*/")) or earlier.endswith(";"):
                    break
                above.insert(0, earlier)
            match = re.search(r"(\w+)\s*\(", " ".join(above))
            name = match.group(1) if match else "?"
        elif line == "}" and start is not None:
            yield name, number - start + 1
            start = None


def exceptions():
    allowed = {}
    for number, line in enumerate(EXCEPTIONS.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        what, _, reason = line.partition(" ")
        if not reason.strip():
            sys.exit(f"{EXCEPTIONS}:{number}: no reason")
        allowed[what] = False
    return allowed


def main():
    allowed = exceptions()
    found = []

    def check(what, length, most):
        if length <= most:
            return
        if what in allowed:
            allowed[what] = True
        else:
            found.append(f"{what}: {length} lines, at most {most}")

    for directory in ("protocol", "store", "server", "tests"):
        for file in sorted((ROOT / directory).rglob("*.[ch]")):
            path = file.relative_to(ROOT)
            lines = file.read_text().splitlines()
            check(str(path), len(lines), FILE_MAX)
            for name, length in functions(lines):
                check(f"{path}:{name}", length, FUNCTION_MAX)
    found += [f"{what}: needs no exception" for what, used in allowed.items() if not used]
    print("\n".join(found) or "good")
    return 1 if found else 0


sys.exit(main())
