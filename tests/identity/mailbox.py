# SPDX-License-Identifier: ISC
"""A mailbox, and what happens to it between two sessions.

A Mail is one message on the server.  Two of them may have the same text, the
same header or the same unique-id; who is who is known here, and only here.
"""

STATUS = (b"", b"Status: RO\r\n", b"Status: O\r\nX-UID: 7\r\n",
          b"X-Keywords: a b c\r\nStatus: RO\r\n")
SIZES = (260, 300, 420)
BODIES = (b"Hello.\r\n", b".\r\n..\r\n.x\r\n", b"a\0b\xff\rc\nd\r\n",
          b"From me\r\n+OK no\r\n", b"-ERR\r\n.\r\n")


def pad(text, size):
    """Fill up with lines of x to this size, if it is not larger already."""
    while len(text) + 2 <= size:
        line = min(size - len(text) - 2, 70)
        if len(text) + line + 2 == size - 1:
            line -= 1  # what is left could hold no line
        text += b"x" * line + b"\r\n"
    return text


def make_header(serial, has_id):
    lines = b"From: Alice <alice@example.org>\r\nSubject: about %d\r\n" % (
        serial)
    if has_id:
        lines += b"Message-ID: <%d@example.org>\r\n" % serial
    return lines


def make_body(header, serial, pick):
    """One that no other message has, in one of a few sizes."""
    text = BODIES[int(pick * 97) % len(BODIES)] + b"text %d\r\n" % serial
    size = SIZES[int(pick * len(SIZES))]
    return pad(header + b"\r\n" + text, size)[len(header) + 2:]


class Mail:
    def __init__(self, serial, header, body, uid):
        self.serial, self.header, self.body = serial, header, body
        self.uid, self.status, self.hidden = uid, 0, False

    def __str__(self):
        return "mail %d" % self.serial

    @property
    def text(self):
        """What makes it the same message, whatever the server rewrites."""
        return self.header, self.body

    @property
    def has_id(self):
        return b"Message-ID" in self.header

    def wire(self):
        return self.header + STATUS[self.status] + b"\r\n" + self.body


class Mailbox:
    """Operations take numbers from 0 to 1, drawn beforehand, so that the
    others still mean something when one of them is left out."""

    def __init__(self, say):
        self.mails, self.say = [], say
        self.serial = self.uids = 0
        self.used = []  # unique-ids of mails that are gone

    def next_uid(self, pick=0.5):
        self.uids += 1
        uid = "u%d" % self.uids
        if pick < 0.1:
            return uid + "%!~" + uid
        return uid + "-" * 1100 if pick > 0.97 else uid

    def at(self, pick):
        return self.mails[int(pick * len(self.mails))] if self.mails else None

    def some(self, share, pick):
        """About so many of them, a different choice for each pick."""
        return [m for m in self.mails
                if (m.serial * 0.618 + pick) % 1 < share]

    def add(self, header, body, uid, place):
        mail = Mail(self.serial, header, body, uid)
        at = len(self.mails) if place < 0.8 else int(
            place * 977 % 1 * (len(self.mails) + 1))
        self.mails.insert(at, mail)
        return mail

    def gone(self, mail):
        self.mails.remove(mail)
        self.used.append(mail.uid)

    # -- what happens ------------------------------------------------------

    def do_new(self, a, b, c):
        self.serial += 1
        header = make_header(self.serial, a < 0.6)
        mail = self.add(header, make_body(header, self.serial, b),
                        self.next_uid(c), c * 31 % 1)
        self.say("%s comes, %s: %d octets%s" % (
            mail, mail.uid[:12], len(mail.wire()),
            "" if mail.has_id else ", no Message-ID"))

    def do_twin(self, a, b, c):
        """The header of another one, and another body."""
        old = self.at(a)
        if old is None or old.has_id:
            return
        self.serial += 1
        mail = self.add(old.header, make_body(old.header, self.serial, b),
                        old.uid if c < 0.2 else self.next_uid(), c)
        self.say("%s comes, %s: the header of %s, %d octets" % (
            mail, mail.uid[:12], old, len(mail.wire())))

    def do_copy(self, a, b, c):
        """Another one of the same text, as popa3d does with its unique-id."""
        old = self.at(a)
        if old is None:
            return
        self.serial += 1
        mail = self.add(old.header, old.body,
                        old.uid if b < 0.6 else self.next_uid(), c)
        self.say("%s comes, %s: a copy of %s" % (mail, mail.uid[:12], old))

    def do_reuse(self, a, b, c):
        """The unique-id of one that is gone, at a new one."""
        if not self.used:
            return
        uid = self.used[int(a * len(self.used))]
        self.serial += 1
        header = make_header(self.serial, b < 0.6)
        mail = self.add(header, make_body(header, self.serial, c), uid, b)
        self.say("%s comes, %s once more: %d octets" % (
            mail, uid[:12], len(mail.wire())))

    def do_replace(self, a, b, c):
        """The same while the old one leaves."""
        old = self.at(a)
        if old is None:
            return
        self.gone(old)
        self.say("%s leaves" % old)
        self.do_reuse(0.9999, b, c)

    def do_share(self, a, b, c):
        """Another message gets the unique-id of one that stays."""
        one, other = self.at(a), self.at(b)
        if one is None or one is other:
            return
        other.uid = one.uid
        self.say("%s has the unique-id of %s now" % (other, one))

    def do_swap(self, a, b, _):
        one, other = self.at(a), self.at(b)
        if one is None or one is other:
            return
        one.uid, other.uid = other.uid, one.uid
        self.say("%s and %s change unique-ids" % (one, other))

    def do_remove(self, a, *_):
        old = self.at(a)
        if old is not None:
            self.gone(old)
            self.say("%s leaves" % old)

    def do_clear(self, a, *_):
        """Others fetch most of it."""
        for mail in self.some(0.7, a):
            self.gone(mail)
            self.say("%s leaves" % mail)

    def do_hide(self, a, b, _):
        """Some are absent from the listing, for a while."""
        for mail in self.some(a, b):
            mail.hidden = True
            self.say("%s is hidden" % mail)

    def do_show(self, *_):
        for mail in self.mails:
            if mail.hidden:
                self.say("%s is back" % mail)
            mail.hidden = False

    def do_renumber(self, a, b, c):
        for mail in self.some(a * 0.5 if c < 0.5 else 1, b):
            mail.uid = self.next_uid()
            self.say("%s has a new unique-id, %s" % (mail, mail.uid))

    def do_status(self, a, b, c):
        """The server writes something into headers."""
        for mail in self.some(a, b):
            mail.status = int(c * 7 + mail.serial) % len(STATUS)
            self.say("%s has status %d now, %d octets" % (
                mail, mail.status, len(mail.wire())))

    def do_move(self, a, b, _):
        if self.mails:
            mail = self.at(a)
            self.mails.remove(mail)
            self.mails.insert(int(b * (len(self.mails) + 1)), mail)
            self.say("%s stands elsewhere" % mail)
