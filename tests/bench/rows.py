"""The groups of rows, and what they share.

A target ("mdbox always", 3) says: at least 3 times better than Dovecot with mdbox and
mail_fsync=always. "best" is the best Dovecot that acknowledges only what has reached the disk,
"best default" the best of those with mail_fsync's default. A limit (what, value, 1) is Annal
against a bound, or against itself elsewhere. Targets of a certain size stand only at that size.
"""
import imaplib
import re

from servers import ANSWER_LIMIT, PASSWORD

DURABLE = ("mdbox always", "sdbox always", "maildir always")
RELAXED = ("mdbox optimized", "sdbox optimized", "maildir optimized")
GROUPS = {}  # name: function of a measure.Bench, in the order of the table


def group(name):
    """Registers a function as a group."""
    def register(function):
        GROUPS[name] = function
        return function
    return register


def groups_matching(pattern):
    return [name for name in GROUPS if re.search(pattern, name)]


def sized(count):
    if count >= 1000000:
        return f"{count // 1000000}M"
    return f"{count // 1000}k" if count >= 1000 else str(count)


def of(count, noun="client"):
    return f"{count} {noun}{'s' * (count > 1)}"


def at_size(size, wanted, *targets):
    """The targets, if this is the size that they are meant for."""
    return targets if size == wanted else ()


def first_of(user):
    """The first user of a template."""
    return user.replace("%c", "0")


def session(server, user):
    """An ordinary IMAP client, logged in; for what is not measured."""
    client = imaplib.IMAP4("127.0.0.1", server.port, timeout=ANSWER_LIMIT)
    client.login(first_of(user), PASSWORD)
    return client
