"""An LMTP client that shows its wire: smtplib's reads one reply after DATA, whatever the
recipients."""
import re
import socket


class Lmtp:
    def __init__(self, address, hello=True):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(60)
        self.socket.connect(address)
        self.file = self.socket.makefile("rb")
        self.greeting = self.reply()
        self.features = self.command("LHLO client.example.org")[1:] if hello else []

    def send(self, octets):
        self.socket.sendall(octets)

    def reply(self):
        """The lines of one reply; none at the end of the connection."""
        lines = []
        while line := self.file.readline():
            lines.append(line.decode().rstrip("\r\n"))
            if lines[-1][3:4] != "-":
                break
        return lines

    def command(self, line):
        self.send(line.encode() + b"\r\n")
        return self.reply()

    def deliver(self, recipients, message, sender="sender@example.org"):
        """The replies, one for each recipient, of RCPT where that was refused."""
        assert self.command(f"MAIL FROM:<{sender}>")[0].startswith("250")
        replies = [self.command(f"RCPT TO:<{recipient}>")[0] for recipient in recipients]
        good = [i for i, reply in enumerate(replies) if reply.startswith("250")]
        if good:
            assert self.command("DATA")[0].startswith("354")
            self.send(re.sub(rb"(\A|\r\n)\.", rb"\1..", message) + b".\r\n")
            for i in good:
                replies[i] = self.reply()[0]
        return replies

    def close(self):
        self.file.close()
        self.socket.close()
