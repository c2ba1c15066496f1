# SPDX-License-Identifier: ISC
"""One POP3 session with a mailbox, as odd as its traits say, which ends when
it is to be cut or when poplar is to be killed."""

import socket
import struct
import threading

WAIT = 20  # seconds; nobody comes to that


class Traits:
    """What the server can do.  gap: numbers go up by so many; off: listed
    sizes are wrong by so much."""

    def __init__(self):
        self.uidl = self.top = self.capa = self.pipelining = True
        self.sizes = True
        self.gap, self.off = 1, 0
        self.backwards = False

    def __str__(self):
        words = ["%s%s" % ("" if value else "no ", name) for name, value in (
            ("UIDL", self.uidl), ("TOP", self.top), ("CAPA", self.capa),
            ("pipelining", self.pipelining), ("LIST", self.sizes))]
        return "%s, numbers by %d, sizes off by %d%s" % (
            ", ".join(words), self.gap, self.off,
            ", listed backwards" if self.backwards else "")


class Listed:
    """A mail as this session shows it."""

    def __init__(self, mail, number, traits):
        self.mail, self.number = mail, number
        self.uid = mail.uid if traits.uidl else None
        self.wire = mail.wire()
        self.size = len(self.wire) + traits.off if traits.sizes else None
        self.marked = self.deleted = self.given = False


class Cut(Exception):
    """The connection ends here."""


class Session:
    """Serves one connection.  trouble is (what, number): "cut", "reset" or
    "kill" at so many octets sent, "kill-at" the so-manieth command, "lost" or
    "unconfirmed" deletions at QUIT, "dele", "retr" or "top" refused at that
    one of the listing."""

    def __init__(self, mailbox, traits, trouble):
        self.traits, self.trouble = traits, trouble
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.listed = []
        for mail in mailbox.mails:
            if not mail.hidden:
                self.listed.append(Listed(
                    mail, 1 + len(self.listed) * traits.gap, traits))
        self.by_number = {one.number: one for one in self.listed}
        self.commands, self.sent, self.retrs = [], 0, 0
        self.was_asked = False  # for a listing
        self.came = self.confirmed = False
        self.kill = lambda: None
        self.out = bytearray()
        self.error = None
        self.thread = threading.Thread(target=self.run, daemon=True)

    # -- the conversation --------------------------------------------------

    def end(self):
        """The client has ended; if it never came, nobody else will."""
        if not self.came:
            with socket.socket() as bell:
                bell.connect_ex(("127.0.0.1", self.port))
        self.thread.join()

    def run(self):
        with self.listener:
            self.connection, _ = self.listener.accept()
            self.came = True
        with self.connection:
            self.connection.settimeout(WAIT)
            self.connection.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self.serve()
            except (Cut, BrokenPipeError, ConnectionError):
                pass
            except OSError as error:  # nobody should be so slow
                self.error = error

    def serve(self):
        self.say(b"+OK ready")
        rest = b""
        while True:
            self.flush()
            data = self.connection.recv(65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\r\n")
            for line in lines:
                self.commands.append(line.decode("latin-1"))
                if self.is_time("kill-at", len(self.commands)):
                    self.end_it()
                self.answer(*line.decode("latin-1").upper().split())

    def is_time(self, what, number):
        return self.trouble == (what, number)

    def say(self, line):
        self.out += line + b"\r\n"

    def flush(self):
        what, limit = self.trouble
        data = bytes(self.out)
        self.out.clear()
        if what in ("cut", "reset", "kill") and (
                self.sent + len(data) >= limit):
            self.connection.sendall(data[:limit - self.sent])
            self.end_it()
        self.sent += len(data)
        self.connection.sendall(data)

    def end_it(self):
        if self.trouble[0].startswith("kill"):
            try:
                self.kill()
            except ProcessLookupError:
                pass  # it was quicker
        elif self.trouble[0] == "reset":
            self.connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Cut()

    def many(self, lines):
        self.say(b"+OK")
        for line in lines:
            self.say(line)
        self.say(b".")

    # -- the commands ------------------------------------------------------

    def answer(self, name, *args):
        handler = getattr(self, "on_" + name.lower(), None)
        if handler is None:
            self.say(b"-ERR what?")
        else:
            handler(*args)

    def on_capa(self):
        if not self.traits.capa:
            self.say(b"-ERR")
            return
        lines = [b"USER", b"RESP-CODES"]
        for has, name in ((self.traits.uidl, b"UIDL"),
                          (self.traits.top, b"TOP"),
                          (self.traits.pipelining, b"PIPELINING")):
            if has:
                lines.append(name)
        self.many(lines)

    def on_user(self, _):
        self.say(b"+OK")

    def on_pass(self, _):
        self.say(b"+OK")

    def on_noop(self):
        self.say(b"+OK")

    def on_stat(self):
        self.say(b"+OK %d %d" % (len(self.listed), sum(
            len(one.wire) + self.traits.off for one in self.listed)))

    def in_order(self):
        return reversed(self.listed) if self.traits.backwards else self.listed

    def on_uidl(self, *_):
        self.was_asked = True
        if self.traits.uidl:
            self.many(b"%d %s" % (one.number, one.uid.encode())
                      for one in self.in_order())
        else:
            self.say(b"-ERR")

    def on_list(self, *_):
        self.was_asked = True
        if self.traits.sizes:
            self.many(b"%d %d" % (one.number, one.size)
                      for one in self.in_order())
        else:
            self.say(b"-ERR")

    def body(self, data):
        self.say(b"+OK")
        self.out += b"\r\n".join(
            b"." + line if line.startswith(b".") else line
            for line in data.split(b"\r\n")) + b".\r\n"

    def find(self, number):
        one = self.by_number.get(int(number))
        if one is None or one.marked:
            self.say(b"-ERR no such message")
            return None
        return one

    def on_top(self, number, lines):
        if not self.traits.top:
            self.say(b"-ERR")
            return
        one = self.find(number)
        if one is None:
            return
        if self.hides(one):
            self.say(b"-ERR [SYS/TEMP] not now")
        else:
            self.body(one.wire[:one.wire.index(b"\r\n\r\n") + 4])

    def hides(self, one):
        """Its header, if that is all that is asked for."""
        return not self.traits.top or self.is_time(
            "top", self.listed.index(one))

    def shows_none(self, one):
        """As far as poplar can know, for good: then the size has to do."""
        return self.hides(one) and not (self.traits.capa and self.traits.top)

    def on_retr(self, number):
        one = self.find(number)
        if one is None:
            return
        self.retrs += 1
        if self.is_time("retr", self.listed.index(one)):
            self.say(b"-ERR not now")
        else:
            one.given = True
            self.body(one.wire)

    def on_dele(self, number):
        one = self.find(number)
        if one is None:
            return
        if self.is_time("dele", self.listed.index(one)):
            self.say(b"-ERR no")
            return
        one.marked = True
        self.say(b"+OK")

    def on_quit(self):
        if self.trouble[0] == "lost":
            raise Cut()
        for one in self.listed:
            one.deleted = one.marked
        if self.trouble[0] == "unconfirmed":
            raise Cut()
        self.confirmed = True
        self.say(b"+OK bye")
