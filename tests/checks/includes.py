#!/usr/bin/env python3
"""Every #include in store/, protocol/ and server/ follows the table of who may include what."""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1])
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)

# The part of server/ that speaks to the outside; all else there is the core. The command files and
# session*.c are always core.
EDGE = {
    "admin", "authenticator", "certificate", "config", "confine", "deflate", "import", "link",
    "limits", "log", "main", "mime", "penalty", "server", "tls", "users", "worker", "listener",
    "connection", "member", "transport", "card", "control", "health", "metrics", "openmetrics",
    "doctor", "network", "report", "watch", "inherited", "notify", "service",
}

LIBRARIES = {
    "git2": re.compile(r"git2(\.h|/)"),
    "gmime": re.compile(r"gmime/"),
    "event2": re.compile(r"event2/|event\.h|evutil"),
    "openssl": re.compile(r"openssl/"),
    "sockets": re.compile(r"sys/socket\.h|netinet/|arpa/inet\.h|netdb\.h|sys/un\.h"),
    "clock": re.compile(r"sys/time\.h"),
    "confuse": re.compile(r"confuse\.h"),
    "gio": re.compile(r"gio/|glib-object\.h|gobject/"),
    "protocol": re.compile(r"protocol/"),
    "store": re.compile(r"store/"),
    "store internals": re.compile(r"store/internal/"),
    "server": re.compile(r"server/"),
    "command files": re.compile(r"server/session_private\.h"),
}

FORBIDDEN = {
    "protocol": {"git2", "gmime", "event2", "openssl", "sockets", "clock", "confuse", "gio", "store",
                 "server"},
    "protocol mime": {"git2", "event2", "openssl", "sockets", "clock", "confuse", "store", "server"},
    "store": {"git2", "gmime", "event2", "openssl", "sockets", "confuse", "gio", "protocol",
              "server"},
    "server core": {"git2", "gmime", "event2", "openssl", "sockets", "confuse", "gio",
                    "store internals"},
    "server edge": {"git2", "gmime", "confuse", "gio", "store internals", "command files"},
}

# What one file may include although its part may not, and nobody else.
EXCEPTIONS = {
    "store/internal/git.h": {"git2"},
    "store/sha1.c": {"openssl"},
    "store/ssh_key.c": {"openssl"},
    "server/config.c": {"confuse"},
}


def part_of(path):
    directory = path.parts[0]
    if directory == "protocol":
        return "protocol mime" if re.match(r"mime(_|\.)", path.name) else "protocol"
    if directory == "store":
        return "store"
    stem = path.stem
    if stem.startswith(("command_", "session")):
        return "server core"
    return "server edge" if stem.split("_")[0] in EDGE else "server core"


def main():
    found = []
    for directory in ("protocol", "store", "server"):
        for file in sorted((ROOT / directory).rglob("*.[ch]")):
            path = file.relative_to(ROOT)
            part = part_of(path)
            forbidden = FORBIDDEN[part] - EXCEPTIONS.get(str(path), set())
            for quote, name in INCLUDE.findall(file.read_text()):
                if quote == '"' and not re.match(r"(protocol|store|server)/", name):
                    found.append(f'{path}: "{name}" is not named from the root')
                for what in sorted(forbidden):
                    if LIBRARIES[what].match(name):
                        found.append(f"{path}: {part} must not include {what} ({name})")
    print("\n".join(found) or "good")
    return 1 if found else 0


sys.exit(main())
